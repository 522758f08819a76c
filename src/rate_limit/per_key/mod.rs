//! A rate limit per key: one limiter, whose keys are words in one table.

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use super::table::{KeyHandle, Table};
use super::{Ask, Quota, RateLimiter};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::keyed::{Key, Keyed, PerKey, Picked, Store};
use crate::rejection::Rejection;
use crate::sync::Arc;
use crate::time;

impl PerKey for RateLimiter {
    type Store<K: ?Sized + Key> = Limits<K>;
    type Entry = KeyHandle;

    const REJECTS: bool = true;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn at(self, entry: KeyHandle) -> Self {
        self.viewed(Some(entry))
    }
}

type TierOf<K> = Arc<dyn Fn(&K) -> usize + Send + Sync>;

/// The limiter of all keys, and the way from a key to its tier.
pub struct Limits<K: ?Sized + Key> {
    limiter: RateLimiter,
    capacity: usize,
    tiers: usize,
    tier: TierOf<K>,
    anonymous: RateLimiter,
    /// The limit of the anonymous limiter that is not shared with others: its quota follows tier 0.
    anonymous_own: RateLimiter,
    off: RateLimiter,
}

impl<K: ?Sized + Key> Limits<K> {
    fn table(&self) -> &Table {
        self.limiter.table().expect("it is made of a keyed limiter")
    }

    #[inline]
    fn entry(&self, hash: u64, key: &K) -> KeyHandle {
        let tier = match self.tiers {
            1 => 0,
            tiers => Some((self.tier)(key))
                .filter(|tier| *tier < tiers)
                .unwrap_or(0),
        };
        #[allow(clippy::cast_possible_truncation)] // There are at most 15.
        let tier = tier as u8;
        KeyHandle { hash, tier }
    }
}

impl<K: ?Sized + Key> Store<K, RateLimiter> for Limits<K> {
    fn name(&self) -> &Name {
        self.limiter.name()
    }

    #[inline]
    fn pick(&self, hash: u64, key: &K) -> Picked<'_, RateLimiter> {
        Picked::entry(&self.limiter, self.entry(hash, key))
    }

    fn anonymous(&self) -> &RateLimiter {
        &self.anonymous
    }

    fn off(&self) -> &RateLimiter {
        &self.off
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn len(&self) -> usize {
        self.table().used()
    }

    fn overflowed(&self) -> u64 {
        self.table().evicted()
    }

    fn rejects(&self, rejection: &Rejection) -> bool {
        self.limiter.rejects(rejection)
    }
}

impl<K: ?Sized + Key> Keyed<K, RateLimiter> {
    /// A limiter for each of at most `capacity` keys, all with this quota. For options see
    /// [`per_key`](crate::rate_limit::Builder::per_key) of the limiter's builder.
    ///
    /// # Errors
    /// If the quota is invalid, or `capacity` is not from 1 to 16,777,216.
    #[track_caller]
    pub fn limit(capacity: usize, quota: Quota) -> Result<Self, ConfigError> {
        RateLimiter::builder(quota).per_key(capacity)
    }

    /// A limiter for each of at most `capacity` keys, with a quota that depends on the key: `tier`
    /// returns its index in `quotas`. An index out of range is tier 0.
    ///
    /// ```
    /// use seawall::{Keyed, Quota};
    ///
    /// # fn has_paid(client: &str) -> bool { client.starts_with("pro-") }
    /// let plans = [Quota::per_second(10), Quota::per_second(200)];
    /// let per_client = Keyed::tiers(10_000, plans, |client: &str| usize::from(has_paid(client)))?;
    /// assert_eq!(per_client.get("joe").available(), 10);
    /// assert_eq!(per_client.get("pro-ann").available(), 200);
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// If a quota is invalid, if there are not from 1 to 15 quotas, or if `capacity` is not from
    /// 1 to 16,777,216.
    #[track_caller]
    pub fn tiers(
        capacity: usize,
        quotas: impl IntoIterator<Item = Quota>,
        tier: impl Fn(&K) -> usize + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let mut quotas = quotas.into_iter();
        let first = quotas.next();
        let builder = RateLimiter::builder(first.unwrap_or(Quota::unlimited()));
        let mut problems = Problems::default();
        problems.check(first.is_some(), "tiers", 0, "from 1 to 15");
        problems.finish(builder.policy_name())?;
        builder.per_key_in_tiers(capacity, quotas, tier)
    }

