//! What the policies count: every call once as admitted or rejected, every admitted one once as
//! ended, after storms of threads that drop calls and panic.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use seawall::classify::FailureKind;
use seawall::event::{Ending, Suppression};
use seawall::registry::{self, Policy, Totals};
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack,
    Fallback, FallbackLayer, Hedge, HedgeLayer, Keyed, Mode, Quota, RateLimitLayer, RateLimiter,
    RejectionKind, Retry, RetryLayer, ServerStack, Timeout, TimeoutLayer, Trip, Window,
};
use tower::{BoxError, Layer, Service};

use crate::support::*;

const THREADS: u64 = 8;
const CALLS: u64 = 400;

/// Makes calls from several threads at once, each with a runtime for its timers.
fn storm(call: impl Fn(&mut Random) + Sync) {
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (start, call) = (&start, &call);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build();
                let runtime = runtime.unwrap();
                let _entered = runtime.enter();
                let mut random = Random::new(seed + 1);
                start.wait();
                (0..CALLS).for_each(|_| call(&mut random));
            });
        }
    });
}

/// Polls a few times at most, and drops the future then. It may panic.
fn drive<F: Future>(future: F, random: &mut Random) {
    let polls = 1 + random.below(4);
    let driven = AssertUnwindSafe(|| {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if future.as_mut().poll(&mut cx).is_ready() {
                return;
            }
            thread::yield_now();
        }
    });
    drop(catching(driven));
}

fn any_call(random: &mut Random) -> Do {
    match random.below(8) {
        0 => Do::Fail,
        1 => Do::PanicInCall,
        2 => Do::PanicInPoll,
        3 => Do::Hang,
        4 => Do::Yield(2),
        5 => Do::Sleep(ms(1)),
        _ => Do::Answer,
    }
}

/// A storm of calls through services of one layer. Returns how many calls were made.
fn storm_of_layer<L>(layer: &L) -> u64
where
    L: Layer<Mock> + Sync,
    L::Service: Service<Do, Error = BoxError>,
{
    let calls = AtomicU64::new(0);
    let mock = Mock::new();
    storm(|random| {
        let mut service = layer.layer(mock.clone());
        if let Poll::Ready(Ok(())) = poll_ready(&mut service) {
            calls.fetch_add(1, Ordering::Relaxed);
            let what = any_call(random);
            drive(async move { service.call(what).await }, random);
        }
    });
    calls.into_inner()
}

#[track_caller]
fn assert_exact(totals: &Totals, calls: u64) {
    assert_eq!(totals.calls(), calls, "{totals:?}");
    assert_all_ended(totals);
    assert!(totals.admitted() > 0, "{totals:?}");
}

#[track_caller]
fn assert_all_ended(totals: &Totals) {
    assert_eq!(totals.ended(), totals.admitted(), "{totals:?}");
    assert_eq!(totals.in_flight(), 0);
}

fn tripping(name: &str) -> CircuitBreaker {
    CircuitBreaker::builder(name)
        .trip_on(Trip::failure_rate(0.2).over(Window::count(20)).min_calls(5))
        .open_for(Backoff::constant(ms(1)))
        .build()
        .unwrap()
}

fn budget() -> Budget {
    Budget::builder().ratio(1.0).burst(1_000).build().unwrap()
}

