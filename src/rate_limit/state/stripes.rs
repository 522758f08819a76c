//! Leased tokens, which threads spend without a clock and without contention.
//!
//! A stripe holds at most one lease; a thread spends from the stripe that its thread slot picks.
//! What all stripes may hold counts against the burst: the bucket's word is limited to the rest. In
//! a window of length T at most the tokens pass that were leased when it started, which are no
//! more than the stripes may hold, and those charged to the word within it.
//!
//! This is exact because a thread that fetches a lease owns the stripe from before it reads the
//! clock until the tokens are in the stripe. Otherwise a charge for an instant before the window
//! could fill a stripe within it.
//!
//! # Orderings
//!
//! - To spend is Relaxed: it publishes nothing. A lease is charged to the bucket's word, whose
//!   exchange fails after a change. A change closes every stripe first, and a lease that arrives
//!   later finds another epoch and is lost. Models:
//!   `lease_against_lease`, `spend_against_spend`, `spend_of_two_against_spend`,
//!   `lease_against_rejection`, `gathering_against_spend`, `lease_against_change`,
//!   `spend_against_change`, `spend_against_pause`.
//! - To own a stripe is Acquire, to fill or open one is Release, and spending, a
//!   read-modify-write, continues the release sequence. So the owner of a stripe sees the bucket's
//!   word at least as new as the thread that filled it, and returns no charge that is older than a
//!   lease or a change. Models:
//!   `gathering_against_pause`, `refund_against_lease`, `refund_against_change_of_stripes`.

#[cfg(all(test, not(seawall_loom)))]
use crate::sync::AtomicU64 as Count;
use crate::sync::{
    AtomicU64, CachePadded,
    Ordering::{AcqRel, Relaxed},
};

/// The most stripes. More would take too much of the burst.
pub(super) const MOST: usize = 16;

/// All stripes together hold at most one in this many tokens of the burst.
const SHARE: u32 = 16;

/// The tokens of a lease. Below 8 it costs more than it saves, and above 64 it saves no more.
const LEASE: std::ops::RangeInclusive<u32> = 8..=64;

/// Whether a bucket has stripes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Striped {
    /// No.
    Never,
    /// This many stripes, which hold tokens if a sixteenth of the burst is enough for their
    /// leases.
    IfLarge(usize),
    /// This many stripes, which hold tokens if half of the burst is enough for one each.
    Always(usize),
}

impl Striped {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Never => 0,
            Self::IfLarge(count) | Self::Always(count) => count.clamp(1, MOST).next_power_of_two(),
        }
    }

    /// The most tokens of a stripe, and of all stripes.
    pub(super) fn lease(self, burst: u32) -> (u32, u32) {
        // At most 16.
        let count = self.count() as u32;
        let share = (burst / SHARE).checked_div(count).unwrap_or(0);
        let lease = match self {
            Self::Never => 0,
            Self::IfLarge(_) if share < *LEASE.start() => 0,
            Self::Always(_) if burst / 2 < count => 0,
            _ => share.clamp(1, *LEASE.end()),
        };
        (lease, lease * count)
    }
}

/// A stripe's word: the epoch, which counts leases and closings (47 bits), whether a thread owns
/// it (1 bit), and its tokens (16 bits, as the distance from `NONE`: threads that race for the
/// last token may go below).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stripe(u64);

const NONE: u64 = 1 << 15;
const OWNED: u64 = 1 << 16;

impl Stripe {
    fn new(epoch: u64, owned: bool, tokens: u32) -> Self {
        Self((epoch << 17) | (u64::from(owned) << 16) | (NONE + u64::from(tokens)))
    }

    fn epoch(self) -> u64 {
        self.0 >> 17
    }

    fn is_owned(self) -> bool {
        self.0 & OWNED != 0
    }

    /// 0 if it is owned.
    #[inline]
    fn tokens(self) -> u32 {
        let tokens = (self.0 & (OWNED - 1)).saturating_sub(NONE);
        // At most 15 bits.
        tokens as u32
    }
}

/// The right to fill a stripe, until it is filled or closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned {
    index: usize,
    epoch: u64,
}

/// All the stripes of a bucket: none, or a power of two.
pub(super) struct Stripes {
    stripes: Box<[CachePadded<AtomicU64>]>,
    /// Lost races and stripes that were found owned, to prove that a test had any.
    #[cfg(all(test, not(seawall_loom)))]
    pub(super) collisions: Count,
}

