//! What is recorded while everything changes, and how it is judged.

use std::borrow::BorrowMut;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use allocation_counter::opt_out;
use seawall::event::EventKind;
use seawall::{
    Bulkhead, CircuitBreaker, Deadline, Event, Hedge, Mode, RateLimiter, Retry, Timeout,
};
use tower::{Layer, Service};

use super::{World, add, any_mode, count};
use crate::support::{Random, locked};

/// The crate's own clock, read through a deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Deadline);

const HOUR: Duration = Duration::from_secs(3_600);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Deadline::after(HOUR))
    }

    /// Nanoseconds since the start.
    pub(super) fn now(self) -> u64 {
        u64::try_from((HOUR - self.0.left()).as_nanos()).unwrap()
    }
}

/// What did not hold: all of it, so that one run shows it all.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Vec<String>>>);

impl Faults {
    pub(super) fn check(&self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            opt_out(|| {
                let mut faults = locked(&self.0);
                if faults.len() < 10_000 {
                    faults.push(fault());
                }
            });
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.0))
    }
}

/// The values of a setting in their order. A change is announced before it is made, so a reading
/// before and one after an instant enclose all that may have been in force at it.
#[derive(Debug)]
pub(super) struct Log<T> {
    values: Mutex<Vec<T>>,
    announced: AtomicUsize,
    made: AtomicUsize,
}

impl<T> Log<T> {
    pub(super) fn new(first: T) -> Self {
        Self {
            values: Mutex::new(vec![first]),
            announced: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        }
    }

    /// Makes a change. Only one thread does.
    pub(super) fn change(&self, to: T, make: impl FnOnce()) {
        let mut at = 0;
        // Not counted as an allocation.
        opt_out(|| {
            let mut values = locked(&self.values);
            at = values.len();
            values.push(to);
        });
        self.announced.store(at, Ordering::SeqCst);
        make();
        self.made.store(at, Ordering::SeqCst);
    }

    /// Opens a span: what is in force from here on.
    pub(super) fn before(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Closes a span that was opened at `from`.
    pub(super) fn since(&self, from: usize) -> RangeInclusive<usize> {
        from..=self.announced.load(Ordering::SeqCst)
    }

    /// What may have been in force in `span`; at least one value.
    pub(super) fn during<R>(&self, span: RangeInclusive<usize>, f: impl FnOnce(&[T]) -> R) -> R {
        f(&locked(&self.values)[span])
    }

    pub(super) fn all<R>(&self, f: impl FnOnce(&[T]) -> R) -> R {
        f(&locked(&self.values))
    }
}

/// A policy whose setting and mode change, with all their values and its observed calls.
#[derive(Debug)]
pub(super) struct Changing<P, V> {
    pub(super) policy: P,
    pub(super) watch: Watch,
    /// None while the policy was not enforced.
    pub(super) settings: Log<Option<V>>,
    value: Mutex<V>,
}

pub(super) type Listener = Box<dyn Fn(&Event<'_>) + Send + Sync>;

impl<P: Policy, V: Clone + Send + 'static> Changing<P, V> {
    /// Makes the policy, whose mode `world` changes from now on.
    pub(super) fn new(
        world: &World,
        name: &'static str,
        first: V,
        make: impl FnOnce(Listener) -> P,
    ) -> Arc<Self> {
        let watch = Watch::new(name, &world.faults);
        let (listener, marker) = (watch.listener(), Arc::clone(&world.marker));
        let this = Arc::new(Self {
            policy: make(Box::new(move |event| {
                let _ = &marker;
                listener(event);
            })),
            watch,
            settings: Log::new(Some(first.clone())),
            value: Mutex::new(first),
        });
        let observed: Arc<dyn Switched> = this.clone();
        locked(&world.policies).push(observed);
        this
    }

    pub(super) fn set(&self, value: V, make: impl FnOnce(&P)) {
        let enforced = (self.policy.mode() == Mode::Enforce).then(|| value.clone());
        *locked(&self.value) = value;
        self.settings.change(enforced, || make(&self.policy));
    }
}

/// A policy in any of its modes.
pub(super) trait Switched: Send + Sync {
    fn set_any_mode(&self, random: &mut Random);
    fn finish(&self);
}

impl<P: Policy, V: Clone + Send + 'static> Switched for Changing<P, V> {
    fn set_any_mode(&self, random: &mut Random) {
        let mode = any_mode(random);
        let value = locked(&self.value).clone();
        self.settings
            .change((mode == Mode::Enforce).then_some(value), || {
                (self.watch.0.modes).change(mode, || self.policy.set_mode(mode));
            });
    }

