use std::any::Any;

use super::keyed::KeyedPolicy;
use super::snapshot::{Snapshot, State};
use crate::budget::Budget;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::common::{Common, Listed};
use crate::config::{Mode, Name, PolicyKind};
use crate::counters::Totals;
use crate::event::{Event, Subscription};
#[cfg(feature = "tokio")]
use crate::fallback::Fallback;
#[cfg(feature = "tokio")]
use crate::hedge::Hedge;
#[cfg(doc)]
use crate::keyed::Key;
use crate::keyed::Listing;
use crate::policy_id::{self, PolicyId};
use crate::rate_limit::RateLimiter;
#[cfg(feature = "tokio")]
use crate::retry::Retry;
use crate::sync::Arc;
#[cfg(feature = "tokio")]
use crate::timeout::Timeout;

/// A policy that the registry has found: a handle, like any other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Policy {
    /// A timeout.
    #[cfg(feature = "tokio")]
    Timeout(Timeout),
    /// A rate limiter.
    RateLimiter(RateLimiter),
    /// A circuit breaker.
    CircuitBreaker(CircuitBreaker),
    /// A bulkhead.
    Bulkhead(Bulkhead),
    /// A retry.
    #[cfg(feature = "tokio")]
    Retry(Retry),
    /// A hedge.
    #[cfg(feature = "tokio")]
    Hedge(Hedge),
    /// A budget.
    Budget(Budget),
    /// A fallback.
    #[cfg(feature = "tokio")]
    Fallback(Fallback),
    /// A policy for each key.
    Keyed(KeyedPolicy),
}

/// Every policy that has a handle, in the order in which they were made. Takes a lock.
pub fn policies() -> Vec<Policy> {
    let listed = policy_id::listed().into_iter();
    listed.filter_map(Policy::of_shared).collect()
}

/// The policies of this name, in the order in which they were made; names need not be unique. Takes
/// a lock.
pub fn find(name: &str) -> Vec<Policy> {
    let mut found = policies();
    found.retain(|policy| policy.name().as_str() == name);
    found
}

/// `$body` with the handle `$policy`, whichever it is.
/// Matches a policy of any kind, or the policy of many keys.
macro_rules! with_handle {
    ($this:expr, $policy:ident => $body:expr, $keyed:ident => $of_keyed:expr) => {
        match $this {
            #[cfg(feature = "tokio")]
            Policy::Timeout($policy) => $body,
            Policy::RateLimiter($policy) => $body,
            Policy::CircuitBreaker($policy) => $body,
            Policy::Bulkhead($policy) => $body,
            #[cfg(feature = "tokio")]
            Policy::Retry($policy) => $body,
            #[cfg(feature = "tokio")]
            Policy::Hedge($policy) => $body,
            Policy::Budget($policy) => $body,
            #[cfg(feature = "tokio")]
            Policy::Fallback($policy) => $body,
            Policy::Keyed($keyed) => $of_keyed,
        }
    };
}

impl Policy {
    fn of_shared(shared: Arc<dyn Any + Send + Sync>) -> Option<Self> {
        fn of<P: Listed>(shared: &Arc<dyn Any + Send + Sync>) -> Option<P> {
            P::of_shared(Arc::clone(shared))
        }

        #[cfg(feature = "tokio")]
        let with_runtime = |shared| {
            let retry = || of(shared).map(Self::Retry);
            let hedge = || of(shared).map(Self::Hedge);
            let fallback = || of(shared).map(Self::Fallback);
            let timeout = of(shared).map(Self::Timeout);
            timeout.or_else(retry).or_else(hedge).or_else(fallback)
        };
        #[cfg(not(feature = "tokio"))]
        let with_runtime = |_| None;
        let policy = of(&shared)
            .map(Self::CircuitBreaker)
            .or_else(|| of(&shared).map(Self::RateLimiter))
            .or_else(|| of(&shared).map(Self::Bulkhead))
            .or_else(|| of(&shared).map(Self::Budget))
            .or_else(|| with_runtime(&shared));
        policy.or_else(|| {
            let listing = shared.downcast::<Listing>().ok()?;
            Some(Self::Keyed(KeyedPolicy::new(
                listing.policy()?,
                listing.id(),
            )))
        })
    }

    /// A policy of a keyed one.
    pub(super) fn of_handle(handle: &dyn Any) -> Option<Self> {
        fn of<P: Clone + 'static>(handle: &dyn Any) -> Option<P> {
            handle.downcast_ref::<P>().cloned()
        }

