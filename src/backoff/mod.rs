//! Backoff: how long to wait before the next attempt.
//!
//! ```text
//!  exponential, base 50 ms, cap 2 s          with full jitter
//!
//!  1  ▏50 ms                                 between 0 and that, drawn each time:
//!  2  ▎100 ms                                calls that failed together come back
//!  3  ▌200 ms                                apart, also at the cap
//!  4  █400 ms
//!  7  ██████2 s, and so on
//! ```
//!
//! # What it does
//!
//! A [`Backoff`] is a pure value: the number of failures in a row and a random fraction give a
//! delay. The shapes are [`constant`](Backoff::constant), [`linear`](Backoff::linear),
//! [`exponential`](Backoff::exponential) and [`decorrelated`](Backoff::decorrelated). The
//! delay after jitter is never above the cap. A [retry](crate::retry) waits by it between attempts, a
//! [circuit breaker](crate::circuit_breaker) before its probes.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use seawall::{Backoff, Jitter};
//!
//! let ms = Duration::from_millis;
//! let backoff = Backoff::exponential(ms(50)).max(ms(150)).jitter(Jitter::None);
//! let delays: Vec<_> = backoff.delays(7).take(3).collect();
//! assert_eq!(delays, [ms(50), ms(100), ms(150)]);
//! ```
//!
//! # Customised
//!
//! ```
//! use std::time::Duration;
//! use seawall::{Backoff, Jitter};
//!
//! let secs = Duration::from_secs;
//! let backoff = Backoff::exponential(secs(1)).factor(1.5).max(secs(30)).jitter(Jitter::Equal);
//! let delay = backoff.delay(2, 0.0);
//! assert_eq!(delay, Duration::from_millis(750)); // Half of 1.5 s, and none of the other half.
//! ```
//!
//! # Without a service
//!
//! [`delays`](Backoff::delays) is an endless iterator, for a loop of your own. The same seed gives
//! the same delays.
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | base | required | about as long as one call of the dependency takes |
//! | [`factor`](Backoff::factor) | 2 | of the exponential shape |
//! | [`max`](Backoff::max) | 2 s; none for a constant one | few callers wait longer |
//! | [`jitter`](Backoff::jitter) | full | calls that failed together must not come back together |
//!
//! # Sharing
//!
//! It is `Copy` and holds no state: a copy shares nothing. The policy brings the randomness.
//!
//! # Errors
//!
//! None by itself. A policy with a base of zero, a cap below the base, or a factor below 1 does not
//! build.
//!
//! # When not to use it
//!
//! Where the thing that is waited for says when it is done: wait for that. The policies follow a
//! `Retry-After` themselves, with the backoff on top.

use std::fmt;
use std::time::Duration;

use crate::config::Problems;
use crate::rng;

/// How a delay is randomised, so that calls that failed together do not come back together. The
/// names are those of the AWS architecture blog's "Exponential Backoff And
/// Jitter".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as computed.
    None,
    /// Between zero and the delay: spreads best.
    #[default]
    Full,
    /// Between half of the delay and the delay: never zero.
    Equal,
}

