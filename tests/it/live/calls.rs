//! What goes through layers: attempts, timeouts, queues, and the full stack.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use seawall::bulkhead::Order;
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Event, Hedge,
    HedgeLayer, Mode, Quota, RateLimitLayer, RateLimiter, Reason, RejectionKind, Retry, RetryLayer,
    Timeout, TimeoutLayer, Trip, Window,
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::counted::{all_places_are_free, enter_flight};
use super::record::{Log, Watch};
use super::{Around, Changes, Until, some_mode};
use crate::support::{Random, full_budget, ms, secs};

/// What the service is to do.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    Fail,
    Take(Duration),
    Hang,
}

/// A request; what its attempts have in common is shared by its copies.
#[derive(Clone, Debug)]
struct Ask {
    id: u64,
    does: Does,
    attempts: Rc<Cell<usize>>,
    /// Where the log of limits stood before this call can have been let in.
    waited_from: Rc<Cell<usize>>,
}

seawall::resend!(Ask);

impl Ask {
    fn new(id: u64, does: Does) -> Self {
        Self {
            id,
            does,
            attempts: Rc::default(),
            waited_from: Rc::default(),
        }
    }
}

/// How many calls run in a service.
#[derive(Clone, Debug, Default)]
struct Flights(Arc<AtomicUsize>);

impl Flights {
    fn one(&self) -> Flight {
        self.0.fetch_add(1, Ordering::SeqCst);
        Flight(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Flight(Flights);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A service that answers with the request's number.
fn answering(
    flights: &Flights,
) -> impl Service<
    Ask,
    Response = u64,
    Error = BoxError,
    Future = impl Future<Output = Result<u64, BoxError>> + use<>,
> + Clone
+ use<> {
    let flights = flights.clone();
    tower::service_fn(move |ask: Ask| {
        let flight = flights.one();
        ask.attempts.set(ask.attempts.get() + 1);
        async move {
            let _flight = flight;
            match ask.does {
                Does::Answer => Ok(ask.id),
                Does::Fail => Err::<u64, BoxError>("down".into()),
                Does::Take(time) => {
                    tokio::time::sleep(time).await;
                    Ok(ask.id)
                }
                Does::Hang => std::future::pending().await,
            }
        }
    })
}

/// Reads the log before each poll: what let a call in was done after the poll before.
struct Polls<'a, F> {
    call: Pin<Box<F>>,
    log: &'a Log<Option<u32>>,
    read: usize,
    waited_from: Rc<Cell<usize>>,
}

impl<F: Future> Future for Polls<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.waited_from.set(this.read);
        this.read = this.log.before();
        this.call.as_mut().poll(cx)
    }
}

/// What a policy is set to, with what is said of its calls.
#[derive(Debug)]
struct Set<P, T> {
    policy: P,
    watch: Watch,
    modes: Arc<Log<Mode>>,
    log: Log<T>,
}

type Listener = Box<dyn Fn(&Event<'_>) + Send + Sync>;

impl<P, T: Clone + std::fmt::Debug> Set<P, T> {
    fn new(
        name: &'static str,
        first: T,
        around: &Around,
        make: impl FnOnce(Listener) -> P,
    ) -> Self {
        let modes = Arc::new(Log::new(Mode::Enforce));
        let watch = Watch::new(name, &modes, &around.faults);
        let (listener, marker) = (watch.listener(), Arc::clone(&around.marker));
        let listener = move |event: &Event<'_>| {
            let _ = &marker;
            listener(event);
        };
        Self {
            policy: make(Box::new(listener)),
            watch,
            modes,
            log: Log::new(first),
        }
    }
}

#[derive(Debug)]
pub(super) struct Calls {
    around: Around,
    flights: Flights,
    /// How many attempts a call makes.
    again: Set<Retry, usize>,
    /// How long a call may take; none if it is not kept.
    short: Set<Timeout, Option<Duration>>,
    /// Whether the delay is zero, and how many extra attempts there are.
    race: Set<Hedge, (bool, usize)>,
    queue: Set<Bulkhead, Option<u32>>,
    in_queue: AtomicUsize,
    paid: Paid,
    stack: Stack,
}

