mod change;
mod config;
mod policies;
mod service;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

use std::fmt;

use tower_layer::Layer;

pub use self::config::ClientConfig;
pub use self::service::{ClientService, PerAuthority};

use self::policies::Policies;
use super::ByAuthority;
use crate::attempts::{Again, ByRequest, CopyBy, OnlyIf};
use crate::budget::Budget;
use crate::bulkhead::{Bulkhead, BulkheadLayer};
use crate::circuit_breaker::{CircuitBreaker, CircuitBreakerLayer};
use crate::classify::Standard;
use crate::config::{ConfigError, Name};
use crate::hedge::{Hedge, HedgeLayer};
use crate::keyed::{IntoSource, Keyed};
use crate::rate_limit::{RateLimitLayer, RateLimiter};
use crate::retry::{Retry, RetryLayer};
use crate::service::{Native, RespondWith};
use crate::sync::Arc;
use crate::timeout::{Timeout, TimeoutLayer};

/// The recommended layers around a client, as one: total timeout, retry, hedge, a circuit
/// breaker and a bulkhead per authority, rate limit, attempt timeout.
///
/// A handle: clones are the same stack, and all services under them share its policies. See the
/// [module](crate::stack) for the order, its reasons and the defaults.
///
/// `R` says how refusals are answered, `C` classifies outcomes, `L` is the limiter, or one per
/// key, `O` says which requests may be sent again, and `K` copies them.
#[must_use = "a layer does nothing until it is put on a service"]
pub struct ClientStack<R = Native, C = Standard, L = RateLimiter, O = ByRequest, K = ByRequest> {
    policies: Arc<Policies>,
    limiter: L,
    /// Whether the limiter is the one of the configuration.
    own_limiter: bool,
    responder: R,
    classifier: C,
    again: Again<O, K>,
}

impl ClientStack {
    /// The stack with the [defaults](crate::stack#defaults).
    pub fn new(name: impl Into<Name>) -> Self {
        let stack = Self::builder(name).build();
        stack.expect("the defaults are in order")
    }

    /// Starts a stack with numbers of your own.
    pub fn builder(name: impl Into<Name>) -> ClientConfig {
        ClientConfig::new(name)
    }

    /// The stack of a configuration that has been checked.
    fn of(config: ClientConfig) -> Result<Self, ConfigError> {
        let policies = Policies::new(config)?;
        Ok(Self {
            limiter: policies.limiter.clone(),
            own_limiter: true,
            policies: Arc::new(policies),
            responder: Native,
            classifier: Standard,
            again: Again::default(),
        })
    }
}

impl<R, C, L, O, K> ClientStack<R, C, L, O, K> {
    /// Answers every refused call with what `respond` makes of the rejection, in place of the
    /// service's own terms.
    pub fn respond<F>(self, respond: F) -> ClientStack<RespondWith<F>, C, L, O, K> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers every refused call by a [`Respond`](crate::service::Respond) of your own, which
    /// may read the request first.
    pub fn respond_as<R2>(self, responder: R2) -> ClientStack<R2, C, L, O, K> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder,
            classifier: self.classifier,
            again: self.again,
        }
    }

    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify), in place of
    /// [`Standard`]: for the breakers, the retry and the hedge alike.
    pub fn classify<C2>(self, classifier: C2) -> ClientStack<R, C2, L, O, K> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: self.responder,
            classifier,
            again: self.again,
        }
    }

    /// Limits attempts by `limiter`: one that others share, or one
    /// [per key](crate::Keyed::by), in place of the stack's own.
    pub fn rate_limit<L2>(
        self,
        limiter: impl IntoSource<RateLimiter, Source = L2>,
    ) -> ClientStack<R, C, L2, O, K> {
        ClientStack {
            policies: self.policies,
            limiter: limiter.into_source(),
            own_limiter: false,
            responder: self.responder,
            classifier: self.classifier,
            again: self.again,
        }
    }

    fn again<O2, K2>(
        self,
        change: impl FnOnce(Again<O, K>) -> Again<O2, K2>,
    ) -> ClientStack<R, C, L, O2, K2> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: self.responder,
            classifier: self.classifier,
            again: change(self.again),
        }
    }

    /// Retries and hedges the requests for which `only` is true, instead of those that say so
    /// themselves ([`Idempotent`](crate::attempts::Idempotent)): for gRPC, where every request is a
    /// POST.
    pub fn only<F>(self, only: F) -> ClientStack<R, C, L, OnlyIf<F>, K> {
        self.again(|again| again.only(only))
    }

    /// Copies requests by `copy`, instead of [`Resend::copy`](crate::attempts::Resend::copy): for a
    /// body that is not `Clone`. A request that has no copy is sent once.
    ///
    /// A copier says how to copy a request, never whether it may be sent again: that is still for
    /// the request ([`Idempotent`](crate::attempts::Idempotent)) or for [`only`](Self::only) to say.
    pub fn resend<F>(self, copy: F) -> ClientStack<R, C, L, O, CopyBy<F>> {
        self.again(|again| again.resend(copy))
    }
}

