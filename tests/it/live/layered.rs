//! Policies as layers: attempts, timeouts, queues, and all patterns in one stack.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::bulkhead::Order;
use seawall::circuit_breaker::State;
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Hedge,
    HedgeLayer, Mode, Quota, RateLimitLayer, RateLimiter, Reason, RejectionKind, Retry, RetryLayer,
    Timeout, TimeoutLayer, Trip, Window,
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::record::{Changing, Log, Observed};
use super::{Call, Part, World, add, count};
use crate::support::{Random, full_budget, ms, secs};

pub(super) fn parts(world: &World) -> Vec<Box<dyn Part>> {
    vec![
        Box::new(Attempts(Changing::new(world, "attempts", 3, |listener| {
            let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
            retry.no_budget().on_event(listener).build().unwrap()
        }))),
        Box::new(Limits(Changing::new(world, "limits", ms(2), |listener| {
            Timeout::builder(ms(2)).on_event(listener).build().unwrap()
        }))),
        Box::new(Races(Changing::new(
            world,
            "races",
            (true, 1),
            |listener| {
                let hedge = Hedge::builder().delay(ms(0)).budget(full_budget());
                hedge.on_event(listener).build().unwrap()
            },
        ))),
        Box::new(Permits::new(world)),
        Box::new(Paid::new(world)),
        Box::new(Stack::new(world)),
    ]
}

/// What the service does.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    Fail,
    Take(Duration),
    Hang,
}

#[derive(Clone, Debug)]
struct Request {
    id: u64,
    does: Does,
    /// By all copies together.
    attempts: Rc<Cell<usize>>,
}

seawall::resend!(Request);

impl Request {
    fn new(id: u64, does: Does) -> Self {
        let attempts = Rc::default();
        Self { id, does, attempts }
    }
}

/// Counts while it lives.
struct InFlight<'a>(Option<&'a AtomicUsize>);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

async fn serve(request: Request) -> Result<u64, BoxError> {
    request.attempts.set(request.attempts.get() + 1);
    match request.does {
        Does::Answer => {}
        Does::Fail => return Err("down".into()),
        Does::Take(time) => tokio::time::sleep(time).await,
        Does::Hang => std::future::pending().await,
    }
    Ok(request.id)
}

type Outcome = Result<u64, BoxError>;

/// Makes one call, which has to end by one of the settings that were in force at its start.
async fn call<S, V>(
    world: &World,
    settings: &Log<Option<V>>,
    does: Does,
    mut service: S,
    allowed: impl Fn(&Outcome, usize, &Option<V>) -> bool,
) where
    S: Service<Request, Response = u64, Error = BoxError>,
{
    let request = Request::new(1, does);
    let attempts = Rc::clone(&request.attempts);
    let service = service.ready().await.unwrap();
    let from = settings.before();
    let call = service.call(request);
    let span = settings.since(from);
    let outcome = call.await;
    let allowed = |settings: &[Option<V>]| {
        settings
            .iter()
            .any(|setting| allowed(&outcome, attempts.get(), setting))
    };
    world.check(settings.during(span, allowed), || {
        format!("{does:?}: {outcome:?} after {attempts:?} attempts, by no setting")
    });
    tokio::task::yield_now().await;
}

/// A retry whose every attempt fails: a call makes as many as were allowed.
struct Attempts(Arc<Changing<Retry, usize>>);

impl Part for Attempts {
    fn call<'a>(&'a self, world: &'a World, _: &'a mut Random) -> Call<'a> {
        let layers = ServiceBuilder::new().layer(self.0.watch.clone());
        let service = layers
            .layer(RetryLayer::new(&self.0.policy))
            .service_fn(serve);
        let allowed = |outcome: &Outcome, made, most: &Option<_>| {
            outcome.is_err() && most.unwrap_or(1) == made
        };
        Box::pin(call(world, &self.0.settings, Does::Fail, service, allowed))
    }

    fn change(&self, world: &World, random: &mut Random, _: u64) {
        let most = 1 + random.below(4);
        self.0.set(most.try_into().unwrap(), |retry| {
            let changed = retry.change(|now| now.max_attempts(most.try_into().unwrap()));
            world.check(changed.is_ok(), || format!("{changed:?}"));
        });
    }
}

