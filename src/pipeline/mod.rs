#![doc = include_str!("page.md")]

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::classify::{Classify, Outcome, Standard};
use crate::context::attempt;
use crate::hedge::Hedge;
use crate::rate_limit::RateLimiter;
use crate::rejection::{Error, Fault, Reason, Rejection};
use crate::retry::Retry;
use crate::sync::Arc;
use crate::timeout::Timeout;

/// Several policies around a closure. See the [module](self) for their order.
///
/// `C` classifies outcomes, once for all of them.
#[derive(Clone, Debug, Default)]
#[must_use = "a pipeline does nothing until `run`"]
pub struct Pipeline<C = Standard> {
    timeout: Option<Timeout>,
    retry: Option<Retry>,
    hedge: Option<Hedge>,
    breaker: Breaker,
    bulkhead: Option<Bulkhead>,
    limiter: Option<Limit>,
    attempt_timeout: Option<Timeout>,
    classifier: C,
}

#[derive(Clone, Default)]
enum Breaker {
    #[default]
    None,
    One(CircuitBreaker),
    By(Arc<dyn Fn(u32) -> CircuitBreaker + Send + Sync>),
}

#[derive(Clone, Debug)]
struct Limit {
    limiter: RateLimiter,
    waits: bool,
}

impl Pipeline {
    /// A pipeline with no policy in it: it makes the call once.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C> Pipeline<C> {
    /// Bounds the whole, from the first attempt to the last. Takes a `Timeout`, a reference to
    /// one, or a duration.
    ///
    /// # Panics
    /// If given a duration of zero; see [`Timeout::new`].
    #[track_caller]
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// Makes failed calls again.
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.retry = Some(retry.into());
        self
    }

    /// Makes slow calls a second time beside the first.
    pub fn hedge(mut self, hedge: impl Into<Hedge>) -> Self {
        self.hedge = Some(hedge.into());
        self
    }

    /// Fails attempts at once while the dependency is known to be down.
    pub fn breaker(mut self, breaker: impl Into<CircuitBreaker>) -> Self {
        self.breaker = Breaker::One(breaker.into());
        self
    }

    /// A breaker for each attempt, by its number from 1: for attempts that go to different
    /// hosts.
    pub fn breaker_by(
        mut self,
        breaker: impl Fn(u32) -> CircuitBreaker + Send + Sync + 'static,
    ) -> Self {
        self.breaker = Breaker::By(Arc::new(breaker));
        self
    }

    /// Bounds how many attempts run at once. An original attempt queues if the bulkhead has a
    /// queue.
    pub fn bulkhead(mut self, bulkhead: impl Into<Bulkhead>) -> Self {
        self.bulkhead = Some(bulkhead.into());
        self
    }

    /// Bounds how many attempts are made in a time, and refuses the others.
    pub fn limiter(mut self, limiter: impl Into<RateLimiter>) -> Self {
        let limiter = limiter.into();
        self.limiter = Some(Limit {
            limiter,
            waits: false,
        });
        self
    }

    /// As [`limiter`](Self::limiter), but original attempts wait for their token, for at most
    /// the limiter's [`max_wait`](crate::rate_limit::Builder::max_wait).
    pub fn waiting_limiter(mut self, limiter: impl Into<RateLimiter>) -> Self {
        let limiter = limiter.into();
        self.limiter = Some(Limit {
            limiter,
            waits: true,
        });
        self
    }

    /// Bounds each attempt, without the time that it spends in queues.
    ///
    /// # Panics
    /// If given a duration of zero; see [`Timeout::new`].
    #[track_caller]
    pub fn attempt_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.attempt_timeout = Some(timeout.into());
        self
    }

    /// Classifies outcomes by `classifier`, a [`Classify`], in place of [`Standard`].
    pub fn classify<C2>(self, classifier: C2) -> Pipeline<C2> {
        Pipeline {
            timeout: self.timeout,
            retry: self.retry,
            hedge: self.hedge,
            breaker: self.breaker,
            bulkhead: self.bulkhead,
            limiter: self.limiter,
            attempt_timeout: self.attempt_timeout,
            classifier,
        }
    }

    /// Makes a call through all policies. `call` gets the number of the attempt, from 1, and
    /// makes a new call for each.
    ///
    /// # Errors
    /// The error of the call, or the rejection of the policy that refused it or cut it short.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempts under way; see the [module](self).
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, once it has to wait.
    pub async fn run<T, E, F, Fut, Via>(&self, call: F) -> Result<T, Error<E>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        let call = &call;
        let outcome = match &self.timeout {
            Some(timeout) => flat(timeout.run(|| self.retried(call)).await),
            None => self.retried(call).await,
        };
        outcome.map_err(|piped| piped.error)
    }

    async fn retried<T, E, F, Fut, Via>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        match &self.retry {
            Some(retry) => {
                let classifier = ByInner(&self.classifier);
                flat(retry.run_with(classifier, |_| self.hedged(call)).await)
            }
            None => self.hedged(call).await,
        }
    }

    async fn hedged<T, E, F, Fut, Via>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        match &self.hedge {
            Some(hedge) => {
                let classifier = ByInner(&self.classifier);
                flat(hedge.run_with(classifier, |_| self.broken(call)).await)
            }
            None => self.broken(call).await,
        }
    }

    /// One attempt from here on.
    async fn broken<T, E, F, Fut, Via>(&self, call: &F) -> Result<T, Piped<E, Via>>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        let number = attempt().unwrap_or(1);
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
    {
        match &self.bulkhead {
            Some(bulkhead) => flat(bulkhead.run_queued(|| self.limited(call)).await),
            None => self.limited(call).await,
        }
    }

    async fn limited<T, E, Fut, Via>(&self, call: impl FnOnce() -> Fut) -> Result<T, Piped<E, Via>>
    where
        Fut: Future<Output = Result<T, E>>,
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

/// The error inside of a pipeline: one level, however many policies it has passed, and still
/// able to say what it is.
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

/// [`Fault`] inside of a pipeline.
struct Inside<Via>(PhantomData<Via>);

impl<E: Fault<Via>, Via> Fault<Inside<Via>> for Piped<E, Via> {
    fn reason(&self) -> Option<&Reason> {
        match &self.error {
            Error::Rejected(rejection) => Some(rejection.reason()),
            Error::Service(error) => error.reason(),
        }
    }
}

fn flat<T, E, Via>(outcome: Result<T, Error<Piped<E, Via>>>) -> Result<T, Piped<E, Via>> {
    outcome.map_err(|error| match error {
        Error::Rejected(rejection) => rejection.into(),
        Error::Service(piped) => piped,
    })
}

/// The one classifier, for the error inside of a pipeline.
struct ByInner<'a, C>(&'a C);

impl<T, E, Via, C: Classify<T, E>> Classify<T, Piped<E, Via>> for ByInner<'_, C> {
    fn classify(&self, outcome: Result<&T, &Piped<E, Via>>) -> Outcome {
        match outcome.map_err(|piped| &piped.error) {
            Ok(response) => self.0.classify(Ok(response)),
            Err(Error::Service(error)) => self.0.classify(Err(error)),
            // A refusal of the library's own, which is taken out before a classifier is asked.
            Err(Error::Rejected(_)) => Outcome::Ignore,
        }
    }

    fn reason<'r>(&self, response: &'r T) -> Option<&'r Reason> {
        self.0.reason(response)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::One(breaker) => fmt::Debug::fmt(breaker, f),
            Self::By(_) => f.write_str("By(..)"),
        }
    }
}

#[cfg(all(test, feature = "test-util", not(seawall_loom)))]
mod tests;
