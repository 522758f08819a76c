//! What a breaker remembers of its calls, in fixed memory and without a lock.
//!
//! # Orderings
//!
//! Every word here carries the stamp of the era it belongs to and is moved by compare-exchange,
//! or by the one thread that writes it, newest era first: an outcome of an earlier era finds a
//! newer stamp and changes nothing (models: `a_late_outcome_never_lands_in_a_newer_era`,
//! `a_late_success_never_lands_in_a_newer_era_of_another_thread`).
//!
//! In a window of calls one word has all that a rule decides by. It is released after the cell of
//! the outcome before has been written, and acquired, by itself or by that cell, before the evicted
//! outcome is read (models: `a_window_of_calls_never_forgets_what_is_in_its_ring`,
//! `a_stopped_call_overwrites_no_later_outcome`,
//! `a_window_of_calls_counts_no_failure_that_is_evicted`).
//!
//! In a window of time a call is counted before what went wrong with it is, and calls are read
//! after that, release on the one and acquire on the other: a failure is never seen without its
//! call and those before it, which would make a rate too high (models:
//! `no_failure_is_seen_without_its_call`, `a_failure_is_seen_with_the_successes_before_it`).
//!
//! In a window of time a word of a newer bucket is released after the front has moved there, and
//! acquired before the front is read once more: a sum with a hole in it, where a bucket has been
//! used again, is known for one and taken once more (models:
//! `no_failure_is_seen_without_its_call_where_a_bucket_is_reused`,
//! `no_failure_is_seen_without_its_call_where_a_thread_uses_its_bucket_again`,
//! `a_window_of_time_never_goes_back_to_a_bucket_before`).
//!
//! Nothing else is published, so all else is relaxed; what decides over the breaker's state is
//! the machine's own word.

mod calls;
mod successes;
mod time;

use calls::CallWindow;
use time::TimeWindow;

use super::trip::{Counts, Span, Window};
use crate::per_thread::ThreadSlot;
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::time::{Tick, nanos};

/// A count that belongs to a stamp: `[stamp: 32 bits][count: 32 bits, signed]`.
///
/// Stamps wrap; a word is newer than an outcome only if it is ahead by no more than an outcome
/// can be late ([`LATEST`]), else it is left from long ago. The failures of a window of slow calls
/// may be below zero for a moment, while an evicted outcome has been taken off whose own arrival
/// is still to be counted.
#[derive(Debug)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn new(stamp: u32) -> Self {
        Self(AtomicU64::new(pack(stamp, 0)))
    }

    /// Moves the count by what `step` makes of it, from zero where the stamp is newer than the
    /// word's. Gives the count before, or none where the word's stamp is newer.
    pub(super) fn update(&self, stamp: u32, step: impl Fn(i32) -> i32) -> Option<i32> {
        let mut word = self.0.load(Relaxed);
        loop {
            let (theirs, count) = unpack(word);
            if is_newer(theirs, stamp) {
                return None;
            }
            let count = if theirs == stamp { count } else { 0 };
            let next = pack(stamp, step(count));
            match self.0.compare_exchange_weak(word, next, Release, Relaxed) {
                Ok(_) => return Some(count),
                Err(now) => word = now,
            }
        }
    }

    pub(super) fn add(&self, stamp: u32, n: i32) {
        self.update(stamp, |count| count.saturating_add(n));
    }

    /// As `add` of one; whether another thread was met at it, or the count is high.
    fn add_and_tell(&self, stamp: u32) -> bool {
        let mut met = false;
        let mut word = self.0.load(Relaxed);
        loop {
            let (theirs, count) = unpack(word);
            if is_newer(theirs, stamp) {
                return met;
            }
            let count = if theirs == stamp { count } else { 0 };
            let next = pack(stamp, count.saturating_add(1));
            match self.0.compare_exchange(word, next, Release, Relaxed) {
                Ok(_) => return met || count >= successes::HOT,
                Err(now) => {
                    met = true;
                    word = now;
                }
            }
        }
    }

    /// The count, if it is of one of the `size` buckets up to `latest`.
    fn within(&self, latest: u32, size: u32) -> u32 {
        match self.read() {
            (stamp, count) if latest.wrapping_sub(stamp) < size => count,
            _ => 0,
        }
    }

    /// The stamp and the count.
    fn read(&self) -> (u32, u32) {
        let (stamp, count) = unpack(self.0.load(Acquire));
        (stamp, u32::try_from(count).unwrap_or(0))
    }

    pub(super) fn read_at(&self, stamp: u32) -> u32 {
        match self.read() {
            (theirs, count) if theirs == stamp => count,
            _ => 0,
        }
    }
}

