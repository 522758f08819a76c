//! What is recorded while everything changes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::panicking;

use allocation_counter::opt_out;
use seawall::Mode;
use seawall::event::EventKind;
use tower::layer::util::Stack;
use tower::{Layer, Service};

use super::{add, count};
use crate::support::{Handle, Random, locked};

/// The settings of a policy in their order, each with its mode, and the terminal events of the
/// observed calls: one of each call, none if it was made while the policy was off.
///
/// A change is announced before it is made, so a reading before and one after an instant enclose
/// all that may have been in force at it.
#[derive(Clone)]
pub(super) struct Record<V>(Arc<Inner<V>>);

struct Inner<V> {
    settings: Mutex<Vec<(Mode, V)>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    /// Changes.
    announced: AtomicUsize,
    made: AtomicUsize,
    /// Terminal events.
    emitted: AtomicUsize,
    /// Those of observed calls.
    matched: AtomicUsize,
    /// Calls that surely had to end in an event.
    owed: AtomicUsize,
}

thread_local! {
    /// The terminal events on this thread, by policy.
    static EVENTS: RefCell<BTreeMap<usize, usize>> = const { RefCell::new(BTreeMap::new()) };
}

impl<V: Copy> Record<V> {
    pub(super) fn new(first: V) -> Self {
        let settings = Mutex::new(vec![(Mode::Enforce, first)]);
        let counts = Counts::default();
        Self(Arc::new(Inner { settings, counts }))
    }

    /// Makes a change. Only one thread does.
    pub(super) fn change(&self, to: (Mode, V), make: impl FnOnce()) {
        let mut at = 0;
        // Not counted as an allocation.
        opt_out(|| {
            let mut settings = locked(&self.0.settings);
            at = settings.len();
            settings.push(to);
        });
        self.0.counts.announced.store(at, Ordering::SeqCst);
        make();
        self.0.counts.made.store(at, Ordering::SeqCst);
    }

    /// Opens a span: what is in force from here on.
    pub(super) fn before(&self) -> usize {
        count(&self.0.counts.made)
    }

    /// Closes a span that was opened at `from`.
    pub(super) fn since(&self, from: usize) -> RangeInclusive<usize> {
        from..=count(&self.0.counts.announced)
    }

    /// What may have been in force in `span`; at least one setting.
    pub(super) fn during(&self, span: RangeInclusive<usize>) -> Vec<(Mode, V)> {
        locked(&self.0.settings)[span].to_vec()
    }

    /// The same, if the policy was enforced all the time.
    pub(super) fn enforced(&self, span: RangeInclusive<usize>) -> Option<Vec<V>> {
        let enforced = |(mode, value)| (mode == Mode::Enforce).then_some(value);
        self.during(span).into_iter().map(enforced).collect()
    }

    /// Observes one call, which may have met what was in force since `from`.
    pub(super) fn observe<F>(&self, from: usize, call: impl FnOnce() -> F) -> Observed<V, F> {
        let mut observed = Observed {
            future: None,
            record: self.clone(),
            events: 0,
            from,
            span: None,
        };
        observed.within(|future| *future = Some(Box::pin(call())));
        observed
    }

    /// Runs `call`. Before each of its polls it stores in `from` where the record stood before the
    /// last one: what is found done in a poll was done after that.
    pub(super) async fn follow<F: Future>(&self, from: &Cell<usize>, call: F) -> F::Output {
        let (mut call, mut read) = (pin!(call), self.before());
        poll_fn(|cx| {
            from.set(read);
            read = self.before();
            call.as_mut().poll(cx)
        })
        .await
    }

    fn events(&self) -> usize {
        let id = Arc::as_ptr(&self.0) as usize;
        EVENTS.with_borrow(|events| events.get(&id).copied().unwrap_or_default())
    }
}

/// A policy whose settings and mode change, with its record.
pub(super) struct Changing<P, V> {
    pub(super) policy: P,
    pub(super) record: Record<V>,
}