#[test]
fn ob1_a_storm_through_each_layer_is_counted_exactly() {
    for mode in [Mode::Enforce, Mode::RecordOnly] {
        let timeout = Timeout::builder(ms(1)).mode(mode).build().unwrap();
        assert_exact_after(&TimeoutLayer::new(&timeout), || timeout.snapshot().totals);

        let limiter = RateLimiter::builder(Quota::per_second(1_000).burst(50)).mode(mode);
        let limiter = limiter.max_wait(ms(2)).build().unwrap();
        assert_exact_after(&RateLimitLayer::new(&limiter), || limiter.snapshot().totals);
        let before = limiter.snapshot().totals.calls();
        let calls = storm_of_layer(&RateLimitLayer::waiting(&limiter));
        assert_exact(&limiter.snapshot().totals, before + calls);

        let breaker = tripping("storm");
        breaker.set_mode(mode);
        assert_exact_after(&CircuitBreakerLayer::new(&breaker), || {
            breaker.snapshot().totals
        });

        let bulkhead = Bulkhead::builder(2)
            .queue(2)
            .max_wait(ms(1))
            .mode(mode)
            .build()
            .unwrap();
        assert_exact_after(&BulkheadLayer::new(&bulkhead), || {
            bulkhead.snapshot().totals
        });
        let before = bulkhead.snapshot().totals.calls();
        let calls = storm_of_layer(&BulkheadLayer::queued(&bulkhead));
        assert_exact(&bulkhead.snapshot().totals, before + calls);
        assert_eq!(bulkhead.snapshot().in_flight, 0);

        let retry = Retry::builder()
            .backoff(Backoff::constant(ms(1)))
            .budget(budget());
        let retry = retry.mode(mode).build().unwrap();
        let again = RetryLayer::new(&retry).only(|_: &Do| true);
        assert_exact_after(&again, || retry.snapshot().totals);

        let hedge = Hedge::builder()
            .delay(ms(0))
            .budget(budget())
            .mode(mode)
            .build()
            .unwrap();
        let again = HedgeLayer::new(&hedge).only(|_: &Do| true);
        assert_exact_after(&again, || hedge.snapshot().totals);

        let fallback = Fallback::builder().mode(mode).build().unwrap();
        let answer = FallbackLayer::new(&fallback, seawall::fallback::value(8_u32));
        assert_exact_after(&answer, || fallback.snapshot().totals);
    }
}

fn assert_exact_after<L>(layer: &L, totals: impl Fn() -> Totals)
where
    L: Layer<Mock> + Sync,
    L::Service: Service<Do, Error = BoxError>,
{
    let calls = storm_of_layer(layer);
    assert_exact(&totals(), calls);
}

#[test]
fn ob1_a_storm_of_permits_and_runs_is_counted_exactly() {
    let breaker = tripping("permits");
    let bulkhead = Bulkhead::new(3);
    let limiter = RateLimiter::builder(Quota::per_second(500).burst(100))
        .build()
        .unwrap();
    let timeout = Timeout::new(ms(1));
    let retry = Retry::builder()
        .backoff(Backoff::constant(ms(1)))
        .budget(budget());
    let retry = retry.build().unwrap();
    let calls = [(); 5].map(|()| AtomicU64::new(0));
    let count = |at: usize| calls[at].fetch_add(1, Ordering::Relaxed);
    storm(|random| {
        let failing = random.below(2) == 0;
        let call = || async move {
            match failing {
                true => Err(std::io::Error::other("failed")),
                false => Ok(7),
            }
        };
        count(0);
        match random.below(5) {
            0 => drop(breaker.try_acquire().map(|permit| permit.success())),
            1 => drop(breaker.try_acquire_owned().map(|permit| permit.failure())),
            2 => drop(breaker.try_acquire()),
            3 => drop(breaker.allow()),
            _ => drive(breaker.run(call), random),
        }
        count(1);
        match random.below(4) {
            0 => drop(bulkhead.try_acquire()),
            1 => drop(bulkhead.try_acquire_owned().map(|permit| permit.release())),
            2 => drive(bulkhead.run(call), random),
            _ => drive(bulkhead.run(std::future::pending::<Result<(), ()>>), random),
        }
        count(2);
        match random.below(5) {
            0 => drop(limiter.try_acquire()),
            1 => drop(limiter.allow()),
            2 => drop(limiter.reserve()),
            3 => drop(limiter.try_charge(1)),
            _ => drive(limiter.acquire(), random),
        }
        count(3);
        drive(timeout.run(call), random);
        count(4);
        drive(retry.run(|_| call()), random);
    });
    let totals = [
        breaker.snapshot().totals,
        bulkhead.snapshot().totals,
        limiter.snapshot().totals,
        timeout.snapshot().totals,
        retry.snapshot().totals,
    ];
    for (totals, calls) in totals.iter().zip(calls) {
        assert_exact(totals, calls.into_inner());
    }
}

