//! The rules of a breaker with their memories.
//!
//! # Memory ordering
//!
//! A success ends the streaks only if a failure is in one of them, or in `consecutive`: without one
//! it costs a load of each. It reads each word itself, because another success may have cleared one
//! of them and not yet the others. No word publishes anything but itself, so all is relaxed (models:
//! `a_success_leaves_no_streak`, `a_success_that_has_ended_is_in_no_run_of_failures`).

mod tripped;

use std::time::Duration;

use super::config::Config;
use super::counts::Counts;
use super::streak::{Recent, Streak};
use super::trip::{Trip, When, Window};
use super::window::{Outcomes, Tally};
use crate::outcome::FailureKind;
use crate::per_thread::ThreadSlot;
use crate::sync::Arc;
use crate::time::{Tick, nanos};
pub use tripped::Tripped;

/// A call that has ended, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) failure: Option<(FailureKind, Option<Duration>)>,
    /// None where calls are not timed.
    pub(super) elapsed: Option<Duration>,
    /// The slot of the thread that it ended on.
    pub(super) slot: Option<ThreadSlot>,
}

/// The rules of one configuration with their memories. A change makes new rules, which take over
/// the memories that they can use.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) config: Config,
    /// One for each rule.
    memories: Vec<Memory>,
    /// Whether a memory counts successes.
    pub(super) counts_successes: bool,
    /// Those of the memories that a success ends.
    streaks: Box<[Arc<Streak>]>,
    /// The failures in a row of all calls, for custom rules and snapshots.
    consecutive: Arc<Tally>,
    /// The outcomes of a ramp.
    ramp: Option<Arc<Outcomes>>,
    /// The least threshold of all slow rules.
    pub(super) slow_after: Option<Duration>,
}

/// The memory of a rule.
#[derive(Clone, Debug)]
enum Memory {
    Streak(Arc<Streak>),
    Recent(Arc<Recent>),
    Window(Arc<Outcomes>),
}

impl Memory {
    fn new(trip: &Trip, generation: u32, now: Tick) -> Self {
        match trip.when {
            When::Consecutive(n) => Self::Streak(Arc::new(match trip.within {
                Some(_) => Streak::within(n, generation),
                None => Streak::new(generation),
            })),
            When::Failures(n) => Self::Recent(Arc::new(Recent::new(n, generation))),
            _ => {
                let slow = trip.slow_after().is_some();
                Self::Window(Arc::new(Outcomes::new(trip.window, slow, generation, now)))
            }
        }
    }

    fn streak(&self) -> Option<Arc<Streak>> {
        match self {
            Self::Streak(streak) => Some(Arc::clone(streak)),
            Self::Recent(_) | Self::Window(_) => None,
        }
    }

    fn begin(&self, generation: u32) {
        match self {
            Self::Streak(streak) => streak.begin(generation),
            Self::Recent(recent) => recent.begin(generation),
            Self::Window(window) => window.begin(generation),
        }
    }

    fn counts(&self, trip: &Trip, generation: u32, now: Tick) -> Counts {
        let failures = match self {
            Self::Window(window) => return window.counts(generation, now),
            Self::Streak(streak) => streak.length(generation),
            Self::Recent(recent) => recent.count(generation, now, trip.failures_within_micros()),
        };
        Counts {
            calls: failures,
            failures,
            ..Counts::default()
        }
    }
}

/// How many times as long a run must have lasted if its last failure is throttled: that is what a
/// service that works says to the callers of one tenant, while those of another may be rare.
const THROTTLED: u64 = 5;

fn millis(time: Duration) -> u64 {
    nanos(time) / 1_000_000
}

/// How long a run must have lasted, in milliseconds. It may be no longer than its rule looks back.
fn least_run(trip: &Trip, rated: bool) -> u64 {
    let least = trip.lasting.map_or(0, millis);
    match (rated, trip.within.map(millis)) {
        (true, _) => least,
        (false, None) => THROTTLED * least,
        (false, Some(within)) => (THROTTLED * least).min(within / 2).max(least),
    }
}

/// The failure rate of a ramp means nothing below this number of calls.
const RAMP_CALLS: u32 = 10;

/// The share of failures at which a rule opens.
pub(super) fn threshold(trip: &Trip) -> Option<f64> {
    match trip.when {
        When::FailureRate(rate) => Some(rate),
        _ => None,
    }
}

