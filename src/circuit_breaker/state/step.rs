use std::collections::VecDeque;
use std::time::Duration;

use super::{Cause, State, Transition};
use crate::circuit_breaker::rules::{Config, Tripped};
use crate::outcome::NEVER;
use crate::time::{Count, Tick};

/// What only whoever moves the machine sees.
#[derive(Debug, Default)]
pub(in crate::circuit_breaker) struct Control {
    /// Failed recoveries since it was last closed.
    pub(in crate::circuit_breaker) failed_recoveries: u32,
    pub(in crate::circuit_breaker) last_trip: Option<(Tripped, Tick)>,
    /// Transitions that nobody has been told of yet, oldest first.
    pub(in crate::circuit_breaker) untold: VecDeque<Transition>,
    pub(in crate::circuit_breaker) telling: bool,
}

/// A move with all that belongs to it.
pub(in crate::circuit_breaker) struct Step<'a> {
    pub(in crate::circuit_breaker) from: Option<u32>,
    pub(in crate::circuit_breaker) to: State,
    pub(in crate::circuit_breaker) cause: Cause,
    pub(in crate::circuit_breaker) timing: Timing<'a>,
}

/// What the length of a state is computed from.
#[derive(Clone, Copy)]
pub(in crate::circuit_breaker) struct Timing<'a> {
    pub(in crate::circuit_breaker) config: &'a Config,
    /// Randomness in `[0, 1)`.
    pub(in crate::circuit_breaker) fraction: f64,
    /// When the dependency asked to be called again.
    pub(in crate::circuit_breaker) retry_after: Option<Duration>,
    /// A count of the clock's counter that is surely before a time.
    pub(in crate::circuit_breaker) before: fn(Tick) -> Count,
}

impl Control {
    /// How long it stays open.
    pub(in crate::circuit_breaker) fn wait(&self, left: State, timing: &Timing<'_>) -> Duration {
        let failures = match left {
            State::Closed => 1,
            _ => self.failed_recoveries.saturating_add(2),
        };
        let config = timing.config;
        let wait = config.open_for.delay(failures, timing.fraction);
        // "Do not retry this call" says nothing about when the next one may come.
        let floor = timing.retry_after.filter(|&floor| floor != NEVER);
        let floor = floor.unwrap_or_default();
        wait.max(floor.min(config.retry_after_cap))
    }
}
