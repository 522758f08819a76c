//! Half-open, and what comes late.

use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::counters::Totals;

/// The snapshot without the totals, which count every call.
fn decided(breaker: &CircuitBreaker) -> Snapshot {
    Snapshot {
        totals: Totals::default(),
        ..breaker.snapshot()
    }
}

#[tokio::test(start_paused = true)]
async fn cb5_late_outcomes_change_nothing_in_any_order() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        for depth in 0..4 {
            let breaker = built(touchy().probes(1));
            let mut late: Vec<_> = (0..3).map(|_| breaker.try_acquire().ok()).collect();
            fail(&breaker);
            // Left open, half-open, closed, and in the middle of a new count.
            if depth > 0 {
                advance(SECOND).await;
                late[2] = breaker.try_acquire().ok();
            }
            if depth > 1 {
                breaker.reset();
            }
            if depth > 2 {
                succeed(&breaker);
            }
            let before = decided(&breaker);
            let moves = match depth {
                1 => order.iter().take_while(|at| **at != 2).count(),
                _ => 3,
            };
            for at in &order[..moves] {
                let permit = late[*at].take().unwrap();
                match at {
                    0 => permit.success(),
                    1 => permit.failure(),
                    _ => permit.failure_with(FailureKind::Throttled, Some(SECOND)),
                }
                assert_eq!(decided(&breaker), before, "{order:?} {depth}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cb5_an_outcome_that_is_late_by_any_number_of_generations_changes_nothing() {
    // The word of a streak has twelve bits of the generation, that of a failure sixteen.
    for generations in [1, 2_047, 2_048, 3_000, 4_096, 65_536] {
        let rules = [Trip::consecutive_failures(2), Trip::failures(2)];
        let breaker = built(touchy().trips(rules));
        let late: Vec<_> = (0..3).map(|_| breaker.try_acquire().unwrap()).collect();
        (0..generations).for_each(|_| breaker.reset());
        fail(&breaker);
        let before = decided(&breaker);
        late.into_iter().for_each(Permit::failure);
        assert_eq!(decided(&breaker), before, "{generations}");
    }
}

#[test]
fn cb6_threads_never_have_more_probes_in_flight_than_configured() {
    let breaker = built(
        touchy()
            .open_for(constant(Duration::from_nanos(1)))
            .probes(3),
    );
    fail(&breaker);
    while let Err(rejection) = breaker.try_acquire().map(Permit::ignore) {
        assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
    }
    let (out, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    if let Ok(permit) = breaker.try_acquire() {
                        most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        out.fetch_sub(1, Ordering::SeqCst);
                        permit.ignore();
                    }
                }
            });
        }
    });
    let most = most.load(Ordering::SeqCst);
    assert!((1..=3).contains(&most), "{most}");
    let probes = breaker.snapshot().probes.unwrap();
    assert_eq!(
        (probes.in_flight, probes.succeeded, probes.failed),
        (0, 0, 0)
    );
}

#[test]
fn cb3_with_threads_no_completed_outcome_is_lost() {
    let breaker = built(
        CircuitBreaker::builder("counting")
            .trip_on(Trip::failure_rate(1.0).over(Window::count(100_000)))
            .trip_on(Trip::failure_rate(1.0).over(Window::time(SECOND * 1_000))),
    );
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for at in 0..5_000 {
                    match at % 2 {
                        0 => succeed(&breaker),
                        _ => fail(&breaker),
                    }
                }
            });
        }
    });
    for rule in breaker.snapshot().rules {
        assert_eq!((rule.counts.calls, rule.counts.failures), (20_000, 10_000));
    }
}

