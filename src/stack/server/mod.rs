mod config;
mod service;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

use std::fmt;

use tower_layer::Layer;

pub use self::config::ServerConfig;
pub use self::service::ServerService;

use self::config::Set;
use super::plan::Plan;
use super::{limit_mode, part};
use crate::bulkhead::{Bulkhead, BulkheadLayer};
use crate::config::{ConfigError, Name, Problems};
use crate::keyed::IntoSource;
use crate::rate_limit::{Quota, RateLimitLayer, RateLimiter};
use crate::service::{Native, RespondWith};
use crate::sync::Arc;
use crate::timeout::{Timeout, TimeoutLayer};

/// The recommended layers in front of a server, as one: timeout, rate limit, bulkhead.
///
/// A handle: clones are the same stack, and all services under them share its policies. See the
/// [module](crate::stack) for the order, its reasons and the defaults.
///
/// `R` says how refusals are answered, and `L` is the limiter, or one per key.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct ServerStack<R = Native, L = RateLimiter> {
    policies: Arc<Policies>,
    limiter: L,
    /// Whether the limiter is the one of the configuration.
    own_limiter: bool,
    responder: R,
}

struct Policies {
    name: Name,
    plan: Plan<ServerConfig>,
    timeout: Timeout,
    limiter: RateLimiter,
    bulkhead: Bulkhead,
}

impl ServerStack {
    /// The stack with the [defaults](crate::stack#defaults), which works on `limit` calls at
    /// once: no number fits all. 0 is closed.
    pub fn new(name: impl Into<Name>, limit: u16) -> Self {
        let stack = Self::builder(name, limit.into()).build();
        stack.expect("the defaults are in order")
    }

    /// Starts a stack with numbers of your own, which works on `limit` calls at once.
    pub fn builder(name: impl Into<Name>, limit: u32) -> ServerConfig {
        ServerConfig::new(name, limit)
    }

    /// The stack of a configuration that has been checked.
    fn of(mut config: ServerConfig) -> Result<Self, ConfigError> {
        config.set = Set::default();
        let name = config.name.clone();
        let limiter = RateLimiter::builder(config.rate_limit.unwrap_or(Quota::unlimited()))
            .name(part(&name, "rate_limit"))
            .mode(limit_mode(config.rate_limit))
            .build()?;
        let timeout = Timeout::builder(config.timeout).name(part(&name, "timeout"));
        let bulkhead = config.bulkhead.clone().name(part(&name, "bulkhead"));
        Ok(Self {
            policies: Arc::new(Policies {
                timeout: timeout.build()?,
                limiter: limiter.clone(),
                bulkhead: bulkhead.build()?,
                name,
                plan: Plan::new(config),
            }),
            limiter,
            own_limiter: true,
            responder: Native,
        })
    }
}

