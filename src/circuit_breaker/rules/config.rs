use std::time::Duration;

use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::trip::Trip;
use crate::policy::{ConfigError, Name, Problems};

/// What becomes of a call whose future is dropped before it came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// A failure if the deadline that the call was given has passed, else ignored: a caller who
    /// hangs up says nothing of the service, a timeout does.
    #[default]
    ByDeadline,
    /// Ignored.
    Ignore,
    /// A failure.
    Failure,
}

/// Where a half-open breaker goes that has waited for its probes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUp {
    /// Open: a dependency that does not answer has not recovered.
    #[default]
    Open,
    /// Closed.
    Closed,
}

/// The slow return after closing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::circuit_breaker) struct Ramp {
    pub(in crate::circuit_breaker) over: Duration,
    pub(in crate::circuit_breaker) reopen_at: f64,
}

/// All knobs of a breaker.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::circuit_breaker) struct Config {
    pub(in crate::circuit_breaker) trips: Vec<Trip>,
    pub(in crate::circuit_breaker) open_for: Backoff,
    pub(in crate::circuit_breaker) retry_after_cap: Duration,
    pub(in crate::circuit_breaker) probes: u32,
    /// None: all of them.
    pub(in crate::circuit_breaker) close_after: Option<u32>,
    pub(in crate::circuit_breaker) half_open_for: Duration,
    pub(in crate::circuit_breaker) give_up: GiveUp,
    pub(in crate::circuit_breaker) ramp: Option<Ramp>,
    pub(in crate::circuit_breaker) on_drop: OnDrop,
    pub(in crate::circuit_breaker) fair_time: Option<Duration>,
}

const MOST_PROBES: u32 = 255;

/// Longer than any call that a breaker should stand before, and than the pauses of a client that
/// polls: only a probe that hangs, with no timeout below, is given up by it.
const HALF_OPEN_FOR: Duration = Duration::from_secs(2 * 3_600);

impl Config {
    pub(in crate::circuit_breaker) fn default_trips() -> Vec<Trip> {
        let secs = Duration::from_secs;
        vec![
            Trip::consecutive_failures(5)
                .lasting(secs(1))
                .within(secs(60)),
            Trip::failure_rate(0.9).min_calls(50),
        ]
    }

    /// This one, made out of `base`, with everything that it has not changed as it is in `now`.
    /// All rules together are one knob.
    pub(in crate::circuit_breaker) fn over(self, base: &Self, now: &Self) -> Self {
        fn pick<T: PartialEq + Clone>(mine: T, base: &T, now: &T) -> T {
            if mine == *base { now.clone() } else { mine }
        }
        Self {
            trips: pick(self.trips, &base.trips, &now.trips),
            open_for: pick(self.open_for, &base.open_for, &now.open_for),
            retry_after_cap: pick(
                self.retry_after_cap,
                &base.retry_after_cap,
                &now.retry_after_cap,
            ),
            probes: pick(self.probes, &base.probes, &now.probes),
            close_after: pick(self.close_after, &base.close_after, &now.close_after),
            half_open_for: pick(self.half_open_for, &base.half_open_for, &now.half_open_for),
            give_up: pick(self.give_up, &base.give_up, &now.give_up),
            ramp: pick(self.ramp, &base.ramp, &now.ramp),
            on_drop: pick(self.on_drop, &base.on_drop, &now.on_drop),
            fair_time: pick(self.fair_time, &base.fair_time, &now.fair_time),
        }
    }

    pub(in crate::circuit_breaker) fn close_after(&self) -> u32 {
        self.close_after.unwrap_or(self.probes)
    }

    pub(in crate::circuit_breaker) fn check(&self, name: &Name) -> Result<(), ConfigError> {
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
        let allowed = format_args!("1 to the {probes} probes").to_string();
        let holds = (1..=probes.max(1)).contains(&least) || self.close_after.is_none();
        problems.check(holds, "close_after", least, allowed);
        let most = self.half_open_for;
        problems.check(!most.is_zero(), "half_open_for", most, "more than zero");
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
        Self {
            trips: Self::default_trips(),
            open_for: Backoff::exponential(Duration::from_millis(250))
                .max(Duration::from_secs(1))
                .jitter(Jitter::Equal),
            retry_after_cap: Duration::from_secs(60),
            probes: 1,
            close_after: None,
            half_open_for: HALF_OPEN_FOR,
            give_up: GiveUp::default(),
            ramp: None,
            on_drop: OnDrop::default(),
            fair_time: None,
        }
    }
}
