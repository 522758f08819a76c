/// The counts of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counts {
    /// All calls that ended and were neither ignored nor throttled; see
    /// [`Throttled`](super::Throttled).
    pub calls: u32,
    /// Calls that failed and were not throttled.
    pub failures: u32,
    /// Calls that took longer than the rule's threshold.
    pub slow: u32,
    /// The failures in a row until now, throttled or not, of all calls since the breaker closed,
    /// whatever the window of the rule.
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

/// The counts of a rule.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleCounts {
    /// The rule, as it was configured.
    pub rule: String,
    /// What its memory holds.
    pub counts: Counts,
    /// The share of failures; none below the rule's `min_calls`.
    pub failure_rate: Option<f64>,
    /// The share of failures at which the rule opens; none for a rule that uses other counts.
    pub threshold: Option<f64>,
    /// The failures in a row at which the rule opens, if they have [lasted](super::Trip::lasting) long
    /// enough; none for a rule that uses other counts.
    pub consecutive_threshold: Option<u32>,
    /// The share of slow calls; none below the rule's `min_calls`, and where the rule measures
    /// none.
    pub slow_rate: Option<f64>,
}

pub(super) fn rate(part: u32, calls: u32) -> Option<f64> {
    (calls > 0).then(|| f64::from(part) / f64::from(calls))
}

/// Whether the share of `part` among `calls` is above `rate` by more than chance explains: whether
/// the lower bound of its Wilson score interval is above `rate`.
///
/// The bound solves `share - rate = z * sqrt(rate * (1 - rate) / calls)` for the rate, so the rate
/// is below the bound exactly if the difference is above the right side (E. B. Wilson, "Probable
/// Inference, the Law of Succession, and Statistical Inference", 1927).
pub(super) fn is_surely_above(rate: f64, z: f64, part: u32, calls: u32) -> bool {
    let calls = f64::from(calls);
    let expected = calls * rate;
    f64::from(part) - expected > z * (expected * (1.0 - rate)).sqrt()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::is_surely_above;

    /// The interval's lower bound in its usual form.
    fn lower_bound(part: u32, calls: u32, z: f64) -> f64 {
        let (n, share) = (f64::from(calls), f64::from(part) / f64::from(calls));
        let square = z * z / n;
        let margin = z * (share * (1.0 - share) / n + square / (4.0 * n)).sqrt();
        (share + square / 2.0 - margin) / (1.0 + square)
    }

    #[test]
    fn cb1_a_rate_with_confidence_is_compared_by_the_lower_bound_of_wilsons_interval() {
        for rate in [0.03, 0.27, 0.52, 0.9, 0.99] {
            for z in [0.31, 1.64, 3.1] {
                for calls in (1..200).chain([1_000, 54_321]) {
                    for part in (0..=calls).step_by(calls as usize / 200 + 1) {
                        let bound = lower_bound(part, calls, z);
                        let above = is_surely_above(rate, z, part, calls);
                        assert_eq!(above, bound > rate, "{part} of {calls} above {rate}, z {z}");
                    }
                }
            }
        }
        let least = |part: fn(u32) -> u32| (1..).find(|n| is_surely_above(0.9, 3.1, part(*n), *n));
        assert_eq!(least(|calls| calls), Some(87));
        assert_eq!(least(|calls| calls * 97 / 100), Some(188));
        assert!(!is_surely_above(0.9, 3.1, 900, 1_000));
        assert!(!is_surely_above(0.9, 3.1, 0, 0));
    }
}
