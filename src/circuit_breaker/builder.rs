use std::cell::Cell;
use std::time::Duration;

use super::config::{Config, OnDrop, Ramp, Throttled};
use super::policy::CircuitBreaker;
use super::rules::Rules;
use super::trip::Trip;
use crate::backoff::Backoff;
use crate::common::{Options, option_setters};
#[cfg(feature = "tower")]
use crate::config::Mode;
use crate::config::{ConfigError, Name, PolicyKind};
use crate::macros::setters;
use crate::time;

/// Builds a [`CircuitBreaker`], or changes one that runs.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    options: Options,
    config: Config,
    /// Whether the rules are still the default ones, which the first own rule replaces.
    default_trips: bool,
}

impl CircuitBreaker {
    /// A breaker with the default rules.
    pub fn new(name: impl Into<Name>) -> Self {
        Self::builder(name).assemble()
    }

    /// Starts a breaker with rules of your own.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder {
            options: Options::named(PolicyKind::CircuitBreaker, name.into()),
            config: Config::default(),
            default_trips: true,
        }
    }

    /// Changes the rules while calls run. `change` gets a builder with the current configuration
    /// and mode; name, seed and listeners stay. `change` runs again if another change comes first,
    /// so that both changes stay. The state stays, and so do the counts of every rule whose window
    /// is unchanged; others start empty. A call is counted by the rules in force when it ends.
    ///
    /// # Errors
    /// All problems of the new configuration; nothing changes then.
    ///
    /// ```
    /// use seawall::CircuitBreaker;
    /// use seawall::circuit_breaker::Trip;
    ///
    /// let breaker = CircuitBreaker::new("payments");
    /// breaker.change(|now| now.trips([Trip::consecutive_failures(3)]))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        let before = self.mode();
        let mode = Cell::new(before);
        let replaced = self.0.rules.change(|now| {
            let current = Builder {
                options: self.common().changed(before),
                config: now.config.clone(),
                default_trips: false,
            };
            let Builder {
                options, config, ..
            } = change(current);
            mode.set(options.mode);
            config.check(self.name())?;
            // If the generation ends before these are installed, the next one finds new memories
            // empty, as it should.
            let generation = self.0.machine.word().generation();
            Ok(Rules::new(config, generation, time::now(), Some(now)))
        })?;
        self.follow_rules();
        if mode.get() != before {
            self.set_mode(mode.get());
        }
        drop(replaced);
        Ok(())
    }
}

impl Builder {
    option_setters!();

    /// Adds a rule that opens the breaker. The first one replaces the default rules: five failures in a row that
    /// last at least 1 s and lie within 60 s, or a failure rate over 10 s that is above 90 % with
    /// [confidence](Trip::confidence_z) (z = 3.1). In
    /// [`change`](CircuitBreaker::change) it always adds; to replace, use [`trips`](Self::trips).
    pub fn trip_on(mut self, trip: Trip) -> Self {
        if std::mem::replace(&mut self.default_trips, false) {
            self.config.trips.clear();
        }
        self.config.trips.push(trip);
        self
    }

    /// Sets the rules that open the breaker, and removes all others.
    pub fn trips(mut self, trips: impl IntoIterator<Item = Trip>) -> Self {
        self.default_trips = false;
        self.config.trips = trips.into_iter().collect();
        self
    }

