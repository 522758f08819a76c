//! A rate limit per key: one limiter, whose keys are words in one table.

#[cfg(all(test, not(seawall_loom)))]
mod tests;
#[cfg(feature = "serde")]
mod tiered;

use std::collections::hash_map::RandomState;

#[cfg(feature = "serde")]
pub(crate) use tiered::Tiered;

use super::policy::Limit;
use super::table::{KeyHandle, Table};
use super::{Ask, Builder, OpenCharge, Quota, RateLimiter};
use crate::common::{Group, Options, unlisted};
use crate::config::{ConfigError, Mode, PolicyKind, Problems};
use crate::event::EventKind;
use crate::keyed::{Key, Keyed, PerKey, Picked, Shared, Store, check_capacity};
use crate::rejection::Rejection;
use crate::sync::Arc;
use crate::time;

/// A word has 16 numbers for a tier, and one of them is not in use.
const MAX_TIERS: usize = 15;

#[cfg(feature = "tower")]
impl crate::service::Rejects for RateLimiter {
    fn common(&self) -> &crate::common::Common {
        self.common()
    }
}

impl PerKey for RateLimiter {
    type Store<K: ?Sized + Key> = Limits<K>;
    type Entry = KeyHandle;

    const REJECTS: bool = true;

    const KIND: PolicyKind = PolicyKind::RateLimit;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn off() -> Result<Self, ConfigError> {
        Self::builder(Quota::unlimited()).mode(Mode::Off).build()
    }

    fn at(self, entry: KeyHandle) -> Self {
        self.viewed(Some(entry))
    }
}

type TierOf<K> = Arc<dyn Fn(&K) -> usize + Send + Sync>;

/// The limiter of all keys, and the way from a key to its tier.
pub struct Limits<K: ?Sized + Key> {
    limiter: RateLimiter,
    tiers: usize,
    tier: TierOf<K>,
    /// The anonymous limiter without the limits that it is joined with: its quota follows tier 0.
    anonymous: RateLimiter,
}

impl<K: ?Sized + Key> Limits<K> {
    fn table(&self) -> &Table {
        self.limiter.table().expect("it is made of a keyed limiter")
    }

    fn tier(&self, key: &K) -> usize {
        if self.tiers == 1 {
            return 0;
        }
        let tier = (self.tier)(key);
        if tier < self.tiers { tier } else { 0 }
    }
}

impl<K: ?Sized + Key> Store<K, RateLimiter> for Limits<K> {
    #[inline]
    fn pick(&self, hash: u64, key: &K) -> Picked<'_, RateLimiter> {
        #[allow(clippy::cast_possible_truncation)] // At most 15.
        let tier = self.tier(key) as u8;
        Picked::Entry(&self.limiter, KeyHandle { hash, tier })
    }

    fn len(&self) -> usize {
        self.table().used()
    }

    fn overflowed(&self) -> u64 {
        self.table().evicted()
    }

    fn set_mode(&self, mode: Mode) {
        self.limiter.set_mode(mode);
    }

    /// The limiter of all keys is there for new ones too.
    #[cfg(feature = "serde")]
    fn start_change(&self, _: &RateLimiter) -> Vec<RateLimiter> {
        let members = self.limiter.members().iter();
        let mut own = members.filter(|member| matches!(member.shared.limit, Limit::Keyed(_)));
        let own = own.next().expect("it is made of a keyed limiter");
        vec![own.clone(), self.anonymous.clone()]
    }

    fn emit(&self, kind: EventKind<'_>) {
        self.limiter.emit(kind);
    }

    fn rejects(&self, rejection: &Rejection, _: Mode) -> bool {
        self.limiter.rejects(rejection)
    }
}

