//! The keyed limiter's store: a token bucket for each of a bounded number of keys, in a
//! set-associative table.
//!
//! A key belongs to one set of eight entries. An entry is a tag, which names its owner, and a
//! word, the end of the owner's debt in the clock of its tier ([`clock`]). A call of an existing
//! key takes no lock: it loads the tags, loads the word and exchanges the word.
//!
//! A new key gets an entry under the set's lock ([`insert`]): one without an owner, else that of
//! the key idle for the longest, else that of the one that is idle first. Its debt begins where
//! the largest debt ends that was ever evicted from its set, so that no key gains by being
//! evicted, or by being made up: those share what is left of one debt. A key that is rejected
//! gets no entry.
//!
//! # Orderings
//!
//! - A tag is loaded before its word, with Acquire, and again after it. A word of another owner was
//!   exchanged (Release) after the tag was cleared, so the second load of the tag finds that
//!   (Acquire on the word); a word from before is exchanged in vain if another owner came since.
//!   Charges are Relaxed: they publish nothing, and continue the release sequence of that exchange.
//!   Models: `a_charge_is_never_made_to_the_next_owner`, `eviction_against_charge`.
//! - A tag is set (Release) after the word was exchanged: a call that finds its key by the tag
//!   (Acquire) finds its key's debt in the word. Models: `one_new_key_of_two_calls`,
//!   `a_change_of_tier_against_a_charge`, `a_pause_against_a_charge`.
//! - Tags, and what was dropped, are written under the set's lock. Models:
//!   `two_new_keys_for_one_entry`, `cancel_against_eviction`.
//! - A tier's configuration is in the slot that its version names, stored with Release, loaded
//!   with Acquire, and looked at again: as in the unkeyed bucket. It is read after the clock was,
//!   so an admission counts at that instant, by the configuration in force then or later; an
//!   end of debt means the same under both. Models: `change_against_admission`,
//!   `two_changes_against_admission`, and for a base that is moved `a_sweep_against_a_charge`.

mod clock;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
mod insert;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
mod naive;
mod pause;
mod rate;
mod set;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod tier;

use std::fmt;

use self::clock::{Config, Grant};
use self::set::{Set, Tag, WAYS, Word, short};
use self::tier::Tier;
use crate::rate_limit::{Quota, Refused};
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::Tick;

/// Where a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Well mixed and seeded: equal only for equal keys, but for one pair in 2^44 of a set.
    pub(crate) hash: u64,
    pub(crate) tier: u8,
}

/// Tokens taken. It may be given back once, with [`Table::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// The instant granted: now, or when the tokens will be there.
    pub(crate) at: Tick,
    /// The key's word with it.
    word: u64,
    /// The key's tag with it.
    tag: u64,
    /// What it added; 0 if there is nothing to give back.
    units: u64,
    /// The configuration it was made with.
    changes: u64,
}

/// The state of a rate limit per key. Every decision takes `now`; that of an existing key takes
/// no lock.
pub(crate) struct Table {
    sets: Box<[Set]>,
    /// One for each set: held while an entry gets another owner.
    locks: Box<[Mutex<()>]>,
    /// For each set and tier the end of the largest debt that was evicted: behind it the debt of
    /// every new key begins. It is repaid by itself, as the clock moves on.
    dropped: Box<[AtomicU64]>,
    tiers: Box<[CachePadded<Tier>]>,
    /// How many keys in debt lost their place. Publishes nothing: relaxed.
    evicted: AtomicU64,
    /// Exchanges that failed, to prove that a test had any.
    #[cfg(all(test, not(seawall_loom)))]
    collisions: AtomicU64,
}

