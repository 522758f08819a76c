//! The handle: hashes the key, and asks the store of its kind of policy.

mod builder;
mod limits;
mod made;
mod source;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

pub use self::builder::Builder;
pub(crate) use self::builder::check_places;
#[cfg(feature = "tower")]
pub(crate) use self::made::Follow;
pub use self::made::{Made, PerKey, Refuses};
pub use self::source::{ByKey, Fixed, IntoSource, KeyOf, OwnedKey, Picked, RequestKey, Source};

use self::made::{Store, Stored};
use super::Key;
use crate::config::Name;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::Arc;

/// A policy for each key: a limit per caller, a circuit breaker per host.
///
/// A handle: clones are the same policies. See the [module](crate::keyed) for what becomes of
/// keys that are too many, and for the defaults.
///
/// ```
/// use seawall::{CircuitBreaker, Keyed};
///
/// let per_host = Keyed::new(1_000, |host: &str| CircuitBreaker::builder(host).build())?;
/// per_host.get("a.example").force_open();
/// assert!(per_host.get("a.example").try_acquire().is_err());
/// assert!(per_host.get("b.example").try_acquire().is_ok());
/// # Ok::<_, seawall::ConfigError>(())
/// ```
pub struct Keyed<K: ?Sized + Key, P: PerKey>(Arc<Inner<K, P>>);

struct Inner<K: ?Sized + Key, P: PerKey> {
    hasher: RandomState,
    store: <P as Stored>::Store<K>,
}

impl<K: ?Sized + Key, P: PerKey> Keyed<K, P> {
    fn made(store: <P as Stored>::Store<K>) -> Self {
        let hasher = RandomState::new();
        Self(Arc::new(Inner { hasher, store }))
    }

    /// The policy of this key, which is made if it has none yet. It is the key's for as long as
    /// it has its place, and keeps the place for as long as the handle lives: hold it for as long as
    /// what was changed by it is to stand.
    ///
    /// Of a limiter, name, mode, waits and listeners are those of all keys, and are changed for all
    /// of them by any handle; a pause is the key's own, and is a debt: whoever waits already goes
    /// when it was promised, and it is not resumed.
    pub fn get(&self, key: &K) -> P {
        self.pick(key).into_policy()
    }

    /// The policy of all who have no key.
    pub fn anonymous(&self) -> &P {
        self.0.store.anonymous()
    }

    /// The name: in events, and in the refusals of requests without a key.
    pub fn name(&self) -> &Name {
        self.0.store.name()
    }

    /// How many keys have a place at most. A limiter has room for twice as many, so that as many
    /// as this really fit.
    pub fn capacity(&self) -> usize {
        self.0.store.capacity()
    }

    /// How many keys have a place. Counts them, where the policy is a limiter.
    pub fn used(&self) -> usize {
        self.0.store.used()
    }

    /// How often a key found no place of its own and the
    /// [overflow policy](Builder::overflow) served it; of a limiter, how often a key in debt
    /// lost its place.
    pub fn overflowed(&self) -> u64 {
        self.0.store.overflowed()
    }

    /// For a layer, in place of a policy: each request has the policy of its key, which `key`
    /// borrows from it. None is a request without a key; see [`ByKey`] for what becomes of it.
    ///
    #[cfg_attr(all(feature = "http", feature = "tower"), doc = "```")]
    #[cfg_attr(not(all(feature = "http", feature = "tower")), doc = "```ignore")]
    /// use axum::body::Body;
    /// use axum::http::Request;
    /// use seawall::{Keyed, Quota, RateLimitLayer};
    ///
    /// let per_client = Keyed::<str, _>::limit(10_000, Quota::per_second(10))?;
    /// let layer = RateLimitLayer::new(per_client.by(|request: &Request<Body>| {
    ///     request.headers().get("x-api-key")?.to_str().ok()
    /// }));
    /// # let _ = layer;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn by<Req, F>(&self, key: F) -> ByKey<K, P, RequestKey<F>>
    where
        F: Fn(&Req) -> Option<&K>,
    {
        ByKey::new(self.clone(), RequestKey(key))
    }

    /// As [`by`](Self::by), for a key that has to be made of the request, such as an address.
    pub fn by_value<Req, F>(&self, key: F) -> ByKey<K, P, OwnedKey<F>>
    where
        F: Fn(&Req) -> Option<K::Owned>,
    {
        ByKey::new(self.clone(), OwnedKey(key))
    }

    /// As [`by`](Self::by), with a way to the key that is a type.
    #[cfg(feature = "tower")]
    pub(crate) fn by_type<F>(&self, key: F) -> ByKey<K, P, F> {
        ByKey::new(self.clone(), key)
    }

    fn hash(&self, key: &K) -> u64 {
        self.0.hasher.hash_one(key)
    }

    #[inline]
    fn pick(&self, key: &K) -> Picked<'_, P> {
        self.0.store.pick(self.hash(key), key)
    }

    /// Refuses who has no key; not where the mode of all keys refuses nothing.
    #[cold]
    fn refuse(&self) -> Result<(), Rejection> {
        let rejection = Rejection::new(RejectionKind::NoKey, self.name().clone());
        match self.0.store.refuses(&rejection) {
            true => Err(rejection),
            false => Ok(()),
        }
    }
}

impl<K: ?Sized + Key, P: PerKey> Clone for Keyed<K, P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: ?Sized + Key, P: PerKey> From<&Keyed<K, P>> for Keyed<K, P> {
    fn from(keyed: &Keyed<K, P>) -> Self {
        keyed.clone()
    }
}

/// Shows no key: they may be secrets, and there may be thousands.
impl<K: ?Sized + Key, P: PerKey> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("name", self.name())
            .field("capacity", &self.capacity())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}
