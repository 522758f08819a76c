//! How an entry gets another owner, or its owner another tier: the only writes of tags.
//!
//! One at a time in a set, under the set's lock:
//!
//! 1. the entry is chosen, and the call decided with the debt that its word shows: a key that is
//!    rejected changes nothing
//! 2. the tag is cleared: from here no call finds the entry by it
//! 3. the word is exchanged for the new owner's with its first charge, from the value that was
//!    decided with; a call that found the entry before step 2 may have charged it, and then the
//!    call is decided again
//! 4. the set's dropped debt is raised to the end that the old word showed
//! 5. the tag is set
//!
//! No word of a tier comes back once it was exchanged: every owner's debt begins at or behind all
//! ends that were evicted before in the set and tier, and its first charge is never given back to
//! the last unit. So the exchange of a call that was preempted since it found the entry fails.
//!
//! # What is left
//!
//! A thread that is preempted between two instructions may do harm if all of this comes between
//! them, and the debt of the entry then ends at the same 1/32 ns as before:
//!
//! - the charges of the entry were given back, or its key went to another tier, or the entry to a
//!   key of another tier: the charge is made to a debt that it was not decided with
//! - the tier changed four times, as for the bucket
//! - the entry had 2^16 owners, of which the last is the first one again

use super::set::{Owner, Set, Tag, WAYS};
use super::{Charge, Place, Table};
use crate::rate_limit::Shortfall;
use crate::rate_limit::state::config::{Config, Grant};
use crate::rate_limit::state::word::Word;
use crate::sync::Ordering;
use crate::time::Tick;

/// What a call makes of the end of its key's debt.
pub(super) type Decide<'a> = &'a dyn Fn(&Config, u64) -> Result<Grant, Shortfall>;

/// The entry of a new key, of one that comes with another tier, or of one whose earlier charges
/// are parted from those to come. Made under the set's lock.
struct Entry<'a> {
    set: &'a Set,
    index: usize,
    way: usize,
    tag: Tag,
    /// Whether the key has it already.
    is_own: bool,
    /// The key's, of which all words in the set are.
    config: Config,
}

impl Table {
    /// Makes the first charge of a key that has no entry, or has it in another tier, or whose
    /// earlier charges are to be `parted` from this one. None if that is no longer so, or the
    /// key's tier has no limit.
    #[cold]
    #[inline(never)]
    pub(super) fn rewrite(
        &self,
        now: Tick,
        key: Place,
        parted: bool,
        decide: Decide<'_>,
        dropped: &mut bool,
    ) -> Option<Result<Charge, Shortfall>> {
        let index = self.index(key);
        let _locked = self.locks[index].lock();
        let entry = self.entry(index, now, key, parted)?;
        if entry.config.is_unlimited() {
            return None;
        }
        let (set, way, tag) = (entry.set, entry.way, entry.tag);
        let given = tag.next(Owner::new(key));
        let evicts = !entry.is_own && !tag.is_empty();
        // Behind the owner before, so that no word of this one is one of that one's.
        let behind = u64::from(evicts);
        let make = |word| {
            let begins = self.begins(&entry, word, now, key);
            let grant = decide(&entry.config, begins + if parted { behind } else { 0 })?;
            let mut charge = Charge::new(&grant, &entry.config, given);
            charge.units = charge.units.saturating_sub(behind);
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
                // Its owner keeps the entry, and may have been charged in between.
                Err(refused) => {
                    set.set_tag(way, tag);
                    return Some(Err(refused));
                }
            };
            if set.turn(way, word, to) {
                if evicts {
                    *dropped |= self.evict(index, tag, word, now);
                }
                set.set_tag(way, given);
                return Some(Ok(charge));
            }
            word = set.word(way);
            made = make(word);
        }
    }

    /// Where the debt of a key begins that has no entry in its tier; none if it has. Takes the
    /// set's lock, so that no eviction is seen by half.
    pub(super) fn newcomer(&self, now: Tick, key: Place) -> Option<(u64, Config)> {
        let index = self.index(key);
        let _locked = self.locks[index].lock();
        let entry = self.entry(index, now, key, false)?;
        let word = entry.set.word(entry.way);
        Some((self.begins(&entry, word, now, key), entry.config))
    }

    /// The entry to be rewritten for a key. None if the key has one in its tier, and is not
    /// `parted` from its charges, or if its configuration must be replaced first.
    fn entry(&self, index: usize, now: Tick, key: Place, parted: bool) -> Option<Entry<'_>> {
        let set = &self.sets[index];
        let own = set.find_in_any_tier(Owner::new(key));
        if own.is_some_and(|(_, tag)| !parted && tag.owner() == Owner::new(key)) {
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

    /// The entry that a new key gets: that of the key that is idle first, or has been for the
    /// longest.
    fn victim(&self, set: &Set) -> (usize, Tag) {
        // By an instant, so that the choice is the same at any time: a key that is rejected comes
        // back to the entry that the wait was computed with. None for an entry without an owner.
        let idle_at = |way: usize| {
            let (tag, word) = (set.tag(way), set.word(way));
            let config = || self.tier(tag.owner().tier()).config_of(word);
            (!tag.is_empty()).then(|| config().idle_at(word.tat()))
        };
        let way = (0..WAYS).min_by_key(|way| idle_at(*way)).unwrap_or(0);
        (way, set.tag(way))
    }

    /// Where a key's debt begins in an entry that shows `word`.
    fn begins(&self, entry: &Entry<'_>, word: Word, now: Tick, key: Place) -> u64 {
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
        here.max(self.dropped(entry.index, key.tier).tat())
    }

    /// Keeps the debt of an entry that has another owner from now on. Whether it is owed still.
    fn evict(&self, index: usize, tag: Tag, word: Word, now: Tick) -> bool {
        let tier = tag.owner().tier();
        if self.dropped(index, tier).tat() < word.tat() {
            self.set_dropped(index, tier, word);
        }
        let owed = self.tier(tier).config_of(word).idle_at(word.tat()) > now;
        if owed {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        owed
    }
}
