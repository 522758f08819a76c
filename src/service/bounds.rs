//! The bounds of the layers, folded into one trait each.

use tower_service::Service;

use super::respond::{Format, Native, Respond};
use crate::classify::{self, Classify, Outcome};
use crate::rejection::{Reason, Recognize};

/// A service that a layer can refuse calls to: the one predicate that the layers put on what is
/// under them. It holds for every service for whose outcome `R` can say a refusal.
///
/// One predicate, because bounds written out in each layer double the compiler's work with
/// every layer of a stack.
pub trait Guard<Req, R = Native>: Service<Req> {
    /// The format of its refusals.
    type Format: Format<Self::Response, Self::Error>;

    /// Reads from `req` how it is to be answered.
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

/// Gives `service` back, and does not compile where a layer could not refuse calls to it.
///
/// What a missing method of a stack leaves unsaid (the compiler then only knows that `call` or
/// `oneshot` does not exist), this says in words. `Req` is the request's type.
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

/// A [`Guard`] whose outcomes `C` can classify: the one predicate of layers that judge.
pub trait Judged<Req, R, C>: Guard<Req, R> {
    /// What judges its outcomes.
    type Verdict: Verdict<Self::Response, Self::Error>;

    /// What judges the outcome of one call.
    fn verdict(classifier: &C) -> Self::Verdict;
}

impl<C: Clone> By<C> {
    #[inline]
    pub(crate) fn new(classifier: &C) -> Self {
        Self(classifier.clone())
    }
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
        By::new(classifier)
    }
}

/// Judges the outcome of one call: the library's own refusals are taken out before the
/// classifier is asked.
pub trait Verdict<Res, Err> {
    /// What this outcome says.
    fn outcome(&self, outcome: Result<&Res, &Err>) -> Outcome;

    /// Whether this is a refusal of the library's own: of a call that was not made.
    fn is_refusal(&self, outcome: Result<&Res, &Err>) -> bool;
}

/// The [`Verdict`] of a [`Classify`].
#[derive(Clone, Copy, Debug, Default)]
pub struct By<C>(C);

impl<Res, Err: Recognize, C: Classify<Res, Err>> Verdict<Res, Err> for By<C> {
    #[inline]
    fn outcome(&self, outcome: Result<&Res, &Err>) -> Outcome {
        let refusal = outcome.err().and_then(Recognize::recognize);
        classify::settle(&self.0, refusal, outcome)
    }

    fn is_refusal(&self, outcome: Result<&Res, &Err>) -> bool {
        let reason = match outcome {
            Ok(response) => self.0.refusal(response),
            Err(error) => error.recognize(),
        };
        reason.is_some_and(Reason::is_refusal)
    }
}
