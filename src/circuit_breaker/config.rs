use std::time::Duration;

use super::trip::Trip;
use crate::backoff::{Backoff, Jitter};
use crate::config::{ConfigError, Name, Problems};
use crate::outcome::FailureKind;

/// How a call counts if its future is dropped before the call has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// A failure if the call is late, else ignored: a caller that cancels says nothing about the
    /// service. A call is late after the deadline that it was given ([`FailureKind::Timeout`]). It is
    /// also late if a [hedge](crate::Hedge) drops it because another attempt has won, after at least
    /// the hedge's delay ([`FailureKind::Slow`]): otherwise the breaker would not notice a service
    /// that never answers behind a hedge.
    #[default]
    IfLate,
    /// A failure if the deadline that the call was given has passed, else ignored.
    ByDeadline,
    /// Ignored.
    Ignore,
    /// A failure.
    Failure,
}

/// How a failure of kind [`FailureKind::Throttled`] counts: the dependency works, but demands fewer
/// calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Throttled {
    /// Rates ignore it, and do not count it as a call either, because overload is not an outage. It
    /// counts as a failure in a run of failures, in a number of failures and as a failed probe: if
    /// nothing succeeds, the reason does not matter. A run that ends with it must have
    /// [lasted](Trip::lasting) five times as long as another one.
    /// Its `Retry-After` does not extend the open wait.
    #[default]
    NotInRates,
    /// Like any other failure.
    Failure,
}

/// The slow return after closing: the admitted share grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ramp {
    pub(super) over: Duration,
    pub(super) reopen_at: f64,
}

/// All settings of a breaker but its [options](crate::common::Options).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) trips: Vec<Trip>,
    pub(super) open_for: Backoff,
    pub(super) retry_after_cap: Duration,
    pub(super) probes: u32,
    /// None: all of them.
    pub(super) close_after: Option<u32>,
    /// None: the default, which a stack replaces by its own.
    pub(super) max_probe_time: Option<Duration>,
    pub(super) ramp: Option<Ramp>,
    pub(super) on_drop: OnDrop,
    pub(super) throttled: Throttled,
    pub(super) fair_time: Option<Duration>,
}

/// The word has 8 bits for each count of probes.
const MOST_PROBES: u32 = 255;

/// Longer than a call takes that is worth waiting for.
const MAX_PROBE_TIME: Duration = Duration::from_secs(30);

impl Config {
    pub(super) fn close_after(&self) -> u32 {
        self.close_after.unwrap_or(self.probes)
    }

    pub(super) fn max_probe_time(&self) -> Duration {
        self.max_probe_time.unwrap_or(MAX_PROBE_TIME)
    }

    /// Whether a failure of this kind counts in rates.
    pub(super) fn rates(&self, kind: FailureKind) -> bool {
        kind != FailureKind::Throttled || self.throttled == Throttled::Failure
    }

    pub(super) fn check(&self, name: &Name) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        let allowed = "at least one rule; to never open, use Mode::Off";
        problems.check(!self.trips.is_empty(), "trip_on", &self.trips, allowed);
        for trip in &self.trips {
            trip.check(&mut problems);
        }
        self.open_for.check("open_for", &mut problems);
        let most = MOST_PROBES;
        let holds = (1..=most).contains(&self.probes);
        problems.check(holds, "probes", self.probes, format_args!("1 to {most}"));
        let (least, probes) = (self.close_after(), self.probes);
        let allowed = format!("1 to the {probes} probes");
        let holds = (1..=probes.max(1)).contains(&least) || self.close_after.is_none();
        problems.check(holds, "close_after", least, allowed);
        let most = self.max_probe_time();
        problems.check(!most.is_zero(), "max_probe_time", most, "more than zero");
        if let Some(Ramp { over, reopen_at }) = self.ramp {
            problems.check(!over.is_zero(), "ramp", over, "more than zero");
            let holds = reopen_at > 0.0 && reopen_at <= 1.0;
            problems.check(holds, "ramp_threshold", reopen_at, "above 0, at most 1");
        }
        problems.finish(name)
    }
}

impl Default for Config {
    fn default() -> Self {
        let secs = Duration::from_secs;
        let run = Trip::consecutive_failures(5).lasting(secs(1));
        Self {
            trips: vec![
                run.within(secs(60)),
                Trip::failure_rate(0.9).confidence_z(3.1),
            ],
            open_for: Backoff::exponential(Duration::from_millis(250))
                .max(secs(1))
                .jitter(Jitter::Equal),
            retry_after_cap: secs(60),
            probes: 1,
            close_after: None,
            max_probe_time: None,
            ramp: None,
            on_drop: OnDrop::default(),
            throttled: Throttled::default(),
            fair_time: None,
        }
    }
}
