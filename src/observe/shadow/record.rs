//! What the events of one policy say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::queueing::{Call, Queueing};
use super::report::{Hour, Suggestion, Verdict};
use crate::bulkhead;
use crate::circuit_breaker::State;
use crate::config::PolicyKind;
use crate::event::{Ending, EventKind};

const HOUR: u64 = 3_600;
/// A week.
const MAX_HOURS: u64 = 168;
/// How many calls of a bulkhead are kept before the older half of them is played.
const MAX_CALLS: usize = 16_384;
/// A bucket of durations is so much wider than the one before.
const WIDTH: f64 = 1.02;
/// Fewer calls say nothing about one in a thousand.
const MIN_CALLS: u64 = 1_000;

/// The record of one policy.
#[derive(Debug)]
pub(super) struct Record {
    kind: PolicyKind,
    calls: u64,
    /// By the number of the hour.
    hours: BTreeMap<u64, Hour>,
    /// How many calls took how long, by the number of the bucket.
    durations: BTreeMap<u16, u64>,
    /// The second that is counted, its count, and the highest count of a second.
    second: (u64, u64, u64),
    bulkhead: Option<Played>,
}

/// The calls of a bulkhead.
#[derive(Debug)]
struct Played {
    queueing: Queueing,
    /// What a call takes at most.
    longest: Duration,
    /// Those that are not played yet, in the order of their ends.
    calls: Vec<Call>,
}

impl Record {
    /// `bulkhead` is the configuration of a bulkhead, under which a call takes at most `longest`.
    pub(super) fn new(
        kind: PolicyKind,
        bulkhead: Option<&bulkhead::Snapshot>,
        longest: Duration,
    ) -> Self {
        Self {
            kind,
            calls: 0,
            hours: BTreeMap::new(),
            durations: BTreeMap::new(),
            second: (0, 0, 0),
            bulkhead: bulkhead.map(|snapshot| Played {
                queueing: Queueing::new(snapshot),
                longest,
                calls: Vec::new(),
            }),
        }
    }

    /// Takes an event in, `now` after the shadow began.
    pub(super) fn note(&mut self, event: &EventKind<'_>, now: Duration) {
        match event {
            EventKind::Ended { ending, elapsed } => self.ended(*ending, *elapsed, now),
            // A bulkhead's are found by playing its calls.
            EventKind::WouldReject(_) if self.bulkhead.is_some() => {}
            EventKind::WouldReject(rejection) => self.would(rejection.kind().label(), now),
            EventKind::Transition(transition) if transition.to == State::Open => {
                self.would("opened", now);
            }
            EventKind::WouldRetry { .. } => self.would("retried", now),
            EventKind::WouldHedge { .. } => self.would("hedged", now),
            EventKind::WouldSuppress { .. } => self.would("suppressed", now),
            EventKind::WouldFallBack { .. } => self.would("fell_back", now),
            _ => {}
        }
    }

    fn hour(&mut self, at: Duration) -> &mut Hour {
        let number = at.as_secs() / HOUR;
        if self.hours.len() as u64 >= MAX_HOURS && !self.hours.contains_key(&number) {
            self.hours.pop_first();
        }
        self.hours.entry(number).or_insert_with(|| Hour {
            number,
            ..Hour::default()
        })
    }

    fn would(&mut self, what: &'static str, at: Duration) {
        *self.hour(at).would.entry(what).or_default() += 1;
    }

    fn ended(&mut self, ending: Ending, elapsed: Duration, now: Duration) {
        self.calls += 1;
        self.hour(now).calls += 1;
        if self.kind == PolicyKind::Timeout && ending != Ending::Dropped {
            *self.durations.entry(bucket(elapsed)).or_default() += 1;
        }
        let (second, count, highest) = &mut self.second;
        if *second != now.as_secs() {
            (*second, *count) = (now.as_secs(), 0);
        }
        *count += 1;
        *highest = (*highest).max(*count);
        if let Some(played) = &mut self.bulkhead {
            played.calls.push(Call {
                from: now.saturating_sub(elapsed),
                took: elapsed.min(played.longest),
            });
            if played.calls.len() >= MAX_CALLS {
                self.play(MAX_CALLS / 2);
            }
        }
    }

    /// Plays the oldest calls of a bulkhead, in the order in which they began.
    fn play(&mut self, count: usize) {
        let Some(played) = &mut self.bulkhead else {
            return;
        };
        played.calls.sort_unstable();
        let count = count.min(played.calls.len());
        let mut rejected = Vec::new();
        for call in played.calls.drain(..count) {
            played.queueing.play(call, &mut |at| rejected.push(at));
        }
        self.would_reject_at(rejected);
    }

    fn would_reject_at(&mut self, times: Vec<Duration>) {
        for at in times {
            self.would("rejected", at);
        }
    }

    /// What it says of the time until `now`.
    pub(super) fn verdict(&mut self, policy: &str, now: Duration) -> Verdict {
        self.play(usize::MAX);
        if let Some(played) = &mut self.bulkhead {
            let mut rejected = Vec::new();
            played.queueing.advance(now, &mut |at| rejected.push(at));
            self.would_reject_at(rejected);
        }
        Verdict {
            policy: policy.to_owned(),
            kind: self.kind,
            calls: self.calls,
            hours: self.hours.values().cloned().collect(),
            suggestion: self.suggestion(),
        }
    }

