//! What the tests stand on: an inner service that does what its request says, a strict one, a
//! recorder of events and a counter of polls.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use seawall::event::{Ending, EventKind};
use seawall::{Budget, Event, Reason};
use tower::{BoxError, Service};

/// What the inner service is to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Answers 7 at once.
    Answer,
    /// Fails at once.
    Fail,
    /// Is pending so many polls, waking itself each time, and then answers 7.
    Yield(u32),
    /// Answers when [`Mock::answer`] is called.
    Wait,
    /// Never answers.
    Hang,
    /// Panics in `call`.
    PanicInCall,
    /// Panics in the first poll.
    PanicInPoll,
    /// As `Answer`, for a layer that refuses by request; see `contract::Subject`.
    Late,
}

seawall::resend!(Do);
seawall::authority!(Do);

/// A service that does what its request says and counts what is done to it. Clones are one
/// service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mock(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stuck: AtomicBool,
    ready_polls: AtomicUsize,
    calls: AtomicUsize,
    polls: AtomicUsize,
    in_flight: AtomicUsize,
    answered: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Mock {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Never ready, until `unstick`.
    pub(crate) fn stuck() -> Self {
        let mock = Self::new();
        mock.0.stuck.store(true, Ordering::SeqCst);
        mock
    }

    pub(crate) fn unstick(&self) {
        self.0.stuck.store(false, Ordering::SeqCst);
        self.wake();
    }

    /// Lets every `Do::Wait` answer.
    pub(crate) fn answer(&self) {
        self.0.answered.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes whoever is pending, for nothing.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut *locked(&self.0.wakers));
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    pub(crate) fn ready_polls(&self) -> usize {
        self.0.ready_polls.load(Ordering::SeqCst)
    }

    /// Futures that were made and not dropped.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    fn wait(&self, cx: &Context<'_>) {
        locked(&self.0.wakers).push(cx.waker().clone());
    }
}

impl Service<Do> for Mock {
    type Response = u32;
    type Error = BoxError;
    type Future = MockFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.ready_polls.fetch_add(1, Ordering::SeqCst);
        if self.0.stuck.load(Ordering::SeqCst) {
            self.wait(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, what: Do) -> MockFuture {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        assert!(what != Do::PanicInCall, "panic in the inner call");
        self.0.in_flight.fetch_add(1, Ordering::SeqCst);
        MockFuture {
            what,
            mock: self.clone(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct MockFuture {
    what: Do,
    mock: Mock,
}

impl Future for MockFuture {
    type Output = Result<u32, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.mock.0.polls.fetch_add(1, Ordering::SeqCst);
        match this.what {
            Do::Answer | Do::Late | Do::Yield(0) => Poll::Ready(Ok(7)),
            Do::Fail => Poll::Ready(Err("the inner service failed".into())),
            Do::Yield(ref mut left) => {
                *left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Do::Wait if this.mock.0.answered.load(Ordering::SeqCst) => Poll::Ready(Ok(7)),
            Do::Wait | Do::Hang => {
                this.mock.wait(cx);
                Poll::Pending
            }
            Do::PanicInPoll | Do::PanicInCall => panic!("panic in the inner poll"),
        }
    }
}

impl Drop for MockFuture {
    fn drop(&mut self) {
        self.mock.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Panics when called without having been polled ready since its last call. A clone has not
/// been.
#[derive(Debug, Default)]
pub(crate) struct Strict<S> {
    inner: S,
    ready: bool,
}

impl<S> Strict<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            ready: false,
        }
    }
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<Req, S: Service<Req>> Service<Req> for Strict<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let poll = self.inner.poll_ready(cx);
        self.ready = matches!(poll, Poll::Ready(Ok(())));
        poll
    }

    fn call(&mut self, request: Req) -> S::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without fresh readiness"
        );
        self.inner.call(request)
    }
}

/// What a policy told, in short: `rejected`, `would reject`, an ending, `transition`, `again`,
/// `would go again`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let told = Arc::clone(&self.0);
        move |event| {
            let what = match event.kind {
                EventKind::Ended { ending, .. } => match ending {
                    Ending::Failure(kind) => format!("Failure({kind:?})"),
                    ending => format!("{ending:?}"),
                },
                EventKind::Rejected(_) => "rejected".to_owned(),
                EventKind::WouldReject(_) => "would reject".to_owned(),
                EventKind::Transition(_) => "transition".to_owned(),
                EventKind::Retrying { .. } | EventKind::Hedging { .. } => "again".to_owned(),
                EventKind::WouldRetry { .. } | EventKind::WouldHedge { .. } => {
                    "would go again".to_owned()
                }
                other => format!("{other:?}"),
            };
            locked(&told).push(what);
        }
    }

    /// Everything told since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.0))
    }

    /// The terminal events told since the last time.
    pub(crate) fn endings(&self) -> Vec<String> {
        let others = ["would reject", "transition", "again", "would go again"];
        let mut told = self.take();
        told.retain(|what| !others.contains(&what.as_str()));
        told
    }
}

/// Counts how often a future is polled and how often it is woken.
pub(crate) struct Task<F> {
    future: Option<Pin<Box<F>>>,
    wakes: Arc<Wakes>,
    polls: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Task<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Some(Box::pin(future)),
            wakes: Arc::default(),
            polls: 0,
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.polls += 1;
        let waker = Waker::from(Arc::clone(&self.wakes));
        let future = self.future.as_mut().expect("the task was cancelled");
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls as an executor does: only when woken. Pending when there is nothing to do.
    pub(crate) fn run(&mut self) -> Poll<F::Output> {
        loop {
            assert!(self.polls < 10_000, "it wakes itself for ever");
            let before = self.wakes();
            let poll = self.poll();
            if poll.is_ready() || self.wakes() == before {
                return poll;
            }
        }
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.count()
    }

    pub(crate) fn cancel(&mut self) {
        self.future = None;
    }
}

/// Whether `service` is ready for `Req`.
pub(crate) fn poll_ready<Req, S: Service<Req>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// The reason in a boxed error; panics if it is none of ours.
#[track_caller]
pub(crate) fn reason(error: &BoxError) -> Reason {
    let error: &(dyn std::error::Error + 'static) = &**error;
    Reason::of(error)
        .unwrap_or_else(|| panic!("no rejection but: {error}"))
        .clone()
}

/// A small generator: the same numbers in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// A budget to which nothing is added, and with more in it than a test takes.
pub(crate) fn leave_all() -> Budget {
    let budget = Budget::builder().ratio(0.0).burst(100_000).floor(0);
    budget.build().unwrap()
}

/// Leaves leave for so many attempts in `budget`.
pub(crate) fn leave(budget: &Budget, attempts: u32) {
    while budget.snapshot().balance > f64::from(attempts) {
        budget.withdraw().unwrap().spend();
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` without the message of a panic that the test expects.
pub(crate) fn catching<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
