//! CX7: callers that leave the full stack at every await point.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use seawall::event::Subscription;
use seawall::{Backoff, Bulkhead, Hedge, Jitter, Quota, RateLimiter, Timeout};
use tokio::time::{Sleep, advance, sleep};
use tower::{BoxError, Service, ServiceExt};

use super::{Policies, full, retry_every, tripping};
use crate::support::{Random, Recorder, Strict, Task, full_budget, locked, ms, secs};

const CALLS: usize = 10_000;

/// A service that is ready late now and then, or never, and whose calls are slow, fail or hang.
struct Erratic {
    shared: Arc<Shared>,
    readying: Option<Pin<Box<Sleep>>>,
}

struct Shared {
    random: Mutex<Random>,
    calls: AtomicUsize,
    in_flight: AtomicUsize,
}

impl Shared {
    fn below(&self, end: u64) -> u64 {
        locked(&self.random).below(end)
    }
}

impl Clone for Erratic {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self {
            shared,
            readying: None,
        }
    }
}

impl Service<u32> for Erratic {
    type Response = u32;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send + Sync>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.readying.is_none() {
            match self.shared.below(20) {
                0..3 => {
                    let late = ms(1 + self.shared.below(3));
                    self.readying = Some(Box::pin(sleep(late)));
                }
                3 => return Poll::Ready(Err("does not get ready".into())),
                _ => return Poll::Ready(Ok(())),
            }
        }
        if let Some(sleep) = &mut self.readying {
            ready!(sleep.as_mut().poll(cx));
        }
        self.readying = None;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        struct Flight(Arc<Shared>);

        impl Drop for Flight {
            fn drop(&mut self) {
                self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
            }
        }

        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        self.shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let flight = Flight(Arc::clone(&self.shared));
        let (takes, ends) = (ms(self.shared.below(12)), self.shared.below(10));
        Box::pin(async move {
            sleep(takes).await;
            match ends {
                0 => std::future::pending().await,
                1..5 => Err("down".into()),
                _ => {
                    drop(flight);
                    Ok(request)
                }
            }
        })
    }
}

/// Which callers leave, when there are too many.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// Any of them, one at a time.
    OneByOne,
    /// Half of them, at one instant.
    Half,
    /// All of them, from the first to the last.
    AllInOrder,
    /// All of them, from the last to the first.
    AllBackwards,
}

/// How many left at each point.
#[derive(Debug, Default)]
struct Left {
    queueing: usize,
    /// Waiting for a token, or for a ready service.
    in_place: usize,
    in_flight: usize,
    /// Backing off, or before an extra attempt was made.
    with_budget: usize,
    probing: usize,
    elsewhere: usize,
}

/// Everything that can be held.
struct Held {
    queued: u32,
    capacity: u32,
    calls: usize,
    budget: f64,
    probes: u32,
}

struct Storm {
    policies: Policies,
    inner: Arc<Shared>,
    left: Left,
    admitted: Recorder,
    _on: Subscription,
}

const BURST: u32 = 100_000;

impl Storm {
    fn new(seed: u64, limiter: RateLimiter) -> Self {
        let budget = full_budget();
        assert_eq!(budget.snapshot().balance, f64::from(BURST));
        let open = Backoff::constant(ms(8)).jitter(Jitter::None);
        let breaker = tripping(6).open_for(open).probes(2);
        let admitted = Recorder::new();
        let _on = limiter.on_event(admitted.listener());
        let hedge = Hedge::builder().delay(ms(4)).max_extra(2);
        Self {
            policies: Policies {
                total: Timeout::new(ms(60)),
                retry: retry_every(5).budget(&budget).build().unwrap(),
                hedge: hedge.budget(&budget).build().unwrap(),
                breaker: breaker.max_probe_time(ms(40)).build().unwrap(),
                bulkhead: Bulkhead::builder(6).queue(6).build().unwrap(),
                limiter,
                attempt: Timeout::new(ms(14)),
            },
            inner: Arc::new(Shared {
                random: Mutex::new(Random::new(seed)),
                calls: AtomicUsize::new(0),
                in_flight: AtomicUsize::new(0),
            }),
            left: Left::default(),
            admitted,
            _on,
        }
    }

    fn erratic(&self) -> Strict<Erratic> {
        Strict::new(Erratic {
            shared: Arc::clone(&self.inner),
            readying: None,
        })
    }

    /// The balance of the budget, and how much of it is spent.
    fn budget(&self) -> (f64, u64) {
        let budget = self.policies.hedge.budget().snapshot();
        (budget.balance, budget.made)
    }

    fn held(&self) -> Held {
        let bulkhead = self.policies.bulkhead.snapshot();
        let probes = self.policies.breaker.snapshot().probes;
        Held {
            queued: bulkhead.queued,
            capacity: bulkhead.in_flight,
            calls: self.inner.in_flight.load(Ordering::SeqCst),
            budget: self.budget().0,
            probes: probes.map_or(0, |probes| probes.in_flight),
        }
    }

    /// Drops a call and records what it held.
    fn leave<F>(&mut self, call: Task<F>) {
        let before = self.held();
        drop(call);
        let after = self.held();
        let left = &mut self.left;
        let flying = after.calls < before.calls;
        let queueing = after.queued < before.queued && !flying;
        let in_place = after.capacity < before.capacity && !flying && !queueing;
        let with_budget = after.budget > before.budget;
        let probing = after.probes < before.probes;
        left.in_flight += usize::from(flying);
        left.queueing += usize::from(queueing);
        left.in_place += usize::from(in_place);
        left.with_budget += usize::from(with_budget);
        left.probing += usize::from(probing);
        let somewhere = flying || queueing || in_place || with_budget || probing;
        left.elsewhere += usize::from(!somewhere);
    }

