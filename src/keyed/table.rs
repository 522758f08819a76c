//! The keyed limiter's store: a token bucket for each of at most so many keys, in a lock-free
//! set-associative table.
//!
//! A key belongs to one set of eight places. A place is a tag, which says whose it is, and a
//! word, the end of the owner's debt in the clock of its tier ([`clock`]). A known key's call
//! loads the tags, loads the word and exchanges the word: two cache lines, no other store.
//!
//! A new key takes an empty place, else that of the key longest at rest, else that of the one
//! that will be at rest first. It begins behind the largest debt ever dropped from its set, so
//! nobody gains by being forgotten, or by making up keys: those share what is left of one debt.
//! A key that is refused takes no place, unless the one that made room for it was charged at
//! the same moment.
//!
//! How a new key gets its place stands in [`insert`].
//!
//! # Orderings
//!
//! - A tag is loaded before its word, with Acquire, and is looked at again after it. A word that
//!   a new owner wrote came after its tag (Release), so the second look finds it (Acquire on the
//!   word); one from before is exchanged in vain if it was claimed since. Charges are Relaxed:
//!   they publish nothing, and continue the release sequence of step 5. Models:
//!   `a_charge_is_never_made_to_the_next_owner`, `eviction_against_charge`.
//! - The steps of an insertion are Release on what all load with Acquire: who sees one sees those
//!   before. Whether an insertion is through is read off the tag first, then the word; whether
//!   it has yet to be claimed, off the word first, then the tag; and then the door is looked at
//!   again. Models: `one_key_inserted_by_two`, `two_keys_for_one_place`,
//!   `eviction_against_charge`, `a_stalled_insertion_is_carried_through`.
//! - A claim is taken back if the door is shut that was loaded after it: an insertion that had
//!   made it would have moved the word on before. Model: `a_stray_claim_is_taken_back`.
//! - What was dropped is raised before the tag is given, and loaded after the tag was: the tag
//!   publishes it. That the steps are Acquire as well, and so are its own loads, no model needs;
//!   nor does a tag's new version publish anything, but that it comes before the exchange of the
//!   word that was seen before it. Models: `a_change_of_tier_against_a_charge`,
//!   `a_pause_against_a_charge`.
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
use self::set::{Door, Set, Side, Tag, WAYS, Word, short};
use self::tier::Tier;
use crate::rate_limit::{Quota, Refused};
use crate::sync::{AtomicU64, CachePadded, Ordering};
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

/// The state of a rate limit per key. Every decision takes `now`; none takes a lock.
pub(crate) struct Table {
    sets: Box<[Set]>,
    /// See [`Door`]; one for each set.
    doors: Box<[AtomicU64]>,
    /// See [`Side`]; one for each set and tier.
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
    pub(crate) fn new(now: Tick, places: usize, quotas: &[Quota]) -> Self {
        let sets = places.div_ceil(WAYS).max(1);
        let floor = Config::first(now, quotas[0]).floor();
        let words = |n| (0..n).map(|_| AtomicU64::new(floor)).collect();
        Self {
            sets: (0..sets).map(|_| Set::new(Word::new(floor, 0))).collect(),
            doors: (0..sets).map(|_| AtomicU64::new(Door::FIRST.0)).collect(),
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
    pub(crate) fn places(&self) -> usize {
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
            let Some((way, tag)) = set.find(short(key.hash)) else {
                match self.insert(now, key, &config, &decide, dropped) {
                    Some(decided) => return decided,
                    None => continue,
                }
            };
            let word = set.word(way);
            if word.is_claimed() {
                self.help(now, key, &config, (way, word), dropped);
                continue;
            }
            if set.tag(way) != tag {
                continue;
            }
            let grant = decide(self.end(word, key.tier, &config, now))?;
            let tag = if word.tier() == key.tier {
                tag
            } else if let Some(parted) = set.part(way, tag) {
                parted
            } else {
                continue;
            };
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

    fn side(&self, index: usize) -> Side<'_> {
        let tiers = self.tiers.len();
        Side {
            door: &self.doors[index],
            dropped: &self.dropped[index * tiers..][..tiers],
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

    /// Where a key's debt ends, known or not.
    fn owed(&self, now: Tick, key: Place, config: &Config) -> u64 {
        let (index, set) = (self.index(key), self.set(key));
        while let Some((way, tag)) = set.find(short(key.hash)) {
            let word = set.word(way);
            if set.tag(way) == tag {
                return self.end(word, key.tier, config, now);
            }
        }
        self.newcomer(index, now, key.tier, config, None).1
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
            self.side(index)
                .raise(tier, config.floor(), |end| config.is_below(end));
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
            .field("places", &self.places())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}