/// A timeout around a service that answers late if there may be no timeout: a call ends by a limit
/// that was in force at its start, or by the service if there was none.
struct Limits(Arc<Changing<Timeout, Duration>>);

impl Limits {
    async fn serve(&self, request: Request) -> Outcome {
        let span = self.0.settings.since(self.0.settings.before());
        let maybe_off = self
            .0
            .settings
            .during(span, |limits| limits.contains(&None));
        tokio::time::sleep(if maybe_off { ms(8) } else { secs(2) }).await;
        Ok(request.id)
    }
}

impl Part for Limits {
    fn call<'a>(&'a self, world: &'a World, _: &'a mut Random) -> Call<'a> {
        let layers = ServiceBuilder::new().layer(self.0.watch.clone());
        let layers = layers.layer(TimeoutLayer::new(&self.0.policy));
        let service = layers.service_fn(|request| self.serve(request));
        let allowed =
            |outcome: &Outcome, _, setting: &Option<Duration>| match outcome.as_ref().map_err(kind)
            {
                Ok(_) => setting.is_none(),
                Err(Some(RejectionKind::TimedOut { limit, .. })) => *setting == Some(limit),
                Err(_) => false,
            };
        Box::pin(call(
            world,
            &self.0.settings,
            Does::Answer,
            service,
            allowed,
        ))
    }

    fn change(&self, _: &World, random: &mut Random, _: u64) {
        let limit = ms(1 + random.below(5));
        self.0
            .set(limit, |timeout| timeout.set_limit(limit).unwrap());
    }
}

/// A hedge over a slow service: a call makes as many attempts as were allowed. The setting is
/// whether the delay is zero, and the number of extra attempts.
struct Races(Arc<Changing<Hedge, (bool, usize)>>);

impl Part for Races {
    fn call<'a>(&'a self, world: &'a World, _: &'a mut Random) -> Call<'a> {
        let layers = ServiceBuilder::new().layer(self.0.watch.clone());
        let service = layers
            .layer(HedgeLayer::new(&self.0.policy))
            .service_fn(serve);
        let allowed = |outcome: &Outcome, made, setting: &Option<(bool, usize)>| {
            let most = 1 + setting.map_or(0, |(_, extra)| extra);
            let least = if let Some((false, _)) = setting {
                1
            } else {
                most
            };
            outcome.is_ok() && (least..=most).contains(&made)
        };
        let does = Does::Take(ms(3));
        Box::pin(call(world, &self.0.settings, does, service, allowed))
    }

    fn change(&self, _: &World, random: &mut Random, _: u64) {
        let now = self.0.policy.snapshot();
        let mut extra = now.max_extra;
        let mut delay = now.delay.unwrap();
        if random.below(3) == 0 {
            extra = (1 + random.below(4)).try_into().unwrap();
        } else {
            delay = ms(random.below(2));
        }
        self.0
            .set((delay == ms(0), extra.try_into().unwrap()), |hedge| {
                // One of them is as before.
                hedge.change(|now| now.max_extra(extra)).unwrap();
                hedge.set_delay(delay);
            });
    }
}

/// A bulkhead with a queue.
struct Permits {
    bulkhead: Arc<Changing<Bulkhead, u32>>,
    in_flight: AtomicUsize,
}

/// Reads the limits before each poll: what admitted a call was done after the poll before.
struct Polls<'a, F> {
    call: Pin<Box<F>>,
    limits: &'a Log<Option<u32>>,
    read: usize,
    /// Where the log stood before the call can have been admitted.
    from: Rc<Cell<usize>>,
}

impl<F: Future> Future for Polls<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.from.set(this.read);
        this.read = this.limits.before();
        this.call.as_mut().poll(cx)
    }
}