    pub(crate) fn of_limiter(limiter: RateLimiter, tiers: usize, tier: TierOf<K>) -> Self {
        let (capacity, quota) = match limiter.table() {
            Some(table) => (table.capacity() / 2, table.quota(0)),
            None => (0, Quota::unlimited()),
        };
        let beside = |quota| {
            let built = limiter.beside(quota).build();
            built.expect("the quota has been checked")
        };
        let off = beside(Quota::unlimited());
        off.set_mode(Mode::Off);
        let anonymous = beside(quota);
        Self::from_store(Limits {
            anonymous_own: anonymous.clone(),
            anonymous,
            off,
            limiter,
            capacity,
            tiers,
            tier,
        })
    }

    /// The same keys, with each call charged to `limits` too, such as to one for all keys
    /// together. A call is admitted by all of them or charged to none; see
    /// [`RateLimiter::all_of`].
    ///
    /// ```
    /// use seawall::{Keyed, Quota, RateLimiter};
    ///
    /// let in_all = RateLimiter::per_second(1_000);
    /// let per_client = Keyed::<str, _>::limit(10_000, Quota::per_second(10))?;
    /// let both = per_client.with_limits([in_all])?;
    /// # let _ = both;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// With more than 8 limits in all, or with the same limit twice.
    pub fn with_limits(
        &self,
        limits: impl IntoIterator<Item = RateLimiter>,
    ) -> Result<Self, ConfigError> {
        let limits: Vec<_> = limits.into_iter().collect();
        let joined = |one: &RateLimiter| {
            let all = std::iter::once(one.clone()).chain(limits.iter().cloned());
            RateLimiter::all_of(one.name().clone(), all)
        };
        let store = self.store();
        Ok(self.with_store(Limits {
            limiter: joined(&store.limiter)?,
            anonymous: joined(&store.anonymous)?,
            anonymous_own: store.anonymous_own.clone(),
            off: store.off.clone(),
            capacity: store.capacity,
            tiers: store.tiers,
            tier: Arc::clone(&store.tier),
        }))
    }

    /// Takes a token of this key, if there is one.
    ///
    /// The fastest check: it makes no handle, and a [`Rejection`] only for listeners.
    #[must_use = "a call that is not allowed must not be made"]
    #[inline]
    pub fn allow(&self, key: &K) -> bool {
        self.allow_n(key, 1)
    }

    /// Takes `cost` tokens of this key, if there are as many.
    #[must_use = "a call that is not allowed must not be made"]
    #[inline]
    pub fn allow_n(&self, key: &K, cost: u32) -> bool {
        let picked = self.pick(key);
        let (limiter, entry) = picked.parts();
        limiter.admit(Ask::now(cost).of(entry), time::now).is_ok()
    }

    /// Takes a token of this key, if there is one.
    ///
    /// # Errors
    /// If there is none: [`RejectionKind::RateLimited`](crate::RejectionKind::RateLimited), with
    /// the time until there is one.
    #[inline]
    pub fn try_acquire(&self, key: &K) -> Result<(), Rejection> {
        let picked = self.pick(key);
        let (limiter, entry) = picked.parts();
        limiter.admit(Ask::now(1).of(entry), time::now)
    }

    /// Changes the quota of a tier while calls run. Without tiers the tier is 0. The anonymous
    /// limiter follows tier 0.
    ///
    /// Each key's debt stays, in tokens. A waiter keeps the instant that was granted. The change visits
    /// every entry of the table once, while calls go on.
    ///
    /// # Errors
    /// If the quota is invalid, or there is no such tier. Nothing changes then.
    pub fn set_quota(&self, tier: usize, quota: Quota) -> Result<(), ConfigError> {
        let store = self.store();
        let mut problems = Problems::default();
        quota.check(&mut problems);
        let allowed = format_args!("from 0 to {}", store.tiers - 1);
        problems.check(tier < store.tiers, "tier", tier, allowed);
        problems.finish(self.name())?;
        #[allow(clippy::cast_possible_truncation)] // Below 15.
        store.table().change(time::now(), tier as u8, quota);
        if tier == 0 {
            store.anonymous_own.set_quota(quota)?;
        }
        Ok(())
    }

    /// The quota of a tier, if there is such a tier.
    pub fn quota(&self, tier: usize) -> Option<Quota> {
        let store = self.store();
        #[allow(clippy::cast_possible_truncation)] // Below 15.
        (tier < store.tiers).then(|| store.table().quota(tier as u8))
    }

    /// The mode of all keys.
    pub fn mode(&self) -> Mode {
        self.store().limiter.mode()
    }

    /// Changes the mode of all keys and of requests without one.
    pub fn set_mode(&self, mode: Mode) {
        self.store().limiter.set_mode(mode);
        self.anonymous().set_mode(mode);
    }
}