    fn suggestion(&self) -> Option<Suggestion> {
        let (field, value, reason) = match self.kind {
            PolicyKind::Timeout => {
                let (longest, count) = self.longest_but_one_in_a_thousand()?;
                let reason = format!("99.9 % of {count} calls took at most {longest:.1?}");
                ("limit", format!("{:?}", two_digits(longest)), reason)
            }
            PolicyKind::Bulkhead => {
                let peak = self.bulkhead.as_ref()?.queueing.peak();
                let reason = format!("at most {peak} calls were in flight at once");
                ("limit", peak.to_string(), reason)
            }
            PolicyKind::RateLimit => {
                let peak = self.second.2;
                let reason = format!("at most {peak} calls came in a second");
                ("rate", format!("{peak}/s"), reason)
            }
            _ => return None,
        };
        (self.calls > 0).then_some(Suggestion {
            field,
            value,
            reason,
        })
    }

    fn longest_but_one_in_a_thousand(&self) -> Option<(Duration, u64)> {
        let count = self.durations.values().sum();
        let mut above = count / 1_000;
        let found = self.durations.iter().rev().find(|(_, calls)| {
            let found = **calls > above;
            above = above.saturating_sub(**calls);
            found
        });
        let (bucket, _) = found.filter(|_| count >= MIN_CALLS)?;
        Some((end_of(*bucket), count))
    }
}

/// The bucket of a duration, in steps of 2 % from a microsecond.
fn bucket(d: Duration) -> u16 {
    let micros = (d.as_secs_f64() * 1e6).max(1.0);
    (micros.ln() / WIDTH.ln()) as u16
}

fn end_of(bucket: u16) -> Duration {
    Duration::from_secs_f64(WIDTH.powi(i32::from(bucket) + 1) / 1e6)
}

/// Rounded up to two digits.
fn two_digits(d: Duration) -> Duration {
    let mut step = 1;
    while d.as_micros() / step >= 100 {
        step *= 10;
    }
    let micros = d.as_micros().div_ceil(step) * step;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::Duration;

    use super::{Record, bucket, end_of, two_digits};
    use crate::config::PolicyKind;
    use crate::event::{Ending, EventKind};
    use crate::rejection::{Rejection, RejectionKind};

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn ended(elapsed: Duration) -> EventKind<'static> {
        EventKind::Ended {
            ending: Ending::Completed,
            elapsed,
        }
    }

    #[test]
    fn a_bucket_is_two_percent_wide() {
        for micros in [1, 7, 1_000, 30_000_000, u64::MAX / 1_000] {
            let d = Duration::from_micros(micros);
            let end = end_of(bucket(d)).as_secs_f64() / d.as_secs_f64();
            assert!((0.999..1.021).contains(&end), "{d:?}: {end}");
        }
        assert_eq!(two_digits(Duration::from_micros(803_111)), ms(810));
        assert_eq!(two_digits(ms(95)), ms(95));
    }

    #[test]
    fn a_limit_is_suggested_from_the_slowest_but_one_in_a_thousand() {
        let mut record = Record::new(PolicyKind::Timeout, None, Duration::MAX);
        for call in 1..=2_000_u64 {
            record.note(
                &ended(ms(if call > 1_997 { 9_000 } else { 1 + call / 5 })),
                ms(call),
            );
        }
        let suggestion = record.verdict("t", ms(2_000)).suggestion.unwrap();
        assert_eq!((suggestion.field, &*suggestion.value), ("limit", "9.1s"));

        let mut record = Record::new(PolicyKind::Timeout, None, Duration::MAX);
        for call in 1..=2_000_u64 {
            record.note(
                &ended(ms(if call > 1_998 { 9_000 } else { 1 + call / 5 })),
                ms(call),
            );
        }
        let suggestion = record.verdict("t", ms(2_000)).suggestion.unwrap();
        assert_eq!(suggestion.value, "410ms");
    }

    #[test]
    fn too_few_calls_suggest_no_timeout() {
        let mut record = Record::new(PolicyKind::Timeout, None, Duration::MAX);
        (0..999).for_each(|call| record.note(&ended(ms(5)), ms(call)));
        assert_eq!(record.verdict("t", ms(1_000)).suggestion, None);
    }

    // CX16
    #[test]
    fn a_rejection_is_counted_under_the_label_of_its_kind() {
        let mut record = Record::new(PolicyKind::RateLimit, None, Duration::MAX);
        for kind in [
            RejectionKind::NoKey,
            RejectionKind::CostAboveBurst { cost: 2, burst: 1 },
        ] {
            let rejection = Rejection::new(kind, "l");
            record.note(&EventKind::WouldReject(&rejection), ms(1));
        }
        let would = record.verdict("l", ms(2)).would();
        assert_eq!(would, [("cost_above_burst", 1), ("no_key", 1)].into());
    }

    #[test]
    fn a_rate_is_suggested_from_the_busiest_second() {
        let mut record = Record::new(PolicyKind::RateLimit, None, Duration::MAX);
        for (second, calls) in [(0, 5), (1, 40), (2, 7)] {
            (0..calls).for_each(|n| record.note(&ended(ms(0)), ms(second * 1_000 + n)));
        }
        let suggestion = record.verdict("l", ms(3_000)).suggestion.unwrap();
        assert_eq!(suggestion.value, "40/s");
    }

    #[test]
    fn a_week_of_hours_is_kept() {
        let mut record = Record::new(PolicyKind::RateLimit, None, Duration::MAX);
        let hours = 0..200_u64;
        hours.for_each(|hour| record.note(&ended(ms(0)), Duration::from_secs(hour * 3_600)));
        let verdict = record.verdict("l", Duration::from_secs(200 * 3_600));
        let (first, last) = (
            verdict.hours.first().unwrap(),
            verdict.hours.last().unwrap(),
        );
        let seen = (
            verdict.hours.len(),
            first.number,
            last.number,
            verdict.calls,
        );
        assert_eq!(seen, (168, 32, 199, 200));
    }
}
