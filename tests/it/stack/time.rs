//! Deadlines, waits and attempts through the full stack, on paused time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::circuit_breaker::State;
use seawall::{
    Budget, Bulkhead, Deadline, Hedge, RateLimiter, Reason, RejectionKind, Retry, Timeout,
};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceExt, service_fn};

use super::{Policies, full, quiet, retry_every, tripping};
use crate::support::{full_budget, locked, ms, reason, secs};

type Answer = Result<u32, BoxError>;

fn named(name: &str, limit: Duration) -> Timeout {
    Timeout::builder(limit).name(name).build().unwrap()
}

/// The outcome of `call`, and after how long.
async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (call.await, start.elapsed())
}

async fn hang(_: u32) -> Answer {
    std::future::pending().await
}

fn rejection(answer: &Answer) -> Reason {
    reason(answer.as_ref().unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn to2_the_total_ends_a_wait_of_ten_times_as_long() {
    let bulkhead = Bulkhead::builder(1).queue(8).max_wait(secs(1));
    let policies = Policies {
        total: named("total", ms(100)),
        bulkhead: bulkhead.build().unwrap(),
        ..quiet()
    };
    let _permit = policies.bulkhead.try_acquire().unwrap();
    let service = full!(policies, waiting).service_fn(hang);
    let (answer, took) = timed(service.oneshot(1)).await;
    // Rejected by the queue: the call was not made, so it may be made elsewhere.
    let why = rejection(&answer).kind();
    assert!(matches!(why, RejectionKind::QueueTimeout { waited, .. } if waited == ms(100)));
    assert_eq!(took, ms(100));
    assert_eq!(policies.bulkhead.snapshot().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn to2_the_total_covers_attempts_and_backoffs_and_an_attempt_gets_what_remains() {
    // TO4: 800 ms, a backoff of 100 ms, and the rest.
    let policies = Policies {
        total: named("total", secs(1)),
        retry: retry_every(100).budget(full_budget()).build().unwrap(),
        ..quiet()
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let service = full!(policies, new).service_fn(move |n: u32| {
        locked(&note).push((seawall::attempt(), Deadline::remaining()));
        hang(n)
    });
    let (answer, took) = timed(service.oneshot(1)).await;
    let why = rejection(&answer);
    assert_eq!((why.policy().as_str(), took), ("total", secs(1)));
    let expected = [(Some(1), Some(ms(800))), (Some(2), Some(ms(100)))];
    assert_eq!(*locked(&seen), expected);
}

#[tokio::test(start_paused = true)]
async fn to4_a_wait_that_would_end_after_the_deadline_is_not_started() {
    // A backoff: the last failure is returned.
    let policies = Policies {
        total: named("total", secs(1)),
        retry: retry_every(300).budget(full_budget()).build().unwrap(),
        ..quiet()
    };
    let service = full!(policies, new).service_fn(hang);
    let (answer, took) = timed(service.oneshot(1)).await;
    assert_eq!(
        (rejection(&answer).policy().as_str(), took),
        ("attempt", ms(800))
    );

    // A token.
    let policies = Policies {
        total: named("total", ms(200)),
        limiter: RateLimiter::builder(seawall::Quota::new(1, ms(500)))
            .max_wait(secs(60))
            .build()
            .unwrap(),
        ..quiet()
    };
    assert!(policies.limiter.allow());
    let service = full!(policies, waiting).service_fn(hang);
    let (answer, took) = timed(service.oneshot(1)).await;
    assert_eq!(
        (rejection(&answer).kind(), took),
        (RejectionKind::RateLimited, ms(0))
    );
    assert_eq!(rejection(&answer).retry_after(), Some(ms(500)));
    // It took nothing.
    tokio::time::advance(ms(500)).await;
    assert!(policies.limiter.allow());
}

/// Whether the first call, which fails, was sent again, its outcome and when.
async fn first_fails_while<S>(service: S, busy: impl FnOnce()) -> (Answer, Duration)
where
    S: Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let call = tokio::spawn(timed(service.oneshot(1)));
    sleep(ms(5)).await;
    busy();
    call.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn rt11_an_extra_attempt_queues_in_no_bulkhead_and_waits_for_its_token() {
    let calls = Arc::new(AtomicUsize::new(0));
    let failing = || {
        let calls = Arc::clone(&calls);
        service_fn(move |_: u32| {
            calls.fetch_add(1, Ordering::SeqCst);
            async { Answer::Err("the first failure".into()) }
        })
    };
    let is_the_first_after_the_backoff = |(answer, took): (Answer, Duration)| {
        assert_eq!(answer.unwrap_err().to_string(), "the first failure");
        assert_eq!(took, ms(10));
        assert_eq!(calls.swap(0, Ordering::SeqCst), 1);
    };

    // No permit is available, and the queue has room.
    let policies = Policies {
        bulkhead: Bulkhead::builder(1).queue(8).build().unwrap(),
        ..quiet()
    };
    let permit = Mutex::new(None);
    let service = full!(policies, new).service(failing());
    let busy = || *locked(&permit) = Some(policies.bulkhead.try_acquire_owned().unwrap());
    is_the_first_after_the_backoff(first_fails_while(service, busy).await);
    assert_eq!(policies.bulkhead.snapshot().queued, 0);

    // No token is available, and each next one is due within the allowed wait.
    let policies = Policies {
        limiter: RateLimiter::builder(seawall::Quota::new(1, ms(20)))
            .max_wait(secs(60))
            .build()
            .unwrap(),
        ..quiet()
    };
    let service = full!(policies, waiting).service(failing());
    let (answer, took) = first_fails_while(service, || {}).await;
    assert!(answer.is_err());
    assert_eq!((took, calls.load(Ordering::SeqCst)), (ms(40), 3));
}

#[tokio::test(start_paused = true)]
async fn rt11_a_hedge_does_not_queue_behind_its_own_first_attempt() {
    let budget = full_budget();
    let hedge = Hedge::builder().delay(ms(10)).budget(&budget);
    let policies = Policies {
        hedge: hedge.build().unwrap(),
        bulkhead: Bulkhead::builder(1).queue(8).build().unwrap(),
        ..quiet()
    };
    let service = full!(policies, new).service_fn(async |n: u32| {
        sleep(ms(50)).await;
        Answer::Ok(n)
    });
    let call = tokio::spawn(timed(service.oneshot(7)));
    sleep(ms(20)).await;
    let bulkhead = policies.bulkhead.snapshot();
    assert_eq!((bulkhead.in_flight, bulkhead.queued), (1, 0));
    let (answer, took) = call.await.unwrap();
    assert_eq!((answer.unwrap(), took), (7, ms(50)));
}

// RT10: a client within a service, each with its stack.
#[tokio::test(start_paused = true)]
async fn rt10_a_retry_within_a_retry_does_not_multiply() {
    for (nested, expected) in [(false, 3 + 1 + 1), (true, 9)] {
        let retry = |nested| {
            let retry = Retry::builder().no_budget().nested(nested);
            retry.build().unwrap()
        };
        let outer = Policies {
            total: named("total", secs(60)),
            attempt: named("attempt", secs(20)),
            retry: retry(false),
            ..quiet()
        };
        let inner = Policies {
            retry: retry(nested),
            ..quiet()
        };
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let client = full!(inner, new).service_fn(move |_: u32| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Answer::Err("down".into()) }
        });
        let service = full!(outer, new).service_fn(move |n: u32| client.clone().oneshot(n));
        service.oneshot(1).await.unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn cb14_callers_with_little_time_do_not_trip_a_shared_breaker() {
    let breaker = tripping(1).fair_time(ms(400)).build().unwrap();
    let stack = |total| {
        let policies = Policies {
            total: named("total", total),
            breaker: breaker.clone(),
            retry: retry_every(10).max_attempts(1).build().unwrap(),
            ..quiet()
        };
        full!(policies, waiting).service_fn(hang)
    };
    for _ in 0..100 {
        stack(ms(5)).oneshot(1).await.unwrap_err();
        // Also a caller with less time than the stack allows.
        let caller = Timeout::new(ms(399));
        let call = caller.run(|| stack(secs(5)).oneshot(1));
        call.await.unwrap_err();
    }
    assert_eq!(breaker.state(), State::Closed);
    stack(ms(400)).oneshot(1).await.unwrap_err();
    assert_eq!(breaker.state(), State::Open);
    breaker.reset();
    stack(secs(5)).oneshot(1).await.unwrap_err();
    assert_eq!(breaker.state(), State::Open);
}

// TO3, HG7, RT8
#[tokio::test(start_paused = true)]
async fn to3_hg7_the_innermost_service_reads_its_deadline_and_its_attempt() {
    let budget = full_budget();
    let hedge = Hedge::builder().delay(ms(100)).budget(&budget);
    let policies = Policies {
        hedge: hedge.build().unwrap(),
        ..quiet()
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let service = full!(policies, waiting).service_fn(move |first: u32| {
        // In `call`, and in polls.
        let read = || (seawall::attempt().unwrap(), Deadline::remaining().unwrap());
        locked(&note).push(read());
        let note = Arc::clone(&note);
        async move {
            sleep(ms(50)).await;
            let (attempt, left) = read();
            locked(&note).push((attempt, left));
            match (first, attempt) {
                // Slow, so that it is hedged, or failing at once.
                (0, 1) => std::future::pending().await,
                _ => Answer::Ok(attempt),
            }
        }
    });
    assert_eq!(service.clone().oneshot(0).await.unwrap(), 2);
    let both = |attempt, left: u64| [(attempt, ms(left)), (attempt, ms(left - 50))];
    assert_eq!(*locked(&seen), [both(1, 800), both(2, 800)].concat());
    locked(&seen).clear();
    // The caller has less time.
    let call = Timeout::new(ms(300)).run(|| service.oneshot(1)).await;
    assert_eq!(call.unwrap(), 1);
    assert_eq!(*locked(&seen), both(1, 300));
}

// HG4, RT4
#[tokio::test(start_paused = true)]
async fn hg4_a_uniformly_slow_backend_under_the_stack_gets_one_plus_the_ratio_of_the_load() {
    let budget = Budget::percent(10);
    let hedge = Hedge::builder().delay(ms(50)).budget(&budget);
    let policies = Policies {
        retry: retry_every(10).budget(&budget).build().unwrap(),
        hedge: hedge.build().unwrap(),
        // So that it rejects no attempt.
        bulkhead: Bulkhead::new(1_000),
        ..quiet()
    };
    let takes = Arc::new(AtomicU64::new(20));
    let calls = Arc::new(AtomicU64::new(0));
    let (slow, count) = (Arc::clone(&takes), Arc::clone(&calls));
    let service = full!(policies, new).service_fn(move |n: u32| {
        count.fetch_add(1, Ordering::SeqCst);
        let takes = ms(slow.load(Ordering::SeqCst));
        async move {
            sleep(takes).await;
            Answer::Ok(n)
        }
    });
    let load = async |n: u64| {
        let before = calls.load(Ordering::SeqCst);
        let mut tasks = Vec::new();
        for _ in 0..n {
            tasks.push(tokio::spawn(service.clone().oneshot(1)));
            sleep(ms(5)).await;
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        calls.load(Ordering::SeqCst) - before
    };
    assert_eq!(load(2_000).await, 2_000, "fast, it is left alone");
    takes.store(200, Ordering::SeqCst);
    let made = load(4_000).await;
    // The ratio of these calls and of those in the epochs before, the burst, and the floor.
    assert!(made <= 4_000 + 400 + 200 + 10 + 21, "{made}");
    assert!(made >= 4_000 + 400, "{made}");
    assert_eq!(budget.snapshot().made, made - 4_000);
}
