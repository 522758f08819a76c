//! The state of a keyed limiter: a token bucket for each of a bounded number of keys, in a
//! set-associative table.
//!
//! A key belongs to one set of eight entries. An entry is a tag, which names its key, and a word,
//! which is that of a [`Bucket`](super::Bucket): where the key's debt ends, and the generation of
//! its tier's configuration. The arithmetic is the bucket's too, so a key is decided as a limiter
//! of its own would be. A call of an existing key takes no lock: it loads the tags, loads the word
//! and exchanges the word.
//!
//! A new key gets an entry under the set's lock ([`insert`]): an empty one, else that of a key that
//! was charged once, else of the one idle for the longest ([`eviction`]). Its debt starts where the
//! largest debt ended that was evicted from its set. So a key gains nothing by being evicted, and
//! made-up keys share what is left of one debt. A rejected key gets no entry.
//!
//! # Orderings
//!
//! - A tag is loaded before its word (Acquire), and again after it. A word of the next owner was
//!   exchanged (Release) after the tag was cleared, so the second load finds the tag changed. With
//!   a word of this owner, the exchange fails if the entry has another owner by then. Charges are
//!   Relaxed: they publish nothing, and continue the release sequence of the exchange that
//!   assigned the entry. Models: `a_charge_is_never_made_to_the_next_owner`,
//!   `eviction_against_charge`.
//! - A tag is set (Release) after the word was exchanged, so a call that finds its key by the tag
//!   (Acquire) finds the key's debt in the word. Models: `one_new_key_of_two_calls`,
//!   `a_new_key_is_never_seen_with_the_debt_of_another`, `a_change_of_tier_against_a_charge`,
//!   `a_pause_against_a_charge`.
//! - Tags and evicted debts are written under the set's lock, and evicted debts also read, so these
//!   are Relaxed. Models: `two_new_keys_for_one_entry`, `cancel_against_eviction`.
//! - A word names its configuration by its generation, as the bucket's does. A change stores the
//!   slot that no word names (Release) and carries every word over to it (Release), set by set
//!   under the lock. A slow reader may find values of the change after that in its slot. They were
//!   stored after every word was carried over, so the reader's exchange fails, or its second load
//!   of the word finds another generation. Models: `change_against_admission`,
//!   `two_changes_against_admission`, `change_against_insertion`, `rebase_against_charge`.

mod admit;
mod changes;
mod eviction;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
mod insert;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
mod naive;
mod pause;
mod set;
mod settle;
mod standing;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod tier;

pub(crate) use self::set::{KeyHandle, Tag};
use self::set::{Owner, Set, WAYS};
use self::standing::Origin;
use self::tier::Tier;
use crate::macros::debug_fields;
use crate::rate_limit::state::Refunds;
use crate::rate_limit::state::config::{Config, Grant};
use crate::rate_limit::state::word::Word;
use crate::rate_limit::{Charge, Quota, Shortfall};
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::Tick;

/// An existing key's entry, as one call loaded it.
struct Found<'a> {
    set: &'a Set,
    way: usize,
    tag: Tag,
    word: Word,
    config: Config,
}

impl Found<'_> {
    /// Whether tag, word and configuration belong together.
    #[inline]
    fn is_consistent(&self) -> bool {
        self.set.word(self.way).generation() == self.word.generation()
            && self.set.tag(self.way) == self.tag
    }
}

/// A rate limit per key. Every decision takes `now`.
pub(crate) struct Table {
    sets: Box<[Set]>,
    /// One for each set, locked while one of its entries is assigned.
    locks: Box<[Mutex<[Origin; WAYS]>]>,
    /// For each set and tier, the word with the largest debt that was evicted. It is repaid as
    /// time passes. Its generation is that of all words of the tier in the set. Read and written
    /// under the set's lock.
    evicted_debts: Box<[AtomicU64]>,
    tiers: Box<[CachePadded<Tier>]>,
    /// For each entry those of the keys that hash to it.
    refunds: Box<[Refunds]>,
    /// How many keys in debt were evicted. Publishes nothing: relaxed.
    evicted: AtomicU64,
    /// Exchanges that failed, to prove that a test had any.
    #[cfg(all(test, not(seawall_loom)))]
    collisions: AtomicU64,
}

