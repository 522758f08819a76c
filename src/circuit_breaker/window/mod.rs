//! The outcomes of the calls in a window, in fixed memory and without a lock.
//!
//! # Memory ordering
//!
//! Every word carries the stamp of its generation. It is changed by compare-exchange, or by the one
//! thread that writes it, and the newest generation wins: an outcome of an earlier one finds a newer
//! stamp and changes nothing (models: `a_late_outcome_never_lands_in_a_newer_generation`,
//! `a_late_success_never_lands_in_a_newer_generation_of_another_thread`).
//!
//! In a window of calls one word has all that a rule decides by. It is released after the cell of
//! the previous outcome has been written. It is acquired, by itself or by that cell, before the
//! evicted outcome is read (models: `a_window_of_calls_never_forgets_what_is_in_its_ring`,
//! `a_stopped_call_overwrites_no_later_outcome`,
//! `a_window_of_calls_counts_no_failure_that_is_evicted`).
//!
//! In a window of time a call is counted before it is counted as slow, and read after that. Failures
//! are read before successes. Release on the one and acquire on the other: a failure is never seen
//! without its call and the calls before it, which would make a rate too high (models:
//! `no_failure_is_seen_without_its_call`, `a_failure_is_seen_with_the_successes_before_it`).
//!
//! A word of a newer bucket is released after the front has moved to that bucket, and acquired before
//! the front is read again: a sum in which a bucket has been reused is recognised and taken again
//! (models: `no_failure_is_seen_without_its_call_where_a_bucket_is_reused`,
//! `no_failure_is_seen_without_its_call_where_a_thread_uses_its_bucket_again`,
//! `a_window_of_time_never_goes_back_to_a_bucket_before`).
//!
//! Nothing else is published, so all else is relaxed.

mod calls;
mod successes;
mod tally;
mod time;

use calls::CallWindow;
pub(super) use tally::Tally;
use time::TimeWindow;

use super::counts::Counts;
use super::trip::{Span, Window};
use crate::per_thread::ThreadSlot;
use crate::time::{Tick, nanos};

/// The outcomes in a window over calls or over time.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // One to a window, behind its Arc.
pub(super) enum Outcomes {
    Calls(CallWindow),
    Time(TimeWindow),
}

impl Outcomes {
    /// `slow`: whether slow calls are counted too.
    pub(super) fn new(window: Window, slow: bool, generation: u32, now: Tick) -> Self {
        match window.0 {
            Span::Calls(calls) => Self::Calls(CallWindow::new(calls, slow, generation)),
            Span::Time { length, buckets } => {
                let bucket = (nanos(length) / u64::from(buckets)).max(time::SHORTEST);
                Self::Time(TimeWindow::new(bucket, buckets, slow, generation, now))
            }
        }
    }

    /// A generation begins.
    pub(super) fn begin(&self, generation: u32) {
        match self {
            Self::Calls(window) => window.begin(generation),
            // Its stamps are wide enough to separate any two generations.
            Self::Time(_) => {}
        }
    }

    /// Only the thread with this slot may pass it.
    #[inline]
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

    /// The counts, if the failures and slow calls alone make them `worth` the sum over all
    /// successes, of which every thread has its own.
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