/// The run of failures at which a rule opens.
pub(super) fn longest_run(trip: &Trip) -> Option<u32> {
    match trip.when {
        When::Consecutive(n) => Some(n),
        _ => None,
    }
}

impl Rules {
    /// Takes over the memories of `before` where the window is the same.
    pub(super) fn new(config: Config, generation: u32, now: Tick, before: Option<&Self>) -> Self {
        let mut old: Vec<_> = before.map_or_else(Vec::new, |before| before.pairs().collect());
        // A memory goes to one rule: two that share one would count every call twice.
        let mut take = |fits: &dyn Fn(&Trip) -> bool| {
            let at = old.iter().position(|(old, _)| fits(old))?;
            Some(old.remove(at).1.clone())
        };
        // A rule that stays the same keeps its own, before another rule may take it.
        let trips = config.trips.iter();
        let own: Vec<_> = trips.map(|trip| take(&|old| old == trip)).collect();
        let memories: Vec<_> = (config.trips.iter().zip(own))
            .map(|(trip, own)| {
                own.or_else(|| take(&|old| fits(old, trip)))
                    .unwrap_or_else(|| Memory::new(trip, generation, now))
            })
            .collect();
        let ramp = match before.filter(|before| before.config.ramp == config.ramp) {
            Some(before) => before.ramp.clone(),
            None => config.ramp.map(|ramp| {
                let window = Window::time(ramp.over.saturating_mul(2));
                Arc::new(Outcomes::new(window, false, generation, now))
            }),
        };
        let consecutive = before.map_or_else(
            || Arc::new(Tally::new(generation)),
            |before| Arc::clone(&before.consecutive),
        );
        Self {
            slow_after: config.trips.iter().filter_map(Trip::slow_after).min(),
            config,
            counts_successes: memories.iter().any(|at| matches!(at, Memory::Window(_))),
            streaks: memories.iter().filter_map(Memory::streak).collect(),
            memories,
            consecutive,
            ramp,
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&Trip, &Memory)> {
        self.config.trips.iter().zip(&self.memories)
    }

    /// Whether the start of a call matters.
    pub(super) fn times_calls(&self) -> bool {
        self.slow_after.is_some() || self.config.fair_time.is_some()
    }

    /// Forgets everything: a generation is about to begin.
    pub(super) fn begin(&self, generation: u32) {
        self.memories
            .iter()
            .for_each(|memory| memory.begin(generation));
    }

    /// Whether a call has failed since the last success. If none has, a success has no streak to
    /// end.
    #[inline]
    pub(super) fn has_streak(&self, generation: u32) -> bool {
        let mut streaks = self.streaks.iter();
        self.consecutive.read_at(generation) > 0 || streaks.any(|streak| !streak.is_empty())
    }

    /// Records a success that was not timed and [ends no streak](Self::has_streak).
    #[inline]
    pub(super) fn count_success(&self, generation: u32, now: Tick, slot: Option<ThreadSlot>) {
        for memory in &self.memories {
            if let Memory::Window(window) = memory {
                window.record(generation, now, false, false, slot);
            }
        }
    }

    /// Records a call of the closed state, and returns the rule that holds now, if there is one.
    ///
    /// Rules are evaluated only when a call failed or was slow: nothing else can make one hold.
    pub(super) fn record(&self, generation: u32, now: Tick, call: &Ended) -> Option<Tripped> {
        let failed = call.failure.is_some();
        let rated = self.rates(call);
        if failed {
            self.consecutive.add(generation, 1);
        } else if self.consecutive.read_at(generation) > 0 {
            self.consecutive.update(generation, |_| 0);
        }
        let mut evaluate = failed;
        // The first rule without a rate that holds.
        let mut holds = None;
        for (at, (trip, memory)) in self.pairs().enumerate() {
            match memory {
                Memory::Streak(streak) if !failed => streak.success(generation),
                Memory::Recent(_) if !failed => {}
                Memory::Streak(streak) => {
                    let within = trip.within.map(millis);
                    let (length, lasted) = streak.failure(generation, now, within);
                    let long = lasted >= least_run(trip, rated);
                    if matches!(trip.when, When::Consecutive(n) if length >= n && long) {
                        holds.get_or_insert(at);
                    }
                }
                Memory::Recent(recent) => {
                    let first = recent.failure(generation, now);
                    if first.is_some_and(|age| age <= trip.failures_within_micros()) {
                        holds.get_or_insert(at);
                    }
                }
                Memory::Window(_) if !rated => {}
                Memory::Window(window) => {
                    let threshold = trip.slow_after();
                    let slow = threshold.is_some() && (call.elapsed > threshold || call.is_slow());
                    evaluate |= slow;
                    window.record(generation, now, failed, slow, call.slot);
                }
            }
        }
        if !evaluate {
            return None;
        }
        let (trip, counts) = self.first_that_holds(holds, rated, generation, now)?;
        Some(call.trips(trip.to_string(), counts))
    }

    /// The first rule that holds: the one at `holds`, or one with a window before it.
    fn first_that_holds(
        &self,
        holds: Option<usize>,
        rated: bool,
        generation: u32,
        now: Tick,
    ) -> Option<(&Trip, Counts)> {
        self.pairs().enumerate().find_map(|(at, (trip, memory))| {
            if let Memory::Window(window) = memory {
                // A call that is in no rate trips by none. A custom rule sees the run of failures.
                if !rated && !matches!(trip.when, When::Custom(..)) {
                    return None;
                }
                let counts = window.counts_if(generation, now, |bad| trip.may_hold(bad))?;
                let counts = self.with_consecutive(counts, generation);
                return trip.holds(&counts).then_some((trip, counts));
            }
            if holds != Some(at) {
                return None;
            }
            let mut counts = memory.counts(trip, generation, now);
            if let When::Failures(n) = trip.when {
                // With the last one, which its memory has no cell for.
                (counts.calls, counts.failures) = (n, n);
            }
            Some((trip, self.with_consecutive(counts, generation)))
        })
    }

    /// Records a call of the ramp, and returns what trips it if too many calls fail.
    pub(super) fn record_ramp(&self, generation: u32, now: Tick, call: &Ended) -> Option<Tripped> {
        let (config, ramp) = (self.config.ramp?, self.ramp.as_ref()?);
        if !self.rates(call) {
            return None;
        }
        ramp.record(generation, now, call.failure.is_some(), false, call.slot);
        call.failure?;
        let counts = self.with_consecutive(ramp.counts(generation, now), generation);
        let holds = counts.calls >= RAMP_CALLS && counts.failure_rate() > Some(config.reopen_at);
        let rule = || format!("failure rate above {} while recovering", config.reopen_at);
        holds.then(|| call.trips(rule(), counts))
    }

    /// Whether the call counts in rates.
    fn rates(&self, call: &Ended) -> bool {
        let kind = call.failure.map(|(kind, _)| kind);
        kind.is_none_or(|kind| self.config.rates(kind))
    }

    fn with_consecutive(&self, counts: Counts, generation: u32) -> Counts {
        Counts {
            consecutive: self.consecutive.read_at(generation),
            ..counts
        }
    }

    /// The counts of every rule, in their order.
    pub(super) fn counts(&self, generation: u32, now: Tick) -> Vec<(&Trip, Counts)> {
        let counts = |(trip, memory): (_, &Memory)| {
            let counts = memory.counts(trip, generation, now);
            (trip, self.with_consecutive(counts, generation))
        };
        self.pairs().map(counts).collect()
    }
}

impl Ended {
    /// Whether it is slow whatever the threshold.
    fn is_slow(&self) -> bool {
        matches!(self.failure, Some((FailureKind::Slow, _)))
    }

    fn trips(&self, rule: String, counts: Counts) -> Tripped {
        let (kind, retry_after) = self.failure.unwrap_or((FailureKind::Slow, None));
        Tripped {
            rule,
            counts,
            kind,
            retry_after,
            error: None,
        }
    }
}

/// Whether the memory of one rule serves the other.
fn fits(old: &Trip, new: &Trip) -> bool {
    match (&old.when, &new.when) {
        (When::Consecutive(_), When::Consecutive(_)) => true,
        (When::Failures(a), When::Failures(b)) => a == b,
        (When::SlowRate(_, a), When::SlowRate(_, b)) => a == b && old.window == new.window,
        (When::FailureRate(_) | When::Custom(..), When::FailureRate(_) | When::Custom(..)) => {
            old.window == new.window
        }
        _ => false,
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
