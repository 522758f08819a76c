//! The keyed limiter's store: a token bucket for each of a bounded number of keys, in a
//! set-associative table.
//!
//! A key belongs to one set of eight entries. An entry is a tag, which names its owner, and a
//! word, which is the word of a [`Bucket`](super::Bucket): the end of the owner's debt, and the
//! generation of its tier's configuration. The arithmetic is the bucket's too, so that a key is
//! decided as a limiter of its own would be. A call of an existing key takes no lock: it loads the
//! tags, loads the word and exchanges the word.
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
//!   `a_new_key_is_never_seen_with_the_debt_of_another`, `a_change_of_tier_against_a_charge`,
//!   `a_pause_against_a_charge`.
//! - Tags, and what was dropped, are written under the set's lock. Models:
//!   `two_new_keys_for_one_entry`, `cancel_against_eviction`.
//! - A word names its configuration by its generation, as the bucket's does: a change stores the
//!   slot (Release) that no word names, and carries every word over to it (Release), set by set
//!   under the lock. A slow reader may find in its slot values of the change after. That began
//!   after every word was carried over, so the reader then sees that its word has moved on: its
//!   exchange fails, or its second load of the word tells. Models: `change_against_admission`,
//!   `two_changes_against_admission`, `change_against_insertion`, `rebase_against_charge`.
//! - What the lock guards beside the tags is loaded and stored Relaxed.

mod changes;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
mod insert;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
mod naive;
mod pause;
mod set;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod tier;

use std::fmt;

use self::set::{Owner, Set, Tag, WAYS};
use self::tier::Tier;
use crate::rate_limit::state::config::{Config, Grant};
use crate::rate_limit::state::word::Word;
use crate::rate_limit::{Quota, Shortfall};
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
    /// Where the key's debt ends with it.
    end: u64,
    /// What it added; 0 if there is nothing to give back.
    units: u64,
    /// The configuration it was made with.
    changes: u64,
    /// The tag of the key's entry.
    tag: Tag,
}

impl Charge {
    fn new(grant: &Grant, config: &Config, tag: Tag) -> Self {
        Self {
            at: grant.at,
            end: grant.end,
            units: grant.units,
            changes: config.changes,
            tag,
        }
    }
}

/// An existing key's entry, as one call sees it.
struct Seen<'a> {
    set: &'a Set,
    way: usize,
    tag: Tag,
    word: Word,
    config: Config,
}

impl Seen<'_> {
    /// Whether what was seen belongs together.
    #[inline]
    fn is_still(&self) -> bool {
        self.set.word(self.way).generation() == self.word.generation()
            && self.set.tag(self.way) == self.tag
    }
}

