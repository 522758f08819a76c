//! The inner services of the tests: one that does what its request says, and a strict one.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall::event::Subscription;
use seawall::{
    Budget, Bulkhead, CircuitBreaker, Event, Fallback, Hedge, Mode, RateLimiter, Reason, Retry,
    Timeout,
};
use tower::{BoxError, Service};

pub(crate) use crate::testing::*;

/// What the inner service does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Answers 7 at once.
    Answer,
    /// Fails at once.
    Fail,
    /// Is pending for this number of polls, wakes itself in each, and then answers 7.
    Yield(u32),
    /// Answers when [`Mock::answer`] is called.
    Wait,
    /// Answers 7 after this time.
    Sleep(Duration),
    /// Never answers.
    Hang,
    /// Panics in `call`.
    PanicInCall,
    /// Panics in the first poll.
    PanicInPoll,
    /// Answers 7 at once, and is rejected by the timeout layer of `contract`, which reads its
    /// duration from the request.
    Late,
}

seawall::resend!(Do);
seawall::authority!(Do);

/// A service that does what its request says, and counts. Clones are one service.
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

    /// Wakes every pending call without a reason.
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
            sleep: match what {
                Do::Sleep(time) => Some(Box::pin(tokio::time::sleep(time))),
                _ => None,
            },
            mock: self.clone(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct MockFuture {
    what: Do,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
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
            Do::Sleep(_) => {
                let sleep = this.sleep.as_mut().unwrap();
                sleep.as_mut().poll(cx).map(|()| Ok(7))
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

/// Panics if it is called without having been ready since its last call. A clone was never ready.
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

/// What all policies have in common.
pub(crate) trait Handle: Clone + Send + Sync + 'static {
    fn name(&self) -> String;
    fn set_mode(&self, mode: Mode);
    fn would_reject(&self) -> u64;
    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription;
}

macro_rules! handles {
    ($($policy:ty: $would_reject:ident;)*) => {$(
        impl Handle for $policy {
            fn name(&self) -> String {
                self.name().to_string()
            }

            fn set_mode(&self, mode: Mode) {
                self.set_mode(mode);
            }

            fn would_reject(&self) -> u64 {
                self.snapshot().$would_reject
            }

            fn on_event(
                &self,
                listener: impl Fn(&Event<'_>) + Send + Sync + 'static,
            ) -> Subscription {
                self.on_event(listener)
            }
        }
    )*};
}

handles! {
    Timeout: would_reject;
    CircuitBreaker: would_reject;
    RateLimiter: would_reject;
    Bulkhead: would_reject;
    Retry: would_retry;
    Hedge: would_hedge;
    Fallback: would_answer;
}

/// The reason in a boxed error; panics if there is none.
#[track_caller]
pub(crate) fn reason(error: &BoxError) -> Reason {
    let error: &(dyn std::error::Error + 'static) = &**error;
    Reason::of(error)
        .unwrap_or_else(|| panic!("no rejection but: {error}"))
        .clone()
}

/// A budget that holds more than a test withdraws, and never earns.
pub(crate) fn full_budget() -> Budget {
    let budget = Budget::builder().ratio(0.0).burst(100_000).floor(0);
    budget.build().unwrap()
}

/// Spends the budget down to this number of attempts.
pub(crate) fn spend_to(budget: &Budget, attempts: u32) {
    while budget.snapshot().balance > f64::from(attempts) {
        budget.withdraw().unwrap().spend();
    }
}
