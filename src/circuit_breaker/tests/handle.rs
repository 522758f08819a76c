//! The handle.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use super::*;
use crate::circuit_breaker::config::Config;

#[tokio::test(start_paused = true)]
async fn cb11_the_handle_reads_state_time_and_cause() {
    let breaker = built(
        CircuitBreaker::builder("read")
            .trip_on(Trip::failure_rate(0.5).over(Window::count(10)).min_calls(4))
            .open_for(constant(SECOND)),
    );
    advance(ms(30)).await;
    for _ in 0..3 {
        fail(&breaker);
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.in_state), (State::Closed, ms(30)));
    assert_eq!((snapshot.next_probe, snapshot.probes), (None, None));
    let rule = &snapshot.rules[0];
    assert_eq!((rule.counts.calls, rule.counts.failures), (3, 3));
    assert_eq!((rule.failure_rate, rule.slow_rate), (None, None));
    assert!(snapshot.last_trip.is_none());

    let permit = breaker.try_acquire().unwrap();
    permit.failure_with(FailureKind::Response, Some(ms(5)));
    advance(ms(200)).await;
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.in_state), (State::Open, ms(200)));
    assert_eq!(snapshot.next_probe, Some(ms(800)));
    let last_trip = snapshot.last_trip.unwrap();
    assert_eq!(
        (last_trip.ago, last_trip.tripped.kind),
        (ms(200), FailureKind::Response)
    );
    assert_eq!(last_trip.tripped.retry_after, Some(ms(5)));
    assert_eq!(last_trip.tripped.rule, "failure rate of 0.5 over 10 calls");
    assert_eq!(
        (
            last_trip.tripped.counts.calls,
            last_trip.tripped.counts.failures
        ),
        (4, 4)
    );
    assert_eq!(snapshot.rules[0].counts.calls, 0);
}

#[tokio::test(start_paused = true)]
async fn cb11_a_rate_is_there_from_min_calls_on() {
    let trip = Trip::failure_rate(1.0).over(Window::count(10)).min_calls(2);
    let breaker = built(CircuitBreaker::builder("rate").trip_on(trip));
    let rate = || breaker.snapshot().rules[0].failure_rate;
    succeed(&breaker);
    assert_eq!(rate(), None);
    fail(&breaker);
    assert_eq!(rate(), Some(0.5));
}

#[tokio::test(start_paused = true)]
async fn cb11_reading_changes_nothing() {
    let breaker = built(touchy());
    let events = events_of(&breaker);
    fail(&breaker);
    advance(SECOND).await;
    events.take();
    for _ in 0..3 {
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(breaker.snapshot().state, State::HalfOpen);
        assert_eq!(breaker.snapshot().next_probe, Some(Duration::ZERO));
        assert!(breaker.peek().is_ok());
        assert!(format!("{breaker:?}").contains("HalfOpen"));
    }
    assert_eq!(events.take(), [""; 0]);
    breaker.try_acquire().unwrap().ignore();
    assert_eq!(events.take(), ["Open to HalfOpen", "Ignored"]);
}