/// The state of a rate limit per key. Every decision takes `now`; that of an existing key takes
/// no lock.
pub(crate) struct Table {
    sets: Box<[Set]>,
    /// One for each set: held while an entry gets another owner.
    locks: Box<[Mutex<()>]>,
    /// For each set and tier the word with the largest debt that was evicted: behind it the debt
    /// of every new key begins. It is repaid by itself, as the clock moves on. Its generation is
    /// that of all words of the tier in the set. Written under the set's lock.
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
        Self {
            sets: (0..sets).map(|_| Set::new()).collect(),
            locks: (0..sets).map(|_| Mutex::new(())).collect(),
            dropped: (0..sets * quotas.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
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
    pub(crate) fn admit(&self, now: Tick, key: Place, cost: u32) -> Result<(), Shortfall> {
        self.take(now, now, key, cost, now).map(drop)
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
    ) -> Result<Charge, Shortfall> {
        self.take_evicting(now, not_before, key, cost, latest, &mut false)
    }

    /// The same; sets `dropped` if a key in debt lost its place by it.
    #[inline]
    pub(crate) fn take_evicting(
        &self,
        now: Tick,
        not_before: Tick,
        key: Place,
        cost: u32,
        latest: Tick,
        dropped: &mut bool,
    ) -> Result<Charge, Shortfall> {
        let decide = |config: &Config, end| {
            let grant = config.grant(end, now, not_before, cost)?;
            grant.by(now, latest)
        };
        loop {
            let Some(seen) = self.find(now, key) else {
                let config = self.current(key.tier, now);
                if cost == 0 || config.is_unlimited() {
                    return Ok(Charge::new(&decide(&config, 0)?, &config, Tag::NONE));
                }
                match self.rewrite(now, key, false, &decide, dropped) {
                    Some(decided) => return decided,
                    None => continue,
                }
            };
            let decided = decide(&seen.config, seen.word.tat());
            if !seen.is_still() {
                continue;
            }
            let grant = decided?;
            let charge = Charge::new(&grant, &seen.config, seen.tag);
            let to = Word::new(grant.end, seen.config.changes);
            if grant.units == 0 || seen.set.charge(seen.way, seen.word, to) {
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
    ) -> Result<Tick, Shortfall> {
        self.look(now, key, |end, config| {
            let grant = config.grant(end, now, not_before, cost)?;
            grant.by(now, Tick::NEVER).map(|grant| grant.at)
        })
    }

    /// What [`admit`](Self::admit) would say. Takes nothing, and no place.
    #[cfg(all(any(test, fuzzing), not(seawall_loom)))]
    pub(crate) fn peek(&self, now: Tick, key: Place, cost: u32) -> Result<(), Shortfall> {
        match self.probe(now, now, key, cost)? {
            at if at > now => Err(Shortfall::until(at, now)),
            _ => Ok(()),
        }
    }

    /// A key's tokens; `u32::MAX` if there is no limit. Takes nothing, and no place.
    pub(crate) fn available(&self, now: Tick, key: Place) -> u32 {
        self.look(now, key, |end, config| config.available(end, now))
    }

    /// Gives a charge back: whole if none was made to the key after it that has not been given
    /// back, else not at all; and not to another configuration, nor to a key that has lost its
    /// place, been in another tier or been paused since.
    ///
    /// A charge is known by where it ended and by the tag. With one tag the end moves on with
    /// each charge and back over the last one only, so it is no other charge's.
    pub(crate) fn cancel(&self, key: Place, charge: &Charge) {
        let (set, tier) = (self.set(key), self.tier(key.tier));
        let back = Word::new(charge.end - charge.units, charge.changes);
        while let Some((way, tag)) = set.find(Owner::new(key)) {
            let word = set.word(way);
            if charge.units == 0
                || tag != charge.tag
                || word.tat() != charge.end
                || tier.config_of(word).changes != charge.changes
                || set.charge(way, word, back)
            {
                return;
            }
        }
    }

    #[inline]
    fn tier(&self, tier: u8) -> &Tier {
        &self.tiers[usize::from(tier)]
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

    /// An existing key's entry. What was loaded may not belong together, which the exchange or
    /// [`Seen::is_still`] finds.
    #[inline]
    fn find(&self, now: Tick, key: Place) -> Option<Seen<'_>> {
        let (set, owner) = (self.set(key), Owner::new(key));
        loop {
            let (way, tag) = set.find(owner)?;
            let word = set.word(way);
            let config = self.tier(key.tier).config_of(word);
            if !config.is_stale(now) {
                return Some(Seen {
                    set,
                    way,
                    tag,
                    word,
                    config,
                });
            }
            self.rebase(key.tier, now);
        }
    }

    /// What `see` makes of the end of a key's debt, or of where that of a new key begins.
    fn look<T>(&self, now: Tick, key: Place, see: impl Fn(u64, &Config) -> T) -> T {
        loop {
            if let Some(seen) = self.find(now, key) {
                let answer = see(seen.word.tat(), &seen.config);
                if seen.is_still() {
                    return answer;
                }
                continue;
            }
            self.current(key.tier, now);
            if let Some((begins, config)) = self.newcomer(now, key) {
                return see(begins, &config);
            }
        }
    }

    /// See the field. Under the set's lock.
    fn dropped(&self, index: usize, tier: u8) -> Word {
        Word(self.dropped_at(index, tier).load(Ordering::Relaxed))
    }

    fn set_dropped(&self, index: usize, tier: u8, to: Word) {
        self.dropped_at(index, tier).store(to.0, Ordering::Relaxed);
    }

    fn dropped_at(&self, index: usize, tier: u8) -> &AtomicU64 {
        &self.dropped[index * self.tiers.len() + usize::from(tier)]
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
