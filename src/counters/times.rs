use std::time::Duration;

use crate::macros::debug_fields;

/// Below the first bucket, in a bucket of its own, are the times under 100 us; the last is for
/// those above 104 s. Between, each doubling has four buckets of one width.
const BUCKETS: usize = 82;

/// After the buckets comes the sum, in nanoseconds.
pub(super) const SUM: usize = BUCKETS;
pub(super) const WORDS: usize = BUCKETS + 1;

/// A timeout does not count shorter times: they are the calls that have ended and that are in no
/// bucket, which saves most calls the counting.
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
pub(crate) const SHORTEST: Duration = Duration::from_nanos(4 * UNIT);

/// A quarter of 100 us, in nanoseconds: the width of the narrowest bucket.
const UNIT: u64 = 25_000;

pub(super) const fn bucket(nanos: u64) -> usize {
    let units = nanos / UNIT;
    if units < 4 {
        return 0;
    }
    let doublings = units.ilog2() - 2;
    let quarter = (units >> doublings) & 3;
    let bucket = 1 + doublings as usize * 4 + quarter as usize;
    if bucket < BUCKETS {
        bucket
    } else {
        BUCKETS - 1
    }
}

/// Where a bucket ends. None for the last one.
fn end(bucket: usize) -> Option<Duration> {
    let units = match bucket.checked_sub(1) {
        None => 4,
        Some(_) if bucket + 1 >= BUCKETS => return None,
        Some(after) => (5 + after as u64 % 4) << (after / 4),
    };
    Some(Duration::from_nanos(units * UNIT))
}

/// How long calls have taken or waited: a histogram with four buckets for each doubling from
/// 100 us to 104 s.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    words: [u64; WORDS],
}

impl Times {
    pub(super) const fn new(words: [u64; WORDS]) -> Self {
        Self { words }
    }

    /// Adds times below [`SHORTEST`], so that `count` are counted.
    pub(super) fn fill(&mut self, count: u64) {
        self.words[0] += count.saturating_sub(self.count());
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.words[..BUCKETS].iter().sum()
    }

    /// Their sum. Times below 100 us are not in that of a timeout.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.words[SUM])
    }

    /// The time that this share of all, from 0 to 1, took at most: the end of the bucket that it
    /// is in, so at most a quarter too much above 100 us. A time above 104 s reads as 104.8576 s.
    /// None if there was none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        #[allow(clippy::cast_sign_loss)] // It is from zero to the count.
        let rank = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.words[..BUCKETS].iter().position(|counted| {
            seen += counted;
            seen >= rank
        })?;
        end(bucket).or_else(|| end(BUCKETS - 2))
    }

    /// The buckets from the shortest on: where each ends, none for the last, and how many times
    /// were counted in it.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let counted = self.words[..BUCKETS].iter().enumerate();
        counted.map(|(bucket, counted)| (end(bucket), *counted))
    }
}

debug_fields!(Times, this: count = this.count(), sum = this.sum());

impl Default for Times {
    fn default() -> Self {
        Self::new([0; WORDS])
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Times {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let seconds = |share| self.percentile(share).map(|time| time.as_secs_f64());
        let mut times = serializer.serialize_struct("Times", 5)?;
        times.serialize_field("count", &self.count())?;
        times.serialize_field("sum", &self.sum().as_secs_f64())?;
        times.serialize_field("p50", &seconds(0.5))?;
        times.serialize_field("p90", &seconds(0.9))?;
        times.serialize_field("p99", &seconds(0.99))?;
        times.end()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, SUM, Times, bucket, end};
    use crate::time::nanos;

    #[test]
    fn ob1_each_time_is_in_the_bucket_that_ends_after_it_and_at_most_a_quarter_later() {
        let mut last = Duration::ZERO;
        for number in 0..BUCKETS - 1 {
            let end = end(number).unwrap();
            assert_eq!(bucket(nanos(last)), number, "from {last:?}");
            assert_eq!(bucket(nanos(end) - 1), number, "to {end:?}");
            assert!(
                number == 0 || end <= last.mul_f64(1.25),
                "{last:?} to {end:?}"
            );
            last = end;
        }
        assert_eq!(last, Duration::from_nanos(104_857_600_000));
        assert_eq!(
            (bucket(nanos(last)), bucket(u64::MAX)),
            (BUCKETS - 1, BUCKETS - 1)
        );
    }

    #[test]
    fn ob1_percentiles_are_those_of_the_buckets() {
        let ms = Duration::from_millis;
        let mut words = Times::default().words;
        assert_eq!(Times::default().percentile(0.5), None);
        for time in [1, 2, 3, 4, 500].map(ms) {
            words[bucket(nanos(time))] += 1;
            words[SUM] += nanos(time);
        }
        let times = Times::new(words);
        assert_eq!((times.count(), times.sum()), (5, ms(510)));
        for (share, least) in [(0.0, 1), (0.5, 3), (0.8, 4), (1.0, 500)] {
            let time = times.percentile(share).unwrap();
            assert!(
                time >= ms(least) && time <= ms(least).mul_f64(1.25),
                "{share}: {time:?}"
            );
        }
    }
}