    fn finish(&self) {
        self.watch.finish(P::REJECTS);
    }
}

pub(super) trait Policy: Send + Sync + 'static {
    const REJECTS: bool;

    fn mode(&self) -> Mode;
    fn set_mode(&self, mode: Mode);
}

macro_rules! policies {
    ($($policy:ty: $rejects:literal)*) => {$(
        impl Policy for $policy {
            const REJECTS: bool = $rejects;

            fn mode(&self) -> Mode {
                self.mode()
            }

            fn set_mode(&self, mode: Mode) {
                self.set_mode(mode);
            }
        }
    )*};
}

policies! {
    Timeout: true
    RateLimiter: true
    CircuitBreaker: true
    Bulkhead: true
    Retry: false
    Hedge: false
}

/// A token that was granted at an instant between two.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) earliest: u64,
    pub(super) latest: u64,
    /// What may have been in force.
    pub(super) span: RangeInclusive<usize>,
}

pub(super) const ONE: i64 = 1_000_000_000;

/// The most by which a window has more admissions than `rate` a second refill, in billionths of
/// one; RL1 says that it is at most the burst.
///
/// In the order of their latest instants, the admissions from `i` to `j` are surely in the window
/// from the earliest instant of all from `i` on to the latest of `j`.
pub(super) fn most_above(rate: u64, admissions: &[Admission]) -> i64 {
    let signed = |n: u64| i64::try_from(n).unwrap();
    let mut admissions: Vec<_> = admissions.iter().map(|a| (a.latest, a.earliest)).collect();
    admissions.sort_unstable();
    let mut earliest = u64::MAX;
    for (_, of_this) in admissions.iter_mut().rev() {
        earliest = earliest.min(*of_this);
        *of_this = earliest;
    }
    let (mut most, mut best_start) = (i64::MIN, i64::MIN);
    for (n, (latest, earliest)) in (0_i64..).zip(admissions) {
        best_start = best_start.max(signed(rate * earliest) - n * ONE);
        most = most.max(best_start + (n + 1) * ONE - signed(rate * latest));
    }
    most
}

thread_local! {
    /// The terminal events on this thread, by policy.
    static EVENTS: RefCell<BTreeMap<usize, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// Observes the calls of one policy: each ends in one terminal event, unless it was made while the
/// policy was off.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    modes: Log<Mode>,
    faults: Faults,
    /// Calls that surely had to end in an event.
    owed: AtomicUsize,
    emitted: AtomicUsize,
    rejected: AtomicUsize,
    /// Events of observed calls.
    matched: AtomicUsize,
}

impl Watch {
    fn new(name: &'static str, faults: &Faults) -> Self {
        Self(Arc::new(Inner {
            name,
            modes: Log::new(Mode::Enforce),
            faults: faults.clone(),
            owed: AtomicUsize::new(0),
            emitted: AtomicUsize::new(0),
            rejected: AtomicUsize::new(0),
            matched: AtomicUsize::new(0),
        }))
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    fn events(&self) -> usize {
        EVENTS.with_borrow(|events| events.get(&self.id()).copied().unwrap_or_default())
    }

    fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let this = self.clone();
        move |event| {
            if matches!(event.kind, EventKind::Ended { .. } | EventKind::Rejected(_)) {
                add(&this.0.emitted, 1);
                add(
                    &this.0.rejected,
                    usize::from(matches!(event.kind, EventKind::Rejected(_))),
                );
                EVENTS.with_borrow_mut(|events| *events.entry(this.id()).or_default() += 1);
            }
        }
    }

    pub(super) fn start(&self) -> Observed {
        Observed {
            watch: self.clone(),
            events: 0,
            from: self.0.modes.before(),
            span: None,
        }
    }

    fn finish(&self, rejects: bool) {
        let this = &*self.0;
        let counts = [&this.owed, &this.emitted, &this.matched, &this.rejected].map(count);
        let [owed, emitted, matched, rejected] = counts;
        let seen = owed > 0 && (rejected > 0 || !rejects);
        this.faults.check(seen && emitted == matched, || {
            let name = this.name;
            format!("{name}: (owed, emitted, matched, rejected) = {counts:?}")
        });
    }
}

