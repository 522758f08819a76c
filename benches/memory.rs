//! The memory of policies and of calls in flight: the bytes of the value, and those on the heap.
//!
//! ```text
//! cargo bench --manifest-path benches/Cargo.toml --bench memory -- [--record] [FILTER..]
//! ```

use std::future::{Future, Pending, pending};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tower::retry::budget::TpsBudget;
use ::tower::{Service, ServiceBuilder};
use allocation_counter::measure;
use clap::Parser;
use failsafe::{StateMachine, backoff, failure_policy};
use governor::{Quota as Governor, RateLimiter as GovernorLimiter};
use recloser::Recloser;
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Hedge,
    HedgeLayer, Keyed, Quota, RateLimitLayer, RateLimiter, Retry, RetryLayer, TimeoutLayer, Trip,
    Window,
};
use seawall_benches::noop::Fault;
use seawall_benches::ours::{WINDOW, ours};
use seawall_benches::peers::{resilience, tower};
use seawall_benches::{Args, Machine, Sheet};

const LONG: Duration = Duration::from_secs(3_600);
const LARGE: u32 = 1_000_000_000;

struct Memory {
    args: Args,
    sheet: Sheet,
}

impl Memory {
    /// One more, after a first one of its kind.
    fn each<T>(&mut self, what: &str, mut make: impl FnMut() -> T) {
        self.per(what, size_of::<T>(), 1, || {
            let mut all = Vec::with_capacity(1);
            // The first one of a process allocates for all later ones.
            drop(make());
            let heap = measure(|| all.push(make())).bytes_current;
            drop(all);
            heap
        });
    }

    /// `of` returns the bytes that stay on the heap for `n` of them.
    fn per(&mut self, what: &str, held: usize, n: usize, of: impl FnOnce() -> i64) {
        if !self.args.wants(what) {
            return;
        }
        if self.args.list {
            println!("{what}");
            return;
        }
        let heap = of() as f64 / n as f64;
        let digits = if heap.fract() == 0.0 { 0 } else { 1 };
        self.sheet.push([
            what.to_owned(),
            held.to_string(),
            format!("{heap:.digits$}"),
            format!("{:.digits$}", held as f64 + heap),
        ]);
    }

    fn limiters(&mut self) {
        let governor = |burst| {
            let quota = Governor::per_second(NonZeroU32::new(LARGE).unwrap());
            let limiter = GovernorLimiter::direct(quota.allow_burst(burst));
            assert!(limiter.check().is_ok());
            limiter
        };
        let seawall = |burst| {
            let limiter = RateLimiter::builder(Quota::per_second(LARGE).burst(burst));
            // A name of its own counts; the default one is the call site of the builder.
            let limiter = limiter.name("limiter").build().unwrap();
            assert!(limiter.allow());
            limiter
        };
        self.each("limiter: governor", || governor(NonZeroU32::MIN));
        self.each("limiter: rate-net direct", || {
            rate_net::DirectLimiter::per_second(LARGE)
        });
        self.each("limiter: seawall, small burst", || seawall(100));
        self.each("limiter: seawall, large burst", || seawall(LARGE));
    }

    fn breakers(&mut self) {
        let seawall = |trips: &[Trip]| {
            let breaker = CircuitBreaker::builder("breaker").trips(trips.to_vec());
            let breaker = breaker.build().unwrap();
            breaker.try_acquire().unwrap().success();
            breaker
        };
        let rate = || Trip::failure_rate(0.5);
        self.each("breaker: recloser, last 100", || {
            Recloser::custom().closed_len(100).build()
        });
        self.each("breaker: failsafe, over time", || {
            let secs = Duration::from_secs(10);
            let backoff = backoff::constant(LONG);
            let policy = failure_policy::success_rate_over_time_window(0.5, 20, secs, backoff);
            StateMachine::new(policy, ())
        });
        self.each("breaker: seawall, consecutive", || {
            seawall(&[Trip::consecutive_failures(5)])
        });
        self.each("breaker: seawall, last 100", || {
            seawall(&[rate().over(Window::count(100))])
        });
        self.each("breaker: seawall, over time", || seawall(&[rate()]));
        self.each("breaker: seawall, default rules", || {
            CircuitBreaker::new("breaker")
        });
    }

    fn others(&mut self) {
        self.each("bulkhead: tokio::sync::Semaphore", || {
            tokio::sync::Semaphore::new(64)
        });
        self.each("bulkhead: seawall", || Bulkhead::new(64));
        self.each("bulkhead: seawall, a queue of 128", || {
            Bulkhead::builder(64).queue(128).build().unwrap()
        });
        self.each("budget: tower", TpsBudget::default);
        self.each("budget: seawall", || Budget::percent(10));
        self.each("retry: seawall", || {
            Retry::new(Backoff::exponential(Duration::from_millis(50)))
        });
        self.each("hedge: seawall, at a quantile", || {
            Hedge::builder().quantile(0.95).build().unwrap()
        });
    }

