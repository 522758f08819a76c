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
    let trouble = breaker.snapshot().trouble.unwrap().tripped;
    assert!(
        trouble.rule.starts_with("5 consecutive failures"),
        "{}",
        trouble.rule
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
async fn cb1_by_default_half_of_twenty_calls_trip() {
    let breaker = CircuitBreaker::new("default");
    for _ in 0..9 {
        succeed(&breaker);
        fail(&breaker);
    }
    succeed(&breaker);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker);
    let tripped = breaker.snapshot().trouble.unwrap().tripped;
    assert_eq!(tripped.rule, "failure rate of 0.5 over 10s");
    assert_eq!((tripped.counts.calls, tripped.counts.failures), (20, 10));
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
async fn cb10_by_default_open_lasts_a_second_doubling_to_five_with_equal_jitter() {
    let mut first = Vec::new();
    for _ in 0..50 {
        let breaker = CircuitBreaker::builder("default")
            .trip_on(Trip::consecutive_failures(1))
            .build()
            .unwrap();
        fail(&breaker);
        for most in [1_000, 2_000, 4_000, 5_000, 5_000] {
            let wait = breaker.snapshot().next_probe.unwrap();
            assert!((ms(most / 2)..=ms(most)).contains(&wait), "{wait:?}");
            if most == 1_000 {
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
async fn cb6_by_default_three_probes_for_ten_seconds_then_open() {
    let breaker = half_open(touchy()).await;
    let probes: Vec<_> = (0..3).map(|_| breaker.try_acquire().unwrap()).collect();
    assert_eq!(why(&breaker), Why::ProbesOut);
    advance(ms(9_999)).await;
    assert_eq!(why(&breaker), Why::ProbesOut);
    advance(ms(1)).await;
    assert_eq!(why(&breaker), Why::CircuitOpen);
    drop(probes);
    // The slow rule and the ramp are off.
    let breaker = half_open(touchy()).await;
    for _ in 0..3 {
        let permit = breaker.try_acquire().unwrap();
        advance(ms(3_000)).await;
        permit.success();
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb10_by_default_retry_after_counts_up_to_a_minute() {
    for (asked, wait) in [(30, 30), (60, 60), (600, 60)] {
        let breaker = built(touchy());
        let asked = Duration::from_secs(asked);
        let permit = breaker.try_acquire().unwrap();
        permit.failure_with(Kind::Throttled, Some(asked));
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
