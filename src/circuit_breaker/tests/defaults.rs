//! The defaults table.

use super::*;

#[tokio::test(start_paused = true)]
async fn cb1_by_default_five_in_a_row_within_less_than_a_second_do_not_trip() {
    let breaker = CircuitBreaker::new("default");
    for _ in 0..19 {
        fail(&breaker);
        advance(ms(50)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
    // 19 x 50 ms, and on to a second.
    advance(ms(50)).await;
    fail(&breaker);
    let last_trip = breaker.snapshot().last_trip.unwrap().tripped;
    assert!(
        last_trip.rule.starts_with("5 consecutive failures"),
        "{}",
        last_trip.rule
    );
}

#[tokio::test(start_paused = true)]
async fn cb1_by_default_five_in_a_row_that_last_longer_than_a_minute_do_not_trip() {
    let breaker = CircuitBreaker::new("default");
    for _ in 0..40 {
        fail(&breaker);
        advance(ms(16_000)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb1_by_default_a_rate_that_is_surely_above_ninety_percent_trips() {
    // After this number of successes, this number of failures trips it.
    for (successes, failures) in [(0, 87), (1, 105), (5, 167)] {
        let breaker = CircuitBreaker::new("default");
        (0..successes).for_each(|_| succeed(&breaker));
        (1..failures).for_each(|_| fail(&breaker));
        assert_eq!(breaker.state(), State::Closed, "{failures}");
        fail(&breaker);
        let tripped = breaker.snapshot().last_trip.unwrap().tripped;
        let rule = "failure rate of 0.9 over 10s with confidence (z = 3.1)";
        assert_eq!(tripped.rule, rule);
        let calls = successes + failures;
        assert_eq!(
            (tripped.counts.calls, tripped.counts.failures),
            (calls, failures)
        );
    }
}

/// Nine of ten calls fail, 200 a second, for 30 s.
#[tokio::test(start_paused = true)]
async fn cb1_by_default_a_rate_of_ninety_percent_trips_by_no_chance() {
    let mut trips = 0;
    for seed in 0..20 {
        let breaker = CircuitBreaker::new("default");
        breaker
            .change(|now| now.trips([Trip::failure_rate(0.9).confidence_z(3.1)]))
            .unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..6_000 {
            match rng.u8(..10) {
                0..9 => breaker.allow().map_or((), Permit::failure),
                _ => breaker.allow().map_or((), Permit::success),
            }
            advance(ms(5)).await;
        }
        trips += u32::from(breaker.snapshot().last_trip.is_some());
    }
    assert!(trips <= 2, "{trips} of 20");
}

/// A partial outage is not made a full one.
#[tokio::test(start_paused = true)]
async fn cb1_by_default_seventy_percent_of_errors_never_trip() {
    let breaker = CircuitBreaker::new("default");
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        match rng.u8(..10) {
            0..7 => fail(&breaker),
            _ => succeed(&breaker),
        }
        advance(ms(5)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb1_by_default_ten_percent_of_errors_never_trip_and_an_outage_does_in_a_second() {
    let breaker = CircuitBreaker::new("default");
    let mut rng = fastrand::Rng::with_seed(1);
    // Three minutes of 10,000 calls a second.
    for _ in 0..180_000 {
        for _ in 0..10 {
            let permit = breaker.try_acquire().unwrap();
            if rng.u8(..10) == 0 {
                permit.failure();
            } else {
                permit.success();
            }
        }
        advance(ms(1)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
    let start = time::now();
    while let Ok(permit) = breaker.try_acquire() {
        permit.failure();
        advance(Duration::from_micros(100)).await;
    }
    let took = time::now().since(start);
    // A run is timed by whole milliseconds of the clock, which began anywhere between two.
    assert!((ms(999)..=ms(1_200)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn cb10_by_default_open_lasts_250_ms_doubling_to_a_second_with_equal_jitter() {
    let mut first = Vec::new();
    for _ in 0..50 {
        let breaker = CircuitBreaker::builder("default")
            .trip_on(Trip::consecutive_failures(1))
            .build()
            .unwrap();
        fail(&breaker);
        for most in [250, 500, 1_000, 1_000] {
            let wait = breaker.snapshot().next_probe.unwrap();
            assert!((ms(most / 2)..=ms(most)).contains(&wait), "{wait:?}");
            if most == 250 {
                first.push(wait);
            }
            advance(wait).await;
            fail(&breaker);
        }
    }
    first.sort();
    first.dedup();
    assert!(first.len() > 40, "they differ");
}

#[tokio::test(start_paused = true)]
async fn cb6_by_default_one_probe_closes_and_half_open_does_not_end_by_itself() {
    let breaker = half_open(touchy()).await;
    advance(SECOND * 86_400).await;
    assert_eq!(breaker.snapshot().state, State::HalfOpen);
    let probe = breaker.try_acquire().unwrap();
    assert_eq!(kind(&breaker), RejectionKind::HalfOpenFull);
    advance(SECOND * 29).await;
    assert_eq!(kind(&breaker), RejectionKind::HalfOpenFull);
    // The slow rule and the ramp are off.
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
}

/// Open after an outage of a minute with a call every 5 ms.
async fn after_an_outage(breaker: &CircuitBreaker) {
    for _ in 0..12_000 {
        if let Ok(permit) = breaker.try_acquire() {
            permit.failure();
        }
        advance(ms(5)).await;
    }
    assert_ne!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb7_a_healthy_host_is_closed_after_three_polls_however_rare_they_are() {
    for every in [5, 12, 30, 55, 600] {
        let rules = |probes| CircuitBreaker::builder("default").probes(probes);
        for breaker in [CircuitBreaker::new("default"), built(rules(3))] {
            after_an_outage(&breaker).await;
            for poll in 0..3_600 / every {
                advance(SECOND * every).await;
                succeed(&breaker);
                if poll >= 2 {
                    assert_eq!(breaker.state(), State::Closed, "every {every} s");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cb7_calls_of_twelve_seconds_close_it_and_are_served() {
    let breaker = CircuitBreaker::new("default");
    after_an_outage(&breaker).await;
    let (mut calls, mut served) = (0, 0);
    // Twenty callers, each with the next call a second after it was rejected or served.
    let mut callers: [Option<(Permit<_>, u32)>; 20] = std::array::from_fn(|_| None);
    for second in 0..360 {
        advance(SECOND).await;
        for caller in &mut callers {
            match caller.take() {
                Some((permit, until)) if second >= until => permit.success(),
                Some(call) => *caller = Some(call),
                None => {
                    *caller = breaker
                        .try_acquire()
                        .ok()
                        .map(|permit| (permit, second + 12));
                    if second >= 60 {
                        calls += 1;
                        served += u32::from(caller.is_some());
                    }
                }
            }
        }
    }
    assert_eq!(breaker.state(), State::Closed);
    assert!(served * 100 >= calls * 95, "{served} of {calls}");
    assert!(served > 400, "{served}");
}

#[tokio::test(start_paused = true)]
async fn cb10_by_default_retry_after_counts_up_to_a_minute() {
    for (secs, wait) in [(30, 30), (60, 60), (600, 60)] {
        let breaker = built(touchy());
        let delay = Duration::from_secs(secs);
        let permit = breaker.try_acquire().unwrap();
        permit.failure_with(FailureKind::Response, Some(delay));
        let wait = Duration::from_secs(wait);
        // CB9
        let rejection = breaker.try_acquire().unwrap_err();
        assert_eq!(rejection.retry_after(), Some(wait));
        advance(wait - Duration::from_nanos(1_000_000)).await;
        assert!(breaker.try_acquire().is_err());
        advance(ms(1)).await;
        assert!(breaker.try_acquire().is_ok());
    }
}
