//! What is written down while everything changes, and how it is judged afterwards.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use allocation_counter::opt_out;
use seawall::event::EventKind;
use seawall::{Deadline, Event, Mode};
use tower::{Layer, Service};

use crate::support::locked;

/// The crate's own clock, read through a deadline that never comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Deadline);

const AN_HOUR: Duration = Duration::from_secs(3_600);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Deadline::after(AN_HOUR))
    }

    /// Nanoseconds since the start.
    pub(super) fn now(self) -> u64 {
        u64::try_from((AN_HOUR - self.0.left()).as_nanos()).unwrap()
    }
}

/// What went wrong: all of it, so that one run shows it all.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Vec<String>>>);

/// More than anybody reads.
const MOST_FAULTS: usize = 100_000;

impl Faults {
    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            opt_out(|| {
                let mut faults = locked(&self.0);
                if faults.len() < MOST_FAULTS {
                    faults.push(what());
                }
            });
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.0))
    }
}

/// What something was set to, one value after the other. A change is announced before it is made,
/// so whoever looks before and after a moment knows all that may have been in force in it.
#[derive(Debug)]
pub(super) struct Log<T> {
    values: Mutex<Vec<T>>,
    announced: AtomicUsize,
    made: AtomicUsize,
}

impl<T: Clone + Debug> Log<T> {
    pub(super) fn new(first: T) -> Self {
        Self {
            values: Mutex::new(vec![first]),
            announced: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        }
    }

    /// Makes a change. Only one thread does.
    pub(super) fn change(&self, to: T, make: impl FnOnce(T)) {
        let mut at = 0;
        opt_out(|| {
            let mut values = locked(&self.values);
            at = values.len();
            values.push(to.clone());
        });
        self.announced.store(at, Ordering::SeqCst);
        make(to);
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

    /// What may have been in force in `span`: never nothing.
    pub(super) fn during<R>(&self, span: RangeInclusive<usize>, f: impl FnOnce(&[T]) -> R) -> R {
        f(&locked(&self.values)[span])
    }

    pub(super) fn all<R>(&self, f: impl FnOnce(&[T]) -> R) -> R {
        f(&locked(&self.values))
    }
}

/// A token that was granted at some instant between two.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) earliest: u64,
    pub(super) latest: u64,
    /// What may have been in force.
    pub(super) span: RangeInclusive<usize>,
}

/// The most by which any window has more admissions than `rate` a second bring, in billionths of
/// one: RL1 says that it is at most the burst.
///
/// An admission is surely in a window if its earliest and its latest instant are. So a window that
/// matters begins at somebody's earliest and ends at somebody's latest instant, and all pairs of
/// these are looked at: the ends in their order, the beginnings as the leaves of a tree that
/// knows the greatest of them.
pub(super) fn most_above(rate: u64, admissions: &[Admission]) -> i64 {
    let signed = |n: u64| i64::try_from(n).unwrap();
    let mut begins: Vec<u64> = admissions.iter().map(|a| a.earliest).collect();
    begins.sort_unstable();
    begins.dedup();
    let mut by_end: Vec<&Admission> = admissions.iter().collect();
    by_end.sort_unstable_by_key(|a| a.latest);
    let values = begins.iter().map(|&begin| signed(rate * begin)).collect();
    let mut tree = Tree::new(values);
    let mut most = i64::MIN;
    for admission in by_end {
        let at = begins.partition_point(|&begin| begin < admission.earliest);
        tree.admit(at);
        most = most.max(tree.greatest() - signed(rate * admission.latest));
    }
    most
}

const ONE: i64 = 1_000_000_000;

/// Adds to all leaves up to one, and knows the greatest that is in use.
struct Tree {
    leaves: usize,
    /// The greatest in use below each node, with what was added to the node. The root is 1.
    greatest: Vec<i64>,
    added: Vec<i64>,
    values: Vec<i64>,
}

const UNUSED: i64 = i64::MIN / 2;

impl Tree {
    fn new(values: Vec<i64>) -> Self {
        let leaves = values.len().next_power_of_two();
        Self {
            leaves,
            greatest: vec![UNUSED; 2 * leaves],
            added: vec![0; 2 * leaves],
            values,
        }
    }

    /// Takes `at` into use, and adds one to it and to all before it.
    fn admit(&mut self, at: usize) {
        let leaf = self.leaves + at;
        if self.greatest[leaf] < UNUSED / 2 {
            self.greatest[leaf] = self.values[at] + self.added[leaf];
        }
        self.add(leaf);
        let mut node = leaf;
        while node > 1 {
            if node % 2 == 1 {
                self.add(node - 1);
            }
            node /= 2;
            let below = self.greatest[2 * node].max(self.greatest[2 * node + 1]);
            self.greatest[node] = below + self.added[node];
        }
    }

    fn add(&mut self, node: usize) {
        self.added[node] += ONE;
        self.greatest[node] += ONE;
    }

    fn greatest(&self) -> i64 {
        self.greatest[1]
    }
}

thread_local! {
    /// Whose calls this thread is in, the innermost last, and how often each was told of.
    static WITHIN: RefCell<Vec<(usize, Rc<Cell<u32>>)>> = const { RefCell::new(Vec::new()) };
}

