//! What all tests use: the unit tests of the crate, and by path also the integration tests in
//! `tests/it`.

#![allow(dead_code, reason = "each of the two uses a part")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the bans are for the crate, whose models must see its locks"
)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tower::Service;

use crate::Event;
use crate::event::{Ending, EventKind};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// An error that is only text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Text(pub(crate) &'static str);

/// Locks, also after a panic that a test expects.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` and catches its panic.
pub(crate) fn catching<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
}

/// Polls once; none if the future is pending.
pub(crate) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls the readiness of `service` once.
pub(crate) fn poll_ready<Req, S: Service<Req>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// Counts how often it is woken.
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

/// A future that is polled by hand, with the number of its polls and wake-ups.
pub(crate) struct Task<F> {
    future: Option<Pin<Box<F>>>,
    wakes: Arc<Wakes>,
    polls: usize,
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

    /// Polls like an executor: once, and then after each wake-up.
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

/// The events of a policy, as text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A listener that records each event as [`short`] says it.
    pub(crate) fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        self.listener_with(short)
    }

    /// A listener that records each event as `text` says it.
    pub(crate) fn listener_with(
        &self,
        text: impl Fn(&Event<'_>) -> String + Send + Sync + 'static,
    ) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let events = Arc::clone(&self.0);
        move |event| locked(&events).push(text(event))
    }

    /// Everything since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.0))
    }

    /// Everything, and keeps it.
    pub(crate) fn all(&self) -> Vec<String> {
        locked(&self.0).clone()
    }

    /// The terminal events since the last call, for a listener that records [`short`] texts.
    pub(crate) fn endings(&self) -> Vec<String> {
        let others = [
            "would reject",
            "transition",
            "extra attempt",
            "suppressed",
            "would suppress",
            "would resend",
            "fallback",
            "would fall back",
            "no fallback",
        ];
        let mut events = self.take();
        events.retain(|event| !others.contains(&event.as_str()));
        events
    }
}

/// An event in a word or two: `rejected`, `would reject`, `transition`, `extra attempt`,
/// `suppressed`, `would suppress`, `would resend`, `fallback`, `would fall back`, `no fallback`, or
/// how the call ended.
pub(crate) fn short(event: &Event<'_>) -> String {
    match event.kind {
        EventKind::Ended { ending, .. } => match ending {
            Ending::Failure(kind) => format!("Failure({kind:?})"),
            ending => format!("{ending:?}"),
        },
        EventKind::Rejected(_) => "rejected".to_owned(),
        EventKind::WouldReject(_) => "would reject".to_owned(),
        EventKind::Transition(_) => "transition".to_owned(),
        EventKind::Retrying { .. } | EventKind::Hedging { .. } => "extra attempt".to_owned(),
        EventKind::Suppressed { .. } => "suppressed".to_owned(),
        EventKind::WouldSuppress { .. } => "would suppress".to_owned(),
        EventKind::WouldRetry { .. } | EventKind::WouldHedge { .. } => "would resend".to_owned(),
        EventKind::FallingBack { .. } => "fallback".to_owned(),
        EventKind::WouldFallBack { .. } => "would fall back".to_owned(),
        EventKind::NoFallback { .. } => "no fallback".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A small generator (SplitMix64): the same numbers in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// Makes `calls` under `subscriber`, whatever other threads report at the same time.
///
/// With a single subscriber in the process, `tracing` checks only that of the thread that first
/// reaches a callsite. If the thread has none, the callsite stays off for all. With two more
/// subscribers it checks every one of them.
#[cfg(feature = "tracing")]
pub(crate) fn traced<T>(
    subscriber: impl tracing::Subscriber + Send + Sync,
    calls: impl FnOnce() -> T,
) -> T {
    use tracing::subscriber::NoSubscriber;

    static OTHERS: std::sync::OnceLock<[tracing::Dispatch; 2]> = std::sync::OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| tracing::Dispatch::new(NoSubscriber::new())));
    tracing::subscriber::with_default(subscriber, calls)
}