/// A sequence of delays, one per failure in a row.
///
/// A pure value: the same number of failures and the same random fraction give the same delay. The
/// delay after jitter is never above the cap.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Backoff {
    shape: Shape,
    base: Duration,
    /// None: that of the shape.
    cap: Option<Duration>,
    jitter: Jitter,
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Constant => write!(f, "constant {:?}", self.base)?,
            Shape::Linear => write!(f, "linear from {:?}", self.base)?,
            Shape::Exponential { factor } => {
                write!(f, "exponential from {:?} by {factor}", self.base)?;
            }
            Shape::Decorrelated => write!(f, "decorrelated from {:?}", self.base)?,
        }
        if self.cap() < Duration::MAX {
            write!(f, " up to {:?}", self.cap())?;
        }
        f.write_str(match self.jitter {
            Jitter::None => ", no jitter",
            Jitter::Full => ", full jitter",
            Jitter::Equal => ", equal jitter",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Constant,
    Linear,
    Exponential { factor: f64 },
    Decorrelated,
}

/// The default cap of the shapes that grow: few callers wait longer.
const CAP: Duration = Duration::from_secs(2);

impl Backoff {
    const fn of(shape: Shape, base: Duration) -> Self {
        Self {
            shape,
            base,
            cap: None,
            jitter: Jitter::Full,
        }
    }

    /// `delay` after every failure, with full jitter and no cap.
    pub const fn constant(delay: Duration) -> Self {
        Self::of(Shape::Constant, delay)
    }

    /// `base` after the first failure, and `base` longer after each further one, up to a
    /// [cap](Self::max) of 2 s, with full jitter.
    pub const fn linear(base: Duration) -> Self {
        Self::of(Shape::Linear, base)
    }

    /// `base` after the first failure, and twice as long after each further one, up to a
    /// [cap](Self::max) of 2 s, with full jitter.
    pub const fn exponential(base: Duration) -> Self {
        Self::of(Shape::Exponential { factor: 2.0 }, base)
    }

    /// Between `base` and three times the delay before, up to a [cap](Self::max) of 2 s. It is
    /// random already: [`jitter`](Self::jitter) does not change it.
    ///
    /// From the same article as [`Jitter`], with one difference: the cap bounds the range that is
    /// drawn from, not the result. Otherwise two of three calls at the cap would come back
    /// together.
    pub const fn decorrelated(base: Duration) -> Self {
        Self::of(Shape::Decorrelated, base)
    }

    /// The longest delay, after jitter.
    pub const fn max(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }

    /// The factor from one delay of an exponential backoff to the next. The default is 2.
    pub const fn factor(mut self, factor: f64) -> Self {
        if let Shape::Exponential { .. } = self.shape {
            self.shape = Shape::Exponential { factor };
        }
        self
    }

    /// How the delays are randomised.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The delay after `failures` failures in a row (the first is 1), with a random `fraction` in
    /// `[0, 1)`.
    ///
    /// A [decorrelated](Self::decorrelated) backoff depends on the delay before, which is unknown
    /// here: the longest possible one is taken. [`step`](Self::step) takes the actual one.
    pub fn delay(&self, failures: u32, fraction: f64) -> Duration {
        let base = self.base.as_secs_f64();
        let failures = failures.max(1);
        let power = |factor: f64, n: u32| factor.powi(i32::try_from(n).unwrap_or(i32::MAX));
        let whole = match self.shape {
            Shape::Constant => base,
            Shape::Linear => base * f64::from(failures),
            Shape::Exponential { factor } => base * power(factor, failures - 1),
            Shape::Decorrelated => return self.drawn(base * power(3.0, failures), fraction),
        };
        // `min` also takes the cap where a huge power has overflowed to infinity or NaN.
        let whole = whole.min(self.cap().as_secs_f64());
        self.capped(match self.jitter {
            Jitter::None => whole,
            Jitter::Full => whole * fraction,
            Jitter::Equal => whole * 0.5 + whole * 0.5 * fraction,
        })
    }

    /// The delay after `failures` failures in a row, the last of which followed a delay of
    /// `previous`: zero for the first.
    pub fn step(&self, failures: u32, previous: Duration, fraction: f64) -> Duration {
        match self.shape {
            Shape::Decorrelated => {
                let previous = previous.max(self.base);
                self.drawn(previous.as_secs_f64() * 3.0, fraction)
            }
            _ => self.delay(failures, fraction),
        }
    }

    /// The delays after the first failure, the second, and so on, endlessly. The same seed gives
    /// the same delays.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::{Backoff, Jitter};
    ///
    /// let ms = Duration::from_millis;
    /// let backoff = Backoff::exponential(ms(50)).max(ms(150)).jitter(Jitter::None);
    /// let delays: Vec<_> = backoff.delays(7).take(3).collect();
    /// assert_eq!(delays, [ms(50), ms(100), ms(150)]);
    /// ```
    pub const fn delays(&self, seed: u64) -> Delays {
        Delays {
            backoff: *self,
            seed,
            failures: 0,
            previous: Duration::ZERO,
        }
    }

    /// For a circuit breaker's open wait: no delay is shorter than half of its whole, and a shape
    /// that grows has its own cap, of 8 times the base.
    pub(crate) fn for_open_wait(self) -> Self {
        let mut wait = self;
        if self.jitter == Jitter::Full {
            wait.jitter = Jitter::Equal;
        }
        if self.shape != Shape::Constant {
            let cap = self.cap.unwrap_or(self.base.saturating_mul(8));
            wait.cap = Some(cap);
            if self.shape == Shape::Decorrelated {
                // The longest that may be drawn after each failure.
                wait.shape = Shape::Exponential { factor: 3.0 };
                wait.base = self.base.saturating_mul(3).min(cap);
            }
        }
        wait
    }

    const fn cap(&self) -> Duration {
        match (self.cap, self.shape) {
            (Some(cap), _) => cap,
            (None, Shape::Constant) => Duration::MAX,
            (None, _) => CAP,
        }
    }

    /// With a base of at least `base`, and the same cap.
    #[cfg(feature = "tokio")]
    pub(crate) fn raised_to(self, base: Duration) -> Self {
        Self {
            base: self.base.max(base),
            ..self
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_jittered(&self) -> bool {
        self.jitter != Jitter::None || self.shape == Shape::Decorrelated
    }

    /// Between the base and `longest`, in seconds.
    fn drawn(&self, longest: f64, fraction: f64) -> Duration {
        let cap = self.cap().as_secs_f64();
        let low = self.base.as_secs_f64().min(cap);
        let high = longest.min(cap).max(low);
        self.capped(low + (high - low) * fraction)
    }

    fn capped(&self, secs: f64) -> Duration {
        Duration::try_from_secs_f64(secs).map_or(self.cap(), |d| d.min(self.cap()))
    }

    pub(crate) fn check(&self, field: &str, problems: &mut Problems) {
        problems.check(!self.base.is_zero(), field, self.base, "a base above zero");
        let cap = format!("a cap of at least the base of {:?}", self.base);
        problems.check(self.cap() >= self.base, field, self.cap(), cap);
        if self.shape == Shape::Decorrelated {
            let allowed = "a cap above the base: it draws between the two";
            problems.check(self.cap() != self.base, field, self.cap(), allowed);
        }
        if let Shape::Exponential { factor } = self.shape {
            let allowed = "a finite factor of at least 1";
            let holds = factor.is_finite() && factor >= 1.0;
            problems.check(holds, field, factor, allowed);
        }
    }
}

/// The endless delays of one [`Backoff`] from one seed; made by [`Backoff::delays`].
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct Delays {
    backoff: Backoff,
    seed: u64,
    failures: u32,
    previous: Duration,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let fraction = rng::fraction(self.seed, u64::from(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.previous = (self.backoff).step(self.failures, self.previous, fraction);
        Some(self.previous)
    }
}

impl std::iter::FusedIterator for Delays {}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
