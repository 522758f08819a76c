//! CB20: failures of kind `Throttled`.

use super::*;

fn throttle(breaker: &CircuitBreaker) {
    let permit = breaker.try_acquire().unwrap();
    permit.failure_with(FailureKind::Throttled, None);
}

/// A breaker with one rate of 90 %, over calls or over time.
fn rate(window: Window) -> Builder {
    let trip = Trip::failure_rate(0.9).over(window).min_calls(50);
    CircuitBreaker::builder("rate").trip_on(trip)
}

fn counts(breaker: &CircuitBreaker) -> (u32, u32) {
    let counts = breaker.snapshot().rules[0].counts;
    (counts.calls, counts.failures)
}

#[tokio::test(start_paused = true)]
async fn cb20_a_thousand_throttled_calls_do_not_trip_a_rate_over_calls_or_time() {
    for window in [Window::count(100), Window::time(SECOND * 10)] {
        let breaker = built(rate(window));
        succeed(&breaker);
        fail(&breaker);
        for _ in 0..1_000 {
            throttle(&breaker);
            advance(ms(1)).await;
        }
        assert_eq!(breaker.state(), State::Closed);
        // Not as calls either.
        assert_eq!(counts(&breaker), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn cb20_by_default_throttled_calls_between_successes_do_not_trip() {
    let breaker = CircuitBreaker::new("default");
    for call in 0..1_000 {
        match call % 20 {
            0 => succeed(&breaker),
            _ => throttle(&breaker),
        }
        advance(ms(5)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb20_by_default_throttled_calls_in_a_row_trip_after_five_times_as_long() {
    let breaker = CircuitBreaker::new("default");
    for _ in 0..20 {
        throttle(&breaker);
        advance(ms(250)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
    throttle(&breaker);
    let tripped = breaker.snapshot().last_trip.unwrap().tripped;
    assert!(
        tripped.rule.starts_with("5 consecutive"),
        "{}",
        tripped.rule
    );
    assert_eq!(tripped.kind, FailureKind::Throttled);
}

#[tokio::test(start_paused = true)]
async fn cb20_an_error_in_a_run_of_throttled_calls_trips_as_after_errors() {
    let breaker = CircuitBreaker::new("default");
    for _ in 0..8 {
        throttle(&breaker);
        advance(ms(150)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker);
    assert_eq!(breaker.state(), State::Open);
}

// A run is cut to the failures within its time: it lasts no longer than that.
#[tokio::test(start_paused = true)]
async fn cb20_a_run_of_throttled_calls_trips_within_the_time_of_its_rule() {
    for (within, after) in [(1_600, 8), (800, 5), (20_000, 25)] {
        let run = Trip::consecutive_failures(2).lasting(ms(500));
        let breaker = built(CircuitBreaker::builder("run").trip_on(run.within(ms(within))));
        let mut calls = 0;
        while breaker.state() == State::Closed && calls < 100 {
            advance(ms(100)).await;
            throttle(&breaker);
            calls += 1;
        }
        assert_eq!(calls, after + 1, "within {within} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn cb20_throttled_calls_count_in_a_number_of_failures_and_in_a_custom_rule_by_run() {
    let custom = Trip::custom("row", |counts| counts.consecutive >= 3).min_calls(1);
    for trip in [Trip::failures(3), custom] {
        let breaker = built(touchy().trips([trip]));
        succeed(&breaker);
        throttle(&breaker);
        throttle(&breaker);
        assert_eq!(breaker.state(), State::Closed);
        throttle(&breaker);
        assert_eq!(breaker.state(), State::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn cb20_a_throttled_probe_reopens() {
    let breaker = half_open(touchy()).await;
    throttle(&breaker);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb20_throttled_calls_do_not_reopen_on_a_ramp() {
    let breaker = half_open(touchy().ramp(SECOND, 0.2)).await;
    breaker
        .change(|now| now.trips([Trip::failures(1_000)]))
        .unwrap();
    succeed(&breaker);
    advance(ms(999)).await;
    for _ in 0..100 {
        if let Ok(permit) = breaker.try_acquire() {
            permit.failure_with(FailureKind::Throttled, None);
        }
    }
    assert_eq!(breaker.state(), State::Recovering);
}

#[tokio::test(start_paused = true)]
async fn cb20_throttled_counts_like_any_failure_if_set_so() {
    let breaker = built(rate(Window::count(100)).throttled(Throttled::Failure));
    (0..49).for_each(|_| throttle(&breaker));
    assert_eq!(counts(&breaker), (49, 49));
    assert_eq!(breaker.state(), State::Closed);
    throttle(&breaker);
    assert_eq!(breaker.state(), State::Open);
}

/// No throttled call trips a rate that its window reaches because successes expire.
#[tokio::test(start_paused = true)]
async fn cb20_a_throttled_call_evaluates_no_rate() {
    let window = Window::time(SECOND * 10);
    let trip = Trip::failure_rate(0.9).over(window).min_calls(1);
    let breaker = built(CircuitBreaker::builder("rate").trip_on(trip));
    succeed(&breaker);
    advance(SECOND * 5).await;
    fail(&breaker);
    advance(SECOND * 6).await;
    assert_eq!(counts(&breaker), (1, 1));
    throttle(&breaker);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb20_retry_after_extends_the_wait_only_where_throttled_calls_are_in_rates() {
    let delay = SECOND * 30;
    for (throttled, wait) in [(Throttled::NotInRates, SECOND), (Throttled::Failure, delay)] {
        let breaker = built(touchy().throttled(throttled));
        for _ in 0..2 {
            let permit = breaker.try_acquire().unwrap();
            permit.failure_with(FailureKind::Throttled, Some(delay));
            let rejection = breaker.try_acquire().unwrap_err();
            assert_eq!(rejection.retry_after(), Some(wait));
            advance(wait).await;
        }
    }
}
