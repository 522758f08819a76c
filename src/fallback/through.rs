use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::action::{Action, Keep};
use super::call::READY;
use super::state::Cause;
use crate::attempts::{Again, CopyBy, OnlyIf, SendAgain};
use crate::context::{CallContext, Due};
use crate::event::Suppression;
use crate::sync::Mutex;
use crate::time::{self, Sleep, Tick};

/// Answers with a call of another service. Made by [`service`].
pub struct Through<S, A = Again> {
    /// Locked only for a call of the fallback, so that the service need not be `Sync`.
    service: Mutex<S>,
    again: A,
}

/// Answers with a call of a clone of `service`, such as a replica, to which it sends a copy of the
/// request. It has the response and the error of the service that failed.
///
/// The rules are those of a [retry](crate::attempts): a request without a copy is not sent, and one
/// that is not idempotent is sent only if the call had no effect.
///
/// ```
/// use seawall::fallback::{self, Fallback, FallbackLayer};
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let primary = service_fn(|_: u32| async { Err::<&str, BoxError>("down".into()) });
/// let replica = service_fn(|_: u32| async { Ok::<_, BoxError>("replica") });
/// let fallback = Fallback::new();
/// let layer = FallbackLayer::new(&fallback, fallback::service(replica).only(|_: &u32| true));
/// assert_eq!(layer.layer(primary).oneshot(7).await?, "replica");
/// # Ok(()) }
/// ```
pub fn service<S>(service: S) -> Through<S> {
    Through {
        service: Mutex::new(service),
        again: Again::default(),
    }
}

impl<S, O, K> Through<S, Again<O, K>> {
    /// Sends the requests for which `only` is true also if the call may have had its effect,
    /// instead of those that are [`Idempotent`](crate::attempts::Idempotent).
    pub fn only<F>(self, only: F) -> Through<S, Again<OnlyIf<F>, K>> {
        Through {
            service: self.service,
            again: self.again.only(only),
        }
    }

    /// Copies requests by `copy`, instead of [`Resend::copy`](crate::attempts::Resend::copy).
    pub fn resend<F>(self, copy: F) -> Through<S, Again<O, CopyBy<F>>> {
        Through {
            service: self.service,
            again: self.again.resend(copy),
        }
    }
}

impl<Req, S, A> Action<Req, S::Response, S::Error> for Through<S, A>
where
    S: Service<Req> + Clone,
    A: SendAgain<Req>,
{
    type Future = Sent<S, Req, S::Future>;

    fn check(&self, request: &Req, cause: Cause) -> Result<(), Suppression> {
        match cause.had_no_effect || self.again.may_resend(request) {
            true => Ok(()),
            false => Err(Suppression::NotIdempotent),
        }
    }

    fn answer(&self, request: Req, _: Cause) -> Self::Future {
        let service = self.service.lock().clone();
        Sent::new(service, request)
    }
}

impl<Req, S, A: SendAgain<Req>> Keep<Req> for Through<S, A> {
    type Kept = Req;

    fn keep(&self, request: &Req) -> Option<Req> {
        self.again.copy(request)
    }
}

impl<S, A> fmt::Debug for Through<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Through(..)")
    }
}

pin_project! {
    /// A call of the service that a fallback sends requests to.
    pub struct Sent<S, Req, F> {
        #[pin]
        state: Sending<S, Req, F>,
    }
}

pin_project! {
    #[project = SendingProjection]
    enum Sending<S, Req, F> {
        // The service, a clone, is not ready yet.
        Readying {
            service: S,
            request: Option<Req>,
            // Held until a poll that may start it.
            #[pin]
            hold: Option<Sleep>,
        },
        Calling {
            #[pin]
            call: F,
        },
    }
}

impl<S, Req, F> Sent<S, Req, F> {
    pub(super) fn new(service: S, request: Req) -> Self {
        let request = Some(request);
        Self {
            state: Sending::Readying {
                service,
                request,
                hold: None,
            },
        }
    }
}

impl<S: Service<Req>, Req> Future for Sent<S, Req, S::Future> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let call = match this.state.as_mut().project() {
                SendingProjection::Readying {
                    service,
                    request,
                    mut hold,
                } => {
                    ready!(service.poll_ready(cx))?;
                    // Nothing starts in a poll after a deadline. The timeout of the fallback ends
                    // its own call, and another caller may poll this one later.
                    if CallContext::due_now(Tick::NEVER) != Due::Now {
                        hold.set(Some(Sleep::step(time::now())));
                        let hold = hold.as_pin_mut().expect("it was set above");
                        ready!(hold.poll_elapsed(cx));
                        continue;
                    }
                    service.call(request.take().expect(READY))
                }
                SendingProjection::Calling { call } => return call.poll(cx),
            };
            this.state.set(Sending::Calling { call });
        }
    }
}

impl<S, Req, F> fmt::Debug for Sent<S, Req, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            Sending::Readying { .. } => "Readying",
            Sending::Calling { .. } => "Calling",
        })
    }
}