impl Table {
    /// At least `capacity` entries, and a tier for each of the 1 to 16 quotas, which have been
    /// checked.
    pub(crate) fn new(now: Tick, capacity: usize, quotas: &[Quota]) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1);
        let debts = (0..sets * quotas.len()).map(|_| AtomicU64::new(0));
        let tiers = quotas.iter().map(|quota| Tier::new(now, *quota));
        Self {
            sets: (0..sets).map(|_| Set::empty()).collect(),
            locks: (0..sets)
                .map(|_| Mutex::new([Origin::NONE; WAYS]))
                .collect(),
            evicted_debts: debts.collect(),
            tiers: tiers.map(CachePadded::new).collect(),
            refunds: (0..sets * WAYS).map(|_| Refunds::default()).collect(),
            evicted: AtomicU64::new(0),
            #[cfg(all(test, not(seawall_loom)))]
            collisions: AtomicU64::new(0),
        }
    }

    /// How many keys fit.
    pub(crate) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// How many tiers there are.
    #[cfg(feature = "serde")]
    pub(crate) fn tiers(&self) -> usize {
        self.tiers.len()
    }

    /// How many keys have an entry. Counts them.
    pub(crate) fn used(&self) -> usize {
        let used = |set: &Set| (0..WAYS).filter(|way| !set.tag(*way).is_empty()).count();
        self.sets.iter().map(used).sum()
    }

    /// How many keys in debt were evicted.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Makes the charge of `cost` tokens that `decide` grants, given the configuration and where the
    /// debt ends.
    #[inline]
    pub(in crate::rate_limit) fn charge(
        &self,
        now: Tick,
        key: KeyHandle,
        cost: u32,
        decide: &impl Fn(&Config, u64) -> Result<Grant, Shortfall>,
    ) -> Result<Charge, Shortfall> {
        // Before the word: see `Return`.
        let refunded = self.refunds(key).units();
        loop {
            let Some(found) = self.find(now, key) else {
                let config = self.current(key.tier, now);
                if cost == 0 || config.is_unlimited() {
                    return Ok(Charge::new(&decide(&config, 0)?, &config));
                }
                match self.assign(now, key, false, decide) {
                    Some(decided) => return decided.map(|charge| Charge { refunded, ..charge }),
                    None => continue,
                }
            };
            let decided = decide(&found.config, found.word.tat());
            if !found.is_consistent() {
                continue;
            }
            let grant = decided?;
            let charge = Charge {
                tag: found.tag,
                refunded,
                ..Charge::new(&grant, &found.config)
            };
            let to = Word::new(grant.end, found.config.changes);
            self.refunds(key).granted(&grant, now);
            if grant.units == 0 || found.set.charge(found.way, found.word, to) {
                return Ok(charge);
            }
            #[cfg(all(test, not(seawall_loom)))]
            self.collisions.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn tier(&self, tier: u8) -> &Tier {
        &self.tiers[usize::from(tier)]
    }

    #[inline]
    fn index(&self, key: KeyHandle) -> usize {
        // By the upper bits; the tag has the lower ones.
        let scaled = (u128::from(key.hash) * self.sets.len() as u128) >> 64;
        scaled as usize
    }

    #[inline]
    fn set(&self, key: KeyHandle) -> &Set {
        &self.sets[self.index(key)]
    }

    /// An existing key's entry. What was loaded may not belong together, which the exchange or
    /// [`Found::is_consistent`] finds.
    #[inline]
    fn find(&self, now: Tick, key: KeyHandle) -> Option<Found<'_>> {
        let set = self.set(key);
        loop {
            let (way, tag) = set.find(Owner::new(key))?;
            let word = set.word(way);
            let config = self.tier(key.tier).config_of(word);
            if !config.is_stale(now) {
                return Some(Found {
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

    /// Reads where a key's debt ends. For a new key that is where its debt would start.
    pub(in crate::rate_limit) fn read<T>(
        &self,
        now: Tick,
        key: KeyHandle,
        read: impl Fn(u64, &Config) -> T,
    ) -> T {
        loop {
            if let Some(found) = self.find(now, key) {
                let value = read(found.word.tat(), &found.config);
                if found.is_consistent() {
                    return value;
                }
                continue;
            }
            self.current(key.tier, now);
            if let Some((start, config)) = self.debt_of_new_key(now, key) {
                return read(start, &config);
            }
        }
    }

    fn evicted_debt(&self, index: usize, tier: u8) -> Word {
        Word(self.evicted_word(index, tier).load(Ordering::Relaxed))
    }

    fn set_evicted_debt(&self, index: usize, tier: u8, to: Word) {
        self.evicted_word(index, tier)
            .store(to.0, Ordering::Relaxed);
    }

    fn evicted_word(&self, index: usize, tier: u8) -> &AtomicU64 {
        &self.evicted_debts[index * self.tiers.len() + usize::from(tier)]
    }
}

debug_fields!(Table, this: capacity = this.capacity(), evicted = this.evicted());
