use std::fmt;

use tower_layer::Layer;

use super::config::ServerConfig;
use crate::bulkhead::{self, Bulkhead, BulkheadLayer, QueuedService};
use crate::config::{ConfigError, Live, Name, Problems};
use crate::keyed::IntoSource;
use crate::rate_limit::{One, RateLimitLayer, RateLimitService, RateLimiter};
use crate::service::{Native, RespondWith};
use crate::stack::StackService;
use crate::stack::parts::{self, CHECKED, part};
use crate::sync::Arc;
use crate::timeout::{Timeout, TimeoutLayer, TimeoutService};

/// The recommended layers in front of a server, as one layer: timeout, rate limit, bulkhead.
///
/// It is a handle: clones are the same stack, and all services under them share its policies. The
/// [module](crate::stack) describes the order, its reasons and the defaults.
///
/// `R` answers rejected calls. `L` is the limiter, or one limiter per key.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct ServerStack<R = Native, L = RateLimiter> {
    policies: Arc<Policies>,
    limiter: L,
    /// Whether the limiter is that of the configuration.
    own_limiter: bool,
    responder: R,
    /// Whether the timeout ends with the head, whatever the responder holds in the body.
    timeout_ends_with_head: bool,
}

/// A service under a [`ServerStack`].
pub type ServerService<S, R = Native, L = RateLimiter> =
    StackService<TimeoutService<RateLimitService<QueuedService<S, R>, R, One, L>, R>>;

struct Policies {
    name: Name,
    live: Live<ServerConfig>,
    timeout: Timeout,
    limiter: RateLimiter,
    bulkhead: Bulkhead,
}

impl ServerConfig {
    /// Builds the stack.
    ///
    /// # Errors
    /// All problems at once: of each policy, and of two policies that contradict each other (see
    /// the [list](crate::stack#contradictions)).
    pub fn build(self) -> Result<ServerStack, ConfigError> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        problems.finish(&self.name)?;
        let name = self.name.clone();
        let limiter = parts::limiter(&name, self.rate_limit)?;
        let timeout = Timeout::builder(self.timeout).name(part(&name, "timeout"));
        let bulkhead = bulkhead::Builder::clone(&self.bulkhead).name(part(&name, "bulkhead"));
        Ok(ServerStack {
            policies: Arc::new(Policies {
                timeout: timeout.build()?,
                limiter: limiter.clone(),
                bulkhead: bulkhead.build()?,
                name,
                live: Live::new(self),
            }),
            limiter,
            own_limiter: true,
            responder: Native,
            timeout_ends_with_head: false,
        })
    }
}

impl ServerStack {
    /// A stack with the [defaults](crate::stack#defaults) and at most `limit` calls in flight.
    /// There is no default limit, because no number fits all. A limit of 0 is closed.
    ///
    /// # Panics
    /// If `limit` is above 1,000,000. For a limit that comes from data use
    /// [`builder`](Self::builder).
    #[track_caller]
    pub fn new(name: impl Into<Name>, limit: u32) -> Self {
        match Self::builder(name, limit).build() {
            Ok(stack) => stack,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a stack with at most `limit` calls in flight and options.
    pub fn builder(name: impl Into<Name>, limit: u32) -> ServerConfig {
        ServerConfig::new(name, limit)
    }
}

impl<R, L> ServerStack<R, L> {
    /// Answers rejected calls with a closure, instead of the service's own terms.
    pub fn respond<F>(self, respond: F) -> ServerStack<RespondWith<F>, L> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers rejected calls with a [`Respond`](crate::service::Respond), which may read the
    /// request first.
    pub fn respond_as<R2>(self, responder: R2) -> ServerStack<R2, L> {
        self.map_responder(|_| responder)
    }

    pub(crate) fn map_responder<R2>(self, change: impl FnOnce(R) -> R2) -> ServerStack<R2, L> {
        ServerStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: change(self.responder),
            timeout_ends_with_head: self.timeout_ends_with_head,
        }
    }

    /// Limits calls by `limiter` instead of the stack's own: a shared one, or one
    /// [per key](crate::Keyed::by). [`Keyed::with_limits`](crate::Keyed::with_limits) combines both.
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
            timeout_ends_with_head: self.timeout_ends_with_head,
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn responder(&self) -> &R {
        &self.responder
    }

    /// Whether the timeout ends with the head of a response, whatever holds its body.
    #[cfg(feature = "http")]
    pub(crate) fn timeout_ends_with_head(mut self, ends: bool) -> Self {
        self.timeout_ends_with_head = ends;
        self
    }

    /// The name. The names of the stack's policies start with it.
    pub fn name(&self) -> &Name {
        &self.policies.name
    }

    /// The timeout.
    pub fn timeout(&self) -> &Timeout {
        &self.policies.timeout
    }

    /// The limiter. It is off unless a rate limit was set.
    pub fn limiter(&self) -> &L {
        &self.limiter
    }

    /// The bulkhead.
    pub fn bulkhead(&self) -> &Bulkhead {
        &self.policies.bulkhead
    }

    /// Changes the stack while calls run. `change` gets the current configuration; it runs again
    /// if another change comes first. The result is checked before anything changes.
    ///
    /// A part that `change` does not set stays as it is, even if its policy was changed by its own
    /// handle. A [`bulkhead`](ServerConfig::bulkhead) that it sets replaces the whole configuration
    /// of the bulkhead. Names, listeners, and a mode that the change does not set stay.
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
    /// The problems that [`ServerConfig::build`] reports, and a change of the rate limit if the
    /// stack was given a [limiter](Self::rate_limit). Nothing changes then.
    pub fn change(&self, change: impl Fn(ServerConfig) -> ServerConfig) -> Result<(), ConfigError> {
        let live = &self.policies.live;
        let (before, _) = live.change(|now| {
            let next = ServerConfig {
                name: now.name.clone(),
                ..change(now.clone())
            };
            let mut problems = Problems::default();
            next.check(&mut problems);
            parts::check_limiter(
                self.own_limiter,
                now.rate_limit,
                next.rate_limit,
                &mut problems,
            );
            problems.finish(&now.name)?;
            Ok(next)
        })?;
        parts::apply_newest(live, before, |from, to| self.policies.apply(from, to));
        Ok(())
    }
}

impl Policies {
    /// Changes the policies whose configuration differs.
    fn apply(&self, from: &ServerConfig, to: &ServerConfig) {
        if from.timeout != to.timeout {
            self.timeout.set_limit(to.timeout).expect(CHECKED);
        }
        parts::change_limiter(&self.limiter, from.rate_limit, to.rate_limit);
        if !Arc::ptr_eq(&from.bulkhead, &to.bulkhead) {
            parts::change_bulkhead(&self.bulkhead, &from.bulkhead, &to.bulkhead);
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
            .covers_readiness()
            .ends_with_head(self.timeout_ends_with_head)
            .respond_as(self.responder.clone())
            .layer(inner);
        StackService(outermost)
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
