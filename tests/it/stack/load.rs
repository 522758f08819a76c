//! The load of a retry over a hedge, in real time and with threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall::budget::Refill;
use seawall::{Backoff, Budget, Hedge, HedgeLayer, Jitter, Retry, RetryLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::secs;

const CALLS: u64 = 10_000;
const THREADS: u64 = 8;

/// Makes calls that fail, from 8 threads, through a retry over a hedge that share `budget`. Returns how many
/// extra attempts were made, and in what time.
fn extra_attempts(budget: impl FnOnce() -> Budget, given_to_the_hedge: bool) -> (u64, Duration) {
    let start = Instant::now();
    let budget = budget();
    let backoff = Backoff::constant(Duration::from_nanos(1)).jitter(Jitter::None);
    let retry = Retry::builder().backoff(backoff).max_attempts(4);
    let retry = retry.budget(&budget).build().unwrap();
    let mut hedge = Hedge::builder().delay(secs(60)).max_extra(2);
    if given_to_the_hedge {
        hedge = hedge.budget(&budget);
    }
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&attempts);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(&retry))
        .layer(HedgeLayer::new(hedge.build().unwrap()))
        .service(service_fn(move |_: u32| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err::<u32, BoxError>("down".into()) }
        }));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let mut service = service.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..CALLS / THREADS {
                        let service = service.ready().await.unwrap();
                        service.call(1).await.unwrap_err();
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let extra = attempts.load(Ordering::Relaxed) - CALLS;
    assert_eq!(budget.snapshot().made, extra, "all are of the one budget");
    (extra, start.elapsed())
}

/// A fifth of the calls, which all fail.
fn budget(floor: u32) -> seawall::budget::Builder {
    let budget = Budget::builder().ratio(0.2).burst(10).floor(floor);
    budget.refill(Refill::Calls)
}

// RT4, HG4: exact to the attempt. Each failing call uses the balance, so no epoch cuts anything.
#[test]
fn rt4_a_storm_of_failures_from_8_threads_makes_exactly_the_budgets_extra_attempts() {
    let budget = || budget(0).build();
    for given_to_the_hedge in [false, true] {
        let (extra, _) = extra_attempts(|| budget().unwrap(), given_to_the_hedge);
        assert_eq!(extra, CALLS / 5 + 10);
    }
}

// RT4, HG4: and the floor, which is one at a time.
#[test]
fn rt4_a_storm_of_failures_adds_the_floor_of_its_seconds() {
    const FLOOR: u32 = 200;
    let budget = || budget(FLOOR).build();
    let (extra, took) = extra_attempts(|| budget().unwrap(), false);
    let bound = CALLS / 5 + 10 + (took.as_secs_f64() * f64::from(FLOOR)) as u64;
    assert!(extra <= bound, "{extra} of {bound} in {took:?}");
    assert!(extra >= CALLS / 5 + 10, "{extra}");
}
