mod config;
mod windows;

use std::time::Duration;

pub(super) use config::{Config, Ramp};
pub use config::{GiveUp, OnDrop};
pub(super) use windows::Windows;

use super::run::{Recent, Row, Run};
use super::trip::{Counts, Trip, When};
use super::window::Memory;
use crate::classify::Kind;
use crate::slot::Slot;
use crate::sync::Arc;
use crate::time::{Tick, nanos};

/// A finished call, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    pub(super) failure: Option<(Kind, Option<Duration>)>,
    /// None where nobody asked how long calls take.
    pub(super) elapsed: Option<Duration>,
    /// Of the thread that it finished on.
    pub(super) slot: Option<Slot>,
}

/// What tripped a breaker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tripped {
    /// The rule, as it was configured.
    pub rule: String,
    /// What had been seen when it held.
    pub counts: Counts,
    /// What sort of failure the last one was.
    pub kind: Kind,
    /// When the dependency asked to be called again.
    pub retry_after: Option<Duration>,
}

/// The rules of a breaker with what they remember.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) config: Config,
    memories: Vec<Remembers>,
    /// Of all calls, also where no rule is about a run: a rule of the user's may ask for it.
    row: Arc<Row>,
    /// What the ramp has seen of its era.
    ramp: Option<Arc<Memory>>,
}

#[derive(Clone, Debug)]
enum Remembers {
    Run(Arc<Run>),
    Recent(Arc<Recent>),
    Window(Arc<Memory>),
}

/// From how many calls on the failure rate of a ramp means anything.
const RAMP_CALLS: u32 = 10;

impl Rules {
    /// Takes over what `before` remembers wherever the window is the same.
    pub(super) fn new(config: Config, era: u32, now: Tick, before: Option<&Self>) -> Self {
        let mut old: Vec<_> = before.map_or_else(Vec::new, |before| {
            before.config.trips.iter().zip(&before.memories).collect()
        });
        // Each goes to one rule only: two that share a memory would count every call twice.
        let mut keep = |alike: &dyn Fn(&Trip) -> bool| {
            let at = old.iter().position(|(old, _)| alike(old))?;
            Some(old.remove(at).1.clone())
        };
        // A rule that stays as it is keeps its own, before another may have it.
        let own: Vec<_> = (config.trips.iter())
            .map(|trip| keep(&|old| old == trip))
            .collect();
        let fresh = |trip: &Trip| match trip.when {
            When::Consecutive(n) => Remembers::Run(Arc::new(match trip.within {
                Some(_) => Run::cut(n, era),
                None => Run::new(era),
            })),
            When::Failures(n) => Remembers::Recent(Arc::new(Recent::new(n, era))),
            _ => {
                let slow = slow_after(trip).is_some();
                Remembers::Window(Arc::new(Memory::new(trip.window, slow, era, now)))
            }
        };
        let memories = (config.trips.iter().zip(own))
            .map(|(trip, own)| {
                own.or_else(|| keep(&|old| remembers_alike(old, trip)))
                    .unwrap_or_else(|| fresh(trip))
            })
            .collect();
        let kept = before.filter(|before| before.config.ramp == config.ramp);
        let ramp = match kept {
            Some(before) => before.ramp.clone(),
            None => config.ramp.map(|ramp| {
                let window = super::Window::time(ramp.over.saturating_mul(2));
                Arc::new(Memory::new(window, false, era, now))
            }),
        };
        let row = before.map_or_else(|| Arc::new(Row::new(era)), |before| before.row.clone());
        Self {
            memories,
            row,
            ramp,
            config,
        }
    }

    /// Whether a success has to be recorded beyond ending a run of failures.
    pub(super) fn count_successes(&self) -> bool {
        self.windows().next().is_some()
    }

    fn windows(&self) -> impl Iterator<Item = &Arc<Memory>> {
        self.memories.iter().filter_map(|memory| match memory {
            Remembers::Window(window) => Some(window),
            Remembers::Run(_) | Remembers::Recent(_) => None,
        })
    }

    /// Whether a call's start has to be known.
    pub(super) fn time_calls(&self) -> bool {
        self.slow_after().is_some() || self.config.fair_time.is_some()
    }

    /// The least threshold of all slow rules.
    pub(super) fn slow_after(&self) -> Option<Duration> {
        let thresholds = self.config.trips.iter().filter_map(slow_after);
        thresholds.min()
    }

    /// A new era has begun, or is about to.
    pub(super) fn begin(&self, era: u32) {
        for memory in &self.memories {
            match memory {
                Remembers::Run(run) => run.begin(era),
                Remembers::Recent(recent) => recent.begin(era),
                Remembers::Window(window) => window.begin(era),
            }
        }
    }

