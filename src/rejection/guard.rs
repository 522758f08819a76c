use tower_service::Service;

use super::reject::{Format, Native, Recognize, Respond};
use crate::classify::{self, Classify, Outcome};

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

/// A [`Guard`] whose outcomes `C` can classify: the one predicate of layers that judge.
pub trait Judged<Req, R, C>: Guard<Req, R> {
    /// Classifies an outcome; the library's own refusals before the classifier sees them.
    fn outcome(classifier: &C, outcome: Result<&Self::Response, &Self::Error>) -> Outcome;
}

impl<S, Req, R, C> Judged<Req, R, C> for S
where
    S: Guard<Req, R>,
    S::Error: Recognize,
    C: Classify<S::Response, S::Error>,
{
    fn outcome(classifier: &C, outcome: Result<&S::Response, &S::Error>) -> Outcome {
        let refusal = outcome.err().and_then(Recognize::recognize);
        classify::settle(classifier, refusal, outcome)
    }
}
