use std::error::Error as StdError;
use std::future::Future;
use std::marker::PhantomData;

use super::list::{Breaker, Limit, Pipeline};
use crate::classify::{Classify, Drain, Outcome};
use crate::context;
use crate::rejection::{Error, Fault, Reason, Rejection};

impl<C> Pipeline<C> {
    /// Makes a call under all policies. `call` makes a new call for each attempt, whose number it
    /// gets, from 1.
    ///
    /// # Errors
    /// The error of the call, or the rejection by the policy that rejected it or cut it short.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempts in flight; see the [module](crate::pipeline).
    ///
    /// # Panics
    /// If it has to wait outside of a tokio runtime with time enabled.
    pub async fn run<T, E, F, Fut, Via, Seen>(&self, call: F) -> Result<T, Error<E>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let call = &call;
        let outcome = match &self.timeout {
            Some(timeout) => flat(timeout.run(|| self.retried(call)).await),
            None => self.retried(call).await,
        };
        outcome.map_err(|piped| piped.error)
    }

    async fn retried<T, E, F, Fut, Via, Seen>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        match &self.retry {
            Some(retry) => {
                let classifier = ByInner(&self.classifier);
                flat(retry.run_with(classifier, |_| self.hedged(call)).await)
            }
            None => self.hedged(call).await,
        }
    }

    async fn hedged<T, E, F, Fut, Via, Seen>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        match &self.hedge {
            Some(hedge) => {
                let classifier = ByInner(&self.classifier);
                flat(hedge.run_with(classifier, |_| self.attempt(call)).await)
            }
            None => self.attempt(call).await,
        }
    }

    /// One attempt.
    async fn attempt<T, E, F, Fut, Via, Seen>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let number = context::attempt().unwrap_or(1);
        let admitted = || self.admitted(|| call(number));
        let breaker = match &self.breaker {
            Breaker::None => return admitted().await,
            Breaker::One(breaker) => breaker.clone(),
            Breaker::By(by) => by(number),
        };
        let classifier = ByInner(&self.classifier);
        flat(breaker.run_with(classifier, admitted).await)
    }

    async fn admitted<T, E, Fut, Via>(&self, call: impl FnOnce() -> Fut) -> Result<T, Piped<E, Via>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
    {
        match &self.bulkhead {
            Some(bulkhead) => flat(bulkhead.run_queued(|| self.limited(call)).await),
            None => self.limited(call).await,
        }
    }

    async fn limited<T, E, Fut, Via>(&self, call: impl FnOnce() -> Fut) -> Result<T, Piped<E, Via>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
    {
        if let Some(Limit { limiter, waits }) = &self.limiter {
            let token = match waits {
                true => limiter.acquire().await,
                false => limiter.try_acquire(),
            };
            token.map_err(Piped::from)?;
        }
        let outcome = match &self.attempt_timeout {
            Some(timeout) => timeout.run(call).await,
            None => call().await.map_err(Error::Service),
        };
        outcome.map_err(Piped::from)
    }
}

/// The error inside a pipeline. It has one level, however many policies it has passed, and it is a
/// [`Fault`] for every policy.
struct Piped<E, Via> {
    error: Error<E>,
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
struct Inside<Via>(PhantomData<Via>);

impl<E: Fault<Via>, Via> Fault<Inside<Via>> for Piped<E, Via> {
    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.error {
            Error::Rejected(rejection) => Some(rejection),
            Error::Service(error) => error.error(),
        }
    }
}

fn flat<T, E, Via>(outcome: Result<T, Error<Piped<E, Via>>>) -> Result<T, Piped<E, Via>> {
    outcome.map_err(|error| match error {
        Error::Rejected(rejection) => rejection.into(),
        Error::Service(piped) => piped,
    })
}

/// The user's classifier, for [`Piped`] errors.
struct ByInner<'a, C>(&'a C);

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
