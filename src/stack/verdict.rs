//! What a stack can do to its dependency.

use std::fmt;
use std::time::Duration;

/// What a stack can do to its dependency and to its caller, by its configuration alone. It costs no
/// call to know.
///
/// ```
/// use seawall::ClientStack;
///
/// let verdict = ClientStack::new("orders").verdict();
/// assert_eq!((verdict.attempts, verdict.amplification), (3, 1.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// The most attempts of one call: those of the retry times those of the hedge.
    pub attempts: u32,
    /// The most attempts per call over time. A budget keeps it below [`attempts`](Self::attempts),
    /// except for its burst and its floor.
    pub amplification: f64,
    /// The share of the dependency's capacity that calls may use, so that all attempts together
    /// stay within the capacity: above it the extra attempts alone can overload the dependency. One
    /// divided by the amplification.
    pub safe_utilisation: f64,
    /// The longest that a caller waits, also one with [`Overrides`](super::Overrides). None if the
    /// timeout of the whole call is not enforced.
    pub longest_wait: Option<Duration>,
}

/// The extra attempts of the retry or the hedge.
pub(super) struct Extra<B> {
    /// The most of one call.
    pub(super) most: u32,
    /// The budget, and what each success adds to it. None if no budget is enforced.
    pub(super) paid: Option<(B, f64)>,
}

impl Verdict {
    /// That of a stack without extra attempts.
    pub(super) fn once(longest_wait: Option<Duration>) -> Self {
        Self::new::<()>(None, None, longest_wait)
    }

    pub(super) fn new<B: PartialEq>(
        retry: Option<Extra<B>>,
        hedge: Option<Extra<B>>,
        longest_wait: Option<Duration>,
    ) -> Self {
        let most = |extra: &Option<Extra<B>>| 1 + extra.as_ref().map_or(0, |extra| extra.most);
        let attempts = most(&retry).saturating_mul(most(&hedge));
        let (retries, payer) = match retry {
            None => (0.0, None),
            Some(Extra { most, paid: None }) => (f64::from(most), None),
            Some(Extra {
                paid: Some((budget, ratio)),
                ..
            }) => (ratio, Some(budget)),
        };
        let all = match hedge {
            None => 1.0 + retries,
            // Each attempt of the retry is hedged.
            Some(Extra { most, paid: None }) => (1.0 + retries) * (1.0 + f64::from(most)),
            Some(Extra {
                paid: Some((budget, ratio)),
                ..
            }) => match payer == Some(budget) {
                true => 1.0 + retries,
                false => 1.0 + retries + ratio,
            },
        };
        let amplification = all.min(f64::from(attempts));
        Self {
            attempts,
            amplification,
            safe_utilisation: 1.0 / amplification,
            longest_wait,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            1 => f.write_str("1 attempt per call")?,
            attempts => {
                let (times, safe) = (self.amplification, self.safe_utilisation * 100.0);
                write!(
                    f,
                    "at most {attempts} attempts per call and {times:.2} over time"
                )?;
                write!(
                    f,
                    ", so extra attempts can overload a dependency above {safe:.0} % of its capacity"
                )?;
            }
        }
        match self.longest_wait {
            Some(wait) => write!(f, "; a caller waits at most {wait:?}"),
            None => f.write_str("; nothing limits the wait of a caller"),
        }
    }
}
