use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::counts::{Counts, is_surely_above, rate};
use crate::config::Problems;
use crate::sync::Arc;
use crate::time::nanos;

/// The calls that a rate is computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub(super) Span);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Calls(u32),
    Time { length: Duration, buckets: u32 },
}

impl Window {
    /// The last `calls` calls. It slides: every call evicts the oldest.
    pub const fn count(calls: u32) -> Self {
        Self(Span::Calls(calls))
    }

    /// The calls of the last `length`, in 10 buckets. An outcome leaves the window together with
    /// its bucket, after nine tenths to all of `length`.
    pub const fn time(length: Duration) -> Self {
        Self(Span::Time {
            length,
            buckets: 10,
        })
    }

    /// Sets how many buckets a time window has. The default is 10. More buckets make it more exact
    /// and cost memory: 16 bytes each, and once one bucket has counted a thousand successes, 8 more
    /// for every thread, in groups of 16 threads. A window of calls has none.
    #[must_use]
    pub const fn buckets(mut self, n: u32) -> Self {
        if let Span::Time { length, .. } = self.0 {
            self.0 = Span::Time { length, buckets: n };
        }
        self
    }

    fn check(self, problems: &mut Problems) {
        match self.0 {
            Span::Calls(n) => {
                let allowed = "1 to 1,000,000 calls";
                problems.check((1..=1_000_000).contains(&n), "window", n, allowed);
            }
            Span::Time { length, buckets } => {
                let holds = (1..=1_000).contains(&buckets);
                problems.check(holds, "window buckets", buckets, "1 to 1,000 buckets");
                let holds = !length.is_zero()
                    && (buckets == 0 || nanos(length) / u64::from(buckets) >= 1_000_000);
                let allowed = "at least a millisecond for each bucket";
                problems.check(holds, "window", length, allowed);
            }
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Span::Calls(n) => write!(f, "{n} calls"),
            Span::Time { length, .. } => write!(f, "{length:?}"),
        }
    }
}

/// A rule that opens a breaker. A breaker can have any number of rules; the first that holds opens
/// it.
///
/// ```
/// use std::time::Duration;
/// use seawall::circuit_breaker::{Trip, Window};
///
/// let secs = Duration::from_secs;
/// let dead = Trip::consecutive_failures(5).lasting(secs(1)).within(secs(60));
/// let failing = Trip::failure_rate(0.9).confidence_z(3.1).over(Window::time(secs(10)));
/// let slow = Trip::slow_rate(0.8, secs(2)).over(Window::count(100));
/// ```
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Trip {
    pub(super) when: When,
    pub(super) window: Window,
    pub(super) min_calls: Option<u32>,
    /// The z of the lower bound that a rate is compared by.
    pub(super) confidence: Option<f64>,
    pub(super) lasting: Option<Duration>,
    pub(super) within: Option<Duration>,
}

#[derive(Clone, PartialEq)]
pub(super) enum When {
    Consecutive(u32),
    Failures(u32),
    FailureRate(f64),
    SlowRate(f64, Duration),
    Custom(&'static str, Decide),
}

#[derive(Clone)]
pub(super) struct Decide(Arc<dyn Fn(&Counts) -> bool + Send + Sync>);

impl PartialEq for Decide {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The word of a streak has 12 bits for its length.
const LONGEST_STREAK: u32 = (1 << 12) - 1;

/// The words that keep times of failures wrap after 9 years or more.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);
const LONGEST_ALLOWED: &str = "at most 365 days";

impl Trip {
    const fn new(when: When) -> Self {
        Self {
            when,
            window: Window::time(Duration::from_secs(10)),
            min_calls: None,
            confidence: None,
            lasting: None,
            within: None,
        }
    }

    /// `n` failures in a row, 1 to 4,095. One success ends the run.
    ///
    /// On its own, this rule opens the breaker of a busy service by chance: at 10,000 calls a
    /// second of which 10 % fail, five in a row come every 11 s. Set a time that the run has to
    /// [last](Self::lasting).
    pub const fn consecutive_failures(n: u32) -> Self {
        Self::new(When::Consecutive(n))
    }

    /// `n` failures (1 to 100,000) [within](Self::within) a time, by default 10 s, no matter how
    /// many calls succeed.
    pub const fn failures(n: u32) -> Self {
        Self::new(When::Failures(n))
    }

    /// At least this share (0 to 1) of the calls of a [window](Self::over) failed. Throttled calls
    /// are not counted by [default](super::Builder::throttled).
    pub const fn failure_rate(rate: f64) -> Self {
        Self::new(When::FailureRate(rate))
    }