#[tokio::test(start_paused = true)]
async fn cb7_a_probe_that_is_dropped_or_rejected_below_frees_its_permit_and_closes_nothing() {
    let breaker = half_open(touchy().probes(1)).await;
    for _ in 0..100 {
        let probe = breaker.try_acquire().unwrap();
        assert_eq!(kind(&breaker), RejectionKind::HalfOpenFull);
        drop(probe);
        let rejected_below = || async {
            let rejection = Rejection::new(RejectionKind::RateLimited, "below");
            Err::<(), Box<dyn std::error::Error + Send + Sync>>(rejection.into())
        };
        assert!(breaker.run(rejected_below).await.is_err());
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb7_a_hung_probe_is_given_up_after_max_probe_time() {
    for (builder, most) in [
        (touchy(), SECOND * 30),
        (touchy().max_probe_time(SECOND), SECOND),
    ] {
        let breaker = half_open(builder).await;
        let events = events_of(&breaker);
        let hung = breaker.try_acquire().unwrap();
        // CB9: it says when.
        assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(most));
        advance(most - ms(1)).await;
        assert_eq!(kind(&breaker), RejectionKind::HalfOpenFull);
        assert_eq!(events.take(), ["Rejected", "Rejected"]);
        advance(ms(1)).await;
        // CB11: reading changes nothing.
        assert_eq!(
            breaker.peek().unwrap_err().kind(),
            RejectionKind::CircuitOpen
        );
        assert_eq!((events.take(), breaker.state()), (vec![], State::HalfOpen));
        let rejection = breaker.try_acquire().unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
        assert_eq!(rejection.retry_after(), Some(SECOND));
        assert_eq!(events.take(), ["HalfOpen to Open", "Rejected"]);
        hung.success();
        assert_eq!(breaker.state(), State::Open);
        advance(SECOND).await;
        succeed(&breaker);
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn cb7_a_changed_max_probe_time_applies_to_a_probe_in_flight() {
    let breaker = half_open(touchy()).await;
    let _hung = breaker.try_acquire().unwrap();
    advance(SECOND * 5).await;
    breaker
        .change(|now| now.max_probe_time(SECOND * 5))
        .unwrap();
    assert_eq!(kind(&breaker), RejectionKind::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn cb7_a_change_to_fewer_probes_does_not_wedge_the_half_open_state() {
    // CB19
    let breaker = half_open(touchy().probes(5).close_after(3)).await;
    fail(&breaker);
    fail(&breaker);
    breaker
        .change(|rules| rules.probes(2).close_after(1))
        .unwrap();
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(
        breaker.peek().unwrap_err().kind(),
        RejectionKind::CircuitOpen
    );
    assert_eq!(kind(&breaker), RejectionKind::CircuitOpen);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb16_with_a_ramp_the_admitted_share_grows() {
    let breaker = half_open(touchy().probes(1).ramp(SECOND * 10, 0.5).jitter_seed(1)).await;
    succeed(&breaker);
    assert_eq!(breaker.state(), State::Recovering);
    for tenth in 0..10 {
        let admitted = (0..1_000)
            .filter(|_| breaker.try_acquire().map(Permit::success).is_ok())
            .count();
        let share = 100 + 90 * tenth;
        assert!(admitted.abs_diff(share) < 50, "{admitted} of {share}");
        advance(SECOND).await;
    }
    // CB11: it reads closed, and only a call makes the transition.
    assert_eq!(breaker.state(), State::Closed);
    let events = events_of(&breaker);
    succeed(&breaker);
    assert_eq!(events.take()[0], "Recovering to Closed");
}

#[tokio::test(start_paused = true)]
async fn cb16_failures_in_the_ramp_open_it_again() {
    let rules = CircuitBreaker::builder("ramped")
        .trip_on(Trip::failures(1_000))
        .open_for(constant(SECOND))
        .probes(1)
        .ramp(SECOND, 0.2);
    let breaker = half_open_by_hand(rules).await;
    succeed(&breaker);
    advance(ms(999)).await;
    let mut calls = 0;
    while breaker.state() == State::Recovering {
        if let Ok(permit) = breaker.try_acquire() {
            calls += 1;
            match calls % 3 {
                0 => permit.failure(),
                _ => permit.success(),
            }
        }
    }
    // Evaluated from ten calls on, at the next failure: four of twelve.
    assert_eq!((breaker.state(), calls), (State::Open, 12));
}

/// Half-open without a rule that a single failure trips.
async fn half_open_by_hand(builder: Builder) -> CircuitBreaker {
    let breaker = built(builder);
    breaker
        .change(|rules| rules.trip_on(Trip::consecutive_failures(1)))
        .unwrap();
    fail(&breaker);
    breaker
        .change(|rules| rules.trips([Trip::failures(1_000)]))
        .unwrap();
    advance(SECOND).await;
    breaker
}

#[tokio::test(start_paused = true)]
async fn cb10_a_failure_that_forbids_a_retry_counts_and_extends_no_wait() {
    let wait = Backoff::constant(SECOND).jitter(crate::Jitter::None);
    let breaker = built(touchy().open_for(wait));
    let permit = breaker.try_acquire().unwrap();
    permit.failure_with(FailureKind::Response, Some(Duration::MAX));
    assert_eq!(
        breaker.try_acquire().unwrap_err().retry_after(),
        Some(SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn cb10_the_wait_grows_and_resets_on_close() {
    let wait = Backoff::exponential(SECOND)
        .max(SECOND * 5)
        .jitter(crate::Jitter::None);
    let breaker = built(touchy().probes(1).open_for(wait));
    fail(&breaker);
    for secs in [1, 2, 4, 5, 5] {
        let wait = SECOND * secs;
        assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(wait));
        advance(wait).await;
        fail(&breaker);
    }
    advance(SECOND * 5).await;
    succeed(&breaker);
    fail(&breaker);
    assert_eq!(
        breaker.try_acquire().unwrap_err().retry_after(),
        Some(SECOND)
    );
}
