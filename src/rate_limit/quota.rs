use std::fmt;
use std::time::Duration;

use crate::config::Problems;

/// Units of time in a nanosecond. At ten million a second an interval in whole nanoseconds would
/// be off by a percent.
pub(super) const UNITS: u64 = 32;

/// The longest time that a burst may take to refill, in units: 416 days. Twice that, and what is
/// reserved, still fit the 62 bits of the limiter's word.
pub(super) const SPAN: u64 = 1 << 60;

/// How many tokens are added in each period, and how many can be taken at once.
///
/// ```
/// use std::time::Duration;
/// use seawall::Quota;
///
/// let quota = Quota::per_second(100).burst(10);
/// assert_eq!(quota, Quota::new(100, Duration::from_secs(1)).burst(10));
/// ```
///
/// The burst is what an idle limiter admits at one instant. By default it is the tokens of one
/// period: `per_second(100)` admits a hundred at once after an idle second, because a limit per
/// second is meant for the whole second, not for each hundredth of it.
///
/// A limiter keeps the time per token in units of 1/32 ns, rounded up. It is never faster than
/// configured, and slower by at most 0.03 % at ten million a second
/// ([`RateLimiter::kept_rate`](crate::RateLimiter::kept_rate) returns the exact rate).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Quota {
    n: u32,
    period: Duration,
    burst: u32,
    unlimited: bool,
}

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Quota {
    /// `n` in each `period`, with a burst of `n`.
    ///
    /// With `n` zero the limiter is stopped: it admits its burst once, if one is set, and then
    /// nothing. A period of zero is an error where the quota is used.
    pub const fn new(n: u32, period: Duration) -> Self {
        Self {
            n,
            period,
            burst: n,
            unlimited: false,
        }
    }

    /// `n` a second.
    pub const fn per_second(n: u32) -> Self {
        Self::new(n, Duration::from_secs(SECOND))
    }

    /// `n` a minute.
    pub const fn per_minute(n: u32) -> Self {
        Self::new(n, Duration::from_secs(MINUTE))
    }

    /// `n` an hour.
    pub const fn per_hour(n: u32) -> Self {
        Self::new(n, Duration::from_secs(HOUR))
    }

    /// `n` a day, which is 24 hours.
    pub const fn per_day(n: u32) -> Self {
        Self::new(n, Duration::from_secs(DAY))
    }

    /// No limit.
    pub const fn unlimited() -> Self {
        Self {
            n: u32::MAX,
            period: Duration::from_secs(SECOND),
            burst: u32::MAX,
            unlimited: true,
        }
    }

    /// How many tokens an idle limiter has; by default those of one period.
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// How many tokens are added in each [`period`](Self::period).
    pub const fn count(&self) -> u32 {
        self.n
    }

    /// The time in which [`count`](Self::count) tokens are added.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// How many tokens an idle limiter has.
    pub const fn max_burst(&self) -> u32 {
        self.burst
    }

    /// Whether there is no limit.
    pub const fn is_unlimited(&self) -> bool {
        self.unlimited
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.n == 0 && !self.unlimited
    }

    /// The emission interval, in units of time for each token, rounded up. For a quota that is
    /// neither stopped nor unlimited.
    pub(super) fn interval(&self) -> u64 {
        let period = self.period.as_nanos() * u128::from(UNITS);
        let interval = period.div_ceil(u128::from(self.n.max(1)));
        u64::try_from(interval).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        let allowed = "above zero";
        problems.check(!self.period.is_zero(), "period", self.period, allowed);
        if self.n == 0 || self.unlimited {
            return;
        }
        let allowed = "at least 1; a rate of zero stops a limiter";
        problems.check(self.burst > 0, "burst", self.burst, allowed);
        let interval = self.interval();
        if interval > SPAN {
            let allowed = "at most 416 days for each token";
            problems.check(false, "period", self.period, allowed);
        } else {
            let most = SPAN / interval;
            let allowed = format!("at most {most} at this rate, which is 416 days' worth");
            problems.check(u64::from(self.burst) <= most, "burst", self.burst, allowed);
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unlimited {
            return f.write_str("unlimited");
        }
        write!(f, "{} per ", self.n)?;
        match (self.period.as_secs(), self.period.subsec_nanos()) {
            (SECOND, 0) => f.write_str("second")?,
            (MINUTE, 0) => f.write_str("minute")?,
            (HOUR, 0) => f.write_str("hour")?,
            (DAY, 0) => f.write_str("day")?,
            _ => write!(f, "{:?}", self.period)?,
        }
        write!(f, ", burst {}", self.burst)
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quota({self})")
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::Duration;

    use super::Quota;
    use crate::config::{Name, Problems};

    fn fields(quota: Quota) -> Vec<String> {
        let mut problems = Problems::default();
        quota.check(&mut problems);
        match problems.finish(&Name::from("limit")) {
            Ok(()) => Vec::new(),
            Err(error) => error.problems().iter().map(|p| p.field.clone()).collect(),
        }
    }

    #[test]
    fn rl8_rl9_the_interval_is_in_parts_of_a_nanosecond_and_never_short() {
        assert_eq!(Quota::per_second(10).interval(), 3_200_000_000);
        assert_eq!(Quota::per_second(10_000_000).interval(), 3_200);
        assert_eq!(Quota::per_second(3).interval(), 10_666_666_667);
        assert_eq!(Quota::per_second(u32::MAX).interval(), 8);
        assert_eq!(Quota::new(u32::MAX, Duration::from_nanos(1)).interval(), 1);
        for n in [9_999_999_u32, 9_876_543, 7_777_777] {
            let kept = 32e9 / Quota::per_second(n).interval() as f64;
            let slower = 1.0 - kept / f64::from(n);
            assert!((0.0..0.000_32).contains(&slower), "{n} a second: {slower}");
        }
    }

    #[test]
    fn cx15_rl9_a_quota_that_the_word_cannot_hold_is_an_error_by_field() {
        assert_eq!(fields(Quota::new(5, Duration::ZERO)), ["period"]);
        assert_eq!(
            fields(Quota::new(5, Duration::ZERO).burst(0)),
            ["period", "burst"]
        );
        assert_eq!(fields(Quota::per_second(1).burst(0)), ["burst"]);
        assert_eq!(fields(Quota::per_day(1).burst(417)), ["burst"]);
        assert_eq!(fields(Quota::new(1, Duration::MAX)), ["period"]);
        assert!(fields(Quota::per_day(1).burst(416)).is_empty());
        assert!(fields(Quota::per_second(0)).is_empty());
        assert!(fields(Quota::unlimited()).is_empty());
        for n in [0, 1, 7, u32::MAX] {
            for quota in [
                Quota::per_second(n),
                Quota::per_minute(n),
                Quota::per_hour(n),
                Quota::per_day(n),
            ] {
                assert!(fields(quota).is_empty(), "{quota}");
            }
        }
    }

    #[test]
    fn a_quota_reads_as_it_was_written() {
        assert_eq!(Quota::per_day(5).to_string(), "5 per day, burst 5");
        let quota = Quota::new(3, Duration::from_millis(50)).burst(9);
        assert_eq!(format!("{quota:?}"), "Quota(3 per 50ms, burst 9)");
        assert_eq!(Quota::unlimited().to_string(), "unlimited");
    }
}