    async fn run(&mut self, seed: u64, leaving: Leaving, service: impl Caller) {
        let mut random = Random::new(seed);
        let mut at = |end: usize| usize::try_from(random.below(end as u64)).unwrap();
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            calls.push(Task::new(service.clone().oneshot(1)));
            for _ in 0..at(3) {
                advance(ms(at(4) as u64)).await;
                calls.retain_mut(|call| call.run().is_pending());
            }
            let most = 1 + at(24);
            match leaving {
                _ if calls.len() <= most => {}
                Leaving::OneByOne => {
                    while calls.len() > most {
                        let call = calls.swap_remove(at(calls.len()));
                        self.leave(call);
                    }
                }
                Leaving::Half => {
                    for _ in 0..calls.len().div_ceil(2) {
                        let call = calls.swap_remove(at(calls.len()));
                        self.leave(call);
                    }
                }
                Leaving::AllInOrder => calls.drain(..).for_each(|call| self.leave(call)),
                Leaving::AllBackwards => calls.drain(..).rev().for_each(|call| self.leave(call)),
            }
        }
        calls.into_iter().for_each(|call| self.leave(call));
        let left = &self.left;
        let capacity = [left.queueing, left.in_place, left.in_flight];
        let others = [left.with_budget, left.probing, left.elsewhere];
        assert!(
            capacity.into_iter().chain(others).min() > Some(0),
            "{left:?}"
        );
    }

    /// Everything is as at the start.
    async fn over(&self) {
        let Policies {
            retry,
            hedge,
            breaker,
            bulkhead,
            ..
        } = &self.policies;
        let held = self.held();
        assert_eq!((held.queued, held.capacity), (0, 0));
        assert_eq!((held.calls, held.probes), (0, 0));
        let (balance, made) = self.budget();
        assert_eq!(made, retry.snapshot().retried + hedge.snapshot().made);
        assert_eq!(
            balance,
            f64::from(BURST) - made as f64,
            "what was made is spent"
        );
        assert!(made > 500, "{made}");

        // And all of them are available.
        let capacity: Vec<_> = (0..6).map(|_| bulkhead.try_acquire().unwrap()).collect();
        assert!(bulkhead.try_acquire().is_err());
        drop(capacity);
        breaker.reset();
        (0..6).for_each(|_| breaker.try_acquire().unwrap().failure());
        advance(ms(8)).await;
        let probes: Vec<_> = (0..2).map(|_| breaker.try_acquire().unwrap()).collect();
        assert!(breaker.try_acquire().is_err());
        drop(probes);
        // Only the stack, which is dropped, and this hold a service.
        assert_eq!(Arc::strong_count(&self.inner), 1);
        assert!(self.inner.calls.load(Ordering::SeqCst) > CALLS / 10);
    }
}

trait Caller: Service<u32, Response = u32, Error = BoxError> + Clone {}

impl<S: Service<u32, Response = u32, Error = BoxError> + Clone> Caller for S {}

const SCHEDULES: [(u64, Leaving); 4] = [
    (1, Leaving::OneByOne),
    (2, Leaving::Half),
    (3, Leaving::AllInOrder),
    (4, Leaving::AllBackwards),
];

// CX7, CX3, CX13: over a rejecting limiter, with one token for each admitted call.
#[tokio::test(start_paused = true)]
async fn cx7_ten_thousand_calls_dropped_at_every_await_point_return_everything() {
    for (seed, leaving) in SCHEDULES {
        // No token refills while this runs.
        let quota = Quota::new(BURST, Duration::from_secs(30 * 24 * 3_600));
        let limiter = RateLimiter::builder(quota).build().unwrap();
        let mut storm = Storm::new(seed, limiter);
        let service = full!(storm.policies, new).service(storm.erratic());
        storm.run(seed, leaving, service).await;
        storm.over().await;
        let admitted = storm.admitted.endings();
        let admitted = admitted
            .iter()
            .filter(|ending| *ending == "Admitted")
            .count();
        let available = storm.policies.limiter.available() as usize;
        assert_eq!(available + admitted, BURST as usize);
    }
}

// CX7, RL5: over a waiting limiter with few tokens.
#[tokio::test(start_paused = true)]
async fn cx7_rl5_calls_dropped_while_they_wait_for_tokens_return_everything() {
    for (seed, leaving) in SCHEDULES {
        let max_wait = ms(10);
        let limiter = RateLimiter::builder(Quota::per_second(700).burst(3)).max_wait(max_wait);
        let mut storm = Storm::new(seed, limiter.build().unwrap());
        let service = full!(storm.policies, waiting).service(storm.erratic());
        storm.run(seed, leaving, service).await;
        storm.over().await;
        let Policies {
            limiter, breaker, ..
        } = &storm.policies;
        // Tokens that the dropped calls had reserved delay no waiter for longer than they would have waited.
        advance(max_wait).await;
        limiter.try_acquire().unwrap();
        advance(secs(1)).await;
        assert_eq!(limiter.available(), 3);

        // The last waiter returns all of its token.
        limiter.try_acquire_n(3).unwrap();
        breaker.reset();
        let next = limiter.peek().unwrap_err().retry_after();
        let service = full!(storm.policies, waiting).service(storm.erratic());
        let mut calls: Vec<_> = (0..4)
            .map(|_| Task::new(service.clone().oneshot(1)))
            .collect();
        calls.retain_mut(|call| call.run().is_pending());
        assert!(limiter.peek().unwrap_err().retry_after() > next);
        while calls.pop().is_some() {}
        assert_eq!(limiter.peek().unwrap_err().retry_after(), next);
    }
}