    setters! {
        /// Sets how long it stays open. The wait grows with every recovery that fails, and is back
        /// at its first value once the breaker has closed. The default is 250 ms doubling to 1 s
        /// with equal jitter: the first probe comes within a second of the dependency's recovery,
        /// and replicas do not probe together.
        ///
        /// Jitter removes at most half of the wait: otherwise the breaker might not stay open at
        /// all for a dependency that is down. So full jitter is treated as equal jitter, and a
        /// decorrelated backoff as one that triples. A growing wait ends at eight times its base,
        /// unless a cap is [set](Backoff::max).
        open_for(wait: Backoff) => config.open_for = wait.for_open_wait();

        /// Sets how far a `Retry-After` of the failure that opened it can extend the wait. The default
        /// is 60 s; zero ignores it. A failure that forbids a retry ([`Duration::MAX`]) does not extend
        /// the wait, and neither does a throttled one by [default](Self::throttled).
        retry_after_cap(cap: Duration) => config.retry_after_cap = cap;

        /// Sets how many probes the half-open state admits at once, 1 to 255. The default is 1: a
        /// dependency that works in part should be used. At 30 % errors one probe closes with a
        /// probability of 0.7, three that must all succeed with 0.34.
        probes(probes: u32) => config.probes = probes;

        /// Sets how many probes must succeed. The default is all.
        close_after(successes: u32) => config.close_after = Some(successes);

        /// Sets how long a probe may take: more than zero, by default 30 s. A probe that hangs for
        /// longer is given up by the next call: it counts as failed, its permit is free, and its
        /// outcome no longer counts. With several probes in flight, all of them are given up
        /// when the last one has taken that long.
        ///
        /// It must be longer than a healthy call takes, or the breaker never closes. With a timeout
        /// below the breaker, a second more than that timeout is a good value. The client stack
        /// sets this value from its configuration. Setting the attempt timeout by its handle does
        /// not change it.
        max_probe_time(most: Duration) => config.max_probe_time = Some(most);

        /// After closing, admits a tenth of the calls at first and all after `over`, so that a
        /// dependency that has just recovered is not overloaded. A failure rate above `reopen_at` (0 to
        /// 1), of at least 10 calls, opens it again. Off by default.
        ramp(over: Duration, reopen_at: f64) => config.ramp = Some(Ramp { over, reopen_at });

        /// Removes the [`ramp`](Self::ramp): closes at once.
        no_ramp() => config.ramp = None;

        /// Sets how a call counts if it is dropped before its end.
        on_drop(on_drop: OnDrop) => config.on_drop = on_drop;

        /// Sets how a throttled failure counts, such as a 429 or 503. By default no rate counts
        /// it, so that a server that rejects nine calls in ten is still used up to its capacity.
        throttled(throttled: Throttled) => config.throttled = throttled;

        /// Sets how much time a call must have been given for its timeout to count as a failure: a
        /// caller with 5 ms left does not open a breaker that others share. Off by default; half of the
        /// attempt's timeout is a good value.
        fair_time(least: impl Into<Option<Duration>>) => config.fair_time = least.into();

        /// Makes jitter the same in every run.
        jitter_seed(seed: u64) => options.seed = Some(seed);
    }

    /// Builds the breaker, closed.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn build(self) -> Result<CircuitBreaker, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    fn assemble(self) -> CircuitBreaker {
        let now = time::now();
        CircuitBreaker::from_parts(self.options, Rules::new(self.config, 0, now, None), now)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.config.check(&self.options.name)
    }

    /// The defaults. The options stay, and so do [custom](Trip::custom) rules.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self) -> Self {
        let mut config = Config::default();
        let custom = self.config.trips.into_iter().filter(Trip::is_custom);
        config.trips.extend(custom);
        Self {
            config,
            default_trips: false,
            ..self
        }
    }

    /// Sets the rules that open the breaker, and keeps the custom ones.
    #[cfg(feature = "serde")]
    pub(crate) fn trips_beside_custom(mut self, trips: Vec<Trip>) -> Self {
        let custom = std::mem::take(&mut self.config.trips);
        let custom = custom.into_iter().filter(Trip::is_custom);
        self.trips(trips.into_iter().chain(custom))
    }

    /// Whether all but name and listeners is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.config == other.config && self.options.mode == other.options.mode
    }

    /// The mode that the breaker starts in.
    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.options.mode
    }

    /// Its numbers as text.
    #[cfg(feature = "tower")]
    pub(crate) fn text(&self) -> String {
        let rules: Vec<_> = self.config.trips.iter().map(Trip::to_string).collect();
        let (rules, wait) = (rules.join(" or "), self.config.open_for);
        format!("opens by {rules}, open for {wait}")
    }

    /// [`fair_time`](Self::fair_time), if it is set.
    #[cfg(feature = "tower")]
    pub(crate) fn least_fair_time(&self) -> Option<Duration> {
        self.config.fair_time
    }

    /// The times that must hold a whole call, by the names of their settings.
    #[cfg(feature = "tower")]
    pub(crate) fn spans(&self) -> Vec<(&'static str, Duration)> {
        let spans = self.config.trips.iter().filter_map(Trip::span);
        let probe = self.config.max_probe_time;
        let probe = probe.map(|most| ("max_probe_time", most));
        spans.chain(probe).collect()
    }

    /// [`max_probe_time`](Self::max_probe_time), if it is set.
    #[cfg(feature = "tower")]
    pub(crate) fn longest_probe(&self) -> Option<Duration> {
        self.config.max_probe_time
    }

    /// The thresholds of the rules that count slow calls.
    #[cfg(feature = "tower")]
    pub(crate) fn slow_from(&self) -> impl Iterator<Item = Duration> {
        self.config.trips.iter().filter_map(Trip::slow_after)
    }
}
