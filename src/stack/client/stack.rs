use super::config::ClientConfig;
use super::policies::Policies;
#[cfg(feature = "http")]
use crate::attempts::CopyOf;
use crate::attempts::{Again, ByRequest, CopyBy, OnlyIf};
use crate::budget::Budget;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::classify::Standard;
use crate::config::{ConfigError, Name, Problems};
use crate::hedge::Hedge;
use crate::keyed::{IntoSource, Keyed};
use crate::policy_id;
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::service::{Native, RespondWith};
#[cfg(feature = "tracing")]
use crate::stack::parts;
use crate::sync::{Arc, Ordering};
use crate::timeout::Timeout;

/// The recommended layers around a client, as one layer: total timeout, retry, hedge, a circuit
/// breaker and a bulkhead per authority, rate limit, attempt timeout.
///
/// It is a handle: clones are the same stack, and all services under them share its policies. The
/// [module](crate::stack) describes the order, its reasons and the defaults.
///
/// Over HTTP, `until_body_end` (feature `http`) makes it a stack whose calls last until the end of
/// their body, and which has `.reqwest(client)` and `.hyper(client)`.
///
/// `R` answers rejected calls, `C` classifies outcomes, `L` is the limiter or one limiter per key,
/// `O` decides which requests may be sent more than once, and `K` copies them. `B` is what a stack for
/// HTTP does with bodies.
#[must_use = "a layer does nothing until it is put on a service"]
pub struct ClientStack<
    R = Native,
    C = Standard,
    L = RateLimiter,
    O = ByRequest,
    K = ByRequest,
    B = (),
> {
    pub(super) policies: Arc<Policies>,
    pub(super) limiter: L,
    /// Whether the limiter is that of the configuration.
    pub(super) own_limiter: bool,
    pub(super) responder: R,
    pub(super) classifier: C,
    pub(super) again: Again<O, K>,
    /// That of requests without one. None for one per service.
    pub(super) authority: Option<Arc<str>>,
    pub(crate) bodies: B,
}

impl ClientConfig {
    /// Builds the stack.
    ///
    /// # Errors
    /// All problems at once: of each policy, and of two policies that contradict each other (see
    /// the [list](crate::stack#contradictions)).
    pub fn build(self) -> Result<ClientStack, ConfigError> {
        Problems::found(&self.name, |problems| self.check(problems))?;
        let policies = Policies::new(self)?;
        #[cfg(feature = "tracing")]
        parts::trace_built(&policies.name, &policies.verdict());
        let policies = policy_id::list(|registration| policies.registered(registration));
        Ok(ClientStack::of(policies))
    }
}

impl ClientStack {
    /// A stack with the [defaults](crate::stack#defaults).
    pub fn new(name: impl Into<Name>) -> Self {
        let stack = Self::builder(name).build();
        stack.expect("the defaults are valid")
    }

    /// A handle to these policies.
    pub(super) fn of(policies: Arc<Policies>) -> Self {
        Self {
            limiter: policies.limiter.clone(),
            own_limiter: !policies.limiter_given.load(Ordering::Relaxed),
            policies,
            responder: Native,
            classifier: Standard,
            again: Again::default(),
            authority: None,
            bodies: (),
        }
    }

    /// Starts a stack with options.
    pub fn builder(name: impl Into<Name>) -> ClientConfig {
        ClientConfig::new(name)
    }
}

impl<R, C, L, O, K, B> ClientStack<R, C, L, O, K, B> {
    /// Answers rejected calls with a closure, instead of the service's own terms.
    pub fn respond<F>(self, respond: F) -> ClientStack<RespondWith<F>, C, L, O, K, B> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers rejected calls with a [`Respond`](crate::service::Respond), which may read the
    /// request first.
    pub fn respond_as<R2>(self, responder: R2) -> ClientStack<R2, C, L, O, K, B> {
        self.map_responder(|_| responder)
    }