impl<P: Handle, V: Copy + Send + 'static> Changing<P, V> {
    pub(super) fn new(policy: P, first: V) -> Self {
        let record = Record::new(first);
        let inner = Arc::clone(&record.0);
        let subscription = policy.on_event(move |event| {
            if matches!(event.kind, EventKind::Ended { .. } | EventKind::Rejected(_)) {
                add(&inner.counts.emitted, 1);
                let id = Arc::as_ptr(&inner) as usize;
                EVENTS.with_borrow_mut(|events| *events.entry(id).or_default() += 1);
            }
        });
        subscription.forever();
        Self { policy, record }
    }

    fn now(&self) -> (Mode, V) {
        *locked(&self.record.0.settings).last().unwrap()
    }

    pub(super) fn set(&self, value: V, make: impl FnOnce(&P)) {
        let to = (self.now().0, value);
        self.record.change(to, || make(&self.policy));
    }

    /// Changes the mode in one of 32 rounds.
    pub(super) fn change_mode(&self, random: &mut Random) {
        let mode = match random.below(4 * 32) {
            0 => Mode::Off,
            1 => Mode::RecordOnly,
            2 | 3 => Mode::Enforce,
            _ => return,
        };
        let to = (mode, self.now().1);
        self.record.change(to, || self.policy.set_mode(mode));
    }

    /// `layer`, whose calls are observed.
    pub(super) fn observed<L>(&self, layer: L) -> Stack<L, Record<V>> {
        Stack::new(layer, self.record.clone())
    }

    /// Compares the events with the calls, and lets `idle` look at the policy. Its listener is
    /// dropped with it.
    pub(super) fn finish(self, idle: impl FnOnce(&P)) {
        let Self { policy, record } = self;
        let Counts {
            emitted,
            matched,
            owed,
            ..
        } = &record.0.counts;
        assert_eq!(count(emitted), count(matched));
        assert!(count(owed) > 100, "{owed:?}");
        idle(&policy);
        drop(policy);
        assert_eq!(Arc::strong_count(&record.0), 1, "the listener leaked");
    }
}

/// The future of an observed call, until its drop.
pub(super) struct Observed<V: Copy, F> {
    future: Option<Pin<Box<F>>>,
    record: Record<V>,
    events: usize,
    from: usize,
    /// What the call may have met: it reads the mode when it is made or in its first poll.
    span: Option<RangeInclusive<usize>>,
}

impl<V: Copy, F> Observed<V, F> {
    /// Runs a part of the call.
    fn within<T>(&mut self, f: impl FnOnce(&mut Option<Pin<Box<F>>>) -> T) -> T {
        let before = self.record.events();
        let result = f(&mut self.future);
        self.events += self.record.events() - before;
        result
    }

    fn close(&mut self) -> RangeInclusive<usize> {
        let since = || self.record.since(self.from);
        self.span.get_or_insert_with(since).clone()
    }
}

impl<V: Copy, F: Future> Future for Observed<V, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let poll = this.within(|future| future.as_mut().unwrap().as_mut().poll(cx));
        this.close();
        poll
    }
}

impl<V: Copy, F> Drop for Observed<V, F> {
    fn drop(&mut self) {
        self.within(|future| *future = None);
        let span = self.close();
        let modes = self.record.during(span);
        let off = modes.iter().filter(|(mode, _)| *mode == Mode::Off).count();
        let (events, counts) = (self.events, &self.record.0.counts);
        add(&counts.matched, events);
        add(&counts.owed, usize::from(off == 0));
        let fits = match off {
            0 => events == 1,
            off if off == modes.len() => events == 0,
            _ => events <= 1,
        };
        assert!(fits || panicking(), "{events} terminal events");
    }
}

impl<V: Copy, S> Layer<S> for Record<V> {
    type Service = ObservedService<V, S>;

    fn layer(&self, inner: S) -> ObservedService<V, S> {
        ObservedService(inner, self.clone(), 0)
    }
}

#[derive(Clone)]
pub(super) struct ObservedService<V, S>(S, Record<V>, usize);

impl<V: Copy, Req, S: Service<Req>> Service<Req> for ObservedService<V, S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observed<V, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A layer may decide here that it rejects the next call.
        self.2 = self.1.before();
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.1.observe(self.2, || self.0.call(request))
    }
}
