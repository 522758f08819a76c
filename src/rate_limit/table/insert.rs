//! An entry gets another owner, or its owner another tier: the only writes of tags.
//!
//! One at a time in a set, under the set's lock:
//!
//! 1. the entry is chosen, and the call is decided with the debt of its word: a key that is rejected
//!    changes nothing
//! 2. the tag is cleared: from now on no call finds the entry
//! 3. the word is exchanged for that of the new owner with its first charge; if a call that found
//!    the entry before step 2 has charged it, this call is decided again
//! 4. the set's evicted debt is raised to the end of the old word's
//! 5. the tag is set
//!
//! No word of a tier occurs twice: an owner's debt starts at or after all debts that were evicted
//! before in the set and tier, and its first charge is never returned to the last unit. So the
//! exchange of a call that was preempted after it found the entry fails.
//!
//! # Limits of the proof
//!
//! A call that is preempted between two instructions is charged wrongly if one of these happens in
//! between, and the debt of the entry then ends at the same 1/32 ns as before:
//!
//! - the charges of the entry were returned, or its key moved to another tier, or the entry to a key
//!   of another tier: the charge is made to a debt that it was not decided with
//! - the tier changed four times, like for the bucket
//! - the entry had 2^16 owners, and the last one is the first one again

use super::set::{Owner, Set, Tag, WAYS};
use super::{Charge, KeyId, Table};
use crate::rate_limit::Shortfall;
use crate::rate_limit::state::config::{Config, Grant};
use crate::rate_limit::state::word::Word;
use crate::sync::Ordering;
use crate::time::Tick;

/// The decision about a call, by the end of its key's debt.
pub(super) type Decide<'a> = &'a dyn Fn(&Config, u64) -> Result<Grant, Shortfall>;

/// The entry of a new key, of a key that moves to another tier, or of one whose earlier charges are
/// separated from the later ones. Under the set's lock.
struct Entry<'a> {
    set: &'a Set,
    index: usize,
    way: usize,
    tag: Tag,
    /// Whether it is the key's own.
    is_own: bool,
    /// The configuration of the key's tier and of its words in the set.
    config: Config,
}

impl Table {
    /// Makes the first charge of a key that has no entry, or has it in another tier, or whose earlier
    /// charges are to be `separated` from this one. None if that is no longer so, or the key's tier
    /// has no limit.
    #[cold]
    #[inline(never)]
    pub(super) fn rewrite(
        &self,
        now: Tick,
        key: KeyId,
        separated: bool,
        decide: Decide<'_>,
        evicted: &mut bool,
    ) -> Option<Result<Charge, Shortfall>> {
        let index = self.index(key);
        let _locked = self.locks[index].lock();
        let entry = self.entry(index, now, key, separated)?;
        if entry.config.is_unlimited() {
            return None;
        }
        let (set, way, tag) = (entry.set, entry.way, entry.tag);
        let given = tag.next(Owner::new(key));
        let evicts = !entry.is_own && !tag.is_empty();
        // After the debt of the previous owner, so that their words differ.
        let after = u64::from(evicts);
        let make = |word| {
            let begins = self.begins(&entry, word, now, key);
            let grant = decide(&entry.config, begins + if separated { after } else { 0 })?;
            let mut charge = Charge::new(&grant, &entry.config, given);
            charge.units = charge.units.saturating_sub(after);
            Ok((charge, Word::new(grant.end, entry.config.changes)))
        };
        let mut word = set.word(way);
        let mut made = make(word);
        if made.is_ok() {
            set.set_tag(way, tag.cleared());
        }
        loop {
            let (charge, to) = match made {
                Ok(made) => made,
                // The owner keeps the entry. It may have been charged in between.
                Err(shortfall) => {
                    set.set_tag(way, tag);
                    return Some(Err(shortfall));
                }
            };
            if set.turn(way, word, to) {
                if evicts {
                    *evicted |= self.evict(index, tag, word, now);
                }
                set.set_tag(way, given);
                return Some(Ok(charge));
            }
            word = set.word(way);
            made = make(word);
        }
    }

    /// The start of the debt of a key without an entry in its tier; none if it has one. Takes the set's
    /// lock, so that no half of an eviction is seen.
    pub(super) fn new_key(&self, now: Tick, key: KeyId) -> Option<(u64, Config)> {
        let index = self.index(key);
        let _locked = self.locks[index].lock();
        let entry = self.entry(index, now, key, false)?;
        let word = entry.set.word(entry.way);
        Some((self.begins(&entry, word, now, key), entry.config))
    }

    /// The entry to be rewritten for a key. None if the key has one in its tier and is not `separated`
    /// from its charges, or if its configuration must be replaced first.
    fn entry(&self, index: usize, now: Tick, key: KeyId, separated: bool) -> Option<Entry<'_>> {
        let set = &self.sets[index];
        let own = set.find_in_any_tier(Owner::new(key));
        if own.is_some_and(|(_, tag)| !separated && tag.owner() == Owner::new(key)) {
            return None;
        }
        let config = self.settle(index, now, key.tier);
        let (way, tag) = own.unwrap_or_else(|| self.victim(set));
        let is_own = own.is_some();
        let entry = Entry {
            set,
            index,
            way,
            tag,
            is_own,
            config,
        };
        (!config.is_stale(now)).then_some(entry)
    }

    /// The entry that a new key gets: that of the key that has been idle for the longest, or is idle
    /// first.
    fn victim(&self, set: &Set) -> (usize, Tag) {
        // By an instant, so that the choice is the same at any time: a rejected key that retries gets
        // the entry that its wait was computed with. None for an entry without an owner.
        let idle_at = |way: usize| {
            let (tag, word) = (set.tag(way), set.word(way));
            let config = || self.tier(tag.owner().tier()).config_of(word);
            (!tag.is_empty()).then(|| config().idle_at(word.tat()))
        };
        let way = (0..WAYS).min_by_key(|way| idle_at(*way)).unwrap_or(0);
        (way, set.tag(way))
    }

    /// The start of a key's debt in an entry whose word is `word`.
    fn begins(&self, entry: &Entry<'_>, word: Word, now: Tick, key: KeyId) -> u64 {
        let tier = entry.tag.owner().tier();
        let same = !entry.tag.is_empty() && tier == key.tier;
        if entry.is_own && !same {
            let from = self.tier(tier).config_of(word);
            return from.carried(&entry.config, word.tat(), now);
        }
        let here = if same { word.tat() } else { 0 };
        if entry.is_own {
            return here;
        }
        here.max(self.evicted_debt(entry.index, key.tier).tat())
    }

    /// Keeps the debt of an evicted key. Returns whether there was any.
    fn evict(&self, index: usize, tag: Tag, word: Word, now: Tick) -> bool {
        let tier = tag.owner().tier();
        if self.evicted_debt(index, tier).tat() < word.tat() {
            self.set_evicted_debt(index, tier, word);
        }
        let owed = self.tier(tier).config_of(word).idle_at(word.tat()) > now;
        if owed {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        owed
    }
}
