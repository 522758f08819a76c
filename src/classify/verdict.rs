//! What a policy learns from the outcome of one call.

use std::marker::PhantomData;

use super::{Classify, Drain, Outcome, judge, reason_of};
#[cfg(feature = "tower")]
use crate::rejection::Recognize;
use crate::rejection::{Fault, Reason, RejectionKind};

/// Classifies the outcome of one call. It takes out the library's own rejections before the
/// user's classifier sees the outcome.
pub trait Verdict<Res, Err> {
    /// The class of this outcome, and whether the call was rejected before it was made.
    fn judge(&self, outcome: Result<&Res, &Err>) -> (Outcome, bool);

    /// Why a policy below rejected the call or cut it short; none if this is no rejection.
    fn rejection(&self, outcome: Result<&Res, &Err>) -> Option<RejectionKind>;

    /// What is left to read of a response that is not returned.
    fn drain(&self, response: Res) -> Option<Drain>;

    /// The text of an error.
    fn text(&self, error: &Err) -> Option<String>;
}

/// Classifies the outcomes of one call of a service with a [`Classify`].
#[cfg(feature = "tower")]
#[derive(Clone, Copy, Debug, Default)]
pub struct By<C>(pub(crate) C);

#[cfg(feature = "tower")]
impl<Res, Err: Recognize, C: Classify<Res, Err>> Verdict<Res, Err> for By<C> {
    #[inline]
    fn judge(&self, outcome: Result<&Res, &Err>) -> (Outcome, bool) {
        let error = outcome.err();
        judge(
            &self.0,
            error.and_then(Recognize::look),
            error.and_then(Recognize::recognize),
            outcome,
        )
    }

    fn rejection(&self, outcome: Result<&Res, &Err>) -> Option<RejectionKind> {
        let error = outcome.err();
        let reason = reason_of(
            &self.0,
            error.and_then(Recognize::look),
            error.and_then(Recognize::recognize),
            outcome,
        );
        reason.map(Reason::kind)
    }

    fn drain(&self, response: Res) -> Option<Drain> {
        self.0.drain(response)
    }

    fn text(&self, error: &Err) -> Option<String> {
        error.text()
    }
}

/// Classifies the outcome of a closure. `Via` and `Seen` say how its error and its response are
/// looked at.
pub(crate) struct InRun<C, Via, Seen>(C, PhantomData<fn() -> (Via, Seen)>);

impl<C, Via, Seen> InRun<C, Via, Seen> {
    pub(crate) fn by(classifier: C) -> Self {
        Self(classifier, PhantomData)
    }
}

impl<T, E, C, Via, Seen> Verdict<T, E> for InRun<C, Via, Seen>
where
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    fn judge(&self, outcome: Result<&T, &E>) -> (Outcome, bool) {
        judge(&self.0, outcome.err().and_then(Fault::error), None, outcome)
    }

    fn rejection(&self, outcome: Result<&T, &E>) -> Option<RejectionKind> {
        let error = outcome.err().and_then(Fault::error);
        reason_of(&self.0, error, None, outcome).map(Reason::kind)
    }

    fn drain(&self, response: T) -> Option<Drain> {
        self.0.drain(response)
    }

    fn text(&self, error: &E) -> Option<String> {
        error.error().map(ToString::to_string)
    }
}
