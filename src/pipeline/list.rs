use std::fmt;

use super::action::NoFallback;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::classify::Direct;
use crate::fallback::Fallback;
use crate::hedge::Hedge;
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::sync::Arc;
use crate::timeout::Timeout;

/// Several policies around a closure. See the [module](crate::pipeline) for their order.
///
/// `C` classifies outcomes for all of them, and `A` is what a fallback answers with.
#[derive(Clone, Debug)]
#[must_use = "a pipeline does nothing until `run`"]
pub struct Pipeline<C = Direct, A = NoFallback> {
    pub(super) fallback: Option<(Fallback, A)>,
    pub(super) timeout: Option<Timeout>,
    pub(super) retry: Option<Retry>,
    pub(super) hedge: Option<Hedge>,
    pub(super) breaker: Breaker,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) limiter: Option<Limit>,
    pub(super) attempt_timeout: Option<Timeout>,
    pub(super) classifier: C,
}

#[derive(Clone, Default)]
pub(super) enum Breaker {
    #[default]
    None,
    One(CircuitBreaker),
    By(Arc<dyn Fn(u32) -> CircuitBreaker + Send + Sync>),
}

#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) limiter: RateLimiter,
    pub(super) waits: bool,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Pipeline {
    /// A pipeline without a policy. It makes the call once.
    pub fn new() -> Self {
        Self {
            fallback: None,
            timeout: None,
            retry: None,
            hedge: None,
            breaker: Breaker::None,
            bulkhead: None,
            limiter: None,
            attempt_timeout: None,
            classifier: Direct,
        }
    }
}

impl<C, A> Pipeline<C, A> {
    /// Answers by `action` if the whole call fails or is rejected: with a
    /// [`value`](crate::fallback::value) or a [`call`](crate::fallback::call()).
    ///
    /// ```
    /// use seawall::fallback::{Fallback, value};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let pipeline = seawall::Pipeline::new().fallback(Fallback::new(), value(0));
    /// let answer = pipeline.run(|_| async { Err::<u32, _>(std::io::Error::other("down")) });
    /// assert_eq!(answer.await.unwrap(), 0);
    /// # }
    /// ```
    pub fn fallback<A2>(self, fallback: impl Into<Fallback>, action: A2) -> Pipeline<C, A2> {
        Pipeline {
            fallback: Some((fallback.into(), action)),
            timeout: self.timeout,
            retry: self.retry,
            hedge: self.hedge,
            breaker: self.breaker,
            bulkhead: self.bulkhead,
            limiter: self.limiter,
            attempt_timeout: self.attempt_timeout,
            classifier: self.classifier,
        }
    }

    /// Limits the time of the whole call, from the first attempt to the last. Pass a `Timeout`, a
    /// reference to one, or a duration.
    ///
    /// # Panics
    /// If the duration is zero; see [`Timeout::new`].
    #[track_caller]
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// Retries failed attempts.
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.retry = Some(retry.into());
        self
    }

    /// Starts an extra attempt beside a slow one.
    pub fn hedge(mut self, hedge: impl Into<Hedge>) -> Self {
        self.hedge = Some(hedge.into());
        self
    }

    /// Rejects attempts while the circuit breaker is open.
    pub fn breaker(mut self, breaker: impl Into<CircuitBreaker>) -> Self {
        self.breaker = Breaker::One(breaker.into());
        self
    }

    /// Chooses a circuit breaker by the number of the attempt, from 1: for attempts that go to
    /// different hosts.
    pub fn breaker_by(
        mut self,
        breaker: impl Fn(u32) -> CircuitBreaker + Send + Sync + 'static,
    ) -> Self {
        self.breaker = Breaker::By(Arc::new(breaker));
        self
    }

    /// Limits the number of attempts in flight. If the bulkhead has a queue, an attempt waits in it.
    pub fn bulkhead(mut self, bulkhead: impl Into<Bulkhead>) -> Self {
        self.bulkhead = Some(bulkhead.into());
        self
    }

    /// Limits the rate of attempts, and rejects those above it.
    pub fn limiter(mut self, limiter: impl Into<RateLimiter>) -> Self {
        self.limiter = Some(Limit {
            limiter: limiter.into(),
            waits: false,
        });
        self
    }

    /// Limits the rate of attempts. An attempt above it waits for a token, for at most the limiter's
    /// [`max_wait`](crate::rate_limit::Builder::max_wait).
    pub fn waiting_limiter(mut self, limiter: impl Into<RateLimiter>) -> Self {
        self.limiter = Some(Limit {
            limiter: limiter.into(),
            waits: true,
        });
        self
    }

    /// Limits the time of each attempt, not including time in queues.
    ///
    /// # Panics
    /// If the duration is zero; see [`Timeout::new`].
    #[track_caller]
    pub fn attempt_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.attempt_timeout = Some(timeout.into());
        self
    }

    /// Sets the classifier, a [`Classify`](crate::Classify). The default is [`Direct`].
    pub fn classify<C2>(self, classifier: C2) -> Pipeline<C2, A> {
        Pipeline {
            fallback: self.fallback,
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
