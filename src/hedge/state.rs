use std::time::Duration;

use super::quantile::LONGEST;
use crate::config::{ConfigError, Name, Problems};

/// What decides when the next attempt starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) when: When,
    pub(super) max_extra: u32,
    pub(super) min_delay: Duration,
    pub(super) min_samples: u32,
    /// How long a latency counts.
    pub(super) window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    /// After this delay.
    Fixed(Duration),
    /// After the latency that this share of calls is below.
    Quantile(f64),
}

/// The second extra attempt saves little, and a chain of more than this nothing.
pub(crate) const MOST_EXTRA: u32 = 16;
const WINDOW: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(24 * 3_600);

impl Default for Settings {
    fn default() -> Self {
        Self {
            when: When::Quantile(0.95),
            max_extra: 1,
            min_delay: Duration::from_millis(1),
            min_samples: 100,
            window: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// `built` is the window that the hedge has, if it is built.
    pub(super) fn check(&self, name: &Name, built: Option<Duration>) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        if let When::Quantile(quantile) = self.when {
            let between = quantile > 0.0 && quantile < 1.0;
            problems.check(between, "quantile", quantile, "above 0 and below 1");
        }
        let fits = (1..=MOST_EXTRA).contains(&self.max_extra);
        problems.check(fits, "max_extra", self.max_extra, "1 to 16");
        let tracked = self.min_delay <= LONGEST;
        problems.check(tracked, "min_delay", self.min_delay, "at most 10 s");
        let samples = self.min_samples;
        problems.check(samples > 0, "min_samples", samples, "at least 1");
        match built {
            None => {
                let fits = WINDOW.contains(&self.window);
                problems.check(fits, "window", self.window, "10 ms to a day");
            }
            Some(built) => {
                let allowed = format!("{built:?}, as it was built");
                problems.check(self.window == built, "window", self.window, allowed);
            }
        }
        problems.finish(name)
    }

    #[inline]
    pub(super) fn is_by_quantile(&self) -> bool {
        matches!(self.when, When::Quantile(_))
    }
}
