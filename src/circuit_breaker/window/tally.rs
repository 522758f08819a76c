use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A count that belongs to a stamp: `[stamp: 32 bits][count: 32 bits, signed]`.
///
/// Stamps wrap. A word is newer than an outcome only if it is ahead by no more than an outcome can
/// be late ([`LATEST`]); otherwise it is left from long ago. The failures of a window of slow calls
/// may be below zero for a moment, while an evicted outcome has been taken off and its own arrival
/// has not been counted.
#[derive(Debug)]
pub(crate) struct Tally(pub(super) AtomicU64);

impl Tally {
    pub(crate) fn new(stamp: u32) -> Self {
        Self(AtomicU64::new(pack(stamp, 0)))
    }

    /// Replaces the count by `step` of it, from zero if `stamp` is newer than the word's. Returns
    /// the count before; none if the word's stamp is newer.
    pub(crate) fn update(&self, stamp: u32, step: impl Fn(i32) -> i32) -> Option<i32> {
        self.update_contended(stamp, step).0
    }

    pub(crate) fn add(&self, stamp: u32, n: i32) {
        self.update(stamp, |count| count.saturating_add(n));
    }

    /// Does what [`update`](Self::update) does, and returns whether it met another thread.
    pub(super) fn update_contended(
        &self,
        stamp: u32,
        step: impl Fn(i32) -> i32,
    ) -> (Option<i32>, bool) {
        let mut met = false;
        let mut word = self.0.load(Relaxed);
        loop {
            let (theirs, count) = unpack(word);
            if is_newer(theirs, stamp) {
                return (None, met);
            }
            let count = if theirs == stamp { count } else { 0 };
            let next = pack(stamp, step(count));
            match self.0.compare_exchange(word, next, Release, Relaxed) {
                Ok(_) => return (Some(count), met),
                Err(now) => {
                    met = true;
                    word = now;
                }
            }
        }
    }

    /// The count, if it belongs to one of the `size` buckets up to `latest`.
    pub(super) fn within(&self, latest: u32, size: u32) -> u32 {
        match self.read() {
            (stamp, count) if latest.wrapping_sub(stamp) < size => count,
            _ => 0,
        }
    }

    #[inline]
    pub(crate) fn read_at(&self, stamp: u32) -> u32 {
        match self.read() {
            (theirs, count) if theirs == stamp => count,
            _ => 0,
        }
    }

    #[inline]
    fn read(&self) -> (u32, u32) {
        let (stamp, count) = unpack(self.0.load(Acquire));
        (stamp, u32::try_from(count).unwrap_or(0))
    }
}

pub(super) const fn pack(stamp: u32, count: i32) -> u64 {
    (stamp as u64) << 32 | count as u32 as u64
}

pub(super) const fn unpack(word: u64) -> (u32, i32) {
    ((word >> 32) as u32, word as u32 as i32)
}

/// By how many stamps an outcome can be late: a minute of the shortest buckets, and more
/// generations than pass while a thread is between two instructions. No more, because a word that
/// is left from almost a whole round of stamps ago looks newer too.
const LATEST: u32 = 1 << 16;

/// Whether `theirs` is newer than `mine`.
pub(super) const fn is_newer(theirs: u32, mine: u32) -> bool {
    let ahead = theirs.wrapping_sub(mine);
    ahead != 0 && ahead < LATEST
}
