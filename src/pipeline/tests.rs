use std::io;
use std::time::Duration;

use super::Pipeline;
use crate::classify::{ErrorsBy, FailureKind, Outcome};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::testing::ms;
use crate::{
    Backoff, Budget, Bulkhead, CircuitBreaker, Deadline, Error, Hedge, Jitter, RateLimiter,
    RejectionKind, Retry, Timeout,
};

fn retry(attempts: u32) -> Retry {
    let backoff = Backoff::constant(ms(10)).jitter(Jitter::None);
    let budget = Budget::builder().burst(1_000).build().unwrap();
    let retry = Retry::builder().backoff(backoff).max_attempts(attempts);
    retry.budget(&budget).build().unwrap()
}

fn failing(calls: &AtomicU64) -> Result<u32, io::Error> {
    calls.fetch_add(1, Ordering::Relaxed);
    Err(io::Error::other("down"))
}

// RN1
#[tokio::test(start_paused = true)]
async fn rn1_an_empty_pipeline_makes_the_call_once() {
    let calls = AtomicU64::new(0);
    let error = Pipeline::new().run(|_| async { failing(&calls) }).await;
    assert!(matches!(error.unwrap_err(), Error::Service(e) if e.to_string() == "down"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

// RN1: the policies are given in another order.
#[tokio::test(start_paused = true)]
async fn rn1_the_order_of_the_policies_is_fixed() {
    let breaker = CircuitBreaker::new("b");
    let bulkhead = Bulkhead::new(1);
    let limiter = RateLimiter::per_day(2);
    let pipeline = Pipeline::new()
        .attempt_timeout(ms(50))
        .limiter(&limiter)
        .bulkhead(&bulkhead)
        .breaker(&breaker)
        .retry(retry(3))
        .timeout(Duration::from_secs(5));
    let calls = AtomicU64::new(0);
    // The breaker sees each attempt, and each takes a token. The limiter rejects the third, so the
    // error of the second is returned.
    let error = pipeline.run(|_| async { failing(&calls) }).await;
    assert!(matches!(error.unwrap_err(), Error::Service(_)));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let rules = breaker.snapshot().rules;
    assert_eq!(
        rules[0].counts.consecutive, 2,
        "a rejection below is no failure"
    );
    assert_eq!(limiter.available(), 0);
    assert_eq!(bulkhead.snapshot().in_flight, 0);

    // An open breaker takes neither permit nor token.
    limiter.set_quota(crate::Quota::per_day(5)).unwrap();
    let before = limiter.available();
    breaker.force_open();
    let error = pipeline
        .run(|_| async { failing(&calls) })
        .await
        .unwrap_err();
    assert_eq!(
        error.rejection().unwrap().kind(),
        RejectionKind::CircuitOpen
    );
    assert_eq!(limiter.available(), before);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

// RN1, TO2
#[tokio::test(start_paused = true)]
async fn to2_the_timeout_covers_backoffs_and_all_attempts() {
    let start = crate::time::now();
    let pipeline = Pipeline::new()
        .timeout(Timeout::builder(ms(130)).name("whole").build().unwrap())
        .retry(retry(100))
        .attempt_timeout(ms(50));
    let error = pipeline
        .run(|_| std::future::pending::<Result<u32, io::Error>>())
        .await
        .unwrap_err();
    // 50 ms, a backoff of 10, 50 more, 10 more, and the third attempt has 10 left: the outer
    // timeout ends it.
    let rejection = error.rejection().unwrap();
    assert!(
        matches!(rejection.kind(), RejectionKind::TimedOut { .. }),
        "{rejection:?}"
    );
    assert_eq!(rejection.policy().as_str(), "whole");
    assert_eq!(crate::time::now().since(start), ms(130));
}

// RN1, D10
#[tokio::test(start_paused = true)]
async fn rn1_each_attempt_reads_its_number_and_its_deadline() {
    let seen = Mutex::new(Vec::new());
    let pipeline = Pipeline::new()
        .timeout(Duration::from_secs(5))
        .retry(retry(3))
        .attempt_timeout(ms(800));
    let outcome = pipeline
        .run(|attempt| {
            seen.lock()
                .push((attempt, crate::attempt(), Deadline::remaining()));
            async move { Err::<u32, _>(io::Error::other("down")) }
        })
        .await;
    assert!(outcome.is_err());
    let expected: Vec<_> = (1..=3).map(|n| (n, Some(n), Some(ms(800)))).collect();
    assert_eq!(*seen.lock(), expected);
}

// RN1
#[tokio::test(start_paused = true)]
async fn rn1_a_breaker_for_each_attempt() {
    let hosts = [CircuitBreaker::new("first"), CircuitBreaker::new("second")];
    let by = hosts.clone();
    let pipeline = Pipeline::new()
        .retry(retry(2))
        .breaker_by(move |attempt| by[attempt as usize - 1].clone());
    let outcome = pipeline
        .run(|attempt| async move {
            match attempt {
                1 => Err(io::Error::other("down")),
                n => Ok(n),
            }
        })
        .await;
    assert_eq!(outcome.unwrap(), 2);
    let failures = hosts.each_ref().map(|breaker| {
        let rules = breaker.snapshot().rules;
        (rules[1].counts.calls, rules[1].counts.failures)
    });
    assert_eq!(failures, [(1, 1), (1, 0)]);
}

// RN1, RT7
#[tokio::test(start_paused = true)]
async fn rt7_one_classifier_serves_all_policies() {
    let breaker = CircuitBreaker::new("b");
    let calls = AtomicU64::new(0);
    let pipeline = Pipeline::new()
        .retry(retry(5))
        .breaker(&breaker)
        .classify(ErrorsBy(|_: &io::Error| Outcome::Failure {
            kind: FailureKind::Permanent,
            retry_after: None,
        }));
    assert!(pipeline.run(|_| async { failing(&calls) }).await.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 1, "no retry");
    let rules = breaker.snapshot().rules;
    assert_eq!(rules[0].counts.consecutive, 1, "and counted");
}

// RT4, HG4: a hedge inside a retry uses the budget of the retry.
#[tokio::test(start_paused = true)]
async fn rt4_retry_and_hedge_share_one_budget() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(1)
        .floor(0)
        .build()
        .unwrap();
    let retry = Retry::builder().backoff(Backoff::constant(ms(10)).jitter(Jitter::None));
    let retry = retry.budget(&budget).build().unwrap();
    let pipeline = Pipeline::new().retry(retry).hedge(Hedge::fixed(ms(20)));
    let calls = Arc::new(AtomicU64::new(0));
    let outcome = pipeline
        .run(|_| {
            let n = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(ms(if n == 0 { 100 } else { 5 })).await;
                Err::<u32, _>(io::Error::other("down"))
            }
        })
        .await;
    assert!(outcome.is_err());
    // The hedge used the whole budget, so no retry follows.
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(budget.snapshot().made, 1);
}

// CX7: calls are dropped at random instants.
#[tokio::test(start_paused = true)]
async fn cx7_dropped_calls_release_every_permit_token_and_budget() {
    let breaker = CircuitBreaker::builder("b")
        .trip_on(crate::circuit_breaker::Trip::consecutive_failures(4_000))
        .build()
        .unwrap();
    let bulkhead = Bulkhead::builder(4).queue(8).build().unwrap();
    // Not striped, so that an idle limiter shows all its tokens.
    let limiter = RateLimiter::builder(crate::Quota::per_second(100_000)).striped(false);
    let limiter = limiter.build().unwrap();
    let budget = Budget::builder().ratio(0.0).burst(50).floor(0).build();
    let budget = budget.unwrap();
    let retry = Retry::builder().backoff(Backoff::constant(ms(7)).jitter(Jitter::None));
    let retry = retry.budget(&budget).build().unwrap();
    let pipeline = Pipeline::new()
        .timeout(ms(60))
        .retry(retry)
        .hedge(Hedge::fixed(ms(5)))
        .breaker(&breaker)
        .bulkhead(&bulkhead)
        .waiting_limiter(&limiter)
        .attempt_timeout(ms(15));
    let rng = crate::rng::Jitter::seeded(7);
    for _ in 0..250 {
        let calls = (0..40).map(|_| {
            let patience = ms((rng.fraction() * 80.0) as u64);
            let work = ms((rng.fraction() * 30.0) as u64);
            let fails = rng.fraction() < 0.3;
            let pipeline = &pipeline;
            async move {
                let call = pipeline.run(|_| async move {
                    tokio::time::sleep(work).await;
                    match fails {
                        true => Err(io::Error::other("down")),
                        false => Ok(1u32),
                    }
                });
                let _ = tokio::time::timeout(patience, call).await;
            }
        });
        futures::future::join_all(calls).await;
    }
    let capacity = bulkhead.snapshot();
    assert_eq!((capacity.in_flight, capacity.queued), (0, 0));
    let made = budget.snapshot().made;
    assert!(made <= 50, "{made}");
    #[allow(clippy::cast_precision_loss)]
    let expected = 50.0 - made as f64;
    assert_eq!(budget.snapshot().balance, expected);
    // The breaker is closed.
    assert!(breaker.try_acquire().is_ok());
    tokio::time::sleep(ms(100)).await;
    assert_eq!(limiter.available(), 100_000);
}

#[tokio::test]
async fn cx14_a_timeout_around_a_rejected_run_says_rejected() {
    let breaker = CircuitBreaker::new("below");
    let total = Timeout::new(ms(1_000));
    let events = crate::testing::Recorder::new();
    total.on_event(events.listener()).forever();
    let attempt = Pipeline::new().attempt_timeout(&total);
    for expected in ["Completed", "Rejected"] {
        let run = || breaker.run(|| async { Ok::<_, io::Error>(7) });
        let _ = total.run(run).await;
        // Below a pipeline, and boxed on the way.
        let _ = attempt
            .run(|_| async { Ok::<_, Box<dyn std::error::Error + Send + Sync>>(run().await?) })
            .await;
        assert_eq!(events.take(), [expected, expected]);
        breaker.force_open();
    }
}
