use std::fmt;
use std::time::Duration;

use tower_layer::Layer;

use super::again::{HedgesOf, RetriesOf};
use super::policies::Policies;
use super::stack::ClientStack;
use crate::attempts::{Again, ByRequest};
use crate::budget::{Budget, BudgetLayer, BudgetService};
use crate::bulkhead::{Bulkhead, BulkheadLayer, QueuedService};
use crate::circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, CircuitBreakerService};
use crate::classify::Standard;
use crate::hedge::{Hedge, HedgeLayer, HedgeService, Own};
use crate::keyed::{ByKey, IntoSource, Picked, Source};
use crate::rate_limit::{One, RateLimitLayer, RateLimitService, RateLimiter};
use crate::rejection::Rejection;
use crate::retry::{RetryLayer, RetryService};
use crate::service::Native;
use crate::stack::{Addressed, ByAuthority, StackService};
use crate::sync::Arc;
use crate::timeout::{DurationOf, Timeout, TimeoutLayer, TimeoutService};

/// A policy per authority.
pub type PerAuthority<P> = ByKey<str, P, ByAuthority>;

/// A service under a [`ClientStack`](crate::ClientStack).
pub type ClientService<S, R = Native, C = Standard, L = RateLimiter, O = ByRequest, K = ByRequest> =
    StackService<TimeoutService<Budgeted<S, R, C, L, O, K>, R, TotalOf>>;

// From the outside in.
type Budgeted<S, R, C, L, O, K> = BudgetService<Retried<S, R, C, L, O, K>, Budgets, R>;
type Retried<S, R, C, L, O, K> =
    RetryService<Hedged<S, R, C, L, O, K>, C, RetriesOf<Again<O, K>>, R>;
type Hedged<S, R, C, L, O, K> =
    HedgeService<Breaker<S, R, C, L>, C, HedgesOf<Again<O, K>>, Own, Hedge, R>;
type Breaker<S, R, C, L> =
    CircuitBreakerService<Queued<S, R, L>, R, C, PerAuthority<CircuitBreaker>>;
type Queued<S, R, L> = QueuedService<Limited<S, R, L>, R, PerAuthority<Bulkhead>>;
type Limited<S, R, L> = RateLimitService<TimeoutService<S, R, AttemptOf>, R, One, L>;

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
            .ends_with_head(true)
            .duration_by(AttemptOf)
            .respond_as(responder())
            .layer(inner);
        let inner = RateLimitLayer::new(self.limiter.clone())
            .respond_as(responder())
            .layer(inner);
        let authority = self.authority.clone();
        let authority = authority.unwrap_or_else(|| policies.name_service().into());
        let by = ByAuthority::or(authority);
        let bulkheads = policies.bulkheads.by_type(by.clone());
        let inner = BulkheadLayer::queued(bulkheads)
            .respond_as(responder())
            .layer(inner);
        let breakers = policies.breakers.by_type(by.clone());
        let inner = CircuitBreakerLayer::new(breakers)
            .respond_as(responder())
            .classify(classifier())
            .layer(inner);
        let inner = HedgeLayer::new(&policies.hedge)
            .responder::<R>()
            .classify(classifier())
            .map_again(|_| HedgesOf(self.again.clone()))
            .layer(inner);
        let inner = RetryLayer::new(&policies.retry)
            .responder::<R>()
            .classify(classifier())
            .map_again(|_| RetriesOf(self.again.clone()))
            .layer(inner);
        let inner = BudgetLayer::new(Budgets {
            given: policies.budget.clone(),
            own: policies.budgets.by_type(by),
        })
        .responder::<R>()
        .layer(inner);
        StackService(
            TimeoutLayer::new(&policies.total)
                .covers_readiness()
                .duration_by(TotalOf(Arc::clone(&self.policies)))
                .respond_as(responder())
                .layer(inner),
        )
    }
}

/// The budget of a request's authority, or one that was given for all.
#[derive(Clone, Debug)]
pub struct Budgets {
    pub(super) given: Option<Budget>,
    pub(super) own: PerAuthority<Budget>,
}

impl IntoSource<Budget> for Budgets {
    type Source = Self;

    fn into_source(self) -> Self {
        self
    }

    fn fixed(&self) -> Option<&Budget> {
        self.given.as_ref()
    }
}

impl<Req: Addressed> Source<Req, Budget> for Budgets {
    #[inline]
    fn pick(&self, request: &Req) -> Result<Picked<'_, Budget>, Rejection> {
        match &self.given {
            Some(budget) => Ok(Picked::Shared(budget)),
            None => self.own.pick(request),
        }
    }
}

/// The total of a call: its own, and at most what the stack allows.
#[derive(Clone)]
pub struct TotalOf(pub(super) Arc<Policies>);

#[cfg(feature = "tonic")]
impl<R, C, L, O, K, B> ClientStack<R, C, L, O, K, B> {
    pub(crate) fn classifier(&self) -> &C {
        &self.classifier
    }

    /// The total timeout of each call.
    pub(crate) fn total_of(&self) -> TotalOf {
        TotalOf(Arc::clone(&self.policies))
    }
}

impl TotalOf {
    /// `own`, unless it is longer than the stack allows.
    pub(crate) fn allowed(&self, own: Duration) -> Duration {
        let total = self.total().limit();
        // Only a call with a longer total reads the configuration.
        match own > total {
            true => own.min(self.0.live.load().longest_total(total)),
            false => own,
        }
    }

    pub(crate) fn total(&self) -> &Timeout {
        &self.0.total
    }
}

impl<Req: Addressed> DurationOf<Req> for TotalOf {
    #[inline]
    fn duration(&self, request: &Req) -> Option<Duration> {
        let total = request.overrides()?.total()?;
        Some(self.allowed(total))
    }
}

impl fmt::Debug for TotalOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TotalOf").field(self.total()).finish()
    }
}

/// The limit of each attempt of a call: its own, or that of the stack.
#[derive(Clone, Copy, Debug)]
pub struct AttemptOf;

impl<Req: Addressed> DurationOf<Req> for AttemptOf {
    #[inline]
    fn duration(&self, request: &Req) -> Option<Duration> {
        request.overrides()?.attempt()
    }
}
