//! How a new key gets its place.
//!
//! One at a time in a set, named by its door; whoever finds the door open carries the insertion
//! through, so nobody waits for a thread that was held up. Its steps are exchanges, each from a
//! value that was loaded before the door was seen to name it still:
//!
//! 1. the door, from shut to the key, its tier and the place; the tags were searched with the
//!    door shut, and cannot change before this: no key is there twice
//! 2. the place's word, marked as claimed: from here its owner's charges fail, and it looks anew
//! 3. what the set has dropped, raised above the word's end
//! 4. the tag
//! 5. the word, to what was dropped; by the key's own thread with its charge
//! 6. the door, to shut
//!
//! No word comes back once it was claimed, since every owner begins above all ends that were
//! claimed before in the set and tier; so a charge or step that was held up fails. A tag's
//! version comes round after 2^20 owners of a place, a door's after 2^12 insertions in a set:
//! to do harm they would have to, to the number and with the same key, place and tier, while one
//! thread is held up between two instructions.
//!
//! # What is left
//!
//! - A word comes to an end again where charges were given back, or where its key went to
//!   another tier and back. A thread that was held up between two instructions for all of that
//!   may exchange it still. A cancel then gives back what was charged last in place of its own
//!   charge. A claim is nobody's insertion: whoever finds it with the door shut takes it back,
//!   see [`help`](Table::help).
//! - Some insertion always gets on, whoever is held up; an admission need not. A key whose
//!   insertion another thread carried through was charged nothing yet, so it is the next to go.
//!   That thread spares it, so two threads cannot keep doing this to each other; three can, if
//!   each is held up between its insertion and its charge every time.
//! - The owner of a place may be charged between the decision to grant a new key something and
//!   the claim. The new key then may be refused, and has the place.

use super::clock::{Config, Grant};
use super::set::{Door, Tag, WAYS, Word, short};
use super::{Charge, Place, Table, charge};
use crate::rate_limit::Refused;
use crate::sync::Ordering;
use crate::time::Tick;

impl Table {
    /// The place that a new key would get, and where its debt would begin.
    pub(super) fn newcomer(
        &self,
        index: usize,
        now: Tick,
        tier: u8,
        config: &Config,
        spared: Option<usize>,
    ) -> (usize, u64) {
        let set = &self.sets[index];
        let mut best: Option<(Option<Tick>, usize, Word)> = None;
        for way in (0..WAYS).filter(|way| spared != Some(*way)) {
            let (tag, word) = (set.tag(way), set.word(way));
            // An instant, so that the choice is the same at any time: who is refused comes back
            // to the place that the wait was reckoned with.
            let rests_at = (!tag.is_empty()).then(|| {
                let config = self.config_of(word, tier, config, now);
                config.rests_at(config.offset(word.end()))
            });
            if best.is_none_or(|(first, ..)| rests_at < first) {
                best = Some((rests_at, way, word));
            }
        }
        let begins = config.offset(self.side(index).dropped(tier));
        match best {
            Some((_, way, word)) if word.tier() == tier => {
                (way, begins.max(config.offset(word.end()) + 1))
            }
            Some((_, way, _)) => (way, begins),
            None => (0, begins),
        }
    }

    /// Makes a new key's first charge, and so its place; nothing if it is no longer new.
    #[cold]
    #[inline(never)]
    pub(super) fn insert(
        &self,
        now: Tick,
        key: Place,
        config: &Config,
        decide: &dyn Fn(u64) -> Result<Grant, Refused>,
        dropped: &mut bool,
    ) -> Option<Result<Charge, Refused>> {
        let (index, hash) = (self.index(key), short(key.hash));
        let side = self.side(index);
        // Whom this thread has just helped, and who has yet to make its charge.
        let mut spared = None;
        loop {
            let door = side.door();
            if door.is_open() {
                self.carry_through(
                    index,
                    door,
                    now,
                    (key.tier, config),
                    dropped,
                    |begins, _| begins,
                );
                spared = Some(door.way());
                continue;
            }
            if self.sets[index].find(hash).is_some() {
                return None;
            }
            let (mut way, begins) = self.newcomer(index, now, key.tier, config, None);
            if let Err(refused) = decide(begins) {
                return Some(Err(refused));
            }
            if spared == Some(way) {
                let (other, begins) = self.newcomer(index, now, key.tier, config, spared);
                if decide(begins).is_ok() {
                    way = other;
                }
            }
            let opened = door.open(hash, key.tier, way);
            if !side.move_door(door, opened) {
                continue;
            }
            return self.finish(opened, now, key, config, decide, dropped);
        }
    }

