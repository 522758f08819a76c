use std::time::Duration;

use arc_swap::ArcSwap;

use super::{CircuitBreaker, Shared, flags_of};
use crate::backoff::Backoff;
#[cfg(feature = "tower")]
use crate::circuit_breaker::gate::Gate;
use crate::circuit_breaker::rules::{Config, GiveUp, OnDrop, Ramp, Rules, Windows};
use crate::circuit_breaker::run::Hint;
use crate::circuit_breaker::state::Machine;
use crate::circuit_breaker::trip::Trip;
use crate::event::{Event, Listeners};
use crate::policy::{ConfigError, Mode, Name};
use crate::rng::Jitter;
use crate::sync::{Arc, AtomicU64};
use crate::time;

/// Builds a [`CircuitBreaker`], or changes one that runs.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: Name,
    config: Config,
    /// Whether the rules are still the default ones, which the first own rule replaces.
    default_trips: bool,
    mode: Mode,
    seed: Option<u64>,
    listeners: Listeners,
}

impl Builder {
    pub(super) fn new(name: Name) -> Self {
        Self {
            default_trips: true,
            ..Self::from_config(name, Config::default())
        }
    }

    pub(super) fn from_config(name: Name, config: Config) -> Self {
        Self {
            name,
            config,
            default_trips: false,
            mode: Mode::Enforce,
            seed: None,
            listeners: Listeners::default(),
        }
    }

    /// Adds a rule to open by. The first one takes the place of the default rules: five
    /// failures in a row that last at least 1 s and lie within 60 s, or 90 % of at least 50
    /// calls over 10 s. In [`change`](CircuitBreaker::change) it always adds; to replace, use
    /// [`trips`](Self::trips).
    pub fn trip_on(mut self, trip: Trip) -> Self {
        if std::mem::replace(&mut self.default_trips, false) {
            self.config.trips.clear();
        }
        self.config.trips.push(trip);
        self
    }

    /// The rules to open by, in place of all others.
    pub fn trips(mut self, trips: impl IntoIterator<Item = Trip>) -> Self {
        self.default_trips = false;
        self.config.trips = trips.into_iter().collect();
        self
    }

    /// How long it stays open: longer with every recovery that fails, and from the start again
    /// once it has closed. 250 ms doubling to 1 s with equal jitter if not set: the first probe
    /// comes within a second of the dependency's recovery, and replicas do not probe together.
    ///
    /// Full jitter is taken as equal jitter: a breaker that could be open for no time at all would
    /// send to a dependency that has just been found down.
    pub fn open_for(mut self, wait: Backoff) -> Self {
        self.config.open_for = wait.at_least_half();
        self
    }

    /// Up to how long a `Retry-After` of the failure that opened it makes it stay open; 60 s if
    /// not set. Zero takes no notice of it.
    pub fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.config.retry_after_cap = cap;
        self
    }

    /// How many probes the half-open state admits at once, 1 to 255; 1 if not set: a dependency
    /// that is partly well should be used, and three probes that must all succeed find 30 % errors
    /// well with a chance of 0.34, one of 0.7.
    pub fn probes(mut self, probes: u32) -> Self {
        self.config.probes = probes;
        self
    }

    /// How many probes must succeed; all if not set.
    pub fn close_after(mut self, successes: u32) -> Self {
        self.config.close_after = Some(successes);
        self
    }

    /// How long the half-open state waits for its probes; 2 hours if not set, which only a probe
    /// that hangs can reach. A shorter time has to be longer than a call takes and than
    /// [`probes`](Self::probes) calls are apart: else a dependency that is well stays shut.
    pub fn half_open_for(mut self, most: Duration) -> Self {
        self.config.half_open_for = most;
        self
    }

    /// Where it goes when it has waited for its probes that long; open if not set.
    pub fn give_up_to(mut self, to: GiveUp) -> Self {
        self.config.give_up = to;
        self
    }

    /// After closing, admits a tenth of the calls at first and all after `over`, so that what
    /// has just come back is not run over. A failure rate above `reopen_at` (0 to 1), from 10
    /// calls on, opens it again. Off if not set.
    pub fn ramp(mut self, over: Duration, reopen_at: f64) -> Self {
        self.config.ramp = Some(Ramp { over, reopen_at });
        self
    }

    /// Closes at once, as without [`ramp`](Self::ramp).
    pub fn no_ramp(mut self) -> Self {
        self.config.ramp = None;
        self
    }

    /// What becomes of a call that is dropped before it came back.
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.config.on_drop = on_drop;
        self
    }

    /// How much time a call must have been given for its timeout to count as the dependency's
    /// failure: a caller with 5 ms left does not open a breaker that others share. Off if not
    /// set; half of the attempt's timeout is a good value.
    pub fn fair_time(mut self, least: impl Into<Option<Duration>>) -> Self {
        self.config.fair_time = least.into();
        self
    }

    /// The mode to start in; enforced if not set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Makes jitter the same in every run.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Calls `listener` for every event, for as long as the breaker lives.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// The breaker, closed.
    ///
    /// # Errors
    /// Everything that is wrong with the rules.
    pub fn build(self) -> Result<CircuitBreaker, ConfigError> {
        self.config.check(&self.name)?;
        Ok(self.assemble())
    }

    pub(super) fn assemble(self) -> CircuitBreaker {
        let now = time::now();
        let rules = Rules::new(self.config, 0, now, None);
        let windows = Windows::of(&rules);
        CircuitBreaker(Arc::new(Shared {
            name: self.name,
            machine: Machine::new(now, self.mode, flags_of(&rules, &windows)),
            failing: Hint::default(),
            rules: ArcSwap::from_pointee(rules),
            windows,
            jitter: self.seed.map_or_else(Jitter::from_entropy, Jitter::seeded),
            would_reject: AtomicU64::new(0),
            listeners: self.listeners,
            #[cfg(feature = "tower")]
            gate: Gate::default(),
        }))
    }

    /// In place of that of the beginning.
    #[cfg(feature = "tower")]
    pub(crate) fn name(self, name: impl Into<Name>) -> Self {
        let name = name.into();
        Self { name, ..self }
    }

    /// The mode to start in.
    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.mode
    }

    /// [`fair_time`](Self::fair_time), if it is set.
    #[cfg(feature = "tower")]
    pub(crate) fn least_fair_time(&self) -> Option<Duration> {
        self.config.fair_time
    }

    /// The times that have to hold a whole call, by the names of their settings.
    #[cfg(feature = "tower")]
    pub(crate) fn spans(&self) -> Vec<(&'static str, Duration)> {
        let spans = self.config.trips.iter().filter_map(Trip::span);
        let half_open = ("half_open_for", self.config.half_open_for);
        spans.chain([half_open]).collect()
    }

    /// How long a call has to take to be slow, by each rule that asks for it.
    #[cfg(feature = "tower")]
    pub(crate) fn slow_from(&self) -> impl Iterator<Item = Duration> {
        self.config.trips.iter().filter_map(Trip::slow_from)
    }

    pub(super) fn into_config(self) -> Result<Config, ConfigError> {
        self.config.check(&self.name)?;
        Ok(self.config)
    }
}