    /// At least this share (0 to 1) of the calls of a [window](Self::over) took longer than
    /// `longer_than`, whether they succeeded or not.
    pub const fn slow_rate(rate: f64, longer_than: Duration) -> Self {
        Self::new(When::SlowRate(rate, longer_than))
    }

    /// A rule of your own over the counts of a [window](Self::over), evaluated whenever a call failed
    /// or was slow. `name` is the rule's name in snapshots and events. If `decide` panics, the rule
    /// does not hold.
    pub fn custom(
        name: &'static str,
        decide: impl Fn(&Counts) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(When::Custom(name, Decide(Arc::new(decide))))
    }

    /// Sets the window of a rate or a rule of your own. The default is 10 s in 10 buckets.
    pub const fn over(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Sets how many calls the window must hold before the rule is evaluated. The default is 20, or
    /// the whole of a smaller window.
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = Some(calls);
        self
    }

    /// Requires that a rate is *above* its threshold with this confidence, instead of at least at
    /// it: the lower bound of the Wilson score interval of the window's rate must be above the
    /// threshold. `z` is the bound's z-score, above 0 and at most 10. If the true rate is exactly
    /// the threshold, the rule holds by chance for one window in 20 with a `z` of 1.64, and for one
    /// in 1,000 with 3.1.
    ///
    /// A few calls cannot be above a high rate with confidence: at a threshold of 0.9 and a `z` of
    /// 3.1 it takes 87 calls if all fail, and about 180 if 97 % fail.
    ///
    /// ```
    /// use seawall::circuit_breaker::Trip;
    ///
    /// let mostly_failing = Trip::failure_rate(0.9).confidence_z(3.1);
    /// ```
    pub const fn confidence_z(mut self, z: f64) -> Self {
        self.confidence = Some(z);
        self
    }

    /// Sets how long a run of failures must have lasted, from its first failure to its last, in
    /// whole milliseconds. If the last failure is throttled, and [no
    /// rate](super::Builder::throttled) counts it, the run must have lasted five times as long, or
    /// half of [`within`](Self::within) if that is less, but never less than `least`.
    pub const fn lasting(mut self, least: Duration) -> Self {
        self.lasting = Some(least);
        self
    }

    /// Sets the time in which the failures must lie, in whole milliseconds for a run and whole
    /// microseconds for [`Trip::failures`]. A longer run is cut to its recent failures: of the last
    /// eight, or of as many as the rule needs, those that lie within the time.
    pub const fn within(mut self, most: Duration) -> Self {
        self.within = Some(most);
        self
    }

    pub(super) fn least_calls(&self) -> u32 {
        self.min_calls.unwrap_or(match self.window.0 {
            Span::Calls(n) => n.min(20),
            Span::Time { .. } => 20,
        })
    }

    /// The time in which a number of failures must lie, in microseconds.
    pub(super) fn failures_within_micros(&self) -> u64 {
        nanos(self.within.unwrap_or(Duration::from_secs(10))) / 1_000
    }

    /// The time that the rule covers, and the name of its setting.
    #[cfg(feature = "tower")]
    pub(super) fn span(&self) -> Option<(&'static str, Duration)> {
        match (&self.when, self.window.0) {
            (When::Consecutive(_), _) => Some(("within", self.within?)),
            (When::Failures(_), _) => {
                let micros = self.failures_within_micros();
                Some(("within", Duration::from_micros(micros)))
            }
            (_, Span::Time { length, .. }) => Some(("window", length)),
            (_, Span::Calls(_)) => None,
        }
    }

    /// How long a call takes at most that is not slow, if the rule counts slow calls.
    pub(super) fn slow_after(&self) -> Option<Duration> {
        match self.when {
            When::SlowRate(_, longer_than) => Some(longer_than),
            _ => None,
        }
    }

    #[cfg(feature = "serde")]
    pub(super) fn is_custom(&self) -> bool {
        matches!(self.when, When::Custom(..))
    }