impl<R, C, L, O, K> ClientStack<R, C, L, O, K> {
    /// The name, which those of its policies begin with.
    pub fn name(&self) -> &Name {
        &self.policies.name
    }

    /// The timeout of the whole call.
    pub fn total_timeout(&self) -> &Timeout {
        &self.policies.total
    }

    /// The retry.
    pub fn retry(&self) -> &Retry {
        &self.policies.retry
    }

    /// The hedge; switched off unless it was asked for.
    pub fn hedge(&self) -> &Hedge {
        &self.policies.hedge
    }

    /// The budget of retries and hedges.
    pub fn budget(&self) -> &Budget {
        &self.policies.budget
    }

    /// The circuit breakers of the authorities.
    pub fn breakers(&self) -> &Keyed<str, CircuitBreaker> {
        &self.policies.breakers
    }

    /// The bulkheads of the authorities.
    pub fn bulkheads(&self) -> &Keyed<str, Bulkhead> {
        &self.policies.bulkheads
    }

    /// The limiter; switched off unless it was asked for.
    pub fn limiter(&self) -> &L {
        &self.limiter
    }

    /// The timeout of one attempt.
    pub fn attempt_timeout(&self) -> &Timeout {
        &self.policies.attempt
    }
}

impl<S, R, C, L, O, K> Layer<S> for ClientStack<R, C, L, O, K>
where
    S: Clone,
    R: Clone,
    C: Clone,
    L: IntoSource<RateLimiter, Source = L> + Clone,
    O: Clone,
    K: Clone,
{
    type Service = ClientService<S, R, C, L, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = &*self.policies;
        let responder = || self.responder.clone();
        let classifier = || self.classifier.clone();
        let inner = TimeoutLayer::new(&policies.attempt)
            .respond_as(responder())
            .layer(inner);
        let inner = RateLimitLayer::new(self.limiter.clone())
            .respond_as(responder())
            .layer(inner);
        let bulkheads = policies.bulkheads.by_type(ByAuthority);
        let inner = BulkheadLayer::queued(bulkheads)
            .respond_as(responder())
            .layer(inner);
        let breakers = policies.breakers.by_type(ByAuthority);
        let inner = CircuitBreakerLayer::new(breakers)
            .respond_as(responder())
            .classify(classifier())
            .layer(inner);
        let inner = HedgeLayer::new(&policies.hedge)
            .classify(classifier())
            .map_again(|_| self.again.clone())
            .layer(inner);
        let inner = RetryLayer::new(&policies.retry)
            .classify(classifier())
            .map_again(|_| self.again.clone())
            .layer(inner);
        ClientService::new(
            TimeoutLayer::new(&policies.total)
                .respond_as(responder())
                .layer(inner),
        )
    }
}

impl<R: Clone, C: Clone, L: Clone, O: Clone, K: Clone> Clone for ClientStack<R, C, L, O, K> {
    fn clone(&self) -> Self {
        Self {
            policies: Arc::clone(&self.policies),
            limiter: self.limiter.clone(),
            own_limiter: self.own_limiter,
            responder: self.responder.clone(),
            classifier: self.classifier.clone(),
            again: self.again.clone(),
        }
    }
}

impl<R, C, L: fmt::Debug, O, K> fmt::Debug for ClientStack<R, C, L, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = &*self.policies;
        f.debug_struct("ClientStack")
            .field("name", &policies.name)
            .field("total_timeout", &policies.total)
            .field("retry", &policies.retry)
            .field("hedge", &policies.hedge)
            .field("breakers", &policies.breakers)
            .field("bulkheads", &policies.bulkheads)
            .field("limiter", &self.limiter)
            .field("attempt_timeout", &policies.attempt)
            .finish_non_exhaustive()
    }
}