/// Watches the calls of one policy: each ends in one terminal event, unless it was made while the
/// policy was off.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    name: &'static str,
    modes: Arc<Log<Mode>>,
    faults: Faults,
    /// Calls of which is known for sure that one event was owed.
    owed: AtomicUsize,
    strays: AtomicUsize,
}

impl Watch {
    pub(super) fn new(name: &'static str, modes: &Arc<Log<Mode>>, faults: &Faults) -> Self {
        Self(Arc::new(Watched {
            name,
            modes: Arc::clone(modes),
            faults: faults.clone(),
            owed: AtomicUsize::new(0),
            strays: AtomicUsize::new(0),
        }))
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// To be put on the policy.
    pub(super) fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let this = self.clone();
        move |event| {
            if !matches!(event.kind, EventKind::Ended { .. } | EventKind::Rejected(_)) {
                return;
            }
            WITHIN.with_borrow(|within| {
                match within.iter().rev().find(|(id, _)| *id == this.id()) {
                    Some((_, told)) => told.set(told.get() + 1),
                    None => drop(this.0.strays.fetch_add(1, Ordering::SeqCst)),
                }
            });
        }
    }

    pub(super) fn begin(&self) -> Watching {
        Watching {
            watch: self.clone(),
            told: Rc::default(),
            from: self.0.modes.before(),
            span: None,
        }
    }

    /// The modes that all calls of this policy were judged by.
    pub(super) fn finish(&self) {
        let Watched {
            name,
            faults,
            owed,
            strays,
            ..
        } = &*self.0;
        let (owed, strays) = (owed.load(Ordering::SeqCst), strays.load(Ordering::SeqCst));
        faults.check(owed > 0, || format!("{name}: no call was owed an event"));
        faults.check(strays == 0, || {
            format!("{name}: {strays} events of no call")
        });
    }
}

/// One call that is watched, to its drop.
#[derive(Debug)]
pub(super) struct Watching {
    watch: Watch,
    told: Rc<Cell<u32>>,
    from: usize,
    /// The modes that it may have been made under, known once it is made.
    span: Option<RangeInclusive<usize>>,
}

impl Watching {
    /// Runs what belongs to the call.
    pub(super) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        let entry = (self.watch.id(), Rc::clone(&self.told));
        WITHIN.with_borrow_mut(|within| within.push(entry));
        let result = f();
        WITHIN.with_borrow_mut(|within| drop(within.pop()));
        result
    }

    /// Makes the call: what it keeps to its end it has read in `f`.
    pub(super) fn make<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let result = self.within(f);
        self.span = Some(self.watch.0.modes.since(self.from));
        result
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let watched = &*self.watch.0;
        let Some(span) = self.span.take() else {
            return;
        };
        let is_off = |modes: &[Mode]| {
            let off = modes.iter().filter(|mode| **mode == Mode::Off).count();
            (off > 0, off == modes.len())
        };
        let told = self.told.get();
        let fits = match watched.modes.during(span, is_off) {
            (false, _) => {
                watched.owed.fetch_add(1, Ordering::SeqCst);
                told == 1
            }
            (true, true) => told == 0,
            (true, false) => told <= 1,
        };
        let name = watched.name;
        (watched.faults).check(fits, || format!("{name}: a call was told of {told} times"));
    }
}

impl<S> Layer<S> for Watch {
    type Service = WatchService<S>;

    fn layer(&self, inner: S) -> WatchService<S> {
        let watch = self.clone();
        WatchService { inner, watch }
    }
}

#[derive(Clone, Debug)]
pub(super) struct WatchService<S> {
    inner: S,
    watch: Watch,
}

impl<Req, S: Service<Req>> Service<Req> for WatchService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = WatchFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut watching = self.watch.begin();
        let call = watching.make(|| self.inner.call(request));
        WatchFuture {
            call: Some(Box::pin(call)),
            watching,
        }
    }
}

#[derive(Debug)]
pub(super) struct WatchFuture<F> {
    call: Option<Pin<Box<F>>>,
    watching: Watching,
}

impl<F: Future> Future for WatchFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { call, watching } = &mut *self;
        let call = call.as_mut().expect("it is there until the drop");
        watching.within(|| call.as_mut().poll(cx))
    }
}

impl<F> Drop for WatchFuture<F> {
    fn drop(&mut self) {
        let call = self.call.take();
        self.watching.within(|| drop(call));
    }
}

// RL1: the clever search beside the naive one.
#[test]
fn the_fullest_window_is_found() {
    let mut random = crate::support::Random::new(7);
    for round in 0..200 {
        let rate = random.below(3);
        let admissions: Vec<_> = (0..1 + round % 12)
            .map(|_| {
                let earliest = random.below(20) * 100_000_000;
                Admission {
                    earliest,
                    latest: earliest + random.below(4) * 100_000_000,
                    span: 0..=0,
                }
            })
            .collect();
        let windows = admissions.iter().flat_map(|a| {
            let ends = admissions.iter().map(|b| b.latest);
            ends.filter(|&end| end >= a.earliest)
                .map(|end| (a.earliest, end))
        });
        let naive = windows.map(|(begin, end)| {
            let inside = admissions
                .iter()
                .filter(|a| a.earliest >= begin && a.latest <= end);
            let count = i64::try_from(inside.count()).unwrap();
            count * ONE - i64::try_from(rate * (end - begin)).unwrap()
        });
        assert_eq!(Some(most_above(rate, &admissions)), naive.max());
    }
}