/// An observed call, from its start to its drop.
#[derive(Debug)]
pub(super) struct Observed {
    watch: Watch,
    events: usize,
    from: usize,
    /// The modes that it may have been made under, once it is made.
    span: Option<RangeInclusive<usize>>,
}

impl Observed {
    /// Runs a part of the call.
    pub(super) fn within<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let before = self.watch.events();
        let result = f();
        self.events += self.watch.events() - before;
        result
    }

    /// Runs the part of the call that reads the mode.
    pub(super) fn make<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let result = self.within(f);
        self.span = Some(self.watch.0.modes.since(self.from));
        result
    }

    /// Awaits the call, which reads the mode in its first poll, and drops it.
    pub(super) async fn run<F: Future>(&mut self, future: F) -> F::Output {
        let future = Some(Box::pin(future));
        Observing { future, call: self }.await
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let observed = &*self.watch.0;
        let Some(span) = self.span.take() else {
            return;
        };
        add(&observed.matched, self.events);
        let off = |modes: &[Mode]| {
            let off = modes.iter().filter(|mode| **mode == Mode::Off).count();
            (off > 0, off == modes.len())
        };
        let events = self.events;
        let fits = match observed.modes.during(span, off) {
            (false, _) => {
                add(&observed.owed, 1);
                events == 1
            }
            (true, true) => events == 0,
            (true, false) => events <= 1,
        };
        let fault = || format!("{}: a call with {events} terminal events", observed.name);
        observed.faults.check(fits, fault);
    }
}

/// A future of an observed call, and its drop.
#[derive(Debug)]
pub(super) struct Observing<C: BorrowMut<Observed>, F> {
    future: Option<Pin<Box<F>>>,
    call: C,
}

impl<C: BorrowMut<Observed> + Unpin, F: Future> Future for Observing<C, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, call } = &mut *self;
        let future = future.as_mut().expect("it is there until the drop");
        let call = call.borrow_mut();
        let poll = || future.as_mut().poll(cx);
        if call.span.is_some() {
            call.within(poll)
        } else {
            call.make(poll)
        }
    }
}

impl<C: BorrowMut<Observed>, F> Drop for Observing<C, F> {
    fn drop(&mut self) {
        let future = self.future.take();
        self.call.borrow_mut().within(|| drop(future));
    }
}

impl<S> Layer<S> for Watch {
    type Service = WatchService<S>;

    fn layer(&self, inner: S) -> WatchService<S> {
        WatchService {
            inner,
            watch: self.clone(),
            readied: 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct WatchService<S> {
    inner: S,
    watch: Watch,
    /// Where its last poll of readiness started, which may decide the call (CX5).
    readied: usize,
}

impl<Req, S: Service<Req>> Service<Req> for WatchService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observing<Observed, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.readied = self.watch.0.modes.before();
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut call = self.watch.start();
        call.from = self.readied;
        let future = Some(Box::pin(call.make(|| self.inner.call(request))));
        Observing { future, call }
    }
}

// RL1: the fast search beside the naive one.
#[test]
fn the_fullest_window_is_found() {
    let mut random = Random::new(7);
    for round in 0..400 {
        let rate = random.below(3);
        let ordered = round % 2 == 0;
        let admissions: Vec<_> = (0..1 + round % 12)
            .map(|_| {
                let earliest = random.below(20) * 100_000_000;
                let width = if ordered { 1 } else { random.below(4) };
                let latest = earliest + width * 100_000_000;
                let span = 0..=0;
                Admission {
                    earliest,
                    latest,
                    span,
                }
            })
            .collect();
        let windows = admissions.iter().flat_map(|a| {
            let ends = admissions.iter().map(|b| b.latest);
            ends.filter(|&end| end >= a.earliest)
                .map(|end| (a.earliest, end))
        });
        let naive = windows.map(|(start, end)| {
            let inside = admissions
                .iter()
                .filter(|a| a.earliest >= start && a.latest <= end);
            let count = i64::try_from(inside.count()).unwrap();
            count * ONE - i64::try_from(rate * (end - start)).unwrap()
        });
        let (found, naive) = (most_above(rate, &admissions), naive.max().unwrap());
        // Exact if the latest instants have the order of the earliest, and never too much.
        assert!(if ordered {
            found == naive
        } else {
            found <= naive
        });
    }
}
