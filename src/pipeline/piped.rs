use std::error::Error as StdError;
use std::marker::PhantomData;

use crate::classify::{Classify, Drain, Outcome};
use crate::rejection::{Error, Fault, Reason, Rejection};

/// The error inside a pipeline. It has one level, however many policies it has passed, and it is a
/// [`Fault`] for every policy.
pub(super) struct Piped<E, Via> {
    pub(super) error: Error<E>,
    via: PhantomData<fn() -> Via>,
}

impl<E, Via> From<Error<E>> for Piped<E, Via> {
    fn from(error: Error<E>) -> Self {
        Self {
            error,
            via: PhantomData,
        }
    }
}

impl<E, Via> From<Rejection> for Piped<E, Via> {
    fn from(rejection: Rejection) -> Self {
        Error::Rejected(rejection).into()
    }
}

/// The `Via` of [`Piped`].
pub(super) struct Inside<Via>(PhantomData<Via>);

impl<E: Fault<Via>, Via> Fault<Inside<Via>> for Piped<E, Via> {
    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.error {
            Error::Rejected(rejection) => Some(rejection),
            Error::Service(error) => error.error(),
        }
    }
}

pub(super) fn flat<T, E, Via>(
    outcome: Result<T, Error<Piped<E, Via>>>,
) -> Result<T, Piped<E, Via>> {
    outcome.map_err(|error| match error {
        Error::Rejected(rejection) => rejection.into(),
        Error::Service(piped) => piped,
    })
}

/// The user's classifier, for [`Piped`] errors.
pub(super) struct ByInner<'a, C>(pub(super) &'a C);

impl<T, E, Via, Seen, C> Classify<T, Piped<E, Via>, Seen> for ByInner<'_, C>
where
    C: Classify<T, E, Seen>,
{
    fn classify(&self, outcome: Result<&T, &Piped<E, Via>>) -> Outcome {
        match outcome.map_err(|piped| &piped.error) {
            Ok(response) => self.0.classify(Ok(response)),
            Err(Error::Service(error)) => self.0.classify(Err(error)),
            // Not reached: a rejection is taken out before an outcome is classified.
            Err(Error::Rejected(_)) => Outcome::Ignore,
        }
    }

    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        self.0.by_source(error)
    }

    fn reason<'r>(&self, response: &'r T) -> Option<&'r Reason> {
        self.0.reason(response)
    }

    fn drain(&self, response: T) -> Option<Drain> {
        self.0.drain(response)
    }
}