impl Permits {
    fn new(world: &World) -> Self {
        Self {
            bulkhead: Changing::new(world, "permits", 2, |listener| {
                let bulkhead = Bulkhead::builder(2).queue(6).max_wait(ms(5));
                bulkhead.on_event(listener).build().unwrap()
            }),
            in_flight: AtomicUsize::new(0),
        }
    }

    fn polls<F>(&self, from: &Rc<Cell<usize>>, call: impl FnOnce() -> F) -> Polls<'_, F> {
        let limits = &self.bulkhead.settings;
        let read = limits.before();
        from.set(read);
        Polls {
            call: Box::pin(call()),
            limits,
            read,
            from: Rc::clone(from),
        }
    }

    /// Counts a call that was admitted after `from` was read, if there was a limit all the time: with it
    /// not more are in flight than the greatest limit that may have been in force since.
    fn enter(&self, world: &World, from: usize) -> InFlight<'_> {
        let limits = &self.bulkhead.settings;
        if !limits.during(limits.since(from), |limits| {
            limits.iter().all(Option::is_some)
        }) {
            return InFlight(None);
        }
        let together = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let most = |limits: &[Option<u32>]| limits.iter().flatten().max().copied();
        let limit = limits.during(limits.since(from), most).unwrap();
        world.check(together <= limit as usize, || {
            format!("{together} in flight, the limit was at most {limit}")
        });
        InFlight(Some(&self.in_flight))
    }

    /// Takes permits at once, and holds each for the next three tries.
    async fn try_acquire(&self, world: &World) {
        let mut held = VecDeque::new();
        for _ in 0..20 {
            let from = self.bulkhead.settings.before();
            let mut call = self.bulkhead.watch.start();
            let permit = call.make(|| self.bulkhead.policy.try_acquire());
            held.push_back(
                permit
                    .ok()
                    .map(|permit| (self.enter(world, from), call, permit)),
            );
            if held.len() > 3 {
                release(held.pop_front().flatten());
            }
        }
        tokio::task::yield_now().await;
        held.into_iter().for_each(release);
    }

    /// Waits for a permit directly.
    async fn acquire(&self, world: &World) {
        let from = Rc::default();
        let mut call = self.bulkhead.watch.start();
        let acquire = self.polls(&from, || self.bulkhead.policy.acquire());
        let Ok(permit) = call.run(acquire).await else {
            return tokio::task::yield_now().await;
        };
        let in_flight = self.enter(world, from.get());
        tokio::time::sleep(ms(1)).await;
        release(Some((in_flight, call, permit)));
    }

    /// Waits for a permit through the layer, and gives up on some.
    async fn call_queued(&self, world: &World, patience: Duration) {
        let from = Rc::<Cell<usize>>::default();
        let layers = ServiceBuilder::new().layer(self.bulkhead.watch.clone());
        let layers = layers.layer(BulkheadLayer::queued(&self.bulkhead.policy));
        let admitted = Rc::clone(&from);
        let service = layers.service_fn(move |()| {
            let in_flight = self.enter(world, admitted.get());
            async move {
                let _in_flight = in_flight;
                tokio::time::sleep(ms(1)).await;
                Ok::<_, BoxError>(())
            }
        });
        let call = self.polls(&from, || service.oneshot(()));
        let _ = tokio::time::timeout(patience, call).await;
        tokio::task::yield_now().await;
    }
}

impl Part for Permits {
    fn call<'a>(&'a self, world: &'a World, random: &'a mut Random) -> Call<'a> {
        match random.below(10) {
            0..2 => Box::pin(self.try_acquire(world)),
            2..5 => Box::pin(self.acquire(world)),
            5 => Box::pin(self.call_queued(world, ms(2))),
            _ => Box::pin(self.call_queued(world, secs(600))),
        }
    }

    fn change(&self, _: &World, random: &mut Random, _: u64) {
        let limit = u32::try_from(random.below(5)).unwrap();
        self.bulkhead.set(limit, |bulkhead| {
            bulkhead.set_limit(limit).unwrap();
        });
        let bulkhead = &self.bulkhead.policy;
        let max_wait = ms(1 + random.below(5));
        let order = [Order::Fifo, Order::Lifo][usize::from(random.below(2) == 0)];
        bulkhead
            .change(|now| now.max_wait(max_wait).queue(1 + limit).order(order))
            .unwrap();
    }

    fn finish(&self, world: &World) {
        has_all_permits(world, &self.bulkhead.policy);
    }
}

