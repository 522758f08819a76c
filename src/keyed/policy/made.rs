//! Policies that are made key by key, and what all stores have in common.

use super::source::{Held, Picked};
use crate::budget::Budget;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::config::{ConfigError, Mode, Name};
use crate::event::{EventKind, Listeners};
#[cfg(feature = "tokio")]
use crate::hedge::Hedge;
use crate::keyed::Key;
use crate::keyed::map::{Map, Rest};
use crate::rate_limit::RateLimiter;
use crate::rate_limit::table::KeyHandle;
use crate::rejection::Rejection;
use crate::sync::{AtomicU64, Ordering};

/// A policy that there can be one of for each key: [`RateLimiter`],
/// [`CircuitBreaker`], [`Bulkhead`], [`Budget`], [`Hedge`](crate::Hedge).
pub trait PerKey: Stored + Clone + Send + Sync + 'static {}

/// A policy that refuses calls.
pub trait Refuses: PerKey {}

impl Refuses for Bulkhead {}
impl Refuses for CircuitBreaker {}
impl Refuses for RateLimiter {}

/// Where the policies of one kind are kept. Not named outside.
pub trait Stored: Sized {
    type Store<K: ?Sized + Key>: Store<K, Self>;

    /// The policy of one key out of what serves many; what does not is that policy.
    fn at(self, place: Option<KeyHandle>) -> Self {
        let _ = place;
        self
    }
}

/// What keeps the policies of one kind. Not named outside.
pub trait Store<K: ?Sized, P>: Send + Sync + 'static {
    fn name(&self) -> &Name;
    fn pick(&self, hash: u64, key: &K) -> Picked<'_, P>;
    fn anonymous(&self) -> &P;
    fn skipped(&self) -> &P;
    fn capacity(&self) -> usize;
    fn used(&self) -> usize;
    fn overflowed(&self) -> u64;
    /// Tells of a refusal for want of a key, and whether it is one.
    fn refuses(&self, rejection: &Rejection) -> bool;
}

/// What a closure may make for a key: a policy, or the `Result` of a builder.
pub trait Made {
    /// The policy.
    type Policy: PerKey;

    /// The policy.
    ///
    /// # Errors
    /// Everything that is wrong with its configuration.
    fn made(self) -> Result<Self::Policy, ConfigError>;
}

impl<P: PerKey> Made for Result<P, ConfigError> {
    type Policy = P;

    fn made(self) -> Self {
        self
    }
}

/// A policy that is an object of its own for each key. Not named outside.
pub trait Single: PerKey {
    fn rest(&self) -> Rest;
    fn mode(&self) -> Mode;
    fn switch_off(&self);
}

macro_rules! singles {
    ($($ty:ty),*) => {$(
        impl PerKey for $ty {}

        impl Stored for $ty {
            type Store<K: ?Sized + Key> = Policies<K, Self>;
        }

        impl Made for $ty {
            type Policy = Self;

            fn made(self) -> Result<Self, ConfigError> {
                Ok(self)
            }
        }

        impl Single for $ty {
            fn rest(&self) -> Rest {
                self.rest()
            }

            fn mode(&self) -> Mode {
                self.mode()
            }

            fn switch_off(&self) {
                self.set_mode(Mode::Off);
            }
        }
    )*};
}

singles!(CircuitBreaker, Bulkhead, Budget);
#[cfg(feature = "tokio")]
singles!(Hedge);

pub(super) type Make<K, P> = Box<dyn Fn(&K) -> Result<P, ConfigError> + Send + Sync>;

/// What policies are made by, where that changes while they run. A change makes a new version
/// first, and then changes all policies that have a place: who makes one of the version before
/// and gives it a place after that is the one to bring it up to date.
pub(crate) trait Follow<P>: Send + Sync {
    /// The version of what a policy that is made from here on is made by, or an earlier one.
    fn version(&self) -> u64;

    /// Brings `policy` up to date.
    fn follow(&self, policy: &P);
}

/// Policies that are objects of their own.
pub struct Policies<K: ?Sized + Key, P: Single> {
    pub(super) name: Name,
    pub(super) map: Map<K::Owned, P>,
    pub(super) make: Make<K, P>,
    pub(super) anonymous: P,
    pub(super) overflow: P,
    pub(super) skipped: P,
    pub(super) listeners: Listeners,
    pub(super) follow: Option<Box<dyn Follow<P>>>,
    /// Nothing but itself: relaxed.
    pub(super) overflowed: AtomicU64,
}

impl<K: ?Sized + Key, P: Single> Policies<K, P> {
    fn version(&self) -> u64 {
        self.follow.as_ref().map_or(0, |follow| follow.version())
    }

    /// The policy of a key that had none.
    #[cold]
    fn newcomer(&self, hash: u64, key: &K) -> P {
        let version = self.version();
        match (self.make)(key) {
            Ok(made) => {
                let found = self.map.insert(hash, key, made, Single::rest);
                if let Some(policy) = found {
                    match &self.follow {
                        Some(follow) if self.version() != version => follow.follow(&policy),
                        _ => {}
                    }
                    return policy;
                }
                self.listeners.emit(&self.name, EventKind::Overflow);
            }
            Err(error) => self
                .listeners
                .emit(&self.name, EventKind::ConstructionFailed(&error)),
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        self.overflow.clone()
    }
}

impl<K: ?Sized + Key, P: Single> Store<K, P> for Policies<K, P> {
    fn name(&self) -> &Name {
        &self.name
    }

    fn pick(&self, hash: u64, key: &K) -> Picked<'_, P> {
        let found = self.map.find(hash, key);
        let policy = found.unwrap_or_else(|| self.newcomer(hash, key));
        Picked::new(Held::Own(policy), None)
    }

    fn anonymous(&self) -> &P {
        &self.anonymous
    }

    fn skipped(&self) -> &P {
        &self.skipped
    }

    fn capacity(&self) -> usize {
        usize::try_from(self.map.capacity()).unwrap_or(usize::MAX)
    }

    fn used(&self) -> usize {
        usize::try_from(self.map.used()).unwrap_or(usize::MAX)
    }

    fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    fn refuses(&self, rejection: &Rejection) -> bool {
        // There is no mode of the whole; that of the policy of nobody stands for it here.
        match self.anonymous.mode() {
            Mode::Enforce => {
                self.listeners
                    .emit(&self.name, EventKind::Rejected(rejection));
                true
            }
            Mode::RecordOnly => {
                self.listeners
                    .emit(&self.name, EventKind::WouldReject(rejection));
                false
            }
            Mode::Off => false,
        }
    }
}
