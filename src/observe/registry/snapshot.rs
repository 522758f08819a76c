use crate::config::{Mode, Name, PolicyKind};
use crate::counters::Totals;
#[cfg(doc)]
use crate::keyed::{Key, Keyed};
use crate::{budget, bulkhead, circuit_breaker, rate_limit};
#[cfg(feature = "tokio")]
use crate::{fallback, hedge, retry, timeout};

/// What a policy is configured with and what it has done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the policy.
    pub name: Name,
    /// Its kind. That of a keyed policy is the kind of its policies.
    pub kind: PolicyKind,
    /// Whether it is a policy for each key.
    pub keyed: bool,
    /// Its mode.
    pub mode: Mode,
    /// What it has counted, for all keys of a keyed policy together.
    pub totals: Totals,
    /// What only policies of this kind have. Serialised, it is the snapshot itself; `kind` and
    /// `keyed` say which.
    pub state: State,
}

/// The snapshot of a policy of one kind.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[allow(clippy::large_enum_variant)] // All but a budget's have their totals.
#[non_exhaustive]
pub enum State {
    /// A timeout.
    #[cfg(feature = "tokio")]
    Timeout(timeout::Snapshot),
    /// A rate limiter.
    RateLimiter(rate_limit::Snapshot),
    /// A circuit breaker.
    CircuitBreaker(circuit_breaker::Snapshot),
    /// A bulkhead.
    Bulkhead(bulkhead::Snapshot),
    /// A retry.
    #[cfg(feature = "tokio")]
    Retry(retry::Snapshot),
    /// A hedge.
    #[cfg(feature = "tokio")]
    Hedge(hedge::Snapshot),
    /// A budget.
    Budget(budget::Snapshot),
    /// A fallback.
    #[cfg(feature = "tokio")]
    Fallback(fallback::Snapshot),
    /// A policy for each key.
    Keyed(KeyedSnapshot),
}

/// What a keyed policy has.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// The keys that have an entry.
    pub keys: usize,
    /// The most keys that have an entry.
    pub capacity: usize,
    /// [`Keyed::overflowed`].
    pub overflowed: u64,
    /// [`Keyed::keyless`].
    pub keyless: u64,
    /// How many circuit breakers are in which state. The anonymous and the overflow one are among
    /// them once they have had a call. None of other policies.
    pub states: Option<States>,
    /// Up to ten circuit breakers that are not closed.
    pub not_closed: Vec<NotClosed>,
}

/// How many circuit breakers are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct States {
    /// Closed.
    pub closed: usize,
    /// Open.
    pub open: usize,
    /// Half-open.
    pub half_open: usize,
    /// Forced open.
    pub forced_open: usize,
    /// Recovering.
    pub recovering: usize,
}

impl States {
    pub(super) fn count(&mut self, state: circuit_breaker::State) {
        use circuit_breaker::State;
        *match state {
            State::Closed => &mut self.closed,
            State::Open => &mut self.open,
            State::HalfOpen => &mut self.half_open,
            State::ForcedOpen => &mut self.forced_open,
            State::Recovering => &mut self.recovering,
        } += 1;
    }
}

/// The circuit breaker of a key.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NotClosed {
    /// The key, if it has a [text](Key::text).
    pub key: Option<String>,
    /// The name of the breaker.
    pub name: Name,
    /// Its state.
    pub state: circuit_breaker::State,
}