        let policy = of(handle)
            .map(Self::CircuitBreaker)
            .or_else(|| of(handle).map(Self::RateLimiter))
            .or_else(|| of(handle).map(Self::Bulkhead))
            .or_else(|| of(handle).map(Self::Budget));
        #[cfg(feature = "tokio")]
        let policy = policy.or_else(|| of(handle).map(Self::Hedge));
        policy
    }

    /// What all policies have in common. A keyed one is an error.
    fn base(&self) -> Result<&Common, &KeyedPolicy> {
        with_handle!(self, policy => Ok(policy.base()), keyed => Err(keyed))
    }

    /// Calls `f` with it, or with the policies of all keys of a keyed one, those without a key
    /// among them. A keyed limiter has only these.
    #[cfg(feature = "metrics")]
    pub(crate) fn each(&self, mut f: impl FnMut(&Self)) {
        match self {
            Self::Keyed(keyed) => keyed.each(&mut |policy| {
                if let Some(policy) = Self::of_handle(policy) {
                    f(&policy);
                }
            }),
            policy => f(policy),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        self.base().map_or_else(KeyedPolicy::name, Common::name)
    }

    /// A number for this policy alone, which is not used again in the life of the process. None of
    /// a policy that is not listed, such as that of a key.
    pub fn id(&self) -> Option<u64> {
        let id = self.base().map_or_else(KeyedPolicy::id, Common::id);
        id.map(PolicyId::get)
    }

    /// Its kind. That of a keyed policy is the kind of its policies.
    pub fn kind(&self) -> PolicyKind {
        self.base().map_or_else(KeyedPolicy::kind, Common::kind)
    }

    /// Whether it is a policy for each key.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Self::Keyed(_))
    }

    /// Its mode.
    pub fn mode(&self) -> Mode {
        with_handle!(self, policy => policy.mode(), keyed => keyed.mode())
    }

    /// Sets its mode, for all keys of a keyed policy.
    pub fn set_mode(&self, mode: Mode) {
        with_handle!(self, policy => policy.set_mode(mode), keyed => keyed.set_mode(mode));
    }

    /// Adds a listener, which is removed when the returned subscription is dropped. That of a keyed
    /// policy receives the events of all keys. A budget has no events.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        match self.base() {
            Ok(base) => base.subscribe(listener),
            Err(keyed) => keyed.on_event(listener),
        }
    }

    /// What it is configured with and what it has done. Changes nothing.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            name: self.name().clone(),
            kind: self.kind(),
            keyed: self.is_keyed(),
            mode: self.mode(),
            totals: self.totals(),
            state: self.state(),
        }
    }

    /// What it has counted, for all keys of a keyed policy together. Nothing for a budget.
    pub fn totals(&self) -> Totals {
        match self.base() {
            Ok(base) => base.totals(),
            Err(keyed) => keyed.totals(),
        }
    }

    fn state(&self) -> State {
        match self {
            #[cfg(feature = "tokio")]
            Self::Timeout(timeout) => State::Timeout(timeout.snapshot()),
            Self::RateLimiter(limiter) => State::RateLimiter(limiter.snapshot()),
            Self::CircuitBreaker(breaker) => State::CircuitBreaker(breaker.snapshot()),
            Self::Bulkhead(bulkhead) => State::Bulkhead(bulkhead.snapshot()),
            #[cfg(feature = "tokio")]
            Self::Retry(retry) => State::Retry(retry.snapshot()),
            #[cfg(feature = "tokio")]
            Self::Hedge(hedge) => State::Hedge(hedge.snapshot()),
            Self::Budget(budget) => State::Budget(budget.snapshot()),
            #[cfg(feature = "tokio")]
            Self::Fallback(fallback) => State::Fallback(fallback.snapshot()),
            Self::Keyed(keyed) => State::Keyed(keyed.snapshot()),
        }
    }
}

impl KeyedPolicy {
    /// The policy of the key that has this [text](Key::text), if it has an entry. It looks at
    /// every key, so it is for a change by hand and not for each call. A limiter keeps no keys.
    pub fn policy_of(&self, key: &str) -> Option<Policy> {
        let mut found = None;
        self.0.each(&mut |text, policy| {
            if found.is_none() && text().as_deref() == Some(key) {
                found = Policy::of_handle(policy);
            }
        });
        found
    }

    /// The policy that all requests without a key share.
    pub fn anonymous(&self) -> Option<Policy> {
        Policy::of_handle(self.0.anonymous())
    }

    /// The policy that new keys share while every entry is in use. None of a limiter.
    pub fn overflow(&self) -> Option<Policy> {
        Policy::of_handle(self.0.overflow()?)
    }
}
