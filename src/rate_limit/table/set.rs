//! A set: the few entries that a key may have. Why in these orders stands at the head of
//! [`super`].

use crate::sync::{AtomicU64, Ordering};

/// Entries in a set: the tags of one are a cache line, and so are its words. Two for the models.
#[cfg(not(all(test, seawall_loom)))]
pub(super) const WAYS: usize = 8;
#[cfg(all(test, seawall_loom))]
pub(super) const WAYS: usize = 2;

const HASH_BITS: u32 = 44;
const HASH: u64 = (1 << HASH_BITS) - 1;

/// What a tag keeps of a hash; never 0, which is a tag without an owner.
#[inline]
pub(super) fn short(hash: u64) -> u64 {
    (hash & HASH).max(1)
}

/// The owner of an entry: `[hash: 44 bits][version: 20 bits]`. The version counts the owners of
/// the entry, and what separates an owner's charges from those that are not given back any more:
/// a charge in another tier, a pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u64);

impl Tag {
    const VERSION: u64 = u64::MAX >> HASH_BITS;

    #[inline]
    pub(super) fn hash(self) -> u64 {
        self.0 >> (64 - HASH_BITS)
    }

    pub(super) fn is_empty(self) -> bool {
        self.hash() == 0
    }

    /// Without an owner.
    pub(super) fn cleared(self) -> Self {
        Self(self.0 & Self::VERSION)
    }

    pub(super) fn next(self, hash: u64) -> Self {
        Self((hash << (64 - HASH_BITS)) | (self.0.wrapping_add(1) & Self::VERSION))
    }
}

/// The debt of an entry: `[end: 60 bits][tier: 4 bits]`, the end in the tier's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    #[inline]
    pub(super) fn new(end: u64, tier: u8) -> Self {
        Self((end << 4) | u64::from(tier))
    }

    #[inline]
    pub(super) fn end(self) -> u64 {
        self.0 >> 4
    }

    #[inline]
    pub(super) fn tier(self) -> u8 {
        (self.0 & 15) as u8
    }

    /// The same with another end.
    pub(super) fn moved(self, end: u64) -> Self {
        Self::new(end, self.tier())
    }
}

/// The two cache lines that a call of an existing key reads.
#[repr(align(64))]
pub(super) struct Set {
    /// See [`Tag`]. Written under the set's lock.
    tags: [AtomicU64; WAYS],
    /// See [`Word`]. Written by every charge.
    words: [AtomicU64; WAYS],
}

impl Set {
    /// Entries without an owner.
    pub(super) fn new(word: Word) -> Self {
        Self {
            tags: std::array::from_fn(|_| AtomicU64::new(0)),
            words: std::array::from_fn(|_| AtomicU64::new(word.0)),
        }
    }

    /// A key's entry, with the tag that was seen.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<(usize, Tag)> {
        // Loads all of them: a branch that depends on the key costs more than the other loads.
        let mut found = 0;
        let mut seen = [Tag(0); WAYS];
        for (way, tag) in seen.iter_mut().enumerate() {
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

    /// Under the set's lock.
    pub(super) fn set_tag(&self, way: usize, tag: Tag) {
        self.tags[way % WAYS].store(tag.0, Ordering::Release);
    }

    #[inline]
    pub(super) fn word(&self, way: usize) -> Word {
        Word(self.words[way % WAYS].load(Ordering::Acquire))
    }

    /// A charge or a refund: it publishes nothing, and being a read-modify-write it continues
    /// the release sequence of the exchange that gave the entry to its owner.
    #[inline]
    pub(super) fn charge(&self, way: usize, from: Word, to: Word) -> bool {
        self.words[way % WAYS]
            .compare_exchange_weak(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives an entry to another owner, or moves its clock.
    pub(super) fn turn(&self, way: usize, from: Word, to: Word) -> bool {
        self.words[way % WAYS]
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