    /// The rest of [`insert`](Self::insert), by the thread that opened the door.
    pub(super) fn finish(
        &self,
        opened: Door,
        now: Tick,
        key: Place,
        config: &Config,
        decide: &dyn Fn(u64) -> Result<Grant, Refused>,
        dropped: &mut bool,
    ) -> Option<Result<Charge, Refused>> {
        let (index, known) = (self.index(key), (key.tier, config));
        let mut decided = None;
        let wrote = self.carry_through(index, opened, now, known, dropped, |begins, tag| {
            // The owner before may have been charged meanwhile.
            let made = decide(config.offset(begins)).map(|grant| charge(key, config, &grant, tag));
            decided = Some(made);
            made.map_or(begins, |charge| Word(charge.word).end())
        });
        decided.filter(|_| wrote)
    }

    /// Of a place whose word was found claimed: carries the insertion that did it through.
    ///
    /// If the door is shut then it is through, and the word has moved on; or the claim came from
    /// a thread that was held up since an insertion before, and is taken back.
    #[cold]
    #[inline(never)]
    pub(super) fn help(
        &self,
        now: Tick,
        key: Place,
        config: &Config,
        (way, claimed): (usize, Word),
        dropped: &mut bool,
    ) {
        let index = self.index(key);
        let door = self.side(index).door();
        if door.is_open() {
            self.carry_through(
                index,
                door,
                now,
                (key.tier, config),
                dropped,
                |begins, _| begins,
            );
        } else {
            self.sets[index].turn(way, claimed, claimed.unclaimed());
        }
    }

    /// Carries the insertion through that `door` names. The new word is what `first` makes of
    /// the end that it begins with. Tells whether it was this call that wrote it.
    pub(super) fn carry_through(
        &self,
        index: usize,
        door: Door,
        now: Tick,
        known: (u8, &Config),
        dropped: &mut bool,
        mut first: impl FnMut(u64, Tag) -> u64,
    ) -> bool {
        let (set, side, way) = (&self.sets[index], self.side(index), door.way());
        let mut wrote = false;
        loop {
            // See `# Orderings` for the order of these.
            let before = set.word(way);
            let tag = set.tag(way);
            let given = tag.hash() == door.hash();
            let word = if given { set.word(way) } else { before };
            if side.door() != door {
                return wrote;
            }
            let config = || self.config_of(word, known.0, known.1, now);
            match (given, word.is_claimed()) {
                (false, false) => {
                    if set.turn(way, word, word.claimed()) && !tag.is_empty() {
                        let config = config();
                        if config.rests_at(config.offset(word.end())) > now {
                            self.evicted.fetch_add(1, Ordering::Relaxed);
                            *dropped = true;
                        }
                    }
                }
                (false, true) => {
                    let config = config();
                    let above = config.offset(word.end()) + 1;
                    side.raise(word.tier(), config.end(above), |seen| {
                        config.offset(seen) < above
                    });
                    set.give(way, tag, door.hash());
                }
                (true, true) => {
                    let begins = first(side.dropped(door.tier()), tag);
                    wrote |= set.turn(way, word, Word::new(begins, door.tier()));
                }
                (true, false) => {
                    side.move_door(door, door.shut());
                }
            }
        }
    }
}
