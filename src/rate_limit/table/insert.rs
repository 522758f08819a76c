//! How an entry is assigned: to a new key, to its own key in another tier, or to its own key
//! parted from the charges before. Only here are tags written.
//!
//! The steps, under the set's lock:
//!
//! 1. The entry is chosen, and the call is decided with the debt in its word. A rejected call
//!    changes nothing.
//! 2. The tag is cleared. From here on no call finds the entry by it.
//! 3. The word is exchanged for the key's, with its first charge. A call that found the entry
//!    before step 2 may have charged it; then the exchange fails and the call is decided again.
//! 4. The set's evicted debt is raised to the end of the old word.
//! 5. The tag is set.
//!
//! No word of a tier returns once it was exchanged: the debt of every owner starts at or behind all
//! ends that were evicted before in the set and tier, and the last unit of its first charge is
//! never given back. So the exchange of a call that was preempted after it found the entry fails.
//!
//! # What is left
//!
//! A thread that is preempted between two instructions can do harm if all of this happens between
//! them, and the debt of the entry then ends at the same 1/32 ns as before:
//!
//! - the charges of the entry were given back, or its key went to another tier, or the entry to a
//!   key of another tier: the charge is made to a debt that it was not decided with
//! - the tier changed four times, as for the bucket
//! - the entry had 2^16 owners, of which the last is the first one again

use super::set::{Owner, Set, Tag, WAYS};
use super::standing::{Origin, Standing};
use super::{KeyHandle, Table};
use crate::rate_limit::state::config::{Config, Grant};
use crate::rate_limit::state::word::Word;
use crate::rate_limit::{Charge, Shortfall};
use crate::time::Tick;

/// Decides a call, given where its key's debt ends.
pub(super) type Decide<'a> = &'a dyn Fn(&Config, u64) -> Result<Grant, Shortfall>;

/// An entry to be assigned. Valid under the set's lock.
struct Entry<'a> {
    set: &'a Set,
    index: usize,
    way: usize,
    tag: Tag,
    /// Whether it is the key's own.
    is_own: bool,
    /// That of the key's tier, in which all words of the tier in this set are counted.
    config: Config,
}

impl Table {
    /// Assigns an entry to a key that has none in its tier, or whose earlier charges are to be
    /// `parted` from this one, and makes its first charge. None if the key has an entry by now, if
    /// the tier has no limit, or if its configuration is stale.
    #[cold]
    #[inline(never)]
    pub(super) fn assign(
        &self,
        now: Tick,
        key: KeyHandle,
        parted: bool,
        decide: Decide<'_>,
    ) -> Option<Result<Charge, Shortfall>> {
        let index = self.index(key);
        let mut origins = self.locks[index].lock();
        let entry = self.entry(&mut origins, index, now, key, parted)?;
        if entry.config.is_unlimited() {
            return None;
        }
        let (set, way, tag) = (entry.set, entry.way, entry.tag);
        let next = tag.next(Owner::new(key));
        let evicts = !entry.is_own && !tag.is_empty();
        // A unit behind the previous owner, so that no word of the two is the same.
        let behind = u64::from(evicts);
        let decide = |word| {
            let start = self.debt_start(&entry, word, now, key);
            decide(&entry.config, start + if parted { behind } else { 0 })
        };
        loop {
            let word = set.word(way);
            let grant = match decide(word) {
                Ok(grant) => grant,
                Err(shortfall) => {
                    // The owner was charged after its tag was cleared. It keeps the entry.
                    if set.tag(way) != tag {
                        set.set_tag(way, tag);
                    }
                    return Some(Err(shortfall));
                }
            };
            set.set_tag(way, tag.cleared());
            let to = Word::new(grant.end, entry.config.changes);
            if set.replace(way, word, to) {
                let charge = Charge {
                    units: grant.units.saturating_sub(behind),
                    tag: next,
                    evicted: evicts && self.evict(index, tag, word, now),
                    ..Charge::new(&grant, &entry.config)
                };
                origins[way] = self.origin(&entry, origins[way], word, grant.end);
                set.set_tag(way, next);
                return Some(Ok(charge));
            }
        }
    }

    /// Where the debt of a key starts that has no entry in its tier. None if it has one by now, or
    /// if the configuration is stale. Takes the set's lock, so as not to see half an eviction.
    pub(super) fn debt_of_new_key(&self, now: Tick, key: KeyHandle) -> Option<(u64, Config)> {
        let index = self.index(key);
        let mut origins = self.locks[index].lock();
        let entry = self.entry(&mut origins, index, now, key, false)?;
        let word = entry.set.word(entry.way);
        Some((self.debt_start(&entry, word, now, key), entry.config))
    }

    /// The entry to be assigned to a key. None if the key has one in its tier and is not to be
    /// `parted`, or if the configuration is stale. Under the set's lock.
    fn entry(
        &self,
        origins: &mut [Origin; WAYS],
        index: usize,
        now: Tick,
        key: KeyHandle,
        parted: bool,
    ) -> Option<Entry<'_>> {
        let set = &self.sets[index];
        let own = set.find_in_any_tier(Owner::new(key));
        if own.is_some_and(|(_, tag)| !parted && tag.owner() == Owner::new(key)) {
            return None;
        }
        let config = self.carry_over(origins, index, now, key.tier);
        let (way, tag) = own.unwrap_or_else(|| self.victim(set, origins));
        (!config.is_stale(now)).then_some(Entry {
            set,
            index,
            way,
            tag,
            is_own: own.is_some(),
            config,
        })
    }

    /// Where a key's debt starts in an entry whose word is `word`.
    fn debt_start(&self, entry: &Entry<'_>, word: Word, now: Tick, key: KeyHandle) -> u64 {
        let owner = entry.tag.owner();
        let evicted = self.evicted_debt(entry.index, key.tier).tat();
        match (entry.is_own, owner.is_in(key.tier)) {
            (true, true) => word.tat(),
            (true, false) => {
                let from = self.tier(owner.tier()).config_of(word);
                from.carried(&entry.config, word.tat(), now)
            }
            (false, true) => word.tat().max(evicted),
            (false, false) => evicted,
        }
    }

    /// The origin of an entry that shows `word`, once it is assigned with a debt up to `end`.
    fn origin(&self, entry: &Entry<'_>, previous: Origin, word: Word, end: u64) -> Origin {
        let config = || self.tier(entry.tag.owner().tier()).config_of(word);
        let standing = match entry.is_own {
            true => previous
                .standing(word.tat(), &config())
                .max(Standing::Again),
            false => Standing::New,
        };
        Origin::new(end, standing)
    }
}
