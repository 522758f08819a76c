//! The service at the bottom, and how a call is made.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::rejection::Carrier;
use seawall::{Reason, Rejection};
use tokio::runtime::Runtime;
use tower::Service;

/// The service's error has two words, like the boxes that tower makes of it, so that all contenders move
/// equally large answers. It is `Clone` because tower-resilience's hedge requires it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A rejection of seawall.
    Rejected(Box<Rejection>),
    /// A rejection of a peer.
    Peer,
}

impl Carrier for Fault {
    fn carry(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }

    fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Rejected(rejection) => Some(rejection.reason()),
            Self::Peer => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Peer => f.write_str("rejected"),
        }
    }
}

impl std::error::Error for Fault {}

/// When the service answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    AtOnce,
    /// At the second poll, after a wake-up: a call over a network without the network.
    PendingOnce,
}

#[derive(Clone)]
pub struct Noop(pub When);

impl Service<u32> for Noop {
    type Response = u32;
    type Error = Fault;
    type Future = Answer;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u32) -> Answer {
        Answer {
            pending: self.0 == When::PendingOnce,
            answer: ready(Ok(request)),
        }
    }
}

pub struct Answer {
    pending: bool,
    answer: Ready<Result<u32, Fault>>,
}

impl Future for Answer {
    type Output = Result<u32, Fault>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.pending) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.answer).poll(cx)
    }
}

#[must_use]
pub fn runtime() -> Rc<Runtime> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    Rc::new(runtime.enable_time().build().unwrap())
}

/// Calls with a number. See [`serve_with`].
pub fn serve<S>(runtime: &Rc<Runtime>, service: S) -> impl FnMut(u64) -> u64 + 'static
where
    S: Service<u32, Response = u32> + 'static,
{
    let right = |response: &u32| black_box(*response) == 7;
    serve_with(runtime, service, || black_box(7), right)
}

/// Makes that many calls, one after the other: ready, call, polled to its end. `make` makes each request, and
/// `right` checks each response. The runtime is entered once for all calls. A pending call is polled again
/// at once, so that no figure includes what a runtime does between two polls. Returns the number of right
/// responses.
pub fn serve_with<S, Req, Res>(
    runtime: &Rc<Runtime>,
    mut service: S,
    make: impl Fn() -> Req + 'static,
    right: impl Fn(&Res) -> bool + Copy + Unpin + 'static,
) -> impl FnMut(u64) -> u64 + 'static
where
    S: Service<Req, Response = Res> + 'static,
{
    let runtime = runtime.clone();
    move |n| {
        // Without tokio's cooperation, which is for tasks that poll a few timers at a time.
        runtime.block_on(tokio::task::coop::unconstrained(async {
            let mut answered = 0;
            for _ in 0..n {
                if std::future::poll_fn(|cx| service.poll_ready(cx))
                    .await
                    .is_err()
                {
                    continue;
                }
                let call = std::pin::pin!(service.call(make()));
                answered += u64::from(IsRight { call, right }.await);
            }
            answered
        }))
    }
}

/// Whether a call ends with the right response. The outcome is read where it was written: a copy would wait
/// for the write, which is not part of the call.
struct IsRight<F, R> {
    call: F,
    right: R,
}

impl<F, R, T, E> Future for IsRight<F, R>
where
    F: Future<Output = Result<T, E>> + Unpin,
    R: Fn(&T) -> bool + Unpin,
{
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            match &Pin::new(&mut self.call).poll(cx) {
                Poll::Ready(Ok(response)) => return Poll::Ready((self.right)(response)),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {}
            }
        }
    }
}

/// A service that takes 1 ms.
#[derive(Clone)]
pub struct Sleeper;

impl Service<u32> for Sleeper {
    type Response = u32;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Fault>> + Send>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(request)
        })
    }
}