    /// Records a call of the closed state, and names the rule that holds now, if one does.
    ///
    /// Rules are asked only when a call failed or was slow: nothing else can make one hold.
    pub(super) fn record(&self, era: u32, now: Tick, call: &Finished) -> Option<Tripped> {
        let mut asked = call.failure.is_some();
        match asked {
            true => self.row.failure(era),
            false => self.row.success(era),
        }
        // The first rule without a rate that holds.
        let mut run_holds = None;
        for (at, (trip, memory)) in self.pairs().enumerate() {
            match memory {
                Remembers::Run(run) if call.failure.is_none() => run.success(era),
                Remembers::Run(run) => {
                    let millis = |d: Duration| nanos(d) / 1_000_000;
                    let within = trip.within.map(millis);
                    let (length, lasted) = run.failure(era, now, within);
                    let long = lasted >= trip.lasting.map_or(0, millis);
                    if matches!(trip.when, When::Consecutive(n) if length >= n && long) {
                        run_holds.get_or_insert(at);
                    }
                }
                Remembers::Recent(recent) => {
                    if call.failure.is_none() {
                        continue;
                    }
                    let oldest = recent.failure(era, now);
                    if oldest.is_some_and(|ago| ago <= trip.failures_within_micros()) {
                        run_holds.get_or_insert(at);
                    }
                }
                Remembers::Window(window) => {
                    let threshold = slow_after(trip);
                    let slow = threshold.is_some() && call.elapsed > threshold;
                    asked |= slow;
                    window.record(era, now, call.failure.is_some(), slow, call.slot);
                }
            }
        }
        if !asked {
            return None;
        }
        let (trip, counts) = self.pairs().enumerate().find_map(|(at, (trip, memory))| {
            if let Remembers::Window(window) = memory {
                let seen = window.counts_if(era, now, |bad| trip.may_hold(bad));
                let counts = self.with_row(seen?, era);
                return trip.holds(&counts).then_some((trip, counts));
            }
            if run_holds != Some(at) {
                return None;
            }
            let mut counts = self.counts_of(trip, era, now);
            if let When::Failures(n) = trip.when {
                // With the one that opens it, which its memory has no cell for.
                (counts.calls, counts.failures) = (n, n);
            }
            Some((trip, counts))
        })?;
        let (kind, retry_after) = call.failure.unwrap_or((Kind::Slow, None));
        Some(Tripped {
            rule: trip.to_string(),
            counts,
            kind,
            retry_after,
        })
    }

    /// Records a call of the ramp, and says whether too many of them fail.
    pub(super) fn record_ramp(&self, era: u32, now: Tick, call: &Finished) -> Option<Tripped> {
        let ramp = self.config.ramp?;
        let memory = self.ramp.as_ref()?;
        memory.record(era, now, call.failure.is_some(), false, call.slot);
        let (kind, retry_after) = call.failure?;
        let counts = self.with_row(memory.counts(era, now), era);
        let enough = counts.calls >= RAMP_CALLS;
        let holds = enough && counts.failure_rate() > Some(ramp.reopen_at);
        holds.then(|| Tripped {
            rule: format!("failure rate above {} while recovering", ramp.reopen_at),
            counts,
            kind,
            retry_after,
        })
    }

    fn pairs(&self) -> impl Iterator<Item = (&Trip, &Remembers)> {
        self.config.trips.iter().zip(&self.memories)
    }

    /// What the memory of `trip`, one of the rules, has seen.
    fn counts_of(&self, trip: &Trip, era: u32, now: Tick) -> Counts {
        let own = self.pairs().find(|(other, _)| std::ptr::eq(*other, trip));
        match own {
            Some((_, Remembers::Run(run))) => {
                let length = run.length(era);
                let counts = Counts {
                    calls: length,
                    failures: length,
                    ..Counts::default()
                };
                self.with_row(counts, era)
            }
            Some((_, Remembers::Recent(recent))) => {
                let failures = recent.within(era, now, trip.failures_within_micros());
                let counts = Counts {
                    calls: failures,
                    failures,
                    ..Counts::default()
                };
                self.with_row(counts, era)
            }
            Some((_, Remembers::Window(window))) => self.with_row(window.counts(era, now), era),
            None => Counts::default(),
        }
    }

    /// With the failures in a row until now.
    fn with_row(&self, counts: Counts, era: u32) -> Counts {
        Counts {
            consecutive: self.row.length(era),
            ..counts
        }
    }

    /// What every rule has seen, in their order.
    pub(super) fn counts(&self, era: u32, now: Tick) -> Vec<(&Trip, Counts)> {
        (self.config.trips.iter())
            .map(|trip| (trip, self.counts_of(trip, era, now)))
            .collect()
    }
}

/// Whether what was remembered for one rule serves the other.
fn remembers_alike(old: &Trip, new: &Trip) -> bool {
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

fn slow_after(trip: &Trip) -> Option<Duration> {
    match trip.when {
        When::SlowRate(_, longer_than) => Some(longer_than),
        _ => None,
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
