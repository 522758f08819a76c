//! A backend with a script: how long each attempt takes, and its outcome.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::context::CallContext;
use crate::event::{Ending, Event, EventKind};
use crate::hedge::Hedge;
use crate::rejection::Error;
use crate::sync::{Arc, Mutex};
use crate::time::{self, Tick};

/// Not `Clone`.
#[derive(Debug, PartialEq)]
pub(super) enum Fail {
    Plain(u32),
    Rejected,
    Permanent,
    /// With this `Retry-After`; `NEVER` forbids another call.
    After(Duration),
}

impl std::fmt::Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Fail {}

pub(super) type Outcome = Result<Answer, Error<Fail>>;

/// Not `Sync`.
#[derive(Debug, PartialEq)]
pub(super) struct Answer(pub(super) std::cell::Cell<u32>);

pub(super) fn answer(n: u32) -> Outcome {
    Ok(Answer(n.into()))
}

pub(super) fn fail(n: u32) -> Outcome {
    Err(Error::Service(Fail::Plain(n)))
}

crate::judge!(Answer);

pub(super) fn classify(outcome: Result<&Answer, &Error<Fail>>) -> crate::Outcome {
    use crate::classify::FailureKind;
    match outcome {
        Ok(_) => crate::Outcome::Success,
        Err(Error::Service(Fail::Rejected)) => crate::Outcome::Ignore,
        Err(Error::Service(Fail::Permanent)) => crate::Outcome::Failure {
            kind: FailureKind::Permanent,
            retry_after: None,
        },
        Err(Error::Service(Fail::After(delay))) => crate::Outcome::Failure {
            kind: FailureKind::Error,
            retry_after: Some(*delay),
        },
        Err(_) => crate::Outcome::Failure {
            kind: FailureKind::Error,
            retry_after: None,
        },
    }
}

pub(super) const NEVER: Duration = Duration::MAX;

use crate::testing::Recorder;
pub(super) use crate::testing::ms;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// Since the backend was made.
    pub(super) at: Duration,
    pub(super) attempt: Option<u32>,
    pub(super) extra: bool,
}

pub(super) struct Log {
    start: Tick,
    seen: Mutex<Vec<Seen>>,
    pub(super) in_flight: Mutex<u32>,
    pub(super) polls: Mutex<u32>,
    pub(super) clones: Mutex<u32>,
}

type Script = dyn Fn(u32) -> (Duration, Outcome) + Send + Sync;

/// Panics when it is called without having been polled ready. A clone is not ready.
pub(super) struct Backend {
    pub(super) log: Arc<Log>,
    script: Arc<Script>,
    ready: bool,
    /// How many times a clone is pending before it is ready.
    pub(super) unready: u32,
}

impl Backend {
    /// `script` gets the number of the call, from 0.
    pub(super) fn new(script: impl Fn(u32) -> (Duration, Outcome) + Send + Sync + 'static) -> Self {
        Self {
            log: Arc::new(Log {
                start: time::now(),
                seen: Mutex::new(Vec::new()),
                in_flight: Mutex::new(0),
                polls: Mutex::new(0),
                clones: Mutex::new(0),
            }),
            script: Arc::new(script),
            ready: false,
            unready: 0,
        }
    }
}

impl Log {
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.seen.lock().len()
    }

    /// When each attempt was made, in milliseconds.
    pub(super) fn times(&self) -> Vec<u128> {
        self.seen().iter().map(|seen| seen.at.as_millis()).collect()
    }

    pub(super) fn in_flight(&self) -> u32 {
        *self.in_flight.lock()
    }
}

impl Clone for Backend {
    fn clone(&self) -> Self {
        *self.log.clones.lock() += 1;
        Self {
            log: Arc::clone(&self.log),
            script: Arc::clone(&self.script),
            ready: false,
            unready: self.unready,
        }
    }
}

struct InFlight(Arc<Log>);

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.in_flight.lock() -= 1;
    }
}

impl<Req> Service<Req> for Backend {
    type Response = Answer;
    type Error = Error<Fail>;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.unready > 0 {
            self.unready -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        assert!(self.ready, "called without readiness");
        self.ready = false;
        let n = {
            let mut seen = self.log.seen.lock();
            seen.push(Seen {
                at: time::now().since(self.log.start),
                attempt: crate::attempt(),
                extra: CallContext::extra(),
            });
            seen.len() as u32 - 1
        };
        let (takes, outcome) = (self.script)(n);
        *self.log.in_flight.lock() += 1;
        let in_flight = InFlight(Arc::clone(&self.log));
        let inner = async move {
            let _in_flight = in_flight;
            match takes {
                NEVER => std::future::pending().await,
                Duration::ZERO => {}
                takes => tokio::time::sleep(takes).await,
            }
            outcome
        };
        let log = Arc::clone(&self.log);
        let mut inner = Box::pin(inner);
        let number = crate::attempt();
        Box::pin(poll_fn(move |cx| {
            assert_eq!(crate::attempt(), number);
            *log.polls.lock() += 1;
            inner.as_mut().poll(cx)
        }))
    }
}

/// Polls the service until it is ready, and calls it.
pub(super) async fn call<S: Service<Req>, Req>(
    service: &mut S,
    request: Req,
) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// The events of a hedge, as text.
pub(super) struct Events(Recorder);

impl Events {
    pub(super) fn of(hedge: &Hedge) -> Self {
        let events = Recorder::new();
        let name = hedge.name().clone();
        let text = move |event: &Event<'_>| {
            assert_eq!(*event.policy, name);
            match event.kind {
                EventKind::Ended { ending, elapsed } => {
                    format!("{ending:?} {}", elapsed.as_millis())
                }
                EventKind::Hedging { attempt, delay } => format!("{attempt} {}", delay.as_millis()),
                EventKind::WouldHedge { attempt, delay } => {
                    format!("would {attempt} {}", delay.as_millis())
                }
                ref other => format!("{other:?}"),
            }
        };
        hedge.on_event(events.listener_with(text)).forever();
        Self(events)
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.all()
    }

    pub(super) fn endings(&self, ending: Ending) -> usize {
        let is = |text: &&String| text.starts_with(&format!("{ending:?} "));
        self.0.all().iter().filter(is).count()
    }
}