#[test]
fn ob1_a_storm_of_keyed_and_joint_policies_is_counted_exactly_in_one_place() {
    let make = |key: &u64| Ok(tripping(&key.to_string()));
    let breakers = Keyed::<u64, CircuitBreaker>::builder(make)
        .name("counted keys")
        .capacity(4);
    let breakers = breakers.build().unwrap();
    let limits = RateLimiter::builder(Quota::per_second(100))
        .per_key::<u64>(8)
        .unwrap();
    let in_all = RateLimiter::builder(Quota::per_second(1_000)).name("counted in all");
    let in_all = in_all.build().unwrap();
    let both = limits.with_limits([in_all.clone()]).unwrap();
    let calls = AtomicU64::new(0);
    storm(|random| {
        calls.fetch_add(1, Ordering::Relaxed);
        // More keys than there are entries.
        let key = random.below(12);
        match random.below(3) {
            0 => drop(
                breakers
                    .get(&key)
                    .try_acquire()
                    .map(|permit| permit.success()),
            ),
            1 => drop(
                breakers
                    .get(&key)
                    .try_acquire()
                    .map(|permit| permit.failure()),
            ),
            _ => drop(breakers.get(&key).try_acquire()),
        }
        match random.below(2) {
            0 => drop(both.try_acquire(&key)),
            _ => drop(both.allow(&key)),
        }
    });
    let [Policy::Keyed(keyed)] = &*registry::find("counted keys") else {
        panic!("it is listed once");
    };
    let calls = calls.into_inner();
    assert_exact(&keyed.totals(), calls);
    assert_eq!(breakers.get(&1).snapshot().totals, keyed.totals());
    assert_exact(&both.anonymous().snapshot().totals, calls);
    let all = in_all.snapshot().totals;
    assert_all_ended(&all);
    let joint = both.anonymous().snapshot().totals;
    assert!(all.admitted() >= joint.admitted(), "{all:?} {joint:?}");
}

#[test]
fn ob1_a_storm_through_the_stacks_is_counted_exactly_by_every_part() {
    let client = ClientStack::builder("counted client").attempt_timeout(ms(2));
    let client = client.build().unwrap();
    let calls = storm_of_layer(&client);
    let server = ServerStack::new("counted server", 3);
    let to_server = storm_of_layer(&server);
    let mut parts = 0;
    for policy in registry::policies() {
        let totals = policy.totals();
        match policy.name().as_str() {
            "counted client.total_timeout" => assert_exact(&totals, calls),
            "counted server.timeout" => assert_exact(&totals, to_server),
            name if name.starts_with("counted client.") => assert_all_ended(&totals),
            name if name.starts_with("counted server.") => assert_all_ended(&totals),
            _ => continue,
        }
        parts += 1;
    }
    assert_eq!(parts, 11);
}

#[test]
fn ob1_more_threads_than_have_cells_of_their_own_are_counted_exactly() {
    let breaker = CircuitBreaker::new("many threads");
    let (most, all_alive) = (150, Barrier::new(150));
    thread::scope(|scope| {
        for _ in 0..most {
            scope.spawn(|| {
                all_alive.wait();
                (0..100).for_each(|_| breaker.try_acquire().unwrap().success());
                all_alive.wait();
            });
        }
    });
    let totals = breaker.snapshot().totals;
    assert_eq!(totals.ended_as(Ending::Success), 15_000);
    assert_exact(&totals, 15_000);
}

