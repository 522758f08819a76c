use std::fmt;
use std::time::Duration;

use super::entry::{Policy, policies};
use crate::circuit_breaker::{CircuitBreaker, State};
use crate::config::{Name, PolicyKind};
#[cfg(feature = "serve")]
use crate::policy_id;
#[cfg(feature = "serve")]
use crate::sync::{Arc, AtomicBool, Ordering::Relaxed};

/// Whether the program serves, and what keeps it from serving well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// The status.
    pub status: Status,
    /// Why it is degraded, in the order in which the policies were made. A program that drains may
    /// have reasons too.
    pub reasons: Vec<Reason>,
}

/// A status of [`Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Status {
    /// Nothing is wrong.
    Ready,
    /// It serves, and a dependency is cut off or a policy admits nothing: there is a reason.
    Degraded,
    /// A `serve::Server` or a `serve::Health` of the process drains.
    Draining,
}

impl Status {
    /// A short text that never changes: `ready`, `degraded`, `draining`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
        }
    }
}

/// Why a program is degraded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Reason {
    /// The name of the policy.
    pub policy: Name,
    /// Its kind.
    pub kind: PolicyKind,
    /// What is wrong, such as `open` or `closed by a limit of 0`.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.policy, self.text)
    }
}

/// The health of the process. These are reasons: a circuit breaker that is not closed, of any key;
/// a bulkhead with a limit of 0; a rate limiter that is paused. A policy that only records, or
/// is off, is none.
///
/// It reads every policy, and takes no more than the locks of [`policies`] and of the shards of
/// keyed breakers.
///
/// ```
/// use seawall::CircuitBreaker;
/// use seawall::registry::{self, Status};
///
/// let payments = CircuitBreaker::new("payments");
/// payments.force_open();
/// let health = registry::health();
/// assert_eq!(health.status, Status::Degraded);
/// assert!(health.reasons.iter().any(|reason| reason.to_string() == "payments: forced open"));
/// ```
pub fn health() -> Health {
    let mut reasons = Vec::new();
    for policy in policies() {
        match &policy {
            Policy::CircuitBreaker(breaker) => reasons.extend(breaker_reason(breaker)),
            Policy::Keyed(keyed) => {
                let first = reasons.len();
                keyed.each_breaker(|breaker, _| reasons.extend(breaker_reason(breaker)));
                reasons[first..].sort_by(|a, b| a.policy.as_str().cmp(b.policy.as_str()));
            }
            Policy::Bulkhead(bulkhead) => {
                let snapshot = bulkhead.snapshot();
                let is_closed = snapshot.limit == 0;
                let text = is_closed.then(|| "closed by a limit of 0".to_owned());
                reasons.extend(text.and_then(|text| reason(&policy, text)));
            }
            Policy::RateLimiter(limiter) => {
                let pause = limiter.snapshot().paused;
                let text = pause.map(|pause| format!("paused for another {}", seconds(pause)));
                reasons.extend(text.and_then(|text| reason(&policy, text)));
            }
            _ => {}
        }
    }
    Health {
        status: match reasons.is_empty() {
            _ if is_draining() => Status::Draining,
            true => Status::Ready,
            false => Status::Degraded,
        },
        reasons,
    }
}

fn seconds(d: Duration) -> String {
    format!("{} s", d.as_secs_f64().ceil())
}

/// None of a policy that rejects nothing.
fn reason(policy: &Policy, text: String) -> Option<Reason> {
    (policy.mode() == crate::config::Mode::Enforce).then(|| Reason {
        policy: policy.name().clone(),
        kind: policy.kind(),
        text,
    })
}

/// Why a program is degraded by this breaker.
pub(crate) fn breaker_reason(breaker: &CircuitBreaker) -> Option<Reason> {
    match breaker.state() {
        State::Closed => None,
        state => Some(Reason {
            policy: breaker.name().clone(),
            kind: PolicyKind::CircuitBreaker,
            text: state.to_string(),
        }),
    }
}

/// Whether a server drains.
#[cfg(feature = "serve")]
#[derive(Debug)]
pub(crate) struct Draining {
    set: AtomicBool,
    _registration: policy_id::Registration,
}

#[cfg(feature = "serve")]
impl Draining {
    pub(crate) fn new() -> Arc<Self> {
        policy_id::list(|registration| Self {
            set: AtomicBool::new(false),
            _registration: registration,
        })
    }

    pub(crate) fn set(&self) {
        self.set.store(true, Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Relaxed)
    }
}

#[cfg(feature = "serve")]
fn is_draining() -> bool {
    let listed = policy_id::listed().into_iter();
    let mut servers = listed.filter_map(|any| any.downcast::<Draining>().ok());
    servers.any(|server| server.is_set())
}

#[cfg(not(feature = "serve"))]
fn is_draining() -> bool {
    false
}
