use std::fmt;

use super::action::NoFallback;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::classify::Direct;
use crate::fallback::Fallback;
use crate::hedge::Hedge;
use crate::macros::setters;
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
    pub(super) policies: Policies,
    pub(super) classifier: C,
}

/// The policies below the fallback, from the outside in.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    pub(super) timeout: Option<Timeout>,
    pub(super) retry: Option<Retry>,
    pub(super) hedge: Option<Hedge>,
    pub(super) breaker: Breaker,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) limiter: Option<Limit>,
    pub(super) attempt_timeout: Option<Timeout>,
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
            policies: Policies::default(),
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
            policies: self.policies,
            classifier: self.classifier,
        }
    }

    setters! {
        /// Limits the time of the whole call, from the first attempt to the last. Pass a `Timeout`, a
        /// reference to one, or a duration.
        ///
        /// # Panics
        /// If the duration is zero; see [`Timeout::new`].
        #[track_caller]
        timeout(timeout: impl Into<Timeout>) => policies.timeout = Some(timeout.into());

        /// Retries failed attempts.
        retry(retry: impl Into<Retry>) => policies.retry = Some(retry.into());

        /// Starts an extra attempt beside a slow one.
        hedge(hedge: impl Into<Hedge>) => policies.hedge = Some(hedge.into());

        /// Rejects attempts while the circuit breaker is open.
        breaker(breaker: impl Into<CircuitBreaker>) => policies.breaker = Breaker::One(breaker.into());

        /// Chooses a circuit breaker by the number of the attempt, from 1: for attempts that go to
        /// different hosts.
        breaker_by(breaker: impl Fn(u32) -> CircuitBreaker + Send + Sync + 'static) =>
            policies.breaker = Breaker::By(Arc::new(breaker));

        /// Limits the number of attempts in flight. If the bulkhead has a queue, an attempt waits in it.
        bulkhead(bulkhead: impl Into<Bulkhead>) => policies.bulkhead = Some(bulkhead.into());

        /// Limits the rate of attempts, and rejects those above it.
        limiter(limiter: impl Into<RateLimiter>) => policies.limiter = Some(Limit {
            limiter: limiter.into(),
            waits: false,
        });

        /// Limits the rate of attempts. An attempt above it waits for a token, for at most the limiter's
        /// [`max_wait`](crate::rate_limit::Builder::max_wait).
        waiting_limiter(limiter: impl Into<RateLimiter>) => policies.limiter = Some(Limit {
            limiter: limiter.into(),
            waits: true,
        });

        /// Limits the time of each attempt, not including time in queues.
        ///
        /// # Panics
        /// If the duration is zero; see [`Timeout::new`].
        #[track_caller]
        attempt_timeout(timeout: impl Into<Timeout>) => policies.attempt_timeout = Some(timeout.into());
    }

    /// Sets the classifier, a [`Classify`](crate::Classify). The default is [`Direct`].
    pub fn classify<C2>(self, classifier: C2) -> Pipeline<C2, A> {
        Pipeline {
            fallback: self.fallback,
            policies: self.policies,
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