fn release<P>(held: Option<(InFlight<'_>, Observed, P)>) {
    if let Some((in_flight, mut call, permit)) = held {
        drop(in_flight);
        call.within(|| drop(permit));
    }
}

/// All permits of an idle bulkhead are available, and no others.
fn has_all_permits(world: &World, bulkhead: &Bulkhead) {
    bulkhead.set_mode(Mode::Enforce);
    bulkhead.set_limit(5).unwrap();
    let now = bulkhead.snapshot();
    let permits: Vec<_> = (0..9).filter_map(|_| bulkhead.try_acquire().ok()).collect();
    let counts = (now.in_flight, now.queued, permits.len());
    world.check(counts == (0, 0, 5), || format!("{counts:?} permits"));
}

/// An idle breaker that becomes half-open has all probe permits, also after changes in between.
fn has_all_probe_permits(world: &World, breaker: &CircuitBreaker) {
    let out = breaker
        .snapshot()
        .probes
        .map_or(0, |probes| probes.in_flight);
    breaker.set_mode(Mode::Enforce);
    let changed = breaker.change(|now| {
        let now = now.trips([Trip::consecutive_failures(1)]).probes(3);
        now.close_after(3)
            .no_ramp()
            .open_for(Backoff::constant(ms(1)))
    });
    changed.unwrap();
    breaker.reset();
    breaker.try_acquire().unwrap().failure();
    while breaker.state() != State::HalfOpen {
        std::thread::yield_now();
    }
    let more = || (0..9).filter_map(|_| breaker.try_acquire().ok());
    let first: Vec<_> = more().take(2).collect();
    breaker.change(|now| now.probes(4).close_after(2)).unwrap();
    breaker.set_mode(Mode::RecordOnly);
    breaker.set_mode(Mode::Enforce);
    let probes = first.len() + more().collect::<Vec<_>>().len();
    world.check((out, probes) == (0, 4), || {
        format!("{out} probes in flight at the end, {probes} of 4 permits")
    });
}

/// A retry and a hedge that draw on one budget. Every attempt fails.
struct Paid {
    budget: Budget,
    retry: Retry,
    hedge: Hedge,
    calls: AtomicUsize,
    attempts: AtomicUsize,
    start: u64,
}

impl Paid {
    const BURST: u64 = 20;
    /// In thousandths.
    const RATIO: u64 = 200;
    const FLOOR: u64 = 20;

    fn new(world: &World) -> Self {
        let budget = Budget::builder().burst(20).ratio(0.1).floor(5);
        let budget = budget.build().unwrap();
        let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
        let hedge = Hedge::builder().delay(ms(0)).budget(&budget);
        Self {
            retry: retry.budget(&budget).build().unwrap(),
            hedge: hedge.build().unwrap(),
            budget,
            calls: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            start: world.clock.now(),
        }
    }
}

impl Part for Paid {
    fn call<'a>(&'a self, _: &'a World, _: &'a mut Random) -> Call<'a> {
        Box::pin(async {
            let layers = ServiceBuilder::new().layer(RetryLayer::new(&self.retry));
            let service = layers.layer(HedgeLayer::new(&self.hedge)).service_fn(serve);
            let request = Request::new(0, Does::Fail);
            let attempts = Rc::clone(&request.attempts);
            add(&self.calls, 1);
            let _ = service.oneshot(request).await;
            add(&self.attempts, attempts.get());
            tokio::time::sleep(ms(1)).await;
        })
    }

    fn change(&self, world: &World, random: &mut Random, round: u64) {
        let up_to = |random: &mut Random, most| u32::try_from(random.below(most + 1)).unwrap();
        let ratio = f64::from(up_to(random, Self::RATIO)) / 1_000.0;
        self.budget.set_ratio(ratio).unwrap();
        let (burst, floor) = (up_to(random, Self::BURST), up_to(random, Self::FLOOR));
        self.budget
            .change(|now| now.burst(burst).floor(floor))
            .unwrap();
        let attempts = 1 + up_to(random, 3);
        let changed = self.retry.change(|now| now.max_attempts(attempts));
        world.check(changed.is_ok(), || format!("{changed:?}"));
        let extra = 1 + up_to(random, 2);
        self.hedge.change(|now| now.max_extra(extra)).unwrap();
        if round % 64 == 0 {
            self.hedge.set_mode(super::any_mode(random));
        }
    }

    /// RT4 with the largest ratio, burst and floor that were ever in force.
    fn finish(&self, world: &World) {
        let calls = count(&self.calls) as u64;
        let extra = count(&self.attempts) as u64 - calls;
        let nanos = world.clock.now() - self.start;
        let earned = (Self::BURST * 1_000 + Self::RATIO * calls) * 1_000_000;
        let most = earned + Self::FLOOR * nanos;
        let budget = self.budget.snapshot();
        let counted = budget.made == extra && extra > 100 && budget.suppressed > 0;
        world.check(counted && extra * 1_000_000_000 <= most, || {
            format!("{extra} extra attempts of {calls} calls in {nanos} ns, {budget:?}")
        });
    }
}

