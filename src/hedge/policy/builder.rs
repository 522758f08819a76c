//! Making a hedge.

use std::panic::Location;
use std::time::Duration;

use super::{Counts, Hedge, LONGEST, LONGEST_DELAY, Latencies, Setting, Shared, When};
use crate::budget::Budget;
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::event::{Event, Listeners};
use crate::sync::{Arc, AtomicU64, OnceLock};
use crate::time::nanos;

/// Makes a [`Hedge`]; made by [`Hedge::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `.build()`"]
pub struct Builder {
    name: Name,
    setting: Setting,
    min_delay: Duration,
    min_samples: u32,
    window: Duration,
    budget: Option<Budget>,
    listeners: Listeners,
}

impl Builder {
    pub(super) fn new(place: &Location<'_>) -> Self {
        Self {
            name: Name::at("hedge", place),
            setting: Setting {
                when: When::Quantile(0.95),
                max_extra: 1,
                mode: Mode::Enforce,
            },
            min_delay: Duration::from_millis(1),
            min_samples: 100,
            window: Duration::from_secs(30),
            budget: None,
            listeners: Listeners::default(),
        }
    }

    /// The name, in events; `hedge@` and the place of the builder if not set.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// Begins an extra attempt when a call has taken longer than this share of the calls of the
    /// [window](Self::window), above 0 and below 1, kept to the millionth; 0.95 if not set.
    pub fn quantile(mut self, quantile: f64) -> Self {
        self.setting.when = When::Quantile(quantile);
        self
    }

    /// Begins an extra attempt after `delay`, in place of a quantile. Zero makes all attempts at
    /// once, as far as the budget goes. At most 104 days, which is kept for more.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.setting.when = When::Fixed(delay);
        self
    }

    /// The least delay that comes of a quantile, however fast the calls are; 1 ms if not set,
    /// the step of the timers. At most 10 s.
    pub fn min_delay(mut self, min_delay: Duration) -> Self {
        self.min_delay = min_delay;
        self
    }

    /// From how many calls in the window on their quantile is used; 100 if not set, of which
    /// 5 are above the default quantile. At least 1.
    pub fn min_samples(mut self, min_samples: u32) -> Self {
        self.min_samples = min_samples;
        self
    }

    /// How long a latency counts; 30 s if not set. It leaves in steps of a sixth of that. From
    /// 10 ms to a day.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many attempts beyond the first one call may have; 1 if not set, at most 16.
    pub fn max_extra(mut self, max_extra: u32) -> Self {
        self.setting.max_extra = max_extra;
        self
    }

    /// The budget that extra attempts are taken from, wherever the hedge is used. If not set, it
    /// is that of the attempt that the call runs in, so a hedge inside a retry shares the
    /// retry's, and outside of one a default one of the hedge's own. Inside a retry's attempt a
    /// budget of its own earns nothing, so that layers do not multiply: it has its burst and its
    /// floor. Give both the same budget there, or the hedge none.
    pub fn budget(mut self, budget: impl Into<Budget>) -> Self {
        self.budget = Some(budget.into());
        self
    }

    /// The mode to start in; [`Mode::Enforce`] if not set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.setting.mode = mode;
        self
    }

    /// Adds a listener for as long as the hedge lives; it runs on the thread of the call.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// Makes the hedge.
    ///
    /// # Errors
    /// With every problem at once: a quantile that is not above 0 and below 1, `max_extra` not
    /// from 1 to 16, a `min_delay` above 10 s, no `min_samples`, a window not from 10 ms to a
    /// day.
    pub fn build(self) -> Result<Hedge, ConfigError> {
        let mut problems = Problems::default();
        self.setting.check(&mut problems);
        check_min_delay(self.min_delay, &mut problems);
        check_min_samples(self.min_samples, &mut problems);
        let day = Duration::from_secs(24 * 3_600);
        let fits = (Duration::from_millis(10)..=day).contains(&self.window);
        problems.check(fits, "window", self.window, "from 10 ms to a day");
        problems.finish(&self.name)?;
        Ok(self.assemble())
    }

    /// The fixed delay, if that is what it begins an attempt by.
    #[cfg(feature = "tower")]
    pub(crate) fn fixed_delay(&self) -> Option<Duration> {
        match self.setting.when {
            When::Fixed(delay) => Some(delay),
            When::Quantile(_) => None,
        }
    }

    /// The least delay of a quantile.
    #[cfg(feature = "tower")]
    pub(crate) fn least_delay(&self) -> Duration {
        self.min_delay
    }

    /// Draws on `budget` if nothing was said of one.
    #[cfg(feature = "tower")]
    pub(crate) fn budget_or(mut self, budget: &Budget) -> Self {
        self.budget.get_or_insert_with(|| budget.clone());
        self
    }

    /// How long a latency counts, which is fixed once a hedge is built.
    #[cfg(feature = "tower")]
    pub(crate) fn window_length(&self) -> Duration {
        self.window
    }

    /// Changes `hedge` to what this one, which has no problem, would build; to `mode`, or else in
    /// the mode that it has by then.
    #[cfg(feature = "tower")]
    pub(crate) fn change(&self, hedge: &Hedge, mode: Option<Mode>) {
        const CHECKED: &str = "it has been checked";
        hedge.set_min_delay(self.min_delay).expect(CHECKED);
        hedge.set_min_samples(self.min_samples).expect(CHECKED);
        hedge.change(|now| Setting {
            mode: mode.unwrap_or(now.mode),
            ..self.setting
        });
        if let When::Quantile(_) = self.setting.when {
            hedge.latencies().forget_found();
        }
    }

    /// The mode to start in.
    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.setting.mode
    }

    pub(super) fn assemble(self) -> Hedge {
        let budget_given = self.budget.is_some();
        let budget = self.budget.unwrap_or_else(|| {
            let own = Budget::builder().name(format!("budget of {}", self.name));
            own.build().expect("the defaults are in order")
        });
        let latencies = OnceLock::new();
        if let When::Quantile(_) = self.setting.when {
            let _ = latencies.set(Latencies::new(self.window));
        }
        Hedge(Arc::new(Shared {
            name: self.name,
            setting: AtomicU64::new(self.setting.pack()),
            min_delay: AtomicU64::new(nanos(self.min_delay)),
            min_samples: AtomicU64::new(self.min_samples.into()),
            window: self.window,
            latencies,
            budget,
            budget_given,
            counts: Counts::default(),
            listeners: self.listeners,
        }))
    }
}

pub(super) fn check_min_delay(min_delay: Duration, problems: &mut Problems) {
    let fits = min_delay <= LONGEST;
    problems.check(fits, "min_delay", min_delay, "at most 10 s");
}

pub(super) fn check_min_samples(min_samples: u32, problems: &mut Problems) {
    let some = min_samples > 0;
    problems.check(some, "min_samples", min_samples, "at least 1");
}

const _: () = assert!(LONGEST.as_nanos() < LONGEST_DELAY as u128);
