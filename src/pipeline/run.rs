use std::future::Future;

use super::action::Piping;
use super::list::{Breaker, Limit, Pipeline};
use super::piped::{ByInner, Piped, flat};
use crate::classify::Classify;
use crate::context;
use crate::fallback::Action;
use crate::rejection::{Error, Fault};

impl<C, A> Pipeline<C, A> {
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
        A: Action<(), T, E>,
    {
        let call = &call;
        let outcome = match &self.fallback {
            Some((fallback, action)) => {
                let classifier = ByInner(&self.classifier);
                let timed = || self.timed(call);
                fallback.run_with(classifier, Piping(action), timed).await
            }
            None => self.timed(call).await,
        };
        outcome.map_err(|piped| piped.error)
    }

    async fn timed<T, E, F, Fut, Via, Seen>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        match &self.policies.timeout {
            Some(timeout) => flat(timeout.run(|| self.retried(call)).await),
            None => self.retried(call).await,
        }
    }

    async fn retried<T, E, F, Fut, Via, Seen>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        match &self.policies.retry {
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
        match &self.policies.hedge {
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
        let breaker = match &self.policies.breaker {
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
        match &self.policies.bulkhead {
            Some(bulkhead) => flat(bulkhead.run_queued(|| self.limited(call)).await),
            None => self.limited(call).await,
        }
    }

    async fn limited<T, E, Fut, Via>(&self, call: impl FnOnce() -> Fut) -> Result<T, Piped<E, Via>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
    {
        if let Some(Limit { limiter, waits }) = &self.policies.limiter {
            let token = match waits {
                true => limiter.acquire().await,
                false => limiter.try_acquire(),
            };
            token.map_err(Piped::from)?;
        }
        let outcome = match &self.policies.attempt_timeout {
            Some(timeout) => timeout.run(call).await,
            None => call().await.map_err(Error::Service),
        };
        outcome.map_err(Piped::from)
    }
}