impl Builder {
    /// A limiter for each of at most `capacity` keys: every key has a bucket of its own with this
    /// quota; name, mode and listeners are shared. See [`keyed`](crate::keyed).
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    /// use seawall::{Keyed, Quota, RateLimiter};
    ///
    /// let per_client: Keyed<IpAddr, RateLimiter> =
    ///     RateLimiter::builder(Quota::per_second(1)).name("per client").per_key(10_000)?;
    /// assert!(per_client.allow(&Ipv4Addr::LOCALHOST.into()));
    /// assert!(!per_client.allow(&Ipv4Addr::LOCALHOST.into()));
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`build`](Self::build), and if `capacity` is not from 1 to 16,777,216.
    pub fn per_key<K: ?Sized + Key>(
        self,
        capacity: usize,
    ) -> Result<Keyed<K, RateLimiter>, ConfigError> {
        let quota = self.config.quota;
        self.keyed(capacity, &[quota], Arc::new(|_: &K| 0))
    }

    /// A limiter for each of at most `capacity` keys, with a quota that depends on the key. This
    /// builder's quota is that of tier 0, and `more` has the quotas of the tiers from 1 on. `tier`
    /// returns the index of a key's tier; an index out of range is tier 0. There are at most 15
    /// tiers.
    ///
    /// A key that moves to another tier keeps its debt, in tokens.
    ///
    /// # Errors
    /// Those of [`per_key`](Self::per_key), for each quota.
    pub fn per_key_in_tiers<K: ?Sized + Key>(
        self,
        capacity: usize,
        more: impl IntoIterator<Item = Quota>,
        tier: impl Fn(&K) -> usize + Send + Sync + 'static,
    ) -> Result<Keyed<K, RateLimiter>, ConfigError> {
        let quotas: Vec<_> = std::iter::once(self.config.quota).chain(more).collect();
        self.keyed(capacity, &quotas, Arc::new(tier))
    }

    /// The first of `quotas` is that of this builder.
    fn keyed<K: ?Sized + Key>(
        self,
        capacity: usize,
        quotas: &[Quota],
        tier: TierOf<K>,
    ) -> Result<Keyed<K, RateLimiter>, ConfigError> {
        let (options, config, tiers) = (self.options, self.config, quotas.len());
        let mut problems = Problems::default();
        config.check(&mut problems);
        let more = quotas.iter().skip(1);
        more.for_each(|quota| quota.check(&mut problems));
        let fits = (1..=MAX_TIERS).contains(&tiers);
        problems.check(fits, "tiers", tiers, "from 1 to 15");
        check_capacity("capacity", capacity, &mut problems);
        problems.finish(&options.name)?;
        // A key belongs to one set of a few entries; with half of all in use, a set is seldom full.
        let table = Table::new(time::now(), 2 * capacity, quotas);
        let group = Group::new(PolicyKind::RateLimit);
        let made: Result<_, ConfigError> = group.make(|| {
            let limiter = RateLimiter::new(options, config, Limit::Keyed(table));
            let anonymous = limiter.beside(quotas[0]).build()?;
            Ok((limiter, anonymous))
        });
        let (limiter, anonymous) = made?;
        let shared = (anonymous.clone(), unlisted(RateLimiter::off)?);
        let name = limiter.name().clone();
        let store = Limits {
            limiter,
            tiers,
            tier,
            anonymous,
        };
        let store = (RandomState::new(), store);
        Ok(Keyed::of((name, group), capacity, shared, store))
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
        let quotas: Vec<_> = quotas.into_iter().collect();
        let first = quotas.first().copied();
        let builder = RateLimiter::builder(first.unwrap_or(Quota::unlimited()));
        builder.keyed(capacity, &quotas, Arc::new(tier))
    }

    /// The same limiter, with each call also charged to `limits`, such as one limit for all keys
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
            let options = Options::named(PolicyKind::RateLimit, one.name().clone());
            let echoes = true; // Its member for the keys has its name.
            RateLimiter::join(Options { echoes, ..options }, all)
        };
        let Shared {
            store, off, hasher, ..
        } = self.shared();
        let group = Group::new(PolicyKind::RateLimit);
        let joined = |one: &RateLimiter| group.make(|| joined(one));
        let shared = (joined(self.anonymous())?, off.clone());
        let store = Limits {
            limiter: joined(&store.limiter)?,
            tiers: store.tiers,
            tier: Arc::clone(&store.tier),
            anonymous: store.anonymous.clone(),
        };
        // The same hasher, so that each key keeps its entry.
        let store = (hasher.clone(), store);
        let name = (self.name().clone(), group);
        Ok(Self::of(name, self.capacity(), shared, store))
    }

    /// Takes a token of this key, if one is available.
    ///
    /// The fastest check: it makes no handle, and a [`Rejection`] only for listeners.
    #[must_use = "a call that is not allowed must not be made"]
    #[inline]
    pub fn allow(&self, key: &K) -> bool {
        self.allow_n(key, 1)
    }

    /// Takes `cost` tokens of this key, if that many are available.
    #[must_use = "a call that is not allowed must not be made"]
    #[inline]
    pub fn allow_n(&self, key: &K, cost: u32) -> bool {
        let picked = self.pick(key);
        let (limiter, entry) = picked.parts();
        limiter.allows(Ask::now(cost).of(entry), time::now)
    }

    /// Takes a token of this key, if one is available.
    ///
    /// # Errors
    /// If none is available: [`RejectionKind::RateLimited`](crate::RejectionKind::RateLimited),
    /// with the time until one is.
    #[inline]
    pub fn try_acquire(&self, key: &K) -> Result<(), Rejection> {
        let picked = self.pick(key);
        let (limiter, entry) = picked.parts();
        limiter.admit(Ask::now(1).of(entry), time::now)
    }

    /// Takes `cost` tokens of this key, and returns a charge that can be settled; see
    /// [`RateLimiter::try_charge`].
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire).
    pub fn try_charge(&self, key: &K, cost: u32) -> Result<OpenCharge, Rejection> {
        let picked = self.pick(key);
        let (limiter, entry) = picked.parts();
        limiter.charged(cost, entry, false)
    }

    /// Admits a call if `cost` tokens of this key are available, and takes none before it has
    /// ended; see [`RateLimiter::try_charge_later`].
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire).
    pub fn try_charge_later(&self, key: &K, cost: u32) -> Result<OpenCharge, Rejection> {
        let picked = self.pick(key);
        let (limiter, entry) = picked.parts();
        limiter.charged(cost, entry, true)
    }

    /// Changes the quota of a tier while calls run. Without tiers the tier is 0. The anonymous
    /// limiter follows tier 0.
    ///
    /// Each key's debt stays, in tokens. Waiting calls are admitted at the new rate. The change
    /// visits every entry of the table once, while calls run.
    ///
    /// # Errors
    /// If the quota is invalid, or there is no such tier. Nothing changes then.
    pub fn set_quota(&self, tier: usize, quota: Quota) -> Result<(), ConfigError> {
        let store = &self.shared().store;
        let mut problems = Problems::default();
        quota.check(&mut problems);
        let allowed = format!("from 0 to {}", store.tiers - 1);
        problems.check(tier < store.tiers, "tier", tier, allowed);
        problems.finish(self.name())?;
        #[allow(clippy::cast_possible_truncation)] // Below 15.
        store.table().change(time::now(), tier as u8, quota);
        store.limiter.wake_waiters();
        if tier == 0 {
            store.anonymous.set_quota(quota)?;
        }
        Ok(())
    }

    /// The quota of a tier, if there is such a tier.
    pub fn quota(&self, tier: usize) -> Option<Quota> {
        let store = &self.shared().store;
        #[allow(clippy::cast_possible_truncation)] // Below 15.
        (tier < store.tiers).then(|| store.table().quota(tier as u8))
    }
}
