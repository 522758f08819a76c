//! A set of readiness gates, of which at most a share is shut at once.

use super::policy::CircuitBreaker;
use crate::config::{ConfigError, Name, Problems};
use crate::macros::debug_fields;
use crate::sync::{Arc, Mutex};

/// The gated services of one balancer. At most a share of them, by default half, is shut at once.
///
/// A balancer sends the load of a shut service to the others. If most of them are shut, the rest
/// would be overloaded, and the cause is often the network, not the services. So a gate shuts only
/// while fewer gates than the share of its set are shut. The others stay ready: a call that their
/// breaker would reject is made, and the event
/// [`WouldReject`](crate::event::EventKind::WouldReject) is emitted. The call changes nothing in
/// the breaker, which still recovers by its probes. The gate of a breaker that is [forced
/// open](CircuitBreaker::force_open) always shuts.
///
/// A handle: clones are the same set. A service made by a layer
/// [`in_set`](super::CircuitBreakerLayer::in_set) is one member together with its clones, until all
/// of them are dropped. The share is rounded down: half of three is one, and in a set of
/// one no gate shuts.
///
/// ```
/// use seawall::circuit_breaker::Gates;
/// use seawall::{CircuitBreaker, CircuitBreakerLayer};
/// use tower::{BoxError, Layer, service_fn};
///
/// let gates = Gates::new();
/// let endpoints = ["a:80", "b:80", "c:80"].map(|endpoint| {
///     let breaker = CircuitBreaker::new(endpoint);
///     let client = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
///     CircuitBreakerLayer::gated(breaker).in_set(&gates).layer(client)
/// });
/// # drop(endpoints);
/// ```
#[derive(Clone)]
pub struct Gates(Arc<Set>);

struct Set {
    most: f64,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    all: usize,
    shut: Vec<Shut>,
}

/// A member that is shut.
struct Shut {
    member: Arc<Member>,
    /// How many of its clones wait. Each keeps the member too, so this entry is never the last that
    /// does.
    waiting: usize,
}

impl Gates {
    /// A set of which at most half is shut at once.
    pub fn new() -> Self {
        Self::with(0.5)
    }

    /// A set of which at most this share is shut at once: 1 for all, 0 for none.
    ///
    /// # Errors
    /// The share is not from 0 to 1.
    pub fn at_most(share: f64) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let holds = (0.0..=1.0).contains(&share);
        problems.check(holds, "at_most", share, "0 to 1");
        problems.finish(&Name::from("gates"))?;
        Ok(Self::with(share))
    }

    fn with(most: f64) -> Self {
        Self(Arc::new(Set {
            most,
            members: Mutex::default(),
        }))
    }

    pub(super) fn join(&self, breaker: &CircuitBreaker) -> Membership {
        self.0.members.lock().all += 1;
        Membership {
            member: Arc::new(Member {
                set: self.clone(),
                breaker: breaker.clone(),
            }),
            waits: false,
        }
    }

    /// Changes the members. If there was a change and it leaves too many shut, wakes those, so that
    /// some of them open.
    fn change(&self, change: impl FnOnce(&mut Members) -> bool) {
        let mut members = self.0.members.lock();
        let changed = change(&mut members);
        let over = changed && members.shut.len() > self.most_of(members.all);
        let shut = members.shut.iter().filter(|_| over);
        let wake: Vec<_> = shut.map(|shut| shut.member.breaker.clone()).collect();
        // A waker may drop a member: outside the lock.
        drop(members);
        wake.iter().for_each(CircuitBreaker::wake_gate);
    }

    /// How many of `all` may be shut. A share such as 0.29 of 100 is a little less than 29 in
    /// binary.
    fn most_of(&self, all: usize) -> usize {
        (all as f64 * self.0.most + 1e-9) as usize
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self::new()
    }
}

debug_fields!(Gates, this: at_most = this.0.most);

struct Member {
    set: Gates,
    breaker: CircuitBreaker,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.set.change(|members| {
            members.all -= 1;
            true
        });
    }
}

/// A service that is, with its clones, one member of a set.
pub(super) struct Membership {
    member: Arc<Member>,
    /// Whether this service is one of those that wait.
    waits: bool,
}

impl Membership {
    /// Whether the service, which admits no call, may wait. A forced one does in any case.
    ///
    /// Register with the breaker's gate and check again before you wait: a change of the set wakes
    /// that gate.
    pub(super) fn wait(&mut self, forced: bool) -> bool {
        self.settle(|members, member| {
            let others = members.shut.iter();
            let others = others.filter(|shut| !Arc::ptr_eq(&shut.member, member));
            forced || others.count() < member.set.most_of(members.all)
        });
        self.waits
    }

    /// The service does not wait any more.
    pub(super) fn cancel(&mut self) {
        if self.waits {
            self.settle(|_, _| false);
        }
    }

    fn settle(&mut self, waits: impl FnOnce(&Members, &Arc<Member>) -> bool) {
        let member = &self.member;
        member.set.change(|members| {
            let waits = waits(members, member);
            if std::mem::replace(&mut self.waits, waits) == waits {
                return false;
            }
            let shut = &mut members.shut;
            let at = shut.iter().position(|at| Arc::ptr_eq(&at.member, member));
            match (at, waits) {
                (Some(at), true) => shut[at].waiting += 1,
                (Some(at), false) if shut[at].waiting > 1 => shut[at].waiting -= 1,
                (Some(at), false) => drop(shut.swap_remove(at)),
                (None, _) => shut.push(Shut {
                    member: Arc::clone(member),
                    waiting: 1,
                }),
            }
            true
        });
    }
}

impl Clone for Membership {
    /// A clone waits for itself.
    fn clone(&self) -> Self {
        Self {
            member: Arc::clone(&self.member),
            waits: false,
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.cancel();
    }
}
