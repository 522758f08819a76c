use std::fmt;

use tower_layer::Layer;

use super::config::ServerConfig;
use crate::bulkhead::{self, Bulkhead, BulkheadLayer, QueuedService};
use crate::config::{ConfigError, Live, Mode, Name, Problems};
use crate::keyed::IntoSource;
use crate::macros::debug_fields;
use crate::policy_id::{self, Registration};
use crate::rate_limit::{One, RateLimitLayer, RateLimitService, RateLimiter};
use crate::service::{Native, RespondWith};
use crate::stack::description::LayerText;
use crate::stack::parts::{self, CHECKED, part};
use crate::stack::{Description, StackService, Verdict};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::timeout::{Timeout, TimeoutLayer, TimeoutService};

/// The recommended layers in front of a server, as one layer: timeout, rate limit, bulkhead.
///
/// It is a handle: clones are the same stack, and all services under them share its policies. The
/// [module](crate::stack) describes the order, its reasons and the defaults.
///
/// `R` answers rejected calls. `L` is the limiter, or one limiter per key. `B` is what a stack for HTTP
/// does with bodies.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct ServerStack<R = Native, L = RateLimiter, B = ()> {
    policies: Arc<Policies>,
    limiter: L,
    /// Whether the limiter is that of the configuration.
    own_limiter: bool,
    responder: R,
    /// Whether the timeout ends with the head, whatever the responder holds in the body.
    timeout_ends_with_head: bool,
    pub(crate) bodies: B,
}

/// A service under a [`ServerStack`].
pub type ServerService<S, R = Native, L = RateLimiter> =
    StackService<TimeoutService<RateLimitService<QueuedService<S, R>, R, One, L>, R>>;

struct Policies {
    name: Name,
    live: Live<ServerConfig>,
    timeout: Timeout,
    limiter: RateLimiter,
    /// Whether a handle was given another limiter. Read where settings are applied by name: relaxed.
    limiter_given: AtomicBool,
    bulkhead: Bulkhead,
    _registration: Registration,
}

impl ServerConfig {
    /// Builds the stack.
    ///
    /// # Errors
    /// All problems at once: of each policy, and of two policies that contradict each other (see
    /// the [list](crate::stack#contradictions)).
    pub fn build(self) -> Result<ServerStack, ConfigError> {
        Problems::found(&self.name, |problems| self.check(problems))?;
        let name = self.name.clone();
        let limiter = parts::limiter(&name, self.rate_limit)?;
        let timeout = Timeout::builder(self.timeout).name(part(&name, "timeout"));
        let bulkhead = bulkhead::Builder::clone(&self.bulkhead).name(part(&name, "bulkhead"));
        let (timeout, bulkhead) = (timeout.build()?, bulkhead.build()?);
        let policies = policy_id::list(|registration| Policies {
            timeout,
            limiter,
            limiter_given: AtomicBool::new(false),
            bulkhead,
            name,
            live: Live::new(self),
            _registration: registration,
        });
        #[cfg(feature = "tracing")]
        parts::trace_built(&policies.name, &policies.verdict());
        Ok(ServerStack::of(policies))
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

    /// A handle to these policies.
    fn of(policies: Arc<Policies>) -> Self {
        Self {
            limiter: policies.limiter.clone(),
            own_limiter: !policies.limiter_given.load(Ordering::Relaxed),
            policies,
            responder: Native,
            timeout_ends_with_head: false,
            bodies: (),
        }
    }

    /// The stacks of this name that have a handle.
    #[cfg(feature = "serde")]
    pub(crate) fn find(name: &str) -> Vec<Self> {
        let listed = policy_id::listed().into_iter();
        let stacks = listed.filter_map(|shared| shared.downcast::<Policies>().ok());
        let named = stacks.filter(|policies| policies.name.as_str() == name);
        named.map(Self::of).collect()
    }

    /// Starts a stack with at most `limit` calls in flight and options.
    pub fn builder(name: impl Into<Name>, limit: u32) -> ServerConfig {
        ServerConfig::new(name, limit)
    }
}

impl<R, L, B> ServerStack<R, L, B> {
    /// Answers rejected calls with a closure, instead of the service's own terms.
    pub fn respond<F>(self, respond: F) -> ServerStack<RespondWith<F>, L, B> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers rejected calls with a [`Respond`](crate::service::Respond), which may read the
    /// request first.
    pub fn respond_as<R2>(self, responder: R2) -> ServerStack<R2, L, B> {
        self.map_responder(|_| responder)
    }

