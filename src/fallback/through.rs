use std::fmt;

use tower_service::Service;

use super::action::{Action, Keep};
use super::future::Sent;
use super::state::Cause;
use crate::attempts::{Again, CopyBy, OnlyIf, SendAgain};
use crate::event::Suppression;
use crate::sync::Mutex;

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