impl Stripes {
    /// All closed.
    pub(super) fn new(count: usize) -> Self {
        let closed = |_| CachePadded::new(AtomicU64::new(Stripe::new(0, true, 0).0));
        Self {
            stripes: (0..count).map(closed).collect(),
            #[cfg(all(test, not(seawall_loom)))]
            collisions: Count::new(0),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.stripes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.stripes.len()
    }

    fn index(&self, slot: usize) -> usize {
        slot & (self.stripes.len() - 1)
    }

    #[inline]
    fn load(&self, index: usize) -> Stripe {
        Stripe(self.stripes[index].load(Relaxed))
    }

    /// Acquires or releases ownership; see `# Orderings`.
    #[inline]
    fn exchange(&self, index: usize, from: Stripe, to: Stripe) -> bool {
        let stripe = &self.stripes[index];
        let done = stripe
            .compare_exchange(from.0, to.0, AcqRel, Relaxed)
            .is_ok();
        self.collided(!done);
        done
    }

    #[inline]
    fn collided(&self, _did: bool) {
        #[cfg(all(test, not(seawall_loom)))]
        self.collisions.fetch_add(u64::from(_did), Relaxed);
    }

    /// Takes `cost` tokens, at least 1, from the stripe that `slot` picks, if it has them.
    #[inline]
    pub(super) fn spend(&self, slot: usize, cost: u32) -> bool {
        // By a mask that the compiler can see, so that the index is not checked.
        let Some(last) = self.stripes.len().checked_sub(1) else {
            return false;
        };
        let stripe = &self.stripes[slot & last];
        loop {
            let seen = Stripe(stripe.load(Relaxed));
            if seen.tokens() < cost {
                return false;
            }
            if cost == 1 {
                // A thread that comes too late goes below `NONE` and takes nothing from the burst.
                let done = Stripe(stripe.fetch_sub(1, Relaxed)).tokens() > 0;
                self.collided(!done);
                return done;
            }
            if self.exchange(slot & last, seen, Stripe(seen.0 - u64::from(cost))) {
                return true;
            }
        }
    }

    /// The tokens of all stripes.
    pub(super) fn tokens(&self) -> u32 {
        (0..self.stripes.len())
            .map(|index| self.load(index).tokens())
            .sum()
    }

    /// Owns the stripe that `slot` picks, to fetch a lease for it. None if it is not empty, or owned
    /// by another thread.
    pub(super) fn begin_lease(&self, slot: usize) -> Option<Owned> {
        let index = self.index(slot);
        let seen = self.load(index);
        self.collided(seen.is_owned());
        if seen.is_owned() || seen.tokens() > 0 {
            return None;
        }
        let epoch = seen.epoch() + 1;
        self.exchange(index, seen, Stripe::new(epoch, true, 0))
            .then_some(Owned { index, epoch })
    }

    /// Owns a stripe that has tokens, and takes them. None if another thread came first.
    pub(super) fn empty(&self, index: usize) -> Option<(Owned, u32)> {
        let seen = self.load(index);
        let (epoch, tokens) = (seen.epoch(), seen.tokens());
        let taken = tokens > 0 && self.exchange(index, seen, Stripe::new(epoch, true, 0));
        taken.then_some((Owned { index, epoch }, tokens))
    }

    /// Releases a stripe with `tokens` in it. They are lost if it was closed in between.
    pub(super) fn fill(&self, owned: Owned, tokens: u32) {
        loop {
            let seen = self.load(owned.index);
            if seen.epoch() != owned.epoch {
                return;
            }
            let filled = Stripe::new(owned.epoch, false, tokens);
            if self.exchange(owned.index, seen, filled) {
                return;
            }
        }
    }

    /// Closes every stripe, and returns the tokens of all. Only changes close and open stripes,
    /// under the mutex.
    pub(super) fn close(&self) -> u32 {
        let close = |index| self.set(index, true, 0).tokens();
        (0..self.stripes.len()).map(close).sum()
    }

    /// Opens every stripe, and fills the first ones with `tokens`.
    pub(super) fn open(&self, lease: u32, mut tokens: u32) {
        for index in 0..self.stripes.len() {
            let first = tokens.min(lease);
            tokens -= first;
            self.set(index, false, first);
        }
    }

    fn set(&self, index: usize, owned: bool, tokens: u32) -> Stripe {
        loop {
            let seen = self.load(index);
            let next = Stripe::new(seen.epoch() + 1, owned, tokens);
            if self.exchange(index, seen, next) {
                return seen;
            }
        }
    }
}