impl Table {
    /// At least `places` places, and a tier for each of the one to sixteen quotas, which have
    /// been checked.
    pub(crate) fn new(now: Tick, capacity: usize, quotas: &[Quota]) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1);
        let floor = Config::first(now, quotas[0]).floor();
        let words = |n| (0..n).map(|_| AtomicU64::new(floor)).collect();
        Self {
            sets: (0..sets).map(|_| Set::new(Word::new(floor, 0))).collect(),
            locks: (0..sets).map(|_| Mutex::new(())).collect(),
            dropped: words(sets * quotas.len()),
            tiers: quotas
                .iter()
                .map(|quota| CachePadded::new(Tier::new(now, *quota)))
                .collect(),
            evicted: AtomicU64::new(0),
            #[cfg(all(test, not(seawall_loom)))]
            collisions: AtomicU64::new(0),
        }
    }

    /// How many keys fit.
    pub(crate) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// How many places are taken. Counts them.
    pub(crate) fn used(&self) -> usize {
        let used = |set: &Set| (0..WAYS).filter(|way| !set.tag(*way).is_empty()).count();
        self.sets.iter().map(used).sum()
    }

    /// How many keys in debt have lost their place.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Takes `cost` tokens of a key's if they are there. A cost of 0 is free.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn admit(&self, now: Tick, key: Place, cost: u32) -> Result<(), Refused> {
        self.admit_telling(now, key, cost, &mut false)
    }

    /// The same; sets `dropped` if a key in debt lost its place by it.
    #[inline]
    pub(crate) fn admit_telling(
        &self,
        now: Tick,
        key: Place,
        cost: u32,
        dropped: &mut bool,
    ) -> Result<(), Refused> {
        self.take_telling(now, now, key, cost, now, dropped)
            .map(drop)
    }

    /// Takes `cost` tokens of a key's, for use not before `not_before`, if they are there by
    /// `latest` at the latest; else takes nothing.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        key: Place,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Refused> {
        self.take_telling(now, not_before, key, cost, latest, &mut false)
    }

    /// The same; sets `dropped` if a key in debt lost its place by it.
    #[inline]
    pub(crate) fn take_telling(
        &self,
        now: Tick,
        not_before: Tick,
        key: Place,
        cost: u32,
        latest: Tick,
        dropped: &mut bool,
    ) -> Result<Charge, Refused> {
        loop {
            let config = self.config(key.tier, now);
            let decide = |end| config.grant_by(end, now, not_before, cost, latest);
            if cost == 0 || config.is_unlimited() {
                let free = decide(0)?;
                return Ok(charge(key, &config, &free, Tag(0)));
            }
            let set = self.set(key);
            let found = set.find(short(key.hash));
            let found = found.map(|(way, tag)| (way, tag, set.word(way)));
            let Some((way, tag, word)) = found.filter(|(.., word)| word.tier() == key.tier) else {
                match self.rewrite(now, key, &config, false, &decide, dropped) {
                    Some(decided) => return decided,
                    None => continue,
                }
            };
            if set.tag(way) != tag {
                continue;
            }
            let grant = decide(config.offset(word.end()))?;
            let charge = charge(key, &config, &grant, tag);
            if set.charge(way, word, Word(charge.word)) {
                return Ok(charge);
            }
            #[cfg(all(test, not(seawall_loom)))]
            self.collisions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When a charge of `cost` to a key, for use not before `not_before`, would be granted.
    /// Takes nothing, and no place.
    pub(crate) fn probe(
        &self,
        now: Tick,
        not_before: Tick,
        key: Place,
        cost: u32,
    ) -> Result<Tick, Refused> {
        let config = self.config(key.tier, now);
        let end = self.owed(now, key, &config);
        config
            .grant_by(end, now, not_before, cost, Tick::NEVER)
            .map(|grant| grant.at)
    }

    /// What [`admit`](Self::admit) would say. Takes nothing, and no place.
    pub(crate) fn peek(&self, now: Tick, key: Place, cost: u32) -> Result<(), Refused> {
        let wait = self.probe(now, now, key, cost)?.since(now);
        if wait.is_zero() {
            return Ok(());
        }
        Err(Refused {
            wait: Some(wait),
            impossible: None,
        })
    }

    /// A key's tokens; `u32::MAX` if there is no limit. Takes nothing, and no place.
    pub(crate) fn available(&self, now: Tick, key: Place) -> u32 {
        let config = self.config(key.tier, now);
        config.available(self.owed(now, key, &config), now)
    }

    /// Gives a charge back: whole if none was made to the key after it that has not been given
    /// back, else not at all; and not to another configuration, nor to a key that has lost its
    /// place, been in another tier or been paused since.
    ///
    /// A charge is known by where it ended and by the tag. With one tag the end moves on with
    /// each charge and back over the last one only, so it is nobody else's.
    pub(crate) fn cancel(&self, key: Place, charge: &Charge) {
        let config = self.tier(key.tier).config();
        if charge.units == 0 || config.changes != charge.changes {
            return;
        }
        let set = self.set(key);
        let made = Word(charge.word);
        let back = Word::new(config.without(made.end(), charge.units), key.tier);
        while let Some((way, tag)) = set.find(short(key.hash)) {
            if tag.0 != charge.tag || set.word(way) != made || set.charge(way, made, back) {
                return;
            }
        }
    }

    /// Changes a tier's quota, which has been checked. Debts stay what they are in tokens; who
    /// has an instant keeps it.
    pub(crate) fn change(&self, now: Tick, tier: u8, quota: Quota) {
        self.tier(tier)
            .change(now, quota, |config| self.sweep(tier, config));
    }

    /// A tier's quota as it was asked for. Takes the lock of changes.
    pub(crate) fn quota(&self, tier: u8) -> Quota {
        self.tier(tier).quota()
    }

    /// A tier's tokens per second, as they are kept.
    pub(crate) fn rate(&self, tier: u8) -> f64 {
        self.tier(tier).config().per_second()
    }

    #[inline]
    fn tier(&self, tier: u8) -> &Tier {
        &self.tiers[usize::from(tier)]
    }

    #[inline]
    fn config(&self, tier: u8, now: Tick) -> Config {
        loop {
            let config = self.tier(tier).config();
            if !config.is_stale(now) {
                return config;
            }
            self.renew(tier, now);
        }
    }

    /// The configuration that a word is read with, where that of `tier` is at hand.
    fn config_of(&self, word: Word, tier: u8, config: &Config, now: Tick) -> Config {
        if word.tier() == tier {
            return *config;
        }
        self.config(word.tier(), now)
    }

    #[inline]
    fn index(&self, key: Place) -> usize {
        // By the upper bits, where the tag has the lower ones.
        let scaled = (u128::from(key.hash) * self.sets.len() as u128) >> 64;
        scaled as usize
    }

    #[inline]
    fn set(&self, key: Place) -> &Set {
        &self.sets[self.index(key)]
    }

    /// The end of the largest debt of a tier that was evicted from a set.
    fn dropped(&self, index: usize, tier: u8) -> u64 {
        self.of_tier(index, tier).load(Ordering::Acquire)
    }

    fn of_tier(&self, index: usize, tier: u8) -> &AtomicU64 {
        &self.dropped[index * self.tiers.len() + usize::from(tier)]
    }

    /// Raises what was dropped to `end`, as `is_below` says which is the higher.
    fn raise(&self, index: usize, tier: u8, end: u64, is_below: impl Fn(u64) -> bool) {
        let dropped = self.of_tier(index, tier);
        let mut seen = dropped.load(Ordering::Acquire);
        while is_below(seen) {
            match dropped.compare_exchange(seen, end, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(found) => seen = found,
            }
        }
    }

    /// Where a word's debt ends, as an offset of the configuration of `tier`.
    #[inline]
    fn end(&self, word: Word, tier: u8, config: &Config, now: Tick) -> u64 {
        if word.tier() == tier {
            return config.offset(word.end());
        }
        config.carried(&self.config(word.tier(), now), word.end(), now)
    }

    /// Where a key's debt ends, or that of a new key begins.
    fn owed(&self, now: Tick, key: Place, config: &Config) -> u64 {
        let set = self.set(key);
        loop {
            if let Some((way, tag)) = set.find(short(key.hash)) {
                let word = set.word(way);
                if set.tag(way) == tag {
                    return self.end(word, key.tier, config, now);
                }
            } else if let Some(begins) = self.newcomer(now, key, config) {
                return begins;
            }
        }
    }

    /// Moves a tier's base on: after years at a hundred a second, hours at a million.
    #[cold]
    #[inline(never)]
    fn renew(&self, tier: u8, now: Tick) {
        self.tier(tier)
            .renew(now, |config| self.sweep(tier, config));
    }

    /// Raises every end of a tier that is below the floor.
    fn sweep(&self, tier: u8, config: &Config) {
        for (index, set) in self.sets.iter().enumerate() {
            for way in 0..WAYS {
                let mut word = set.word(way);
                while word.tier() == tier
                    && config.is_below(word.end())
                    && !set.turn(way, word, word.moved(config.floor()))
                {
                    word = set.word(way);
                }
            }
            self.raise(index, tier, config.floor(), |end| config.is_below(end));
        }
    }
}

/// A grant as what the caller keeps of it.
#[inline]
fn charge(key: Place, config: &Config, grant: &Grant, tag: Tag) -> Charge {
    Charge {
        at: grant.at,
        word: Word::new(config.end(grant.end), key.tier).0,
        tag: tag.0,
        units: grant.units,
        changes: config.changes,
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("capacity", &self.capacity())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}