    /// A full store of keys.
    fn keys(&mut self) {
        for keys in [10_000_u64, 1_000_000] {
            let what = |kind| format!("a key of {keys}: {kind}");
            let n = keys as usize;
            self.per(&what("governor"), 0, n, || {
                let limiter = GovernorLimiter::dashmap(Governor::per_hour(NonZeroU32::MIN));
                let heap = measure(|| {
                    (0..keys).for_each(|key| assert!(limiter.check_key(&key).is_ok()));
                });
                heap.bytes_current
            });
            self.per(&what("seawall"), 0, n, || {
                let mut held = None;
                let heap = measure(|| {
                    let limiter = Keyed::limit(n, Quota::per_hour(1)).unwrap();
                    (0..keys).for_each(|key| _ = limiter.allow(&key));
                    held = Some(limiter);
                });
                drop(held);
                heap.bytes_current
            });
            self.per(&what("rate-net"), 0, n, || {
                let room = rate_net::Eviction::capacity(n);
                let mut held = None;
                let heap = measure(|| {
                    let limiter = rate_net::RateLimiter::per_minute(1).with_eviction(room);
                    (0..keys).for_each(|key| assert!(limiter.check(key).is_allow()));
                    held = Some(limiter);
                });
                drop(held);
                heap.bytes_current
            });
        }
    }

    /// A call that waits for the inner service, with its timers armed.
    fn call<S>(&mut self, what: &str, mut service: S)
    where
        S: Service<u32>,
    {
        const CALLS: usize = 1_000;
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = |calls: &mut Vec<S::Future>| {
            assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
            let call = service.call(7);
            calls.push(call);
        };
        // Futures that do not move need no box: what they allocate is measured.
        let mut calls = Vec::with_capacity(CALLS);
        let poll = |future: Pin<&mut S::Future>| {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(future.poll(&mut cx).is_pending());
        };
        // The first one of a process, as above.
        let mut first = Vec::with_capacity(1);
        call(&mut first);
        let first = first.pop().unwrap();
        poll(Box::pin(first).as_mut());
        self.per(what, size_of::<S::Future>(), CALLS, || {
            let made = measure(|| (0..CALLS).for_each(|_| call(&mut calls)));
            let mut pinned: Vec<_> = calls.drain(..).map(Box::pin).collect();
            let polled = measure(|| pinned.iter_mut().for_each(|call| poll(call.as_mut())));
            made.bytes_current + polled.bytes_current
        });
    }
}

/// It never answers.
#[derive(Clone)]
struct Never;

impl Service<u32> for Never {
    type Response = u32;
    type Error = Fault;
    type Future = Pending<Result<u32, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        pending()
    }
}

fn calls(memory: &mut Memory) {
    let room = Bulkhead::builder(10_000).queue(10_000).build().unwrap();
    let limiter = RateLimiter::per_second(LARGE);
    let budget = Budget::percent(10);
    let retry = Retry::builder().budget(&budget).build().unwrap();
    let hedge = Hedge::builder().quantile(0.95).budget(&budget);
    let hedge = hedge.build().unwrap();
    let breaker = CircuitBreaker::new("breaker");
    macro_rules! on {
        ($name:literal, $layer:expr) => {
            memory.call($name, ServiceBuilder::new().layer($layer).service(Never));
        };
    }
    on!(
        "call: timeout, tower",
        ::tower::timeout::TimeoutLayer::new(LONG)
    );
    on!("call: timeout, seawall", TimeoutLayer::new(LONG));
    on!(
        "call: bulkhead, tower",
        ::tower::limit::ConcurrencyLimitLayer::new(10_000)
    );
    on!("call: bulkhead, seawall", BulkheadLayer::new(&room));
    on!(
        "call: bulkhead, seawall, queued",
        BulkheadLayer::queued(&room)
    );
    let full = Bulkhead::builder(1).queue(10_000).build().unwrap();
    let _permit = full.try_acquire().unwrap();
    on!(
        "call: bulkhead, seawall, in the queue",
        BulkheadLayer::queued(&full)
    );
    on!("call: rate limit, seawall", RateLimitLayer::new(&limiter));
    on!("call: breaker, seawall", CircuitBreakerLayer::new(&breaker));
    on!("call: retry, seawall", RetryLayer::new(&retry));
    on!("call: hedge, seawall", HedgeLayer::new(&hedge));
    memory.call("call: full stack, tower", tower(Never, 20));
    memory.call("call: full stack, tower-resilience", resilience(Never));
    memory.call("call: full stack, seawall", ours(Never, WINDOW));
}

fn main() {
    let args = Args::parse();
    let machine = Machine::read();
    let header = &["what", "bytes held", "on the heap", "in all"];
    let mut memory = Memory {
        args: args.clone(),
        sheet: Sheet::new(header, &[1, 2, 3]),
    };
    memory.limiters();
    memory.breakers();
    memory.others();
    memory.keys();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let _entered = runtime.enter();
    calls(&mut memory);
    if !args.list {
        let last =
            "Per limiter, breaker, key or call. A call is its future, and what that allocated.";
        memory.sheet.finish("memory", &machine, last, args.record);
    }
}
