//! How calls end, and what that says.

use super::*;

/// One poll of a call that hangs.
async fn poll_once(future: impl Future<Output = Result<(), Error<&'static str>>>) {
    tokio::select! {
        biased;
        _ = future => unreachable!("it hangs"),
        () = std::future::ready(()) => {}
    }
}

fn hang(breaker: &CircuitBreaker) -> impl Future<Output = Result<(), Error<&'static str>>> {
    breaker.run(pending::<Result<(), &str>>)
}

#[tokio::test(start_paused = true)]
async fn cb8_a_hundred_outer_timeouts_against_a_hung_backend_trip_it() {
    let breaker = CircuitBreaker::new("hung");
    let timeout = Timeout::new(ms(50));
    for _ in 0..100 {
        let outcome = timeout.run(|| hang(&breaker)).await;
        assert!(outcome.is_err());
    }
    let last_trip = breaker.snapshot().last_trip.expect("it tripped");
    assert_eq!(last_trip.tripped.kind, FailureKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn cb8_a_plain_drop_is_ignored() {
    let breaker = built(touchy());
    let events = events_of(&breaker);
    for _ in 0..100 {
        poll_once(hang(&breaker)).await;
        drop(breaker.try_acquire().unwrap());
        // With time left.
        Deadline::after(SECOND).enter(|| drop(breaker.try_acquire().unwrap()));
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(events.take(), ["Dropped"; 300]);
}

#[tokio::test(start_paused = true)]
async fn cb8_a_drop_at_the_deadline_is_a_failure_and_one_before_is_not() {
    for (passed, expected) in [(ms(49), State::Closed), (ms(50), State::Open)] {
        let breaker = built(touchy());
        let deadline = Deadline::after(ms(50));
        let permit = deadline.enter(|| breaker.try_acquire().unwrap());
        advance(passed).await;
        drop(permit);
        assert_eq!(breaker.state(), expected, "{passed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cb8_the_outcome_of_a_drop_is_configurable() {
    for (on_drop, overdue, expected) in [
        (OnDrop::Failure, false, State::Open),
        (OnDrop::Ignore, true, State::Closed),
    ] {
        let breaker = built(touchy().on_drop(on_drop));
        let permit = Deadline::after(ms(50)).enter(|| breaker.try_acquire().unwrap());
        advance(ms(if overdue { 60 } else { 1 })).await;
        drop(permit);
        assert_eq!(breaker.state(), expected);
    }
}

/// Drops as a hedge does whose delay is 20 ms, after this time.
async fn drop_overtaken(breaker: &CircuitBreaker, after: Duration) {
    let permit = breaker.try_acquire().unwrap();
    advance(after).await;
    let _overtaken = crate::context::Overtaken::after(ms(20));
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn cb8_a_call_that_a_hedge_drops_as_late_is_a_failure_by_slowness() {
    for (on_drop, expected) in [
        (OnDrop::IfLate, State::Open),
        (OnDrop::ByDeadline, State::Closed),
        (OnDrop::Ignore, State::Closed),
    ] {
        let breaker = built(touchy().on_drop(on_drop));
        drop_overtaken(&breaker, ms(20)).await;
        assert_eq!(breaker.state(), expected, "{on_drop:?}");
        if expected == State::Open {
            let tripped = breaker.snapshot().last_trip.unwrap().tripped;
            assert_eq!(tripped.kind, FailureKind::Slow);
        }
    }
    // Where calls are timed, a call is late by its own time: a retry under the hedge started it.
    let breaker = built(touchy());
    let _events = events_of(&breaker);
    drop_overtaken(&breaker, ms(19)).await;
    assert_eq!(breaker.state(), State::Closed);
    drop_overtaken(&breaker, ms(20)).await;
    assert_eq!(breaker.state(), State::Open);
    // A probe too.
    advance(SECOND).await;
    drop_overtaken(&breaker, ms(20)).await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb8_a_call_that_a_hedge_drops_as_late_is_slow_to_a_slow_rule() {
    let slow = Trip::slow_rate(1.0, SECOND)
        .over(Window::count(5))
        .min_calls(5);
    let breaker = built(touchy().trips([slow]));
    for _ in 0..5 {
        assert_eq!(breaker.state(), State::Closed);
        drop_overtaken(&breaker, ms(20)).await;
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb8_a_completed_outcome_is_not_lost_at_the_deadline() {
    let breaker = built(touchy());
    let answer = Deadline::after(ms(50))
        .scope(breaker.run(|| async {
            tokio::time::sleep(ms(60)).await;
            Ok::<_, &str>(7)
        }))
        .await;
    assert_eq!(answer.unwrap(), 7);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb14_a_caller_with_little_time_left_trips_nothing() {
    for (left, expected) in [(ms(99), State::Closed), (ms(100), State::Open)] {
        let by_drop = built(touchy().fair_time(ms(100)));
        let by_error = by_drop.clone();
        let timeout = Timeout::new(left);
        let _ = timeout.run(|| hang(&by_drop)).await;
        assert_eq!(by_drop.state(), expected, "{left:?}");
        by_error.reset();
        // An attempt's own timeout inside, at the deadline.
        let inner = Timeout::new(SECOND);
        let attempt = || inner.run(pending::<Result<(), &str>>);
        let _ = Deadline::after(left).scope(by_error.run(attempt)).await;
        assert_eq!(by_error.state(), expected, "{left:?}");
        // Its own errors count, however little time it had.
        by_error.reset();
        Deadline::after(ms(1)).enter(|| fail(&by_error));
        assert_eq!(by_error.state(), State::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn cb13_the_permit_settles_and_times_the_call() {
    let slow = Trip::slow_rate(1.0, ms(10)).over(Window::count(1));
    let breaker = built(CircuitBreaker::builder("two steps").trip_on(slow));
    let permit = breaker.try_acquire().unwrap();
    advance(ms(10)).await;
    permit.success();
    assert_eq!(breaker.state(), State::Closed);
    let permit = breaker.try_acquire_owned().unwrap();
    advance(ms(11)).await;
    permit.success();
    let tripped = breaker.snapshot().last_trip.unwrap().tripped;
    assert_eq!((tripped.kind, tripped.counts.slow), (FailureKind::Slow, 1));
}

#[tokio::test(start_paused = true)]
async fn cb13_a_question_mark_before_the_permit_is_settled_is_an_ignore() {
    fn call(breaker: &CircuitBreaker) -> Result<(), Box<dyn std::error::Error>> {
        let permit = breaker.try_acquire()?;
        let _: u32 = "no number".parse()?;
        permit.success();
        Ok(())
    }
    let breaker = built(touchy());
    let events = events_of(&breaker);
    assert!(call(&breaker).is_err());
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(events.take(), ["Dropped"]);
}

#[tokio::test(start_paused = true)]
async fn rn1_run_returns_the_outcome_of_the_call_or_the_rejection() {
    let breaker = built(touchy());
    let answer = breaker.run(|| async { Ok::<_, &str>(42) }).await;
    assert_eq!(answer, Ok(42));
    // RN2
    let answer = breaker.run(|| async { Err::<u32, _>("broken") }).await;
    assert_eq!(answer, Err(Error::Service("broken")));
    let answer = breaker.run(|| async { Ok::<_, &str>(42) }).await;
    // CX18
    let rejection = answer.unwrap_err().rejection().cloned().unwrap();
    assert_eq!(
        (rejection.kind(), rejection.policy().as_str()),
        (RejectionKind::CircuitOpen, "touchy")
    );
}

#[tokio::test(start_paused = true)]
async fn rn2_a_question_mark_inside_the_closure_is_a_failure() {
    let breaker = built(touchy());
    let answer = breaker
        .run(|| async {
            let number: u32 = "no number".parse()?;
            Ok::<_, std::num::ParseIntError>(number)
        })
        .await;
    assert!(answer.is_err());
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn rn3_the_blocking_twin_needs_no_runtime() {
    let breaker = built(touchy());
    assert_eq!(breaker.run_blocking(|| Ok::<_, &str>(42)), Ok(42));
    let answer = breaker.run_blocking(|| Err::<u32, _>("broken"));
    assert_eq!(answer, Err(Error::Service("broken")));
    let answer = breaker.run_blocking(|| -> Result<u32, &str> { unreachable!() });
    assert_eq!(
        answer.unwrap_err().rejection().unwrap().kind(),
        RejectionKind::CircuitOpen
    );
    // CX8
    breaker.reset();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        breaker.run_blocking(|| -> Result<u32, &str> { panic!("in the call") })
    }));
    assert!(panicked.is_err());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cx8_a_panic_in_call_or_poll_is_a_failure_and_releases_the_permit() {
    use futures_catch::catch;
    for in_poll in [false, true] {
        let breaker = half_open(touchy()).await;
        let events = events_of(&breaker);
        let call = breaker.run(|| {
            assert!(in_poll, "in the call");
            async { panic!("in the poll") as Result<(), &str> }
        });
        assert!(catch(call).await.is_err());
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(events.take(), ["HalfOpen to Open", "Panicked"]);
        let last_trip = breaker.snapshot();
        assert_eq!(last_trip.probes, None);
    }
}

mod futures_catch {
    use super::*;

    /// Panics of `future`, caught in its polls.
    pub(super) async fn catch<F: Future>(future: F) -> std::thread::Result<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => std::task::Poll::Ready(Err(panic)),
            }
        })
        .await
    }
}

#[test]
fn cx8_a_permit_dropped_by_another_panic_is_a_drop() {
    // CX14: and a listener that panics meanwhile does not abort.
    let breaker = built(touchy());
    let events = events_of(&breaker);
    breaker.on_event(|_| panic!("a listener")).forever();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _permit = breaker.try_acquire().unwrap();
        panic!("of the caller's");
    }));
    assert!(panicked.is_err());
    assert_eq!(events.take(), ["Dropped"]);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cx14_every_admission_has_one_terminal_event() {
    let own = |why| Outcome::Failure {
        kind: why,
        retry_after: None,
    };
    for (finish, ending) in [
        (Some(Outcome::Success), Ending::Success),
        (
            Some(own(FailureKind::Timeout)),
            Ending::Failure(FailureKind::Timeout),
        ),
        (Some(Outcome::Ignore), Ending::Ignored),
        (None, Ending::Dropped),
    ] {
        for probe in [false, true] {
            let breaker = match probe {
                true => half_open(touchy()).await,
                false => built(touchy()),
            };
            let events = events_of(&breaker);
            let permit = breaker.try_acquire().unwrap();
            assert_eq!(events.take(), [""; 0]);
            match finish {
                Some(outcome) => permit.finish(outcome),
                None => drop(permit),
            }
            let mut ends = events.take();
            ends.retain(|words| !words.contains(" to "));
            assert_eq!(ends, [format!("{ending:?}")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cx14_a_rejection_is_one_terminal_event() {
    let breaker = built(touchy());
    fail(&breaker);
    let events = events_of(&breaker);
    let _ = kind(&breaker);
    assert_eq!(events.take(), ["Rejected"]);
    let _ = breaker.run(|| async { Ok::<_, &str>(()) }).await;
    assert_eq!(events.take(), ["Rejected"]);
    assert!(breaker.peek().is_err());
    assert_eq!(events.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn cb13_allow_decides_as_try_acquire_does() {
    // CB9
    let breaker = built(touchy().probes(1));
    breaker.allow().expect("it is closed").failure();
    assert!(breaker.allow().is_none());
    advance(SECOND - Duration::from_nanos(1)).await;
    assert!(breaker.allow().is_none());
    advance(Duration::from_nanos(1)).await;
    let probe = breaker.allow().expect("its wait is over");
    assert!(breaker.allow().is_none(), "the probe is in flight");
    probe.success();
    assert_eq!(breaker.state(), State::Closed);

    breaker.force_open();
    assert!(breaker.allow().is_none());
    breaker.set_mode(Mode::RecordOnly);
    breaker.allow().expect("it rejects nothing").ignore();
    assert_eq!(breaker.snapshot().would_reject, 1);
    breaker.set_mode(Mode::Off);
    breaker.allow().expect("it is off").failure();
}

#[tokio::test(start_paused = true)]
async fn cx14_a_listener_receives_the_rejections_of_allow() {
    let breaker = built(touchy());
    fail(&breaker);
    let events = events_of(&breaker);
    assert!(breaker.allow().is_none());
    assert_eq!(events.take(), ["Rejected"]);
    breaker.force_open();
    assert_eq!(events.take(), ["Open to ForcedOpen"]);
    assert!(breaker.allow().is_none());
    assert_eq!(events.take(), ["Rejected"]);
}

#[tokio::test(start_paused = true)]
async fn cx14_a_call_ends_by_the_mode_it_started_in() {
    // CX19
    let breaker = built(touchy());
    let events = events_of(&breaker);
    let on = breaker.try_acquire().unwrap();
    breaker.set_mode(Mode::Off);
    let off = breaker.try_acquire().unwrap();
    on.success();
    assert_eq!(events.take(), ["Success"]);
    breaker.set_mode(Mode::Enforce);
    off.failure();
    assert_eq!(events.take(), [""; 0]);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cx7_ten_thousand_random_drops_leave_no_permit() {
    let breaker = half_open(touchy().probes(5)).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut calls = Vec::new();
    for _ in 0..10_000 {
        let mut call = Box::pin(hang(&breaker));
        if rng.bool() {
            let polled = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(call.as_mut().poll(cx).is_ready())
            });
            let rejected = polled.await;
            let in_flight = breaker.snapshot().probes.unwrap().in_flight;
            assert!(in_flight <= 5);
            if !rejected {
                calls.push(call);
            }
        }
        if !calls.is_empty() && rng.u8(..3) > 0 {
            drop(calls.swap_remove(rng.usize(..calls.len())));
        }
    }
    calls.clear();
    let probes = breaker.snapshot().probes.unwrap();
    assert_eq!(
        (probes.in_flight, probes.succeeded, probes.failed),
        (0, 0, 0)
    );
}

#[test]
fn cb1_failures_that_end_together_are_counted_once_each() {
    const THREADS: usize = 8;
    // Ten seconds in use, an hour here: a busy machine takes its time for the 1,000 bursts.
    let many = Trip::failures(10_000).within(SECOND * 3_600);
    let breaker = built(CircuitBreaker::builder("many").trip_on(many));
    let together = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    together.wait();
                    // One that opens rejects the others, which must not stop them here.
                    if let Ok(permit) = breaker.try_acquire() {
                        permit.failure();
                    }
                }
            });
        }
    });
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.last_trip, None);
    let counts = snapshot.rules[0].counts;
    assert_eq!(counts.failures, 8_000);
    // The rest opens it, neither earlier nor later.
    for at in 8_001..10_000 {
        fail(&breaker);
        assert_eq!(breaker.state(), State::Closed, "{at}");
    }
    fail(&breaker);
    let tripped = breaker.snapshot().last_trip.unwrap().tripped;
    assert_eq!(tripped.counts.failures, 10_000);
}

#[test]
fn cb1_a_custom_rule_alone_opens_at_the_sixth_failure_in_a_row() {
    let row = Trip::custom("row", |counts| counts.consecutive > 5).min_calls(1);
    let breaker = built(CircuitBreaker::builder("row").trip_on(row));
    let fail_to = |most: u32| {
        for consecutive in 1..=most {
            fail(&breaker);
            // CB11
            let counts = breaker.snapshot().rules[0].counts;
            assert_eq!(counts.consecutive, consecutive);
        }
    };
    fail_to(5);
    succeed(&breaker);
    fail_to(5);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker);
    assert_eq!(breaker.state(), State::Open);
    let tripped = breaker.snapshot().last_trip.unwrap().tripped;
    assert_eq!(tripped.counts.consecutive, 6);
}

#[tokio::test(start_paused = true)]
async fn cb1_three_failures_within_a_minute_trip_in_a_run_of_any_age() {
    let three = Trip::consecutive_failures(3).within(SECOND * 60);
    let breaker = built(CircuitBreaker::builder("three").trip_on(three));
    for (pause, state) in [
        (0, State::Closed),
        (50, State::Closed),
        (11, State::Closed),
        (4, State::Open),
    ] {
        advance(SECOND * pause).await;
        fail(&breaker);
        assert_eq!(breaker.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn cb10_the_open_wait_is_half_to_whole_with_any_jitter() {
    // Backoffs have full jitter if not set.
    let waits = [
        Backoff::constant(SECOND),
        Backoff::exponential(SECOND).max(SECOND * 4),
        Backoff::linear(SECOND).jitter(crate::Jitter::Full),
        Backoff::constant(SECOND).jitter(crate::Jitter::None),
    ];
    for wait in waits {
        for seed in 0..200 {
            let breaker = built(touchy().open_for(wait).jitter_seed(seed));
            fail(&breaker);
            let first = breaker.snapshot().next_probe.unwrap();
            assert!((SECOND / 2..=SECOND).contains(&first), "{first:?}");
        }
    }
}