    pub(crate) fn map_responder<R2>(
        self,
        change: impl FnOnce(R) -> R2,
    ) -> ClientStack<R2, C, L, O, K, B> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: change(self.responder),
            classifier: self.classifier,
            again: self.again,
            authority: self.authority,
            bodies: self.bodies,
        }
    }

    /// Sets the classifier, a [`Classify`](crate::Classify), of the breakers, the retry and the
    /// hedge. The default is [`Standard`].
    pub fn classify<C2>(self, classifier: C2) -> ClientStack<R, C2, L, O, K, B> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: self.responder,
            classifier,
            again: self.again,
            authority: self.authority,
            bodies: self.bodies,
        }
    }

    /// Limits attempts by `limiter` instead of the stack's own: a shared one, or one
    /// [per key](crate::Keyed::by).
    pub fn rate_limit<L2>(
        self,
        limiter: impl IntoSource<RateLimiter, Source = L2>,
    ) -> ClientStack<R, C, L2, O, K, B> {
        self.policies.limiter_given.store(true, Ordering::Relaxed);
        ClientStack {
            policies: self.policies,
            limiter: limiter.into_source(),
            own_limiter: false,
            responder: self.responder,
            classifier: self.classifier,
            again: self.again,
            authority: self.authority,
            bodies: self.bodies,
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn with_bodies<B2>(
        self,
        change: impl FnOnce(B) -> B2,
    ) -> ClientStack<R, C, L, O, K, B2> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: self.responder,
            classifier: self.classifier,
            again: self.again,
            authority: self.authority,
            bodies: change(self.bodies),
        }
    }

    fn again<O2, K2>(
        self,
        change: impl FnOnce(Again<O, K>) -> Again<O2, K2>,
    ) -> ClientStack<R, C, L, O2, K2, B> {
        ClientStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: self.responder,
            classifier: self.classifier,
            again: change(self.again),
            authority: self.authority,
            bodies: self.bodies,
        }
    }

    /// Sets the authority of requests that have none. All services that are made by this stack, or
    /// by a clone with the same one, share its breaker, bulkhead and budget.
    ///
    /// The default is one of its own for each service, which its clones share: one stack over two
    /// channels of tonic, which add the authority below the stack, has two breakers. Name it where
    /// a service is made for each call or connection. Otherwise no such service makes enough calls
    /// to open its breaker.
    ///
    /// ```
    /// use seawall::ClientStack;
    /// use tower::{BoxError, Layer, service_fn};
    ///
    /// let stack = ClientStack::new("shop");
    /// let channel = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    /// let orders = stack.clone().default_authority("orders").layer(channel);
    /// let prices = stack.clone().default_authority("prices").layer(channel);
    /// stack.breakers().get("orders").force_open();
    /// # let _ = (orders, prices);
    /// ```
    pub fn default_authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into().into());
        self
    }

    /// Retries and hedges the requests for which `only` is true, instead of those that are
    /// [`Idempotent`](crate::attempts::Idempotent). For gRPC, where every request is a POST. A
    /// request that had no effect is retried in any case, see [`retry`](crate::retry).
    pub fn only<F>(self, only: F) -> ClientStack<R, C, L, OnlyIf<F>, K, B> {
        self.again(|again| again.only(only))
    }

    /// Copies requests that are [`Resend`](crate::attempts::Resend) with `copy`.
    #[cfg(feature = "http")]
    pub(crate) fn resend_of<F>(self, copy: F) -> ClientStack<R, C, L, O, CopyOf<F>, B> {
        self.again(|again| again.resend_of(copy))
    }
}

impl<R, C, L, O, K, B> ClientStack<R, C, L, O, K, B> {
    /// The name. The names of the stack's policies start with it.
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

    /// The hedge. It is off unless it was configured.
    pub fn hedge(&self) -> &Hedge {
        &self.policies.hedge
    }

    /// The budget of retries and hedges that was [given](ClientConfig::budget) for all authorities.
    pub fn budget(&self) -> Option<&Budget> {
        self.policies.budget.as_ref()
    }

