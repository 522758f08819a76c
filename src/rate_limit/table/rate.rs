//! How fast a tier's clock moves: a division without dividing.
//!
//! With `units / nanos` the reduced rate, `mul = ceil(units × 2^s / nanos)`, and the clock moves by
//! `d × mul >> s`. Rounding `mul` up adds less than `d < 2^64` to the product, which reaches no
//! further whole unit as long as `2^64 ≤ 2^s / nanos`; [`Rate::new`] shows that it does. So this
//! is the division, rounded down, to the last bit, and the rest is 0 exactly if nothing was
//! rounded: the rate is the one that was asked for.

use crate::rate_limit::Quota;

/// Units per token: the least that lets a clock of so many per second or minute show whole units
/// at every millisecond, one of so many per day at every second.
pub(super) const TOKEN: u64 = 2_160_000;

/// The most a clock moves in a nanosecond, as in [`Quota`]'s own unit of 1/32 ns.
const FASTEST: u128 = 32;

/// How fast a clock moves: `units` in `nanos`, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) units: u64,
    pub(super) nanos: u64,
    /// `units / nanos` in fixed point, rounded up: 64 + `shift` bits are behind the point.
    pub(super) mul: u128,
    pub(super) shift: u32,
}

impl Rate {
    pub(super) const STOPPED: Self = Self {
        units: 0,
        nanos: 1,
        mul: 0,
        shift: 63,
    };

    /// Of a quota that is not unlimited.
    pub(super) fn of(quota: Quota) -> Self {
        let (n, period) = (u128::from(quota.count()), quota.period().as_nanos().max(1));
        if n == 0 {
            return Self::STOPPED;
        }
        let token = u128::from(TOKEN);
        let (units, nanos) = if n > FASTEST * period {
            (FASTEST * token, 1)
        } else {
            let shared = gcd(n * token, period);
            match (n * token / shared, period / shared) {
                // More than 36 years; in whole nanoseconds per token it fits.
                (_, nanos) if nanos > 1 << 60 => (token, period.div_ceil(n)),
                lowest => lowest,
            }
        };
        let fits = |x: u128| u64::try_from(x).unwrap_or(u64::MAX);
        Self::new(fits(units), fits(nanos))
    }

    /// `units` are below 2^54, `nanos` at most 2^60.
    ///
    /// The point is placed so that `mul` is below 2^127. For a rate below one, `shift` is 63 and
    /// `nanos` < 2^63. For one of at least 2^(l-1) and less than 2^l, `shift` is 63 - l, and
    /// `nanos ≤ units / 2^(l-1) < 2^(55-l)`. Either way `nanos < 2^shift`, as is needed.
    fn new(units: u64, nanos: u64) -> Self {
        let mut shift = 63;
        while u128::from(units) >= u128::from(nanos) << (63 - shift) {
            shift -= 1;
        }
        let (mut mul, mut rest) = (u128::from(units / nanos), u128::from(units % nanos));
        for _ in 0..64 + shift {
            mul <<= 1;
            rest <<= 1;
            if rest >= u128::from(nanos) {
                rest -= u128::from(nanos);
                mul += 1;
            }
        }
        Self {
            units,
            nanos,
            mul: mul + u128::from(rest > 0),
            shift,
        }
    }

    /// The units in `d` ns, or about `most`.
    #[inline]
    pub(super) fn units_in(&self, d: u64, most: u64) -> Reading {
        let low = u128::from(self.mul as u64) * u128::from(d);
        let product = (self.mul >> 64) * u128::from(d) + (low >> 64);
        let whole = (product >> self.shift).min(u128::from(most)) as u64;
        let rest = product as u64 & ((1 << self.shift) - 1);
        Reading {
            down: whole,
            up: whole + u64::from(rest != 0),
        }
    }

    /// How long the clock takes for `units`, rounded down and up. It runs.
    pub(super) fn nanos_for(&self, units: u64) -> (u128, u128) {
        let product = u128::from(units) * u128::from(self.nanos);
        let by = u128::from(self.units);
        (product / by, product.div_ceil(by))
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What a clock shows, or moves by, rounded down and up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) down: u64,
    pub(super) up: u64,
}