    pub(super) fn is_rate(&self) -> bool {
        !matches!(self.when, When::Consecutive(_) | When::Failures(_))
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        match self.when {
            When::Consecutive(n) => {
                let allowed = format!("1 to {LONGEST_STREAK}");
                let holds = (1..=LONGEST_STREAK).contains(&n);
                problems.check(holds, "consecutive failures", n, allowed);
            }
            When::Failures(n) => {
                let holds = (1..=100_000).contains(&n);
                problems.check(holds, "failures", n, "1 to 100,000");
            }
            When::FailureRate(rate) => check_rate("failure rate", rate, problems),
            When::SlowRate(rate, _) => check_rate("slow rate", rate, problems),
            When::Custom(..) => {}
        }
        if self.is_rate() {
            self.window.check(problems);
            let field = "min_calls";
            let most = match self.window.0 {
                Span::Calls(n) => n,
                Span::Time { .. } => u32::MAX,
            };
            let least = self.least_calls();
            let allowed = format!("1 to the window's {most}");
            problems.check(least >= 1 && least <= most, field, least, allowed);
        } else if let Some(calls) = self.min_calls {
            let allowed = "nothing: it belongs to a rate";
            problems.check(false, "min_calls", calls, allowed);
        }
        if let Some(z) = self.confidence {
            let threshold = match self.when {
                When::FailureRate(rate) | When::SlowRate(rate, _) => Some(rate),
                _ => None,
            };
            let allowed = "nothing: it belongs to a failure rate or a slow rate";
            problems.check(threshold.is_some(), "confidence_z", z, allowed);
            problems.check(
                z > 0.0 && z <= 10.0,
                "confidence_z",
                z,
                "above 0, at most 10",
            );
            // No rate is above 1.
            let allowed = "a rate below 1";
            problems.check(threshold != Some(1.0), "confidence_z", z, allowed);
        }
        if let Some(lasting) = self.lasting {
            let holds = matches!(self.when, When::Consecutive(_));
            let allowed = "nothing: it belongs to consecutive failures";
            problems.check(holds, "lasting", lasting, allowed);
            problems.check(lasting <= LONGEST, "lasting", lasting, LONGEST_ALLOWED);
        }
        if let Some(within) = self.within {
            let allowed = "nothing: a rate has a window";
            problems.check(!self.is_rate(), "within", within, allowed);
            let least = self.lasting.unwrap_or(Duration::from_nanos(1));
            let allowed = format!("at least {least:?}");
            problems.check(within >= least, "within", within, allowed);
            problems.check(within <= LONGEST, "within", within, LONGEST_ALLOWED);
        }
    }

    /// Whether the rule can hold, if `part` has all failures and slow calls of the window and some of
    /// its other calls: the rate is highest if there are no more.
    pub(super) fn may_hold(&self, part: &Counts) -> bool {
        let calls = self.least_calls().max(part.calls);
        match self.when {
            When::Consecutive(_) | When::Failures(_) => false,
            When::FailureRate(least) => self.reaches(least, part.failures, calls),
            When::SlowRate(least, _) => self.reaches(least, part.slow, calls),
            When::Custom(..) => true,
        }
    }

    fn reaches(&self, least: f64, part: u32, calls: u32) -> bool {
        match self.confidence {
            None => rate(part, calls) >= Some(least),
            Some(z) => is_surely_above(least, z, part, calls),
        }
    }

    /// Whether the rule holds for the counts of its window.
    pub(super) fn holds(&self, counts: &Counts) -> bool {
        let enough = counts.calls >= self.least_calls();
        match &self.when {
            // Their memories decide these.
            When::Consecutive(_) | When::Failures(_) => false,
            When::FailureRate(least) => {
                enough && self.reaches(*least, counts.failures, counts.calls)
            }
            When::SlowRate(least, _) => enough && self.reaches(*least, counts.slow, counts.calls),
            When::Custom(_, decide) => {
                enough && catch_unwind(AssertUnwindSafe(|| decide.0(counts))).unwrap_or(false)
            }
        }
    }
}

fn check_rate(field: &str, rate: f64, problems: &mut Problems) {
    let allowed = "above 0, at most 1";
    problems.check(rate > 0.0 && rate <= 1.0, field, rate, allowed);
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.window;
        match &self.when {
            When::Consecutive(n) => write!(f, "{n} consecutive failures")?,
            When::Failures(n) => write!(f, "{n} failures")?,
            When::FailureRate(rate) => write!(f, "failure rate of {rate} over {window}")?,
            When::SlowRate(rate, longer_than) => write!(
                f,
                "slow rate of {rate} (longer than {longer_than:?}) over {window}"
            )?,
            When::Custom(name, _) => f.write_str(name)?,
        }
        if let Some(z) = self.confidence {
            write!(f, " with confidence (z = {z})")?;
        }
        if let Some(lasting) = self.lasting {
            write!(f, " lasting {lasting:?}")?;
        }
        match self.within {
            Some(within) => write!(f, " within {within:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trip({self})")
    }
}
