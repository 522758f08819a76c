use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::policy::Problems;
use crate::sync::Arc;
use crate::time::nanos;

/// What a rate is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub(super) Span);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Calls(u32),
    Time { length: Duration, buckets: u32 },
}

impl Window {
    /// The last `calls` calls. It slides: every call that comes pushes out the oldest.
    pub const fn count(calls: u32) -> Self {
        Self(Span::Calls(calls))
    }

    /// The calls of the last `length`, in 10 buckets: an outcome leaves the window with its
    /// bucket, so between 9 and 10 tenths of `length` after it came.
    pub const fn time(length: Duration) -> Self {
        Self(Span::Time {
            length,
            buckets: 10,
        })
    }

    /// How many buckets a time window has; 10 if not set. More follow more closely and cost
    /// more memory: 16 bytes each, and once the successes of one bucket are a thousand, 8 more
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

/// What was seen in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All calls that came to an end and were not ignored.
    pub calls: u32,
    /// Those that failed.
    pub failures: u32,
    /// Those that took longer than the rule's threshold.
    pub slow: u32,
    /// Failures in a row until now, of all calls since the breaker closed, whatever the rule
    /// looks back over.
    pub consecutive: u32,
}

impl Counts {
    /// The share of calls that failed; none without calls.
    pub fn failure_rate(&self) -> Option<f64> {
        rate(self.failures, self.calls)
    }

    /// The share of calls that were slow; none without calls.
    pub fn slow_rate(&self) -> Option<f64> {
        rate(self.slow, self.calls)
    }
}

fn rate(part: u32, calls: u32) -> Option<f64> {
    (calls > 0).then(|| f64::from(part) / f64::from(calls))
}

/// A rule by which a breaker opens. A breaker has any number; the first that holds opens it.
///
/// ```
/// use std::time::Duration;
/// use seawall::circuit_breaker::{Trip, Window};
///
/// let secs = Duration::from_secs;
/// let dead = Trip::consecutive_failures(5).lasting(secs(1)).within(secs(60));
/// let ill = Trip::failure_rate(0.5).over(Window::time(secs(10))).min_calls(20);
/// let slow = Trip::slow_rate(0.8, secs(2)).over(Window::count(100));
/// ```
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Trip {
    pub(super) when: When,
    pub(super) window: Window,
    pub(super) min_calls: Option<u32>,
    pub(super) lasting: Option<Duration>,
    pub(super) within: Option<Duration>,
}

#[derive(Clone)]
pub(super) enum When {
    Consecutive(u32),
    Failures(u32),
    FailureRate(f64),
    SlowRate(f64, Duration),
    Custom(&'static str, Decide),
}

pub(super) type Decide = Arc<dyn Fn(&Counts) -> bool + Send + Sync>;

impl PartialEq for When {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Consecutive(a), Self::Consecutive(b))
            | (Self::Failures(a), Self::Failures(b)) => a == b,
            (Self::FailureRate(a), Self::FailureRate(b)) => a == b,
            (Self::SlowRate(a, x), Self::SlowRate(b, y)) => a == b && x == y,
            (Self::Custom(a, x), Self::Custom(b, y)) => a == b && Arc::ptr_eq(x, y),
            _ => false,
        }
    }
}

/// The longest a failure run may be asked to be: its word has 12 bits for it.
const LONGEST_RUN: u32 = (1 << 12) - 1;

/// The words of runs and failures tell times apart over 4 years and more.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);
const LONGEST_ALLOWED: &str = "at most 365 days";

impl Trip {
    const fn new(when: When) -> Self {
        Self {
            when,
            window: Window::time(Duration::from_secs(10)),
            min_calls: None,
            lasting: None,
            within: None,
        }
    }

    /// `n` failures in a row, 1 to 4,095. One success ends the run.
    ///
    /// Alone it opens a busy service by chance: at 10,000 calls a second of which 10 % fail,
    /// five in a row come every 11 s. Ask that the run [lasts](Self::lasting).
    pub const fn consecutive_failures(n: u32) -> Self {
        Self::new(When::Consecutive(n))
    }

    /// `n` failures (1 to 100,000) [within](Self::within) a time, 10 s if not set, whatever else succeeded.
    pub const fn failures(n: u32) -> Self {
        Self::new(When::Failures(n))
    }

    /// At least this share (0 to 1) of the calls of a [window](Self::over) failed.
    pub const fn failure_rate(rate: f64) -> Self {
        Self::new(When::FailureRate(rate))
    }

    /// At least this share (0 to 1) of the calls of a [window](Self::over) took longer than
    /// `longer_than`, whether they succeeded or not.
    pub const fn slow_rate(rate: f64, longer_than: Duration) -> Self {
        Self::new(When::SlowRate(rate, longer_than))
    }

    /// A rule of your own over what a [window](Self::over) has seen, asked whenever a call
    /// failed or was slow. `name` is what the breaker says tripped it. A panic in `decide` is a no.
    pub fn custom(
        name: &'static str,
        decide: impl Fn(&Counts) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(When::Custom(name, Arc::new(decide)))
    }

    /// The window of a rate or a rule of your own; the last 10 s in 10 buckets if not set.
    pub const fn over(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// How many calls the window must have seen for a rate to mean anything; 20 if not set, or
    /// the whole of a smaller window.
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = Some(calls);
        self
    }

    /// How long a run of failures must have lasted, from its first to its latest, to the
    /// millisecond.
    pub const fn lasting(mut self, least: Duration) -> Self {
        self.lasting = Some(least);
        self
    }

    /// The time in which the failures must lie, to the millisecond for a run and to the
    /// microsecond for [`Trip::failures`]. A run that has grown older is cut to the failures that
    /// lie in it, of which it knows the last eight, or as many as the rule asks for.
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

    /// The time that the rule looks back over, by the name of its setting.
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

    #[cfg(feature = "tower")]
    pub(super) fn slow_from(&self) -> Option<Duration> {
        match self.when {
            When::SlowRate(_, longer_than) => Some(longer_than),
            _ => None,
        }
    }

    pub(super) fn is_rate(&self) -> bool {
        !matches!(self.when, When::Consecutive(_) | When::Failures(_))
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        match self.when {
            When::Consecutive(n) => {
                let allowed = format!("1 to {LONGEST_RUN}");
                let holds = (1..=LONGEST_RUN).contains(&n);
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

    /// Whether the rule can hold for a window of which only a part of the calls is known, and
    /// all that failed or were slow: the rate is highest if there are no more.
    pub(super) fn may_hold(&self, part: &Counts) -> bool {
        let calls = self.least_calls().max(part.calls);
        match self.when {
            When::Consecutive(_) | When::Failures(_) => false,
            When::FailureRate(least) => rate(part.failures, calls) >= Some(least),
            When::SlowRate(least, _) => rate(part.slow, calls) >= Some(least),
            When::Custom(..) => true,
        }
    }

    /// Whether the rule holds for what its window has seen.
    pub(super) fn holds(&self, counts: &Counts) -> bool {
        let enough = counts.calls >= self.least_calls();
        match &self.when {
            // The machine's own words decide these.
            When::Consecutive(_) | When::Failures(_) => false,
            When::FailureRate(least) => enough && counts.failure_rate() >= Some(*least),
            When::SlowRate(least, _) => enough && counts.slow_rate() >= Some(*least),
            When::Custom(_, decide) => {
                enough && catch_unwind(AssertUnwindSafe(|| decide(counts))).unwrap_or(false)
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
