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
//! No word comes back once it was exchanged: every owner's debt begins at or behind all ends that
//! were evicted before in the set and tier, and its first charge is never given back to the last
//! unit. So the exchange of a call that was preempted since it found the entry fails.
//!
//! # What is left
//!
//! - A word comes to an end again where charges were given back, or where its key went to
//!   another tier and back. A thread that was preempted between two instructions for all of that
//!   may exchange it still. A cancel then gives back the last charge instead of its own.
//! - A tag's version wraps after 2^20 owners of an entry: harmful only if one thread is preempted
//!   between two instructions while the same key gets the same entry after exactly that many.

use super::clock::{Config, Grant};
use super::set::{Set, Tag, WAYS, Word, short};
use super::{Charge, Place, Table, charge};
use crate::rate_limit::Refused;
use crate::sync::Ordering;
use crate::time::Tick;

/// What a call makes of the end of its key's debt.
pub(super) type Decide<'a> = &'a dyn Fn(u64) -> Result<Grant, Refused>;

impl Table {
    /// Makes the first charge of a key that has no entry, or has it in another tier, or whose
    /// earlier charges are to be `parted` from this one. None if that is no longer so.
    #[cold]
    #[inline(never)]
    pub(super) fn rewrite(
        &self,
        now: Tick,
        key: Place,
        config: &Config,
        parted: bool,
        decide: Decide<'_>,
        dropped: &mut bool,
    ) -> Option<Result<Charge, Refused>> {
        let (index, hash) = (self.index(key), short(key.hash));
        let (set, _locked) = (&self.sets[index], self.locks[index].lock());
        let own = set.find(hash);
        let (way, tag) = match own {
            Some((way, _)) if !parted && set.word(way).tier() == key.tier => return None,
            Some(found) => found,
            None => self.victim(set, key.tier, config, now),
        };
        let begins = |word: Word| match own {
            Some(_) => self.end(word, key.tier, config, now),
            None => self.begins(index, word, key.tier, config),
        };
        let mut word = set.word(way);
        if let Err(refused) = decide(begins(word)) {
            return Some(Err(refused));
        }
        set.set_tag(way, tag.cleared());
        let given = tag.next(hash);
        loop {
            let mut made = match decide(begins(word)) {
                Ok(grant) => charge(key, config, &grant, given),
                // The owner was charged in between, and keeps its entry.
                Err(refused) => {
                    set.set_tag(way, tag);
                    return Some(Err(refused));
                }
            };
            let evicts = own.is_none() && !tag.is_empty();
            if evicts {
                // So that no word of this owner is one of the last owner's.
                made.units = made.units.saturating_sub(1);
                if made.word == word.0 {
                    made.word = word.moved(config.end(begins(word) + 1)).0;
                }
            }
            if set.turn(way, word, Word(made.word)) {
                if evicts {
                    *dropped |= self.evict(index, word, key.tier, config, now);
                }
                set.set_tag(way, given);
                return Some(Ok(made));
            }
            word = set.word(way);
        }
    }

    /// The entry that a new key would get: the first to be idle, or that has been for the longest.
    fn victim(&self, set: &Set, tier: u8, config: &Config, now: Tick) -> (usize, Tag) {
        // By an instant, so that the choice is the same at any time: a key that is rejected comes
        // back to the entry that the wait was computed with. None for an entry without an owner.
        let idle_at = |way: usize| {
            let (tag, word) = (set.tag(way), set.word(way));
            (!tag.is_empty()).then(|| {
                let config = self.config_of(word, tier, config, now);
                config.rests_at(config.offset(word.end()))
            })
        };
        let way = (0..WAYS).min_by_key(|way| idle_at(*way)).unwrap_or(0);
        (way, set.tag(way))
    }

    /// Keeps the debt of an entry that has another owner from now on. Whether it was owed still.
    fn evict(&self, index: usize, word: Word, tier: u8, config: &Config, now: Tick) -> bool {
        let config = self.config_of(word, tier, config, now);
        let end = config.offset(word.end());
        self.raise(index, word.tier(), word.end(), |seen| {
            config.offset(seen) < end
        });
        let owed = config.rests_at(end) > now;
        if owed {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        owed
    }

    /// Where the debt of a new key begins, of a key that has none. Takes the set's lock, so that no
    /// eviction is seen by half.
    pub(super) fn newcomer(&self, now: Tick, key: Place, config: &Config) -> Option<u64> {
        let index = self.index(key);
        let (set, _locked) = (&self.sets[index], self.locks[index].lock());
        if set.find(short(key.hash)).is_some() {
            return None;
        }
        let (way, _) = self.victim(set, key.tier, config, now);
        Some(self.begins(index, set.word(way), key.tier, config))
    }

    /// Where the debt of a new key begins that gets the entry with `word`.
    fn begins(&self, index: usize, word: Word, tier: u8, config: &Config) -> u64 {
        let begins = config.offset(self.dropped(index, tier));
        if word.tier() == tier {
            return begins.max(config.offset(word.end()));
        }
        begins
    }
}