    pub(crate) fn map_responder<R2>(self, change: impl FnOnce(R) -> R2) -> ServerStack<R2, L, B> {
        ServerStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: change(self.responder),
            timeout_ends_with_head: self.timeout_ends_with_head,
            bodies: self.bodies,
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
    ) -> ServerStack<R, L2, B> {
        self.policies.limiter_given.store(true, Ordering::Relaxed);
        ServerStack {
            policies: self.policies,
            limiter: limiter.into_source(),
            own_limiter: false,
            responder: self.responder,
            timeout_ends_with_head: self.timeout_ends_with_head,
            bodies: self.bodies,
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn responder(&self) -> &R {
        &self.responder
    }

    #[cfg(feature = "http")]
    pub(crate) fn with_bodies<B2>(self, change: impl FnOnce(B) -> B2) -> ServerStack<R, L, B2> {
        ServerStack {
            policies: self.policies,
            limiter: self.limiter,
            own_limiter: self.own_limiter,
            responder: self.responder,
            timeout_ends_with_head: self.timeout_ends_with_head,
            bodies: change(self.bodies),
        }
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
        let (before, _) = live.change(|now| next(now, self.own_limiter, &change))?;
        parts::apply_newest(live, before, |from, to| self.policies.apply(from, to));
        Ok(())
    }

    /// The stack as text: a line for each layer, from the outermost in, and the
    /// [verdict](Self::verdict). It is of now, so a change of a part by its own handle is in it.
    pub fn describe(&self) -> Description {
        let Policies {
            name,
            timeout,
            limiter,
            bulkhead,
            ..
        } = &*self.policies;
        let limit = format!("{:?}", timeout.limit());
        Description {
            name: name.clone(),
            layers: vec![
                LayerText::new("timeout", timeout.mode(), limit),
                parts::limiter_text(limiter, self.own_limiter),
                LayerText::new("bulkhead", bulkhead.mode(), bulkhead.text()),
            ],
            verdict: self.verdict(),
        }
    }

    /// What the stack can do as it is configured now: it makes one attempt.
    pub fn verdict(&self) -> Verdict {
        self.policies.verdict()
    }

    /// The error that [`change`](Self::change) would return now. Changes nothing.
    #[cfg(feature = "serde")]
    pub(crate) fn check_change(
        &self,
        change: impl Fn(ServerConfig) -> ServerConfig,
    ) -> Result<(), ConfigError> {
        next(&self.policies.live.load(), self.own_limiter, change).map(drop)
    }
}

/// The configuration after a change of `now`.
fn next(
    now: &ServerConfig,
    own_limiter: bool,
    change: impl Fn(ServerConfig) -> ServerConfig,
) -> Result<ServerConfig, ConfigError> {
    let next = ServerConfig {
        name: now.name.clone(),
        ..change(now.clone())
    };
    Problems::found(&now.name, |problems| {
        next.check(problems);
        parts::check_limiter(own_limiter, now.rate_limit, next.rate_limit, problems);
    })?;
    Ok(next)
}

impl Policies {
    fn verdict(&self) -> Verdict {
        let enforced = self.timeout.mode() == Mode::Enforce;
        Verdict::once(enforced.then(|| self.timeout.limit()))
    }

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

impl<R, L, B> fmt::Display for ServerStack<R, L, B> {
    /// The [description](Self::describe).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe().fmt(f)
    }
}

debug_fields!([R, L: fmt::Debug, B] ServerStack<R, L, B>, this: name = this.name(),
    timeout = this.timeout(), limiter = this.limiter, bulkhead = this.bulkhead());
