//! How long to wait before the next try.

use std::time::Duration;

use crate::policy::Problems;

/// What randomness does to a delay, so that callers who failed together do not come back
/// together. The names are those of the AWS architecture blog's "Exponential Backoff And
/// Jitter".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as computed.
    None,
    /// Anything from nothing to the delay: spreads best.
    #[default]
    Full,
    /// Half of the delay, and anything up to the other half on top: never comes back at once.
    Equal,
}

/// A sequence of delays, one per failure in a row.
///
/// A pure value: the same number of failures and the same randomness give the same delay. The
/// delay after jitter is never above the cap.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Backoff {
    shape: Shape,
    base: Duration,
    cap: Duration,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Constant,
    Exponential { factor: f64 },
}

impl Backoff {
    /// `delay` after every failure. Full jitter; no cap is needed.
    pub const fn constant(delay: Duration) -> Self {
        Self {
            shape: Shape::Constant,
            base: delay,
            cap: delay,
            jitter: Jitter::Full,
        }
    }

    /// `base` after the first failure, and twice as long after each further one, up to a
    /// [cap](Self::max) of 2 s. Full jitter.
    pub const fn exponential(base: Duration) -> Self {
        Self {
            shape: Shape::Exponential { factor: 2.0 },
            base,
            cap: Duration::from_secs(2),
            jitter: Jitter::Full,
        }
    }

    /// The longest delay, after jitter.
    pub const fn max(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// By what each delay of an exponential backoff is longer than the one before; 2 if not
    /// set.
    pub const fn factor(mut self, factor: f64) -> Self {
        if let Shape::Exponential { .. } = self.shape {
            self.shape = Shape::Exponential { factor };
        }
        self
    }

    /// What randomness does to the delays.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The delay after `failures` failures in a row (the first is 1), with a `fraction` of
    /// randomness in `[0, 1)`.
    pub fn delay(&self, failures: u32, fraction: f64) -> Duration {
        let base = self.base.as_secs_f64();
        let cap = self.cap.as_secs_f64();
        let steps = failures.saturating_sub(1);
        let whole = match self.shape {
            Shape::Constant => base,
            Shape::Exponential { factor } => {
                base * factor.powi(i32::try_from(steps).unwrap_or(i32::MAX))
            }
        };
        // `min` also takes the cap where a huge power has overflowed to infinity or NaN.
        let whole = whole.min(cap);
        let secs = match self.jitter {
            Jitter::None => whole,
            Jitter::Full => whole * fraction,
            Jitter::Equal => whole * 0.5 + whole * 0.5 * fraction,
        };
        Duration::try_from_secs_f64(secs).map_or(self.cap, |d| d.min(self.cap))
    }

    pub(crate) fn check(&self, field: &str, problems: &mut Problems) {
        problems.check(!self.base.is_zero(), field, self.base, "a base above zero");
        let cap = format_args!("a cap of at least the base of {:?}", self.base).to_string();
        problems.check(self.cap >= self.base, field, self.cap, cap);
        if let Shape::Exponential { factor } = self.shape {
            let allowed = "a finite factor of at least 1";
            let holds = factor.is_finite() && factor >= 1.0;
            problems.check(holds, field, factor, allowed);
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Backoff, Jitter};

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn exponential_doubles_up_to_its_cap() {
        let backoff = Backoff::exponential(ms(50))
            .max(ms(300))
            .jitter(Jitter::None);
        let delays: Vec<_> = (1..=5).map(|n| backoff.delay(n, 0.9)).collect();
        assert_eq!(delays, [ms(50), ms(100), ms(200), ms(300), ms(300)]);
    }

    #[test]
    fn constant_stays() {
        let backoff = Backoff::constant(ms(50)).jitter(Jitter::None);
        assert_eq!(backoff.delay(1, 0.0), ms(50));
        assert_eq!(backoff.delay(1_000, 0.0), ms(50));
    }

    #[test]
    fn equal_jitter_keeps_half_and_full_keeps_nothing() {
        let backoff = Backoff::constant(ms(100));
        assert_eq!(backoff.jitter(Jitter::Equal).delay(1, 0.0), ms(50));
        assert_eq!(backoff.jitter(Jitter::Equal).delay(1, 0.5), ms(75));
        assert_eq!(backoff.jitter(Jitter::Full).delay(1, 0.0), ms(0));
        assert_eq!(backoff.jitter(Jitter::Full).delay(1, 0.5), ms(50));
    }

    proptest! {
        #[test]
        fn no_delay_is_above_the_cap_or_below_its_share(
            base in 1u64..10_000, cap in 1u64..100_000, n in 0u32..=u32::MAX, fraction in 0.0f64..1.0,
        ) {
            let backoff = Backoff::exponential(ms(base)).max(ms(cap)).jitter(Jitter::Equal);
            let delay = backoff.delay(n, fraction);
            prop_assert!(delay <= ms(cap));
            prop_assert!(delay >= ms(base.min(cap)) / 2 - Duration::from_micros(1));
        }
    }
}
