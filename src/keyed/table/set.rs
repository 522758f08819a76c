//! A set: the few places that a key may have, and how one is given to a new key. Why in these
//! orders stands at the head of [`super`].

use crate::sync::{AtomicU64, Ordering};

/// Places in a set: the tags of one are a cache line, and so are its words. Two for the models.
#[cfg(not(all(test, seawall_loom)))]
pub(super) const WAYS: usize = 8;
#[cfg(all(test, seawall_loom))]
pub(super) const WAYS: usize = 2;

const HASH_BITS: u32 = 44;
const HASH: u64 = (1 << HASH_BITS) - 1;

/// What a tag keeps of a hash; never 0, which is nobody's.
#[inline]
pub(super) fn short(hash: u64) -> u64 {
    (hash & HASH).max(1)
}

/// Whose a place is: `[hash: 44 bits][version: 20 bits]`. The version counts the place's
/// owners, so that nobody who was held up gives it to an earlier one's successor again. It also
/// counts what an owner's charges are not given back over: a charge in another tier, a pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u64);

impl Tag {
    #[inline]
    pub(super) fn hash(self) -> u64 {
        self.0 >> (64 - HASH_BITS)
    }

    pub(super) fn is_empty(self) -> bool {
        self.hash() == 0
    }

    pub(super) fn next(self, hash: u64) -> Self {
        let version = self.0.wrapping_add(1) & (u64::MAX >> HASH_BITS);
        Self((hash << (64 - HASH_BITS)) | version)
    }
}

/// A place's debt: `[claimed: 1 bit][end: 59 bits][tier: 4 bits]`, the end in the tier's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    const CLAIMED: u64 = 1 << 63;

    #[inline]
    pub(super) fn new(end: u64, tier: u8) -> Self {
        Self((end << 4) | u64::from(tier))
    }

    #[inline]
    pub(super) fn end(self) -> u64 {
        (self.0 & !Self::CLAIMED) >> 4
    }

    #[inline]
    pub(super) fn tier(self) -> u8 {
        (self.0 & 15) as u8
    }

    /// Whether its owner has lost it. Nobody charges it then.
    #[inline]
    pub(super) fn is_claimed(self) -> bool {
        self.0 & Self::CLAIMED != 0
    }

    pub(super) fn claimed(self) -> Self {
        Self(self.0 | Self::CLAIMED)
    }

    pub(super) fn unclaimed(self) -> Self {
        Self(self.0 & !Self::CLAIMED)
    }

    /// The same with another end.
    pub(super) fn moved(self, end: u64) -> Self {
        Self(Self::new(end, self.tier()).0 | (self.0 & Self::CLAIMED))
    }
}

/// The insertion under way: `[hash: 44 bits][tier: 4 bits][way: 4 bits][version: 12 bits]`, or
/// none. The version counts insertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Door(pub(super) u64);

impl Door {
    const SHUT: u64 = 15;
    /// No insertion yet.
    pub(super) const FIRST: Self = Self(Self::SHUT << 12);

    fn new(hash: u64, tier: u8, way: u64, version: u64) -> Self {
        Self((hash << 20) | (u64::from(tier) << 16) | (way << 12) | (version & 0xfff))
    }

    pub(super) fn open(self, hash: u64, tier: u8, way: usize) -> Self {
        Self::new(hash, tier, way as u64, self.0.wrapping_add(1))
    }

    pub(super) fn shut(self) -> Self {
        Self::new(0, 0, Self::SHUT, self.0)
    }

    pub(super) fn is_open(self) -> bool {
        (self.0 >> 12) & 15 != Self::SHUT
    }

    pub(super) fn hash(self) -> u64 {
        self.0 >> 20
    }

    pub(super) fn tier(self) -> u8 {
        ((self.0 >> 16) & 15) as u8
    }

    pub(super) fn way(self) -> usize {
        ((self.0 >> 12) & 15) as usize % WAYS
    }
}