/// A retry and a hedge that draw on one budget.
#[derive(Debug)]
struct Paid {
    budget: Budget,
    retry: Retry,
    hedge: Hedge,
    calls: AtomicUsize,
    attempts: AtomicUsize,
    began: u64,
}

impl Paid {
    const BURST: u64 = 20;
    const RATIO: u64 = 200;
    const FLOOR: u64 = 20;

    fn new(around: &Around) -> Self {
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
            began: around.clock.now(),
        }
    }

    fn change(&self, around: &Around, random: &mut Random, round: u64) {
        let ratio = random.below(Self::RATIO + 1);
        self.budget.set_ratio(ratio as f64 / 1_000.0).unwrap();
        let below = |random: &mut Random, most| u32::try_from(random.below(most + 1)).unwrap();
        let burst = below(random, Self::BURST);
        let floor = below(random, Self::FLOOR);
        let change = self.budget.change(|now| now.burst(burst).floor(floor));
        (around.faults).check(change.is_ok(), || format!("{change:?}"));
        let attempts = 1 + below(random, 3);
        let change = self.retry.change(|now| now.max_attempts(attempts));
        (around.faults).check(change.is_ok(), || format!("{change:?}"));
        let extra = 1 + below(random, 2);
        self.hedge.change(|now| now.max_extra(extra)).unwrap();
        if round % 64 == 0 {
            self.hedge.set_mode(some_mode(random));
        }
    }

    /// RT4 with the largest ratio, burst and floor that were ever in force.
    fn finish(&self, around: &Around) {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst) as u64;
        let calls = count(&self.calls);
        let extra = count(&self.attempts) - calls;
        let nanos = around.clock.now() - self.began;
        let billionths = (Self::BURST * 1_000 + Self::RATIO * calls) * 1_000_000;
        let most = billionths + Self::FLOOR * nanos;
        (around.faults).check(extra * 1_000_000_000 <= most, || {
            format!("{extra} extra attempts of {calls} calls in {nanos} ns")
        });
        let snapshot = self.budget.snapshot();
        (around.faults).check(snapshot.made == extra, || {
            format!("{extra} extra attempts, told {}", snapshot.made)
        });
        let seen = extra > 100 && snapshot.suppressed > 0;
        (around.faults).check(seen, || format!("{extra} extra attempts, {snapshot:?}"));
    }
}

/// All policies, one below the other.
#[derive(Debug)]
struct Stack {
    total: Set<Timeout, ()>,
    retry: Set<Retry, ()>,
    hedge: Set<Hedge, ()>,
    breaker: Set<CircuitBreaker, ()>,
    limiter: Set<RateLimiter, ()>,
    bulkhead: Set<Bulkhead, ()>,
    budget: Budget,
    answered: AtomicUsize,
    refused: AtomicUsize,
    failed: AtomicUsize,
}

impl Stack {
    fn new(around: &Around) -> Self {
        let budget = Budget::percent(10);
        Self {
            total: Set::new("total", (), around, |listener| {
                let timeout = Timeout::builder(ms(50)).on_event(listener);
                timeout.build().unwrap()
            }),
            retry: Set::new("retry", (), around, |listener| {
                let retry = Retry::builder().on_event(listener).budget(&budget);
                retry.backoff(Backoff::constant(ms(1))).build().unwrap()
            }),
            hedge: Set::new("hedge", (), around, |listener| {
                let hedge = Hedge::builder().on_event(listener).budget(&budget);
                hedge.delay(ms(1)).min_samples(10).build().unwrap()
            }),
            breaker: Set::new("breaker", (), around, |listener| {
                let breaker = CircuitBreaker::builder("breaker").on_event(listener);
                breaker.build().unwrap()
            }),
            limiter: Set::new("limiter", (), around, |listener| {
                let limiter = RateLimiter::builder(Quota::per_second(1_000)).on_event(listener);
                limiter.max_wait(ms(4)).build().unwrap()
            }),
            bulkhead: Set::new("bulkhead", (), around, |listener| {
                let bulkhead = Bulkhead::builder(8).queue(8).on_event(listener);
                bulkhead.max_wait(ms(4)).build().unwrap()
            }),
            budget,
            answered: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        }
    }

