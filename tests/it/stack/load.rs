//! What a retry over a hedge makes of the load, on real time and threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall::{Backoff, Budget, Hedge, HedgeLayer, Jitter, Retry, RetryLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::secs;

const CALLS: u64 = 10_000;
const THREADS: u64 = 8;

/// Makes always-failing calls through a retry over a hedge, which share `budget`, from 8
/// threads; how many attempts were made beyond the calls, and in what time.
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

// RT4, HG4: to the attempt. Every call that fails takes what is there, so that neither an epoch
// cuts anything nor is anything left.
#[test]
fn rt4_a_storm_of_failures_through_retry_over_hedge_from_8_threads_is_the_budgets_bound() {
    let budget = || Budget::builder().ratio(0.2).burst(10).floor(0).build();
    for given_to_the_hedge in [false, true] {
        let (extra, _) = extra_attempts(|| budget().unwrap(), given_to_the_hedge);
        assert_eq!(extra, CALLS / 5 + 10);
    }
}

// RT4, HG4: and the floor's, which is one at a time.
#[test]
fn rt4_a_storm_of_failures_has_the_floor_of_the_seconds_it_took_beyond_that() {
    const FLOOR: u32 = 200;
    let budget = || Budget::builder().ratio(0.2).burst(10).floor(FLOOR).build();
    let (extra, took) = extra_attempts(|| budget().unwrap(), false);
    let bound = CALLS / 5 + 10 + (took.as_secs_f64() * f64::from(FLOOR)) as u64;
    assert!(extra <= bound, "{extra} of {bound} in {took:?}");
    assert!(extra >= CALLS / 5 + 10, "{extra}");
}