/// The two lines that a known key's call touches.
#[repr(align(64))]
pub(super) struct Set {
    /// See [`Tag`]. Written by insertions, and where charges are parted.
    tags: [AtomicU64; WAYS],
    /// See [`Word`]. Written by every charge.
    words: [AtomicU64; WAYS],
}

impl Set {
    /// Nobody's places.
    pub(super) fn new(word: Word) -> Self {
        Self {
            tags: std::array::from_fn(|_| AtomicU64::new(0)),
            words: std::array::from_fn(|_| AtomicU64::new(word.0)),
        }
    }

    /// A key's place, with the tag that was seen.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<(usize, Tag)> {
        // All of them, whichever it is: a branch that depends on the key costs more than the
        // rest of the loads.
        let mut found = 0;
        let mut seen = [Tag(0); WAYS];
        for (way, tag) in seen.iter_mut().enumerate() {
            // Before the word: who sees a new owner sees that the word was claimed.
            *tag = self.tag(way);
            found |= u32::from(tag.hash() == hash) << way;
        }
        let way = found.trailing_zeros() as usize;
        seen.get(way).map(|tag| (way, *tag))
    }

    #[inline]
    pub(super) fn tag(&self, way: usize) -> Tag {
        Tag(self.tags[way % WAYS].load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn word(&self, way: usize) -> Word {
        Word(self.words[way % WAYS].load(Ordering::Acquire))
    }

    /// A charge or a refund: it publishes nothing, and being a read-modify-write it continues
    /// the release sequence of what gave the place to its owner.
    #[inline]
    pub(super) fn charge(&self, way: usize, from: Word, to: Word) -> bool {
        self.words[way % WAYS]
            .compare_exchange_weak(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Parts the owner's charges from those to come, by another version of the tag. It goes
    /// before the exchange of the word that was loaded after `from`: what is charged in between
    /// makes that exchange fail.
    #[cold]
    #[inline(never)]
    pub(super) fn part(&self, way: usize, from: Tag) -> Option<Tag> {
        let parted = from.next(from.hash());
        step(&self.tags[way % WAYS], from.0, parted.0).then_some(parted)
    }

    /// A step of an insertion, or of a clock that is moved.
    pub(super) fn turn(&self, way: usize, from: Word, to: Word) -> bool {
        step(&self.words[way % WAYS], from.0, to.0)
    }

    /// Gives a place, whose word is claimed, to another owner.
    pub(super) fn give(&self, way: usize, from: Tag, hash: u64) -> bool {
        step(&self.tags[way % WAYS], from.0, from.next(hash).0)
    }
}

/// A set's rarely used words: the insertion under way, and what was dropped.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) door: &'a AtomicU64,
    /// For each tier the end of a debt behind which every new key there begins: above the end
    /// of each word that was claimed. It rests by itself, as the clock moves on.
    pub(super) dropped: &'a [AtomicU64],
}

impl Side<'_> {
    pub(super) fn door(self) -> Door {
        Door(self.door.load(Ordering::Acquire))
    }

    pub(super) fn move_door(self, from: Door, to: Door) -> bool {
        step(self.door, from.0, to.0)
    }

    pub(super) fn dropped(self, tier: u8) -> u64 {
        self.dropped[usize::from(tier)].load(Ordering::Acquire)
    }

    /// Raises what was dropped to `end`, as `is_below` says which is the higher.
    pub(super) fn raise(self, tier: u8, end: u64, is_below: impl Fn(u64) -> bool) {
        let place = &self.dropped[usize::from(tier)];
        let mut seen = place.load(Ordering::Acquire);
        while is_below(seen) && !step(place, seen, end) {
            seen = place.load(Ordering::Acquire);
        }
    }
}

/// Each step of an insertion sees those before it and is seen by those after it.
fn step(place: &AtomicU64, from: u64, to: u64) -> bool {
    place
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}