const fn pack(stamp: u32, count: i32) -> u64 {
    (stamp as u64) << 32 | count as u32 as u64
}

const fn unpack(word: u64) -> (u32, i32) {
    ((word >> 32) as u32, word as u32 as i32)
}

/// By how many stamps an outcome can be late: a minute of the shortest buckets, and more eras
/// than pass while a thread is between two instructions. No more, because what is left from
/// almost a whole round of stamps ago looks newer too.
const LATEST: u32 = 1 << 16;

/// Whether `theirs` is newer than `mine`.
const fn is_newer(theirs: u32, mine: u32) -> bool {
    let ahead = theirs.wrapping_sub(mine);
    ahead != 0 && ahead < LATEST
}

/// A window over calls or over time.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // One to a window, behind its Arc.
pub(super) enum Memory {
    Calls(CallWindow),
    Time(TimeWindow),
}

impl Memory {
    /// `slow`: whether slow calls are counted too.
    pub(super) fn new(window: Window, slow: bool, generation: u32, now: Tick) -> Self {
        match window.0 {
            Span::Calls(calls) => Self::Calls(CallWindow::new(calls, slow, generation)),
            Span::Time { length, buckets } => {
                let bucket = (nanos(length) / u64::from(buckets)).max(time::LEAST);
                Self::Time(TimeWindow::new(bucket, buckets, slow, generation, now))
            }
        }
    }

    /// A new era begins.
    pub(super) fn begin(&self, generation: u32) {
        match self {
            Self::Calls(window) => window.begin(generation),
            // Its stamps are wide enough to tell any two eras apart.
            Self::Time(_) => {}
        }
    }

    /// A success that was not slow.
    pub(super) fn succeed(&self, generation: u32, now: Tick, slot: Option<ThreadSlot>) {
        match self {
            Self::Calls(window) => window.record(generation, false, false),
            Self::Time(window) => window.succeed(generation, now, slot),
        }
    }

    /// As [`succeed`](Self::succeed), before [`front_ends`](Self::front_ends).
    // Into whoever calls it, who then keeps nothing over the call.
    #[inline(always)]
    pub(super) fn succeed_in_front(&self, generation: u32, slot: Option<ThreadSlot>) {
        match self {
            Self::Calls(window) => window.record(generation, false, false),
            Self::Time(window) => window.succeed_in_front(generation, slot),
        }
    }

    /// Until when it counts where it does now.
    pub(super) fn front_ends(&self) -> Tick {
        match self {
            Self::Calls(_) => Tick::NEVER,
            Self::Time(window) => window.front_ends(),
        }
    }

    pub(super) fn record(
        &self,
        generation: u32,
        now: Tick,
        failed: bool,
        slow: bool,
        slot: Option<ThreadSlot>,
    ) {
        match self {
            Self::Calls(window) => window.record(generation, failed, slow),
            Self::Time(window) => window.record(generation, now, failed, slow, slot),
        }
    }

    pub(super) fn counts(&self, generation: u32, now: Tick) -> Counts {
        self.counts_if(generation, now, |_| true)
            .unwrap_or_default()
    }

    /// What was seen, if what went wrong is `worth` looking for what went well. The calls that
    /// `worth` is given are a part of all.
    pub(super) fn counts_if(
        &self,
        generation: u32,
        now: Tick,
        worth: impl Fn(&Counts) -> bool,
    ) -> Option<Counts> {
        match self {
            Self::Calls(window) => Some(window.counts(generation)),
            Self::Time(window) => window.counts(generation, now, worth),
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