    fn change(&self, random: &mut Random, round: u64) {
        let n = random.below(8);
        let few = u32::try_from(n).unwrap();
        self.total.policy.set_limit(ms(5 + 5 * n)).unwrap();
        let retry = self.retry.policy.change(|now| {
            let now = now
                .max_attempts(1 + few)
                .backoff(Backoff::constant(ms(1 + n)));
            now.max_elapsed((n % 2 == 0).then_some(ms(20)))
        });
        retry.unwrap();
        match n {
            0 => self.hedge.policy.set_quantile(0.5).unwrap(),
            n => self.hedge.policy.set_delay(ms(n / 2)),
        }
        let change = |now: seawall::hedge::Builder| {
            let now = now.max_extra(1 + few / 3).min_samples(5 + few);
            now.min_delay(ms(n / 4))
        };
        self.hedge.policy.change(change).unwrap();
        let breaker = self.breaker.policy.change(|now| {
            let now = now.open_for(Backoff::constant(ms(1 + n))).probes(1 + few);
            now.trips([
                Trip::consecutive_failures(5 + few),
                Trip::failure_rate(0.6).over(Window::count(40)),
            ])
        });
        breaker.unwrap();
        let limit = Quota::per_second(500 + 100 * few).burst(10 + few);
        self.limiter.policy.set_quota(limit).unwrap();
        self.limiter.policy.set_max_wait(ms(1 + n));
        self.limiter.policy.set_max_pause(ms(1 + n)).unwrap();
        self.bulkhead
            .policy
            .set_limit(u32::try_from(4 + n).unwrap())
            .unwrap();
        self.bulkhead.policy.change(|now| now.queue(few)).unwrap();
        self.budget.set_ratio(0.05 * n as f64).unwrap();
        // One mode at a time.
        let mode = some_mode(random);
        match round % 64 {
            0 => (self.total.modes).change(mode, |mode| self.total.policy.set_mode(mode)),
            8 => (self.retry.modes).change(mode, |mode| self.retry.policy.set_mode(mode)),
            16 => (self.hedge.modes).change(mode, |mode| self.hedge.policy.set_mode(mode)),
            24 => (self.breaker.modes).change(mode, |mode| self.breaker.policy.set_mode(mode)),
            32 => (self.limiter.modes).change(mode, |mode| self.limiter.policy.set_mode(mode)),
            40 => (self.bulkhead.modes).change(mode, |mode| self.bulkhead.policy.set_mode(mode)),
            _ => {}
        }
        if round % 300 == 0 {
            self.limiter.policy.pause_for(ms(3));
        }
    }

    fn finish(&self, around: &Around) {
        for watch in [
            &self.total.watch,
            &self.retry.watch,
            &self.hedge.watch,
            &self.breaker.watch,
            &self.limiter.watch,
            &self.bulkhead.watch,
        ] {
            watch.finish();
        }
        all_places_are_free(around, &self.bulkhead.policy);
        let probes = self.breaker.policy.snapshot().probes;
        let out = probes.map_or(0, |probes| probes.in_flight);
        (around.faults).check(out == 0, || format!("{out} probes in the stack at the end"));
        let ends = [&self.answered, &self.refused, &self.failed];
        let ends = ends.map(|count| count.load(Ordering::SeqCst));
        (around.faults).check(ends.iter().all(|count| *count > 0), || {
            format!("answered, refused, failed: {ends:?}")
        });
    }
}

