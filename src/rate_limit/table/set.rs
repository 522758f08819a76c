//! A set: the eight entries that a key may have. The head of [`super`] explains the orderings.

use crate::rate_limit::state::word::Word;
use crate::sync::{AtomicU64, Ordering};

/// Entries in a set: its tags fill one cache line, and so do its words. Two for the models.
#[cfg(not(all(test, seawall_loom)))]
pub(super) const WAYS: usize = 8;
#[cfg(all(test, seawall_loom))]
pub(super) const WAYS: usize = 2;

const HASH_BITS: u32 = 44;
const TIER_BITS: u32 = 4;
const VERSION_BITS: u32 = 16;

/// A key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHandle {
    /// Well mixed and seeded. Two keys of a set are taken for one with a probability of 2^-44.
    pub(crate) hash: u64,
    pub(crate) tier: u8,
}

/// A key as a tag names it: its hash and its tier. Never 0, which marks an empty entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(u64);

impl Owner {
    #[inline]
    pub(super) fn new(key: KeyHandle) -> Self {
        let hash = (key.hash & (u64::MAX >> (64 - HASH_BITS))).max(1);
        Self((hash << TIER_BITS) | u64::from(key.tier))
    }

    pub(super) fn hash(self) -> u64 {
        self.0 >> TIER_BITS
    }

    pub(super) fn tier(self) -> u8 {
        (self.0 & (u64::MAX >> (64 - TIER_BITS))) as u8
    }

    /// Whether it is a key of this tier; false for an empty entry.
    pub(super) fn is_in(self, tier: u8) -> bool {
        self != Self(0) && self.tier() == tier
    }
}

/// Which key an entry belongs to: `[hash: 44 bits][tier: 4 bits][version: 16 bits]`. The version
/// changes with the owner, and when earlier charges of the same owner can no longer be given back:
/// with a charge in another tier, and with a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Tag {
    pub(crate) const NONE: Self = Self(0);

    const VERSION: u64 = u64::MAX >> (64 - VERSION_BITS);

    #[inline]
    pub(super) fn owner(self) -> Owner {
        Owner(self.0 >> VERSION_BITS)
    }

    pub(super) fn is_empty(self) -> bool {
        self.owner() == Owner(0)
    }

    /// The tag of the entry without an owner.
    pub(super) fn cleared(self) -> Self {
        Self(self.0 & Self::VERSION)
    }

    /// The tag of the entry with its next owner.
    pub(super) fn next(self, owner: Owner) -> Self {
        Self((owner.0 << VERSION_BITS) | (self.0.wrapping_add(1) & Self::VERSION))
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
    pub(super) fn empty() -> Self {
        Self {
            tags: std::array::from_fn(|_| AtomicU64::new(0)),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The entry of a key in its tier, and the tag that was loaded.
    #[inline]
    pub(super) fn find(&self, owner: Owner) -> Option<(usize, Tag)> {
        self.find_by(|tag| tag.owner() == owner)
    }

    /// The entry of a key, whichever tier it was last charged in.
    pub(super) fn find_in_any_tier(&self, owner: Owner) -> Option<(usize, Tag)> {
        self.find_by(|tag| tag.owner().hash() == owner.hash())
    }

    #[inline]
    fn find_by(&self, matches: impl Fn(Tag) -> bool) -> Option<(usize, Tag)> {
        // Loads all tags: a branch that depends on the key costs more than the other loads.
        let found = (0..WAYS).fold(0, |found, way| {
            found | u32::from(matches(self.tag(way))) << way
        });
        let way = found.trailing_zeros() as usize;
        if way >= WAYS {
            return None;
        }
        // Loaded once more: to keep all of them takes longer. It may have another owner by now.
        let tag = self.tag(way);
        matches(tag).then_some((way, tag))
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

    /// Charges the owner, or gives a charge back. Publishes nothing. As a read-modify-write it
    /// continues the release sequence of the exchange that assigned the entry.
    #[inline]
    pub(super) fn charge(&self, way: usize, from: Word, to: Word) -> bool {
        self.words[way % WAYS]
            .compare_exchange_weak(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Assigns the entry to another key, or carries its word over to another configuration. Under
    /// the set's lock.
    pub(super) fn replace(&self, way: usize, from: Word, to: Word) -> bool {
        self.words[way % WAYS]
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