/// All patterns, one below the other.
struct Stack {
    total: Arc<Changing<Timeout, ()>>,
    retry: Arc<Changing<Retry, ()>>,
    hedge: Arc<Changing<Hedge, ()>>,
    breaker: Arc<Changing<CircuitBreaker, ()>>,
    bulkhead: Arc<Changing<Bulkhead, ()>>,
    limiter: Arc<Changing<RateLimiter, ()>>,
    budget: Budget,
    in_flight: AtomicUsize,
    /// Answered, rejected, failed.
    outcomes: [AtomicUsize; 3],
}

impl Stack {
    fn new(world: &World) -> Self {
        let budget = Budget::percent(10);
        Self {
            total: Changing::new(world, "total", (), |listener| {
                Timeout::builder(ms(50)).on_event(listener).build().unwrap()
            }),
            retry: Changing::new(world, "retry", (), |listener| {
                let retry = Retry::builder().on_event(listener).budget(&budget);
                retry.backoff(Backoff::constant(ms(1))).build().unwrap()
            }),
            hedge: Changing::new(world, "hedge", (), |listener| {
                let hedge = Hedge::builder().on_event(listener).budget(&budget);
                hedge.delay(ms(1)).min_samples(10).build().unwrap()
            }),
            breaker: Changing::new(world, "breaker", (), |listener| {
                let breaker = CircuitBreaker::builder("breaker").on_event(listener);
                breaker.build().unwrap()
            }),
            bulkhead: Changing::new(world, "bulkhead", (), |listener| {
                let bulkhead = Bulkhead::builder(8).queue(8).on_event(listener);
                bulkhead.max_wait(ms(4)).build().unwrap()
            }),
            limiter: Changing::new(world, "limiter", (), |listener| {
                let limiter = RateLimiter::builder(Quota::per_second(1_000)).on_event(listener);
                limiter.max_wait(ms(4)).build().unwrap()
            }),
            budget,
            in_flight: AtomicUsize::new(0),
            outcomes: [0; 3].map(AtomicUsize::new),
        }
    }