#[test]
fn ob1_each_kind_is_counted_by_its_label_and_mode_off_counts_nothing() {
    let breaker = CircuitBreaker::new("kinds");
    breaker
        .try_acquire()
        .unwrap()
        .failure_with(FailureKind::Throttled, None);
    breaker.try_acquire().unwrap().ignore();
    breaker.force_open();
    breaker.try_acquire().unwrap_err();
    breaker.set_mode(Mode::RecordOnly);
    breaker.try_acquire().unwrap().success();
    breaker.set_mode(Mode::Off);
    breaker.try_acquire().unwrap().success();
    let totals = breaker.snapshot().totals;
    assert_eq!(
        (totals.calls(), totals.admitted(), totals.rejected()),
        (4, 3, 1)
    );
    assert_eq!(totals.rejected_as(&RejectionKind::CircuitOpen), 1);
    assert_eq!(totals.would_reject_as(&RejectionKind::CircuitOpen), 1);
    let some = |all: &mut dyn Iterator<Item = (&'static str, u64)>| {
        all.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    let endings = [("success", 1), ("ignored", 1), ("failure", 1)];
    assert_eq!(some(&mut totals.endings()), endings);
    assert_eq!(some(&mut totals.failures()), [("throttled", 1)]);
    assert_eq!(some(&mut totals.rejections()), [("circuit_open", 1)]);
    assert_eq!(
        some(&mut totals.would_be_rejections()),
        [("circuit_open", 1)]
    );
    assert_eq!(
        (totals.rejections().count(), totals.endings().count()),
        (12, 9)
    );
}

#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn ob1_waits_and_durations_are_in_the_histogram() {
    let bulkhead = Bulkhead::builder(1)
        .queue(1)
        .max_wait(secs(1))
        .build()
        .unwrap();
    let held = bulkhead.try_acquire_owned().unwrap();
    let waits = tokio::spawn({
        let bulkhead = bulkhead.clone();
        async move { bulkhead.acquire().await.is_ok() }
    });
    tokio::time::sleep(ms(200)).await;
    held.release();
    assert!(waits.await.unwrap());
    let limiter = RateLimiter::builder(Quota::per_second(10).burst(1))
        .build()
        .unwrap();
    limiter.acquire().await.unwrap();
    limiter.acquire().await.unwrap();
    let timeout = Timeout::new(secs(1));
    let took = |time| {
        timeout.run(move || async move {
            tokio::time::sleep(time).await;
            Ok::<_, ()>(())
        })
    };
    took(ms(300)).await.unwrap();
    took(secs(5)).await.unwrap_err();
    let at_most = |totals: &Totals, share: f64| totals.times().percentile(share).unwrap();
    let waited = bulkhead.snapshot().totals;
    assert_eq!((waited.queued(), waited.times().count()), (1, 1));
    assert!(
        waited.times().sum() >= ms(199),
        "{:?}",
        waited.times().sum()
    );
    let waited = limiter.snapshot().totals;
    assert_eq!((waited.queued(), waited.times().count()), (1, 1));
    assert!(at_most(&waited, 0.5) <= ms(130) && waited.times().sum() >= ms(98));
    let totals = timeout.snapshot().totals;
    assert_eq!(
        (totals.cut_short(), totals.ended(), totals.rejected()),
        (1, 2, 0)
    );
    assert_eq!(totals.times().count(), 2);
    assert!((ms(300)..ms(380)).contains(&at_most(&totals, 0.5)));
    assert!((secs(1)..ms(1_260)).contains(&at_most(&totals, 1.0)));
}

#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn ob1_attempts_are_counted_by_result() {
    let spent = Budget::builder().ratio(0.0).burst(2).floor(0).build();
    let retry = Retry::builder()
        .backoff(Backoff::constant(ms(1)))
        .budget(spent.unwrap());
    let retry = retry.max_attempts(3).build().unwrap();
    let fails = |_| async { Err::<(), _>(std::io::Error::other("failed")) };
    retry.run(fails).await.unwrap_err();
    retry.run(fails).await.unwrap_err();
    let totals = retry.snapshot().totals;
    assert_eq!(
        (totals.admitted(), totals.extra(), totals.attempts()),
        (2, 2, 4)
    );
    assert_eq!(totals.retried_after(FailureKind::Error), 2);
    assert_eq!(totals.ended_as(Ending::Failure(FailureKind::Error)), 2);
    assert_eq!(totals.suppressed_by(Suppression::Budget), 1);
    assert_eq!((totals.won(), totals.suppressed()), (0, 1));
}

#[test]
fn ob2_labels_are_short_and_those_of_the_table() {
    let table = include_str!("../../src/event/mod.rs");
    let totals = Totals::default();
    let labels = totals.rejections().chain(totals.endings());
    let labels = labels.chain(totals.failures()).chain(totals.suppressions());
    for (label, _) in labels {
        let plain = label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(plain && label.len() <= 20, "{label}");
        assert!(table.contains(&format!("`{label}`")), "{label}");
    }
}
