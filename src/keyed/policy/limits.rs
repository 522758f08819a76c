//! Limiters, whose keys are words in one table instead of objects of their own.

use super::made::{PerKey, Store, Stored};
use super::source::{Held, Picked};
use super::{Inner, Keyed};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::keyed::Key;
use crate::rate_limit::table::{Place, Table};
use crate::rate_limit::{Ask, Quota, RateLimiter};
use crate::rejection::Rejection;
use crate::sync::Arc;
use crate::time;

impl PerKey for RateLimiter {}

impl Stored for RateLimiter {
    type Store<K: ?Sized + Key> = Limits<K>;

    fn at(self, place: Option<Place>) -> Self {
        match place {
            Some(_) => self.viewed(place),
            None => self,
        }
    }
}

type TierOf<K> = Arc<dyn Fn(&K) -> usize + Send + Sync>;

/// One limiter, asked for one place of many.
pub struct Limits<K: ?Sized + Key> {
    limiter: RateLimiter,
    capacity: usize,
    tiers: usize,
    tier: TierOf<K>,
    anonymous: RateLimiter,
    /// What the anonymous one has for a quota of its own, where it is several as one.
    nobodys: RateLimiter,
    skipped: RateLimiter,
}

impl<K: ?Sized + Key> Limits<K> {
    fn table(&self) -> &Table {
        let table = self.limiter.table();
        table.expect("it is made of a keyed limiter")
    }

    #[inline]
    fn place(&self, hash: u64, key: &K) -> Place {
        let tier = match self.tiers {
            1 => 0,
            tiers => Some((self.tier)(key))
                .filter(|tier| *tier < tiers)
                .unwrap_or(0),
        };
        #[allow(clippy::cast_possible_truncation)] // There are at most 15.
        let tier = tier as u8;
        Place { hash, tier }
    }
}

impl<K: ?Sized + Key> Store<K, RateLimiter> for Limits<K> {
    fn name(&self) -> &Name {
        self.limiter.name()
    }

    #[inline]
    fn pick(&self, hash: u64, key: &K) -> Picked<'_, RateLimiter> {
        let place = self.place(hash, key);
        Picked::new(Held::Lent(&self.limiter), Some(place))
    }

    fn anonymous(&self) -> &RateLimiter {
        &self.anonymous
    }

    fn skipped(&self) -> &RateLimiter {
        &self.skipped
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn used(&self) -> usize {
        self.table().used()
    }

    fn overflowed(&self) -> u64 {
        self.table().evicted()
    }

    fn refuses(&self, rejection: &Rejection) -> bool {
        self.limiter.rejects(rejection)
    }
}

impl<K: ?Sized + Key> Keyed<K, RateLimiter> {
    /// A limiter for each of `places` keys at most, each with this quota. For options there is
    /// [`per_key`](crate::rate_limit::Builder::per_key) on a limiter's builder.
    ///
    /// # Errors
    /// If the quota is none that a limiter can have, and if `places` is not from 1 to
    /// 16,777,216.
    #[track_caller]
    pub fn limit(capacity: usize, quota: Quota) -> Result<Self, ConfigError> {
        RateLimiter::builder(quota).per_key(capacity)
    }