#[tokio::test(start_paused = true)]
async fn cb11_forced_open_it_stays_so_until_released() {
    let breaker = built(touchy());
    let events = events_of(&breaker);
    let late = breaker.try_acquire().unwrap();
    breaker.force_open();
    breaker.force_open();
    late.success();
    advance(SECOND * 1_000_000).await;
    let rejection = breaker.try_acquire().unwrap_err();
    assert_eq!(
        (rejection.kind(), rejection.retry_after()),
        (RejectionKind::CircuitOpen, None)
    );
    assert_eq!(breaker.peek().unwrap_err(), rejection);
    breaker.change(|now| now.probes(1)).unwrap();
    assert_eq!(breaker.state(), State::ForcedOpen);
    breaker.release();
    breaker.release();
    assert_eq!(breaker.state(), State::Closed);
    let expected = [
        "Closed to ForcedOpen",
        "Success",
        "Rejected",
        "ForcedOpen to Closed",
    ];
    assert_eq!(events.take(), expected);
    // Only what is forced is released.
    fail(&breaker);
    breaker.release();
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb11_reset_closes_with_nothing_counted_from_every_state() {
    let open = built(touchy());
    fail(&open);
    let forced = built(touchy());
    forced.force_open();
    let closed = built(touchy().trips([Trip::consecutive_failures(2)]));
    fail(&closed);
    let recovering = half_open(touchy().probes(1).ramp(SECOND, 0.5)).await;
    succeed(&recovering);
    for breaker in [
        open,
        forced,
        closed.clone(),
        recovering,
        half_open(touchy()).await,
    ] {
        breaker.reset();
        assert_eq!(breaker.state(), State::Closed);
        let counts = &breaker.snapshot().rules[0].counts;
        assert_eq!(
            (counts.calls, counts.failures, counts.consecutive),
            (0, 0, 0)
        );
        succeed(&breaker);
    }
    fail(&closed);
    assert_eq!(closed.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb11_switched_off_it_admits_all_and_records_nothing() {
    let breaker = built(touchy().mode(Mode::Off));
    let events = events_of(&breaker);
    for _ in 0..10 {
        fail(&breaker);
    }
    assert_eq!(
        (breaker.state(), breaker.mode()),
        (State::Closed, Mode::Off)
    );
    breaker.force_open();
    assert!(breaker.peek().is_ok());
    fail(&breaker);
    assert_eq!(events.take(), ["Closed to ForcedOpen"]);
    // It goes on from where it was.
    breaker.set_mode(Mode::Enforce);
    assert_eq!(kind(&breaker), RejectionKind::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn cx16_record_only_decides_and_emits_and_rejects_nothing() {
    let breaker = built(touchy().probes(1).mode(Mode::RecordOnly));
    let events = events_of(&breaker);
    fail(&breaker);
    assert_eq!(events.take(), ["Closed to Open", "Failure(Error)"]);
    // Open: a call that would have been rejected changes nothing.
    assert!(breaker.peek().is_ok());
    succeed(&breaker);
    fail(&breaker);
    assert_eq!(
        events.take(),
        ["WouldReject", "Success", "WouldReject", "Failure(Error)"]
    );
    assert_eq!(
        (breaker.state(), breaker.snapshot().would_reject),
        (State::Open, 2)
    );
    // Half-open: one is the probe.
    advance(SECOND).await;
    let probe = breaker.try_acquire().unwrap();
    fail(&breaker);
    assert_eq!(
        events.take(),
        ["Open to HalfOpen", "WouldReject", "Failure(Error)"]
    );
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
    breaker.force_open();
    fail(&breaker);
    assert_eq!(breaker.snapshot().would_reject, 4);
    assert_eq!(breaker.state(), State::ForcedOpen);
    // A call goes on as it began.
    let unseen = breaker.try_acquire().unwrap();
    breaker.reset();
    breaker.set_mode(Mode::Enforce);
    unseen.failure();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cx16_record_only_counts_the_rejections_of_a_ramp() {
    let rules = touchy().probes(1).ramp(SECOND, 0.5).jitter_seed(3);
    let breaker = half_open(rules.mode(Mode::RecordOnly)).await;
    succeed(&breaker);
    (0..1_000).for_each(|_| succeed(&breaker));
    let rejected = breaker.snapshot().would_reject;
    assert!((850..950).contains(&rejected), "{rejected}");
}

#[test]
fn cb11_transitions_are_emitted_in_order_and_one_at_a_time() {
    // CX14
    let breaker = built(touchy().open_for(constant(Duration::from_nanos(1))));
    let last = Arc::new(Mutex::new(State::Closed));
    let (inside, events) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let seen = (Arc::clone(&last), Arc::clone(&inside), Arc::clone(&events));
    let again = breaker.clone();
    breaker
        .on_event(move |event| {
            let EventKind::Transition(moved) = event.kind else {
                return;
            };
            let (last, inside, events) = &seen;
            assert!(!inside.swap(true, Ordering::SeqCst), "two at once");
            let from = std::mem::replace(&mut *last.lock(), moved.to);
            if from != moved.from {
                *last.lock() = State::ForcedOpen;
                inside.store(true, Ordering::SeqCst);
                panic!("{from:?}, then {moved:?}");
            }
            // A listener may use the breaker: this is events after it has returned.
            if events.fetch_add(1, Ordering::SeqCst) % 10 == 0 {
                again.reset();
            }
            inside.store(false, Ordering::SeqCst);
        })
        .forever();
    thread::scope(|scope| {
        for thread in 0..4 {
            let breaker = &breaker;
            scope.spawn(move || {
                for at in 0..500 {
                    match (at + thread) % 5 {
                        0 => breaker.force_open(),
                        1 => breaker.release(),
                        2 => breaker.reset(),
                        _ => drop(breaker.try_acquire().map(Permit::failure)),
                    }
                }
            });
        }
    });
    assert!(!inside.load(Ordering::SeqCst), "out of order");
    assert!(events.load(Ordering::SeqCst) > 500);
    breaker.reset();
    assert_eq!(*last.lock(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cx14_a_listener_sees_the_new_state_and_may_panic() {
    let breaker = built(touchy());
    let states = Arc::new(Mutex::new(Vec::new()));
    breaker.on_event(|_| panic!("a listener")).forever();
    let (list, reader) = (Arc::clone(&states), breaker.clone());
    let subscription = breaker.on_event(move |event| {
        if let EventKind::Transition(moved) = event.kind {
            list.lock().push((moved.to, reader.state()));
        }
    });
    fail(&breaker);
    breaker.reset();
    fail(&breaker);
    drop(subscription);
    breaker.reset();
    let seen = [State::Open, State::Closed, State::Open].map(|state| (state, state));
    assert_eq!(*states.lock(), seen);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb19_a_change_keeps_the_state_and_the_counts() {
    let rate = |rate| Trip::failure_rate(rate).over(Window::count(10));
    let breaker = built(CircuitBreaker::builder("changed").trip_on(rate(1.0)));
    for _ in 0..4 {
        succeed(&breaker);
        fail(&breaker);
    }
    breaker
        .change(|now| now.trips([rate(0.5)]).open_for(constant(SECOND)))
        .unwrap();
    assert_eq!(breaker.snapshot().rules[0].counts.calls, 8);
    succeed(&breaker);
    fail(&breaker);
    assert_eq!(breaker.state(), State::Open);
    breaker
        .change(|now| now.trips([Trip::consecutive_failures(9)]))
        .unwrap();
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().next_probe, Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn cb19_of_two_concurrent_changes_both_stay() {
    let breaker = built(touchy().probes(3).max_probe_time(SECOND));
    let config = || breaker.0.rules.load().config.clone();
    // The other change starts later and ends earlier, so the first one runs again.
    let other = |now: Builder| now.probes(7).retry_after_cap(ms(7)).fair_time(ms(5));
    let runs = Cell::new(0);
    let twice = |now: Builder| {
        runs.set(runs.get() + 1);
        if runs.get() == 1 {
            breaker.change(other).unwrap();
        }
        now.probes(4)
            .on_drop(OnDrop::Ignore)
            .open_for(constant(ms(9)))
    };
    breaker.change(twice).unwrap();
    assert_eq!(runs.get(), 2);
    let now = config();
    assert_eq!((now.retry_after_cap, now.fair_time), (ms(7), Some(ms(5))));
    assert_eq!(
        (now.on_drop, now.open_for),
        (OnDrop::Ignore, constant(ms(9)))
    );
    assert_eq!((now.probes, now.max_probe_time), (4, Some(SECOND)));
    assert_eq!(now.trips, [Trip::consecutive_failures(1)]);

    let before = config();
    let fewer = |now: Builder| {
        breaker.change(|now| now.probes(2)).unwrap();
        now.close_after(3)
    };
    assert!(breaker.change(fewer).is_err(), "more successes than probes");
    let after = config();
    assert_eq!((after.probes, after.close_after), (2, None));
    assert_eq!(
        Config {
            probes: before.probes,
            ..after
        },
        before
    );
}

#[tokio::test(start_paused = true)]
async fn cb19_a_success_is_counted_in_the_windows_of_the_latest_change() {
    let over = |secs| Trip::failure_rate(0.5).over(Window::time(SECOND * secs));
    let counts = |breaker: &CircuitBreaker| {
        let rules = breaker.snapshot().rules.into_iter();
        rules.map(|rule| rule.counts.calls).collect::<Vec<_>>()
    };
    let breaker = built(
        CircuitBreaker::builder("moved")
            .trip_on(over(10))
            .trip_on(over(20)),
    );
    succeed(&breaker);
    breaker.change(|now| now.probes(5)).unwrap();
    succeed(&breaker);
    assert_eq!(counts(&breaker), [2, 2]);
    // One of the two that it was made with, and another.
    breaker
        .change(|now| now.trips([over(20), over(30)]))
        .unwrap();
    succeed(&breaker);
    assert_eq!(counts(&breaker), [3, 1]);
    breaker.change(|now| now.trips([over(20)])).unwrap();
    succeed(&breaker);
    assert_eq!(counts(&breaker), [4]);
    breaker
        .change(|now| now.trips([over(20), over(10)]))
        .unwrap();
    succeed(&breaker);
    assert_eq!(counts(&breaker), [5, 1]);
}

#[tokio::test(start_paused = true)]
async fn cb3_a_success_is_counted_in_the_bucket_of_its_time() {
    // CB1
    let over = |secs| Trip::failure_rate(0.5).over(Window::time(SECOND * secs));
    let breaker = built(
        CircuitBreaker::builder("in time")
            .trip_on(over(10))
            .trip_on(over(3)),
    );
    let counts = || {
        let rules = breaker.snapshot().rules.into_iter();
        rules.map(|rule| rule.counts.calls).collect::<Vec<_>>()
    };
    // Over the ends of buckets of 1 s and of 300 ms.
    let mut came: Vec<u64> = Vec::new();
    for step in 0..400u64 {
        for _ in 0..10 {
            succeed(&breaker);
            came.push(time::now().0);
        }
        advance(ms(1 + step % 97)).await;
        let now = time::now().0;
        let within = |bucket: u64| {
            let number = |at: u64| at / (bucket * 1_000_000);
            came.iter()
                .filter(|at| number(now) - number(**at) < 10)
                .count() as u32
        };
        assert_eq!(counts(), [within(1_000), within(300)], "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn cb1_a_call_is_timed_if_only_a_window_needs_it() {
    let slow = Trip::slow_rate(0.5, ms(10))
        .over(Window::time(SECOND))
        .min_calls(3);
    let breaker = built(CircuitBreaker::builder("timed").trip_on(slow));
    let takes = |wait| {
        let breaker = breaker.clone();
        async move {
            let permit = breaker.try_acquire().unwrap();
            advance(wait).await;
            permit.success();
            breaker.snapshot().rules[0].counts.slow
        }
    };
    assert_eq!(takes(ms(10)).await, 0);
    assert_eq!(takes(ms(10) + Duration::from_nanos(1)).await, 1);
    let _ = takes(ms(11)).await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb19_a_bad_change_changes_nothing() {
    // CX19
    let breaker = built(touchy());
    let permit = breaker.try_acquire().unwrap();
    let before = breaker.snapshot();
    let bad = breaker.change(|now| now.probes(0).trips([Trip::failure_rate(2.0)]));
    assert_eq!(bad.unwrap_err().problems().len(), 2);
    assert_eq!(breaker.snapshot(), before);
    permit.failure();
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb19_a_success_ends_a_run_of_earlier_rules() {
    let window = Trip::failure_rate(1.0).over(Window::count(100));
    let breaker = built(CircuitBreaker::builder("changed").trip_on(window));
    let call = breaker.try_acquire().unwrap();
    breaker
        .change(|now| now.trips([Trip::consecutive_failures(2)]))
        .unwrap();
    for _ in 0..3 {
        fail(&breaker);
        succeed(&breaker);
    }
    fail(&breaker);
    call.success();
    fail(&breaker);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb11_what_tripped_it_has_the_text_of_the_last_failure() {
    let tripped_by = |breaker: &CircuitBreaker| breaker.snapshot().last_trip.unwrap().tripped;
    let breaker = built(touchy());
    let failed = || async { Err::<(), _>(std::io::Error::other("no route to the bank")) };
    breaker.run(failed).await.unwrap_err();
    let text = Some("no route to the bank".to_owned());
    assert_eq!(tripped_by(&breaker).error, text);
    // A permit knows no error.
    breaker.reset();
    fail(&breaker);
    assert_eq!(tripped_by(&breaker).error, None);
}

/// Case 50.
#[tokio::test(start_paused = true)]
async fn cb11_a_rate_that_no_rule_measures_is_absent() {
    let over = Window::count(2);
    let slow = Trip::slow_rate(1.0, SECOND).over(over);
    let custom = Trip::custom("never", |_| false).over(over);
    let breaker = built(touchy().trips([Trip::failure_rate(1.0).over(over), slow, custom]));
    succeed(&breaker);
    let rates = || {
        let rules = breaker.snapshot().rules.into_iter();
        rules
            .map(|rule| (rule.failure_rate, rule.slow_rate))
            .collect::<Vec<_>>()
    };
    assert_eq!(rates(), [(None, None); 3]);
    succeed(&breaker);
    let zero = Some(0.0);
    assert_eq!(rates(), [(zero, None), (zero, zero), (zero, None)]);
}

/// Case 7.
#[tokio::test(start_paused = true)]
async fn cb10_the_wait_of_any_backoff_is_half_to_all_of_its_whole_and_grows_up_to_its_own_cap() {
    let two = SECOND * 2;
    let growing = [2, 4, 8, 16, 16];
    let full = crate::Jitter::Full;
    for (backoff, wholes) in [
        (Backoff::exponential(two), growing),
        (Backoff::exponential(two).jitter(full), growing),
        (Backoff::linear(two), [2, 4, 6, 8, 10]),
        (Backoff::constant(two), [2; 5]),
        (Backoff::decorrelated(two), [6, 16, 16, 16, 16]),
        (Backoff::decorrelated(two).max(SECOND * 4), [4; 5]),
        (Backoff::exponential(two).max(SECOND * 3), [2, 3, 3, 3, 3]),
    ] {
        let mut first = Vec::new();
        for seed in 0..1_000 {
            let breaker = built(touchy().open_for(backoff).jitter_seed(seed));
            fail(&breaker);
            for (at, secs) in wholes.into_iter().enumerate() {
                let whole = SECOND * secs;
                let wait = breaker.snapshot().next_probe.unwrap();
                assert!(
                    wait >= whole / 2 && wait <= whole,
                    "{backoff:?} {at} {wait:?}"
                );
                if at == 0 {
                    first.push(wait);
                }
                if seed >= 10 {
                    break;
                }
                advance(wait + Duration::from_nanos(1)).await;
                fail(&breaker);
            }
        }
        first.sort();
        first.dedup();
        assert!(first.len() > 900, "{backoff:?}: {}", first.len());
    }
}

#[test]
fn cx15_all_problems_are_listed_at_once() {
    let secs = Duration::from_secs;
    let built = CircuitBreaker::builder("wrong")
        .trip_on(Trip::consecutive_failures(0).min_calls(3))
        .trip_on(
            Trip::consecutive_failures(4_096)
                .lasting(secs(9))
                .within(secs(3)),
        )
        .trip_on(Trip::consecutive_failures(1).lasting(secs(400 * 86_400)))
        .trip_on(Trip::failures(0).lasting(secs(1)).within(Duration::ZERO))
        .trip_on(Trip::failure_rate(f64::NAN).over(Window::count(0)))
        .trip_on(Trip::failure_rate(1.5).over(Window::count(5)).min_calls(6))
        .trip_on(Trip::slow_rate(0.0, secs(1)).over(Window::time(secs(1)).buckets(0)))
        .trip_on(
            Trip::slow_rate(0.5, secs(1))
                .over(Window::time(ms(9)))
                .within(secs(1)),
        )
        .trip_on(Trip::failure_rate(1.0).confidence_z(3.1))
        .trip_on(Trip::failures(3).confidence_z(0.0))
        .open_for(Backoff::exponential(Duration::ZERO).factor(f64::NAN))
        .probes(256)
        .close_after(257)
        .max_probe_time(Duration::ZERO)
        .ramp(Duration::ZERO, -0.5)
        .build();
    let error = built.unwrap_err();
    assert_eq!(error.policy().as_str(), "wrong");
    let problems: Vec<_> = (error.problems().iter())
        .map(|problem| (problem.field.as_str(), problem.value.as_str()))
        .collect();
    assert_eq!(
        problems,
        [
            ("consecutive failures", "0"),
            ("min_calls", "3"),
            ("consecutive failures", "4096"),
            ("within", "3s"),
            ("lasting", "34560000s"),
            ("failures", "0"),
            ("lasting", "1s"),
            ("within", "0ns"),
            ("failure rate", "NaN"),
            ("window", "0"),
            ("min_calls", "0"),
            ("failure rate", "1.5"),
            ("min_calls", "6"),
            ("slow rate", "0.0"),
            ("window buckets", "0"),
            ("window", "9ms"),
            ("within", "1s"),
            ("confidence_z", "3.1"),
            ("confidence_z", "0.0"),
            ("confidence_z", "0.0"),
            ("open_for", "0ns"),
            ("open_for", "NaN"),
            ("probes", "256"),
            ("close_after", "257"),
            ("max_probe_time", "0ns"),
            ("ramp", "0ns"),
            ("ramp_threshold", "-0.5"),
        ]
    );
    assert!(
        error
            .problems()
            .iter()
            .all(|problem| !problem.allowed.is_empty())
    );
    let none = CircuitBreaker::builder("none")
        .trips([])
        .build()
        .unwrap_err();
    assert_eq!(none.problems()[0].field, "trip_on");
}

#[tokio::test(start_paused = true)]
async fn cx18_two_of_one_name_stay_two() {
    let (one, other) = (built(touchy()), built(touchy()));
    fail(&one);
    assert_eq!((one.state(), other.state()), (State::Open, State::Closed));
    assert_eq!((one.name(), one.name().as_str()), (other.name(), "touchy"));
    let rejection = one.try_acquire().unwrap_err();
    assert_eq!(rejection.policy(), one.name());
    // A clone is the same.
    let same = other.clone();
    same.force_open();
    assert_eq!(other.state(), State::ForcedOpen);
}

#[test]
fn cx11_a_breaker_is_made_and_used_outside_a_runtime() {
    let breaker = CircuitBreaker::new("outside");
    succeed(&breaker);
    fail(&breaker);
    breaker.force_open();
    assert_eq!(kind(&breaker), RejectionKind::CircuitOpen);
}

// CB9
#[test]
fn cb9_a_breaker_that_is_open_for_ever_has_no_retry_after() {
    let breaker = CircuitBreaker::builder("b")
        .trip_on(Trip::consecutive_failures(1))
        .open_for(constant(Duration::MAX))
        .build()
        .unwrap();
    breaker.try_acquire().unwrap().failure();
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), None);
    assert_eq!(breaker.peek().unwrap_err().retry_after(), None);
    assert_eq!(breaker.snapshot().next_probe, None);
}