    /// The budgets of retries and hedges, one per authority, unless one was given for all.
    pub fn budgets(&self) -> &Keyed<str, Budget> {
        &self.policies.budgets
    }

    /// The circuit breakers, one per authority.
    pub fn breakers(&self) -> &Keyed<str, CircuitBreaker> {
        &self.policies.breakers
    }

    /// The bulkheads, one per authority.
    pub fn bulkheads(&self) -> &Keyed<str, Bulkhead> {
        &self.policies.bulkheads
    }

    /// The limiter. It is off unless a rate limit was set.
    pub fn limiter(&self) -> &L {
        &self.limiter
    }

    /// The timeout of one attempt. A limit that is set by this handle does not move the breakers'
    /// [`max_probe_time`](crate::circuit_breaker::Builder::max_probe_time), which is a second more
    /// than the configured one: with a longer limit a slow probe may be given up before it ends.
    /// Change both by [`change`](Self::change).
    pub fn attempt_timeout(&self) -> &Timeout {
        &self.policies.attempt
    }

    /// Changes the stack while calls run: for calls that start from now on, to existing and to new
    /// authorities. `change` gets the current configuration; it runs again if another change comes
    /// first. The result is checked before anything changes.
    ///
    /// A part that `change` does not set stays as it is, even if its policy was changed by its own
    /// handle. A [`retry`](ClientConfig::retry), [`hedge`](ClientConfig::hedge),
    /// [`budgets`](ClientConfig::budgets), [`breaker`](ClientConfig::breaker) or
    /// [`bulkhead`](ClientConfig::bulkhead) that it sets replaces the whole configuration of that policy. Names, seeds, listeners, and a mode that
    /// the change does not set stay. State and counts are kept as
    /// [`CircuitBreaker::change`](crate::CircuitBreaker::change) and
    /// [`RateLimiter::set_quota`](crate::RateLimiter::set_quota) describe. Change a budget that was
    /// given by its own handle.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ClientStack;
    ///
    /// let stack = ClientStack::new("payments");
    /// stack.change(|now| {
    ///     now.attempt_timeout(Duration::from_secs(1))
    ///         .bulkhead(|bulkhead| bulkhead.limit(20))
    /// })?;
    /// let bad = stack.change(|now| now.attempt_timeout(Duration::from_secs(60)));
    /// assert_eq!(bad.unwrap_err().problems()[0].field, "attempt_timeout");
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// The problems that [`ClientConfig::build`] reports, and settings that cannot change: the
    /// number of [authorities](ClientConfig::authorities), the [budget](ClientConfig::budget), the
    /// window of the hedge's quantile, and the rate limit if the stack was given a
    /// [limiter](Self::rate_limit). Nothing changes then.
    pub fn change(&self, change: impl Fn(ClientConfig) -> ClientConfig) -> Result<(), ConfigError> {
        self.policies.change(self.own_limiter, change)
    }
}

impl<R, C, L, O, K> ClientStack<R, C, L, O, K> {
    /// Copies requests with `copy`, instead of [`Resend::copy`](crate::attempts::Resend::copy). For
    /// a body that is not `Clone`. A request without a copy is sent once.
    ///
    /// The copier does not decide whether a request may be sent more than once: that is still
    /// decided by [`Idempotent`](crate::attempts::Idempotent) or [`only`](Self::only).
    pub fn resend<F>(self, copy: F) -> ClientStack<R, C, L, O, CopyBy<F>> {
        self.again(|again| again.resend(copy))
    }
}

impl<R, C, L, O, K, B> Clone for ClientStack<R, C, L, O, K, B>
where
    R: Clone,
    C: Clone,
    L: Clone,
    O: Clone,
    K: Clone,
    B: Clone,
{
    fn clone(&self) -> Self {
        Self {
            policies: Arc::clone(&self.policies),
            limiter: self.limiter.clone(),
            own_limiter: self.own_limiter,
            responder: self.responder.clone(),
            classifier: self.classifier.clone(),
            again: self.again.clone(),
            authority: self.authority.clone(),
            bodies: self.bodies.clone(),
        }
    }
}