    /// As [`limit`](Self::limit), with a quota that depends on the key: that of the tier which
    /// `tier` names by its number in `quotas`; a number that none has is 0. There are from 1 to
    /// 15 tiers.
    ///
    /// ```
    /// use seawall::{Keyed, Quota};
    ///
    /// # fn has_paid(client: &str) -> bool { client.starts_with("pro-") }
    /// let plans = [Quota::per_second(10), Quota::per_second(200)];
    /// let per_client = Keyed::tiers(10_000, plans, |client: &str| usize::from(has_paid(client)))?;
    /// assert_eq!(per_client.get("somebody").available(), 10);
    /// assert_eq!(per_client.get("pro-somebody").available(), 200);
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`limit`](Self::limit), for each quota; and with no quota or more than 15.
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
        let capacity = limiter.table().map_or(0, Table::capacity) / 2;
        let quota = limiter
            .table()
            .map_or(Quota::unlimited(), |table| table.quota(0));
        let alone = |quota| {
            let alone = limiter.beside(quota).build();
            alone.expect("the quota has been checked")
        };
        let skipped = alone(Quota::unlimited());
        skipped.set_mode(Mode::Off);
        let nobodys = alone(quota);
        Self::made(Limits {
            anonymous: nobodys.clone(),
            nobodys,
            skipped,
            limiter,
            capacity,
            tiers,
            tier,
        })
    }

    /// The same keys, and each call charged to `limits` as well, such as one for all keys
    /// together: admitted by all of them or charged to none. As [`RateLimiter::all_of`].
    ///
    /// ```
    /// use seawall::{Keyed, Quota, RateLimiter};
    ///
    /// let in_all = RateLimiter::per_second(1_000);
    /// let per_client = Keyed::<str, _>::limit(10_000, Quota::per_second(10))?.and([in_all])?;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`RateLimiter::all_of`].
    pub fn with_limits(
        &self,
        limits: impl IntoIterator<Item = RateLimiter>,
    ) -> Result<Self, ConfigError> {
        let limits: Vec<_> = limits.into_iter().collect();
        let joined = |one: &RateLimiter| {
            let all = std::iter::once(one.clone()).chain(limits.iter().cloned());
            RateLimiter::all_of(one.name().clone(), all)
        };
        let store = &self.0.store;
        let store = Limits {
            limiter: joined(&store.limiter)?,
            anonymous: joined(&store.anonymous)?,
            nobodys: store.nobodys.clone(),
            skipped: store.skipped.clone(),
            capacity: store.capacity,
            tiers: store.tiers,
            tier: Arc::clone(&store.tier),
        };
        // The same seed, so that the keys stay where they are.
        let hasher = self.0.hasher.clone();
        Ok(Self(Arc::new(Inner { hasher, store })))
    }

    /// Takes a token of this key's, if one is there.
    ///
    /// The cheapest way to ask: it makes no handle, and no [`Rejection`] unless a listener
    /// wants it.
    #[must_use = "a call that is not allowed is not to be made"]
    #[inline]
    pub fn allow(&self, key: &K) -> bool {
        self.allow_n(key, 1)
    }

    /// Takes `cost` tokens of this key's, if they are there.
    #[must_use = "a call that is not allowed is not to be made"]
    #[inline]
    pub fn allow_n(&self, key: &K, cost: u32) -> bool {
        let picked = self.pick(key);
        let (limiter, place) = picked.parts();
        limiter.admit(Ask::now(cost).of(place), time::now).is_ok()
    }

    /// Takes a token of this key's, if one is there.
    ///
    /// # Errors
    /// As [`RateLimiter::try_acquire`].
    #[inline]
    pub fn try_acquire(&self, key: &K) -> Result<(), Rejection> {
        let picked = self.pick(key);
        let (limiter, place) = picked.parts();
        limiter.admit(Ask::now(1).of(place), time::now)
    }

    /// Changes the quota of a tier while calls run; of a limiter without tiers, that of tier 0.
    /// No key loses or gains a token by it: what it owes stays owed, in tokens. Whoever waits
    /// keeps the instant that was granted. Goes over all places once, while calls go on.
    ///
    /// # Errors
    /// If the quota is none that a limiter can have, or there is no such tier; nothing changes
    /// then.
    pub fn set_quota(&self, tier: usize, quota: Quota) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        quota.check(&mut problems);
        let tiers = self.0.store.tiers;
        let allowed = format_args!("from 0 to {}", tiers - 1);
        problems.check(tier < tiers, "tier", tier, allowed);
        problems.finish(self.name())?;
        #[allow(clippy::cast_possible_truncation)] // Below 15.
        self.0.store.table().change(time::now(), tier as u8, quota);
        if tier == 0 {
            self.0.store.nobodys.set_quota(quota)?;
        }
        Ok(())
    }

    /// The quota of a tier; none if there is no such tier.
    pub fn quota(&self, tier: usize) -> Option<Quota> {
        #[allow(clippy::cast_possible_truncation)] // Below 15.
        let quota = || self.0.store.table().quota(tier as u8);
        (tier < self.0.store.tiers).then(quota)
    }

    /// The mode of all keys.
    pub fn mode(&self) -> Mode {
        self.0.store.limiter.mode()
    }

    /// Changes the mode of all keys, and of whoever has none.
    pub fn set_mode(&self, mode: Mode) {
        self.0.store.limiter.set_mode(mode);
        self.anonymous().set_mode(mode);
    }
}
