//! The bounds of the layers, folded into one trait for layers that reject and one for layers that
//! also classify.
//!
//! Bounds written out in each layer would double the compiler's work with every layer of a stack.

use tower_service::Service;

use super::respond::{Format, Native, Respond};
use crate::classify::{By, Classify, Verdict};
use crate::rejection::Recognize;

/// A service that a layer can reject calls to. It is implemented for every service for whose
/// response and error `R` can make the answer to a rejected call.
pub trait Guard<Req, R = Native>: Service<Req> {
    /// The format of its rejections.
    type Format: Format<Self::Response, Self::Error>;

    /// Reads from `req` how a rejection is to be answered.
    fn format(responder: &R, req: &Req) -> Self::Format;
}

impl<S, Req, R> Guard<Req, R> for S
where
    S: Service<Req>,
    R: Respond<Req, S::Response, S::Error>,
{
    type Format = R::Format;

    fn format(responder: &R, req: &Req) -> R::Format {
        responder.format(req)
    }
}

/// Returns `service`, and does not compile if a layer cannot reject calls to it.
///
/// Where a layer does not fit the service under it, the compiler often says only that `call` or
/// `oneshot` does not exist. With `check` it says which bound is missing. `Req` is the type of the
/// request.
///
/// ```
/// use seawall::service::check;
/// use tower::{BoxError, service_fn};
///
/// let service = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
/// let service = check::<u32, _>(service);
/// # let _ = service;
/// ```
pub fn check<Req, S: Guard<Req>>(service: S) -> S {
    service
}

/// A [`Guard`] whose outcomes `C` can classify.
pub trait Judged<Req, R, C>: Guard<Req, R> {
    /// Classifies the outcome of one call.
    type Verdict: Verdict<Self::Response, Self::Error>;

    /// The classifier of one call.
    fn verdict(classifier: &C) -> Self::Verdict;
}

impl<S, Req, R, C> Judged<Req, R, C> for S
where
    S: Guard<Req, R>,
    S::Error: Recognize,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Verdict = By<C>;

    #[inline]
    fn verdict(classifier: &C) -> By<C> {
        By(classifier.clone())
    }
}