impl Calls {
    pub(super) fn new(around: &Around) -> Self {
        let again = |listener| {
            let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
            retry.no_budget().on_event(listener).build().unwrap()
        };
        let short = |listener| {
            let timeout = Timeout::builder(ms(2)).on_event(listener);
            timeout.build().unwrap()
        };
        let race = |listener| {
            let hedge = Hedge::builder().delay(ms(0)).budget(full_budget());
            hedge.on_event(listener).build().unwrap()
        };
        let queue = |listener| {
            let bulkhead = Bulkhead::builder(2).queue(6).max_wait(ms(5));
            bulkhead.on_event(listener).build().unwrap()
        };
        Self {
            flights: Flights::default(),
            again: Set::new("again", 3, around, again),
            short: Set::new("short", Some(ms(2)), around, short),
            race: Set::new("race", (true, 1), around, race),
            queue: Set::new("queue", Some(2), around, queue),
            in_queue: AtomicUsize::new(0),
            paid: Paid::new(around),
            stack: Stack::new(around),
            around: around.clone(),
        }
    }

    pub(super) fn callers(&self, seed: u64, until: Until) -> Vec<LocalBoxFuture<'_, ()>> {
        let mut callers: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
        for caller in 0..2 {
            callers.push(Box::pin(self.call_again(until)));
            callers.push(Box::pin(self.call_shortly(until)));
            callers.push(Box::pin(self.call_in_a_race(until)));
            callers.push(Box::pin(self.call_paid(until)));
            callers.push(Box::pin(self.acquire(until)));
            callers.push(Box::pin(self.call_queued(until)));
            callers.push(Box::pin(self.call_queued(until)));
            for part in 0..3 {
                let seed = seed * 100 + caller * 10 + part;
                callers.push(Box::pin(self.call_through_all(seed, until)));
            }
        }
        callers
    }

    /// Every attempt fails: there are as many as were allowed when the call began.
    async fn call_again(&self, until: Until) {
        let layers = ServiceBuilder::new().layer(self.again.watch.clone());
        let layers = layers.layer(RetryLayer::new(&self.again.policy));
        let mut service = layers.service(answering(&self.flights));
        let around = &self.around;
        around
            .calls(until, async || {
                let ask = Ask::new(0, Does::Fail);
                let attempts = Rc::clone(&ask.attempts);
                let service = service.ready().await.unwrap();
                let from = self.again.log.before();
                let call = service.call(ask);
                let span = self.again.log.since(from);
                let failed = call.await.is_err();
                let attempts = attempts.get();
                let allowed = |most: &[usize]| most.contains(&attempts);
                let holds = failed && self.again.log.during(span, allowed);
                (around.faults).check(holds, || format!("{attempts} attempts by no setting"));
                tokio::task::yield_now().await;
            })
            .await;
    }

    /// The service hangs: a call lasts as long as was allowed when it began.
    async fn call_shortly(&self, until: Until) {
        let layers = ServiceBuilder::new().layer(self.short.watch.clone());
        let layers = layers.layer(TimeoutLayer::new(&self.short.policy));
        let mut service = layers.service(answering(&self.flights));
        let around = &self.around;
        around
            .calls(until, async || {
                let service = service.ready().await.unwrap();
                let from = self.short.log.before();
                let call = service.call(Ask::new(0, Does::Hang));
                let span = self.short.log.since(from);
                let mut call = std::pin::pin!(call);
                // Longer than any timeout here. Where there must be one it is waited for, since a
                // busy machine may be late with it.
                let mut end = tokio::time::timeout(ms(12), call.as_mut()).await;
                let none = |limits: &[Option<Duration>]| limits.contains(&None);
                if end.is_err() && !self.short.log.during(span.clone(), none) {
                    end = tokio::time::timeout(secs(5), call).await;
                }
                let end = end.map(|outcome| outcome.map_err(|error| why(&error)));
                let limit = match &end {
                    Ok(Err(Some(RejectionKind::TimedOut { limit, .. }))) => Some(*limit),
                    Ok(_) => Some(secs(0)),
                    Err(_) => None,
                };
                let allowed = |limits: &[Option<Duration>]| limits.contains(&limit);
                let holds = self.short.log.during(span, allowed);
                (around.faults).check(holds, || format!("{end:?} by no setting"));
            })
            .await;
    }

    /// The service takes its time: there are as many attempts as were allowed.
    async fn call_in_a_race(&self, until: Until) {
        let layers = ServiceBuilder::new().layer(self.race.watch.clone());
        let layers = layers.layer(HedgeLayer::new(&self.race.policy));
        let mut service = layers.service(answering(&self.flights));
        let around = &self.around;
        let mut id = 0;
        around
            .calls(until, async || {
                id += 1;
                let ask = Ask::new(id, Does::Take(ms(3)));
                let attempts = Rc::clone(&ask.attempts);
                let service = service.ready().await.unwrap();
                let from = self.race.log.before();
                let call = service.call(ask);
                let span = self.race.log.since(from);
                let answer = call.await;
                let (answered, attempts) =
                    (answer.is_ok_and(|answer| answer == id), attempts.get());
                let allowed = |settings: &[(bool, usize)]| {
                    let mut settings = settings.iter();
                    settings.any(|(at_once, extra)| match at_once {
                        true => attempts == 1 + extra,
                        false => (1..=1 + extra).contains(&attempts),
                    })
                };
                let holds = answered && self.race.log.during(span, allowed);
                (around.faults).check(holds, || {
                    format!("{attempts} attempts by no setting, or no answer")
                });
            })
            .await;
    }

    /// Every attempt fails, and the extra ones are paid for.
    async fn call_paid(&self, until: Until) {
        let paid = &self.paid;
        let layers = ServiceBuilder::new().layer(RetryLayer::new(&paid.retry));
        let layers = layers.layer(HedgeLayer::new(&paid.hedge));
        let mut service = layers.service(answering(&self.flights));
        self.around
            .calls(until, async || {
                let ask = Ask::new(0, Does::Fail);
                let attempts = Rc::clone(&ask.attempts);
                paid.calls.fetch_add(1, Ordering::SeqCst);
                let _ = service.ready().await.unwrap().call(ask).await;
                paid.attempts.fetch_add(attempts.get(), Ordering::SeqCst);
                tokio::time::sleep(ms(1)).await;
            })
            .await;
    }

    /// Waits for places directly.
    async fn acquire(&self, until: Until) {
        let queue = &self.queue;
        self.around
            .calls(until, async || {
                let waited_from = Rc::<Cell<usize>>::default();
                let read = queue.log.before();
                let mut watching = queue.watch.begin();
                let mut acquire = Polls {
                    call: Box::pin(queue.policy.acquire()),
                    log: &queue.log,
                    read,
                    waited_from: Rc::clone(&waited_from),
                };
                let mut made = false;
                let acquired = futures::future::poll_fn(|cx| {
                    let mut poll = || Pin::new(&mut acquire).poll(cx);
                    // The mode is read in the first poll.
                    match std::mem::replace(&mut made, true) {
                        false => watching.make(poll),
                        true => watching.within(&mut poll),
                    }
                });
                let acquired = acquired.await;
                watching.within(|| drop(acquire));
                let Ok(permit) = acquired else {
                    tokio::task::yield_now().await;
                    return;
                };
                let from = waited_from.get();
                let counted = enter_flight("queue", &self.around, &queue.log, &self.in_queue, from);
                tokio::time::sleep(ms(1)).await;
                if counted {
                    self.in_queue.fetch_sub(1, Ordering::SeqCst);
                }
                watching.within(|| permit.release());
            })
            .await;
    }

    /// Waits for places through the layer, and gives up on some.
    async fn call_queued(&self, until: Until) {
        struct Counted<'a>(Option<&'a AtomicUsize>);

        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                if let Some(in_flight) = self.0 {
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                }
            }
        }

        let queue = &self.queue;
        let layers = ServiceBuilder::new().layer(queue.watch.clone());
        let layers = layers.layer(BulkheadLayer::queued(&queue.policy));
        let around = &self.around;
        let mut service = layers.service(tower::service_fn(move |ask: Ask| {
            let from = ask.waited_from.get();
            let counted = enter_flight("queue", around, &queue.log, &self.in_queue, from);
            let counted = Counted(counted.then_some(&self.in_queue));
            async move {
                let _counted = counted;
                tokio::time::sleep(ms(1)).await;
                Ok::<_, BoxError>(ask.id)
            }
        }));
        let mut id = 0;
        around
            .calls(until, async || {
                id += 1;
                let ask = Ask::new(id, Does::Answer);
                let waited_from = Rc::clone(&ask.waited_from);
                let service = service.ready().await.unwrap();
                let read = queue.log.before();
                waited_from.set(read);
                let call = Polls {
                    call: Box::pin(service.call(ask)),
                    log: &queue.log,
                    read,
                    waited_from,
                };
                let patience = if id % 7 == 0 { ms(2) } else { secs(600) };
                if let Ok(Ok(answer)) = tokio::time::timeout(patience, call).await {
                    (around.faults).check(answer == id, || format!("{answer} to {id}"));
                }
                tokio::task::yield_now().await;
            })
            .await;
    }

    /// Calls through all policies, and gives up on some.
    async fn call_through_all(&self, seed: u64, until: Until) {
        let stack = &self.stack;
        let layers = ServiceBuilder::new()
            .layer(stack.total.watch.clone())
            .layer(TimeoutLayer::new(&stack.total.policy))
            .layer(stack.retry.watch.clone())
            .layer(RetryLayer::new(&stack.retry.policy))
            .layer(stack.hedge.watch.clone())
            .layer(HedgeLayer::new(&stack.hedge.policy))
            .layer(stack.breaker.watch.clone())
            .layer(CircuitBreakerLayer::new(&stack.breaker.policy))
            .layer(stack.bulkhead.watch.clone())
            .layer(BulkheadLayer::queued(&stack.bulkhead.policy))
            .layer(stack.limiter.watch.clone())
            .layer(RateLimitLayer::waiting(&stack.limiter.policy));
        let mut service = layers.service(answering(&self.flights));
        let around = &self.around;
        let mut random = Random::new(seed);
        let mut id = seed << 32;
        around
            .calls(until, async || {
                id += 1;
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
                let call = service.ready().await.unwrap().call(Ask::new(id, does));
                let end = match tokio::time::timeout(patience, call).await {
                    Err(_) => return,
                    Ok(Ok(answer)) => {
                        (around.faults).check(answer == id, || format!("{answer} to {id}"));
                        &stack.answered
                    }
                    Ok(Err(error)) if why(&error).is_some() => &stack.refused,
                    Ok(Err(_)) => &stack.failed,
                };
                end.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            })
            .await;
    }

    pub(super) fn change(&self, changes: &mut Changes, random: &mut Random, round: u64) {
        let around = &self.around;
        let Self {
            again,
            short,
            race,
            queue,
            ..
        } = self;
        let some = |random: &mut Random, end| usize::try_from(random.below(end)).unwrap();

        let attempts = 1 + some(random, 4);
        let mode = match round % 16 {
            0 => some_mode(random),
            _ => again.policy.mode(),
        };
        let made = match mode {
            Mode::Enforce => attempts,
            _ => 1,
        };
        again.log.change(made, |_| {
            again.modes.change(mode, |mode| {
                let most = u32::try_from(attempts).unwrap();
                let change = (again.policy).change(|now| now.max_attempts(most).mode(mode));
                (around.faults).check(change.is_ok(), || format!("{change:?}"));
            });
        });
        changes.made("attempts");

        let limit = ms(1 + random.below(5));
        let mode = match round % 16 {
            0 => some_mode(random),
            _ => short.policy.mode(),
        };
        let kept = (mode == Mode::Enforce).then_some(limit);
        // What is in force between the two is neither the old nor the new.
        let between = (mode == Mode::Enforce).then(|| short.policy.limit());
        short.log.change(between, |_| {
            short.modes.change(mode, |mode| short.policy.set_mode(mode));
        });
        short
            .log
            .change(kept, |_| short.policy.set_limit(limit).unwrap());
        changes.made("timeout");

        let hedge = &race.policy;
        match random.below(if round % 16 == 0 { 4 } else { 3 }) {
            0 => {
                let extra = 1 + some(random, 4);
                let at_once = hedge.delay() == Some(ms(0)) || hedge.mode() != Mode::Enforce;
                let most = if hedge.mode() == Mode::Enforce {
                    extra
                } else {
                    0
                };
                race.log.change((at_once, most), |_| {
                    hedge
                        .change(|now| now.max_extra(u32::try_from(extra).unwrap()))
                        .unwrap();
                });
            }
            1 | 2 => {
                let delay = ms(random.below(2));
                let enforced = hedge.mode() == Mode::Enforce;
                let extra = hedge.snapshot().max_extra as usize;
                let setting = match enforced {
                    true => (delay == ms(0), extra),
                    false => (true, 0),
                };
                race.log.change(setting, |_| hedge.set_delay(delay));
            }
            _ => {
                let mode = some_mode(random);
                let extra = hedge.snapshot().max_extra as usize;
                let setting = match mode {
                    Mode::Enforce => (hedge.delay() == Some(ms(0)), extra),
                    _ => (true, 0),
                };
                race.log.change(setting, |_| {
                    race.modes.change(mode, |mode| hedge.set_mode(mode));
                });
            }
        }
        changes.made("hedge");

        let limit = u32::try_from(random.below(5)).unwrap();
        let mode = match round % 32 {
            0 => some_mode(random),
            _ => queue.policy.mode(),
        };
        let limited = (mode == Mode::Enforce).then_some(limit);
        queue.log.change(limited, |_| {
            queue.modes.change(mode, |mode| queue.policy.set_mode(mode));
            queue.policy.set_limit(limit).unwrap();
        });
        let max_wait = ms(1 + random.below(5));
        let order = [Order::Fifo, Order::Lifo][some(random, 2)];
        queue
            .policy
            .change(|now| now.max_wait(max_wait).queue(1 + limit).order(order))
            .unwrap();
        changes.made("limit, queue");

        self.paid.change(around, random, round);
        changes.made("budget, paid");
        self.stack.change(random, round);
        changes.made("the stack");
        if round % 8 == 0 {
            self.change_badly();
        }
    }

    /// A bad change changes nothing.
    fn change_badly(&self) {
        let (retry, timeout) = (&self.again.policy, &self.short.policy);
        let (hedge, bulkhead) = (&self.race.policy, &self.queue.policy);
        let attempts = retry.snapshot().max_attempts;
        let settings = |hedge: &Hedge| {
            let now = hedge.snapshot();
            (now.quantile, now.delay, now.max_extra, now.mode)
        };
        let before = (timeout.limit(), settings(hedge), bulkhead.snapshot().queue);
        let refused = [
            retry
                .change(|now| now.max_attempts(0).mode(Mode::Off))
                .is_err(),
            retry.change(|now| now.max_elapsed(secs(0))).is_err(),
            timeout.set_limit(secs(0)).is_err(),
            hedge.change(|now| now.max_extra(17)).is_err(),
            hedge.set_quantile(1.0).is_err(),
            bulkhead.change(|now| now.queue(1_000_001)).is_err(),
        ];
        let after = (timeout.limit(), settings(hedge), bulkhead.snapshot().queue);
        let kept = before == after && retry.snapshot().max_attempts == attempts;
        (self.around.faults).check(refused == [true; 6] && kept, || {
            format!("a bad change was taken: {refused:?}, {before:?} is {after:?}")
        });
    }

    pub(super) fn finish(&self, around: &Around) {
        for watch in [
            &self.again.watch,
            &self.short.watch,
            &self.race.watch,
            &self.queue.watch,
        ] {
            watch.finish();
        }
        let in_flight = self.flights.count();
        (around.faults).check(in_flight == 0, || format!("{in_flight} calls were left"));
        all_places_are_free(around, &self.queue.policy);
        self.paid.finish(around);
        self.stack.finish(around);
    }
}

/// The library's own refusal in an error.
fn why(error: &BoxError) -> Option<RejectionKind> {
    let error: &(dyn std::error::Error + 'static) = &**error;
    Reason::of(error).map(Reason::kind)
}