impl<R, L> ServerStack<R, L> {
    /// Answers every refused call with what `respond` makes of the rejection, in place of the
    /// service's own terms.
    pub fn respond<F>(self, respond: F) -> ServerStack<RespondWith<F>, L> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers every refused call by a [`Respond`](crate::service::Respond) of your own, which
    /// may read the request first.
    pub fn respond_as<R2>(self, responder: R2) -> ServerStack<R2, L> {
        ServerStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder,
        }
    }

    /// Limits calls by `limiter`: one that others share, or one [per key](crate::Keyed::by), in
    /// place of the stack's own. One of both kinds is made by [`Keyed::with_limits`](crate::Keyed::with_limits).
    ///
    #[cfg_attr(feature = "http", doc = "```")]
    #[cfg_attr(not(feature = "http"), doc = "```ignore")]
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use seawall::{Keyed, Quota, ServerStack};
    ///
    /// let per_client = Keyed::<str, _>::limit(10_000, Quota::per_second(10))?;
    /// let stack = ServerStack::new("api", 256).rate_limit(per_client.by(
    ///     |request: &Request<Body>| request.headers().get("x-api-key")?.to_str().ok(),
    /// ));
    /// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(stack);
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    pub fn rate_limit<L2>(
        self,
        limiter: impl IntoSource<RateLimiter, Source = L2>,
    ) -> ServerStack<R, L2> {
        ServerStack {
            policies: self.policies,
            limiter: limiter.into_source(),
            own_limiter: false,
            responder: self.responder,
        }
    }

    /// The name, which those of its policies begin with.
    pub fn name(&self) -> &Name {
        &self.policies.name
    }

    /// The timeout.
    pub fn timeout(&self) -> &Timeout {
        &self.policies.timeout
    }

    /// The limiter; switched off unless it was asked for.
    pub fn limiter(&self) -> &L {
        &self.limiter
    }

    /// The bulkhead.
    pub fn bulkhead(&self) -> &Bulkhead {
        &self.policies.bulkhead
    }

    /// Changes the stack while calls run. `change` gets the configuration as it is now, and
    /// everything is checked before anything is changed.
    ///
    /// What the change is not about stays, also where a policy was changed by its own handle
    /// meanwhile; a [`bulkhead`](ServerConfig::bulkhead) that it is about is changed as a whole.
    /// Names and listeners stay, and so does a mode that the change does not change.
    ///
    /// ```
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::new("api", 256);
    /// stack.change(|now| now.bulkhead(|bulkhead| bulkhead.limit(100).queue(50)))?;
    /// assert_eq!(stack.bulkhead().limit(), 100);
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`ServerConfig::build`], and for the rate limit of a stack that was given a
    /// [limiter](Self::rate_limit). Nothing has changed then.
    pub fn change(
        &self,
        change: impl FnOnce(ServerConfig) -> ServerConfig,
    ) -> Result<(), ConfigError> {
        let plan = &self.policies.plan;
        let change = change(ServerConfig::clone(&plan.config()));
        let (mut bulkhead_mode, mut limit) = (false, false);
        plan.change(|now| {
            let next = now.with(&change);
            let mut problems = Problems::default();
            next.check(&mut problems);
            let quota = change.rate_limit.filter(|_| change.set.rate_limit);
            let own = quota.is_none() || self.own_limiter;
            let allowed = "changed by its own handle";
            problems.check(own, "rate_limit", quota, allowed);
            problems.finish(&now.name)?;
            bulkhead_mode = now.bulkhead.mode_to_start_in() != next.bulkhead.mode_to_start_in();
            limit = now.rate_limit.is_some() != next.rate_limit.is_some();
            Ok(next)
        })?;
        plan.carry_out(|config| {
            self.policies
                .apply(config, change.set, bulkhead_mode, limit);
        });
        Ok(())
    }
}

impl Policies {
    /// Changes what `set` says to `config`, which has no problem.
    fn apply(&self, config: &ServerConfig, set: Set, bulkhead_mode: bool, limit: bool) {
        const CHECKED: &str = "it has been checked";
        if set.timeout {
            self.timeout.set_limit(config.timeout).expect(CHECKED);
        }
        if let (true, Some(quota)) = (set.rate_limit, config.rate_limit) {
            self.limiter.set_quota(quota).expect(CHECKED);
        }
        if limit {
            self.limiter.set_mode(limit_mode(config.rate_limit));
        }
        if set.bulkhead {
            config.bulkhead.change(&self.bulkhead);
        }
        if bulkhead_mode {
            let mode = config.bulkhead.mode_to_start_in();
            self.bulkhead.set_mode(mode);
        }
    }
}

impl<S, R, L> Layer<S> for ServerStack<R, L>
where
    S: Clone,
    R: Clone,
    L: IntoSource<RateLimiter, Source = L> + Clone,
{
    type Service = ServerService<S, R, L>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = &*self.policies;
        let inner = BulkheadLayer::queued(&policies.bulkhead)
            .respond_as(self.responder.clone())
            .layer(inner);
        let inner = RateLimitLayer::new(self.limiter.clone())
            .respond_as(self.responder.clone())
            .layer(inner);
        let outermost = TimeoutLayer::new(&policies.timeout)
            .respond_as(self.responder.clone())
            .layer(inner);
        ServerService::new(outermost)
    }
}

impl<R, L: fmt::Debug> fmt::Debug for ServerStack<R, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerStack")
            .field("name", &self.policies.name)
            .field("timeout", &self.policies.timeout)
            .field("limiter", &self.limiter)
            .field("bulkhead", &self.policies.bulkhead)
            .finish_non_exhaustive()
    }
}