    async fn call_through_all(&self, world: &World, random: &mut Random) {
        let layers = ServiceBuilder::new()
            .layer(self.total.watch.clone())
            .layer(TimeoutLayer::new(&self.total.policy))
            .layer(self.retry.watch.clone())
            .layer(RetryLayer::new(&self.retry.policy))
            .layer(self.hedge.watch.clone())
            .layer(HedgeLayer::new(&self.hedge.policy))
            .layer(self.breaker.watch.clone())
            .layer(CircuitBreakerLayer::new(&self.breaker.policy))
            .layer(self.bulkhead.watch.clone())
            .layer(BulkheadLayer::queued(&self.bulkhead.policy))
            .layer(self.limiter.watch.clone())
            .layer(RateLimitLayer::waiting(&self.limiter.policy));
        let service = layers.service_fn(|request| {
            add(&self.in_flight, 1);
            let in_flight = InFlight(Some(&self.in_flight));
            async move {
                let _in_flight = in_flight;
                serve(request).await
            }
        });
        let does = match random.below(20) {
            0 => Does::Hang,
            1..4 => Does::Fail,
            4..12 => Does::Take(ms(random.below(5))),
            _ => Does::Answer,
        };
        let patience = match (random.below(10), does) {
            // The total timeout may be off.
            (_, Does::Hang) => ms(60),
            (0, _) => ms(1 + random.below(3)),
            _ => secs(600),
        };
        let id = random.below(u64::MAX);
        let call = service.oneshot(Request::new(id, does));
        let outcome = match tokio::time::timeout(patience, call).await {
            Err(_) => return,
            Ok(Ok(answer)) => {
                world.check(answer == id, || format!("{answer} to {id}"));
                0
            }
            Ok(Err(error)) if kind(&error).is_some() => 1,
            Ok(Err(_)) => 2,
        };
        add(&self.outcomes[outcome], 1);
        tokio::task::yield_now().await;
    }
}

impl Part for Stack {
    fn call<'a>(&'a self, world: &'a World, random: &'a mut Random) -> Call<'a> {
        Box::pin(self.call_through_all(world, random))
    }

    fn change(&self, _: &World, random: &mut Random, round: u64) {
        let n = random.below(8);
        let few = u32::try_from(n).unwrap();
        self.total.policy.set_limit(ms(5 + 5 * n)).unwrap();
        let retry = self.retry.policy.change(|now| {
            let now = now.max_attempts(1 + few);
            let now = now.backoff(Backoff::constant(ms(1 + n)));
            now.max_elapsed((n % 2 == 0).then_some(ms(20)))
        });
        retry.unwrap();
        let hedge = &self.hedge.policy;
        match n {
            0 => hedge.set_quantile(0.5).unwrap(),
            n => hedge.set_delay(ms(n / 2)),
        }
        hedge.change(|now| now.max_extra(1 + few / 3)).unwrap();
        hedge.change(|now| now.min_samples(5 + few)).unwrap();
        hedge.change(|now| now.min_delay(ms(n / 4))).unwrap();
        let breaker = self.breaker.policy.change(|now| {
            let now = now.open_for(Backoff::constant(ms(1 + n))).probes(1 + few);
            now.trips([
                Trip::consecutive_failures(5 + few),
                Trip::failure_rate(0.6).over(Window::count(40)),
            ])
        });
        breaker.unwrap();
        let (bulkhead, limiter) = (&self.bulkhead.policy, &self.limiter.policy);
        bulkhead.set_limit(4 + few).unwrap();
        bulkhead.change(|now| now.queue(few)).unwrap();
        let quota = Quota::per_second(500 + 100 * few).burst(10 + few);
        limiter.set_quota(quota).unwrap();
        let waits = limiter.change(|now| now.max_wait(ms(1 + n)).max_pause(ms(1 + n)));
        waits.unwrap();
        self.budget.set_ratio(0.05 * n as f64).unwrap();
        if round % 64 == 0 {
            limiter.pause_for(ms(3));
        }
    }

    fn finish(&self, world: &World) {
        let in_flight = count(&self.in_flight);
        world.check(in_flight == 0, || format!("{in_flight} calls at the end"));
        has_all_probe_permits(world, &self.breaker.policy);
        has_all_permits(world, &self.bulkhead.policy);
        let outcomes = self.outcomes.each_ref().map(count);
        world.check(outcomes.iter().all(|count| *count > 0), || {
            format!("answered, rejected, failed: {outcomes:?}")
        });
    }
}

/// The rejection of the crate in an error.
fn kind(error: &BoxError) -> Option<RejectionKind> {
    let error: &(dyn std::error::Error + 'static) = &**error;
    Reason::of(error).map(Reason::kind)
}
