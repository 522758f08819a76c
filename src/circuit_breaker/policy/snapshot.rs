use std::time::Duration;

use super::CircuitBreaker;
use crate::circuit_breaker::rules::Tripped;
use crate::circuit_breaker::state::{State, until};
use crate::circuit_breaker::trip::Counts;
use crate::config::Mode;
use crate::sync::Ordering;
use crate::time;

/// What a breaker does and what it has seen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it does; as [`CircuitBreaker::state`].
    pub state: State,
    /// Whether it is enforced.
    pub mode: Mode,
    /// How long it has been in the state that it entered last.
    pub in_state: Duration,
    /// From now to the next probe; none unless it is open or if it is open for ever, zero once a
    /// probe is due.
    pub next_probe: Option<Duration>,
    /// The probes of the half-open state.
    pub probes: Option<Probes>,
    /// What each rule has seen in this state, in their order.
    pub rules: Vec<RuleCounts>,
    /// What tripped it last, since it was made.
    pub trouble: Option<Trouble>,
    /// Calls that would have been refused, in [`Mode::RecordOnly`].
    pub would_reject: u64,
}

/// The probes of a half-open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probes {
    /// Under way.
    pub in_flight: u32,
    /// Have succeeded.
    pub succeeded: u32,
    /// Have failed.
    pub failed: u32,
    /// At most at once.
    pub limit: u32,
}

/// What a rule has seen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RuleCounts {
    /// The rule, as it was configured.
    pub rule: String,
    /// What it has seen.
    pub counts: Counts,
    /// The share of failures; none below the rule's `min_calls`.
    pub failure_rate: Option<f64>,
    /// The share of slow calls; none below the rule's `min_calls`.
    pub slow_rate: Option<f64>,
}

/// What tripped a breaker, and when.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trouble {
    /// What tripped it.
    pub tripped: Tripped,
    /// How long ago.
    pub ago: Duration,
}

impl CircuitBreaker {
    /// What it does and what it has seen. Moves nothing. The parts are read one after the
    /// other, so under load they may be of slightly different moments.
    pub fn snapshot(&self) -> Snapshot {
        let now = time::now();
        let (state, word, since, due) = self.state_at(now);
        let rules = self.0.rules.load();
        let counts = rules.counts(word.generation(), now).into_iter();
        let trouble = self.0.machine.control.lock().last_trip.clone();
        Snapshot {
            state,
            mode: word.mode(),
            in_state: now.since(since),
            next_probe: match word.state() {
                State::Open => until(due, now),
                _ => None,
            },
            probes: (word.state() == State::HalfOpen).then(|| Probes {
                in_flight: word.in_flight(),
                succeeded: word.succeeded(),
                failed: word.failed(),
                limit: rules.config.probes,
            }),
            rules: counts
                .map(|(trip, counts)| {
                    let enough = trip.is_rate() && counts.calls >= trip.least_calls();
                    RuleCounts {
                        rule: trip.to_string(),
                        counts,
                        failure_rate: counts.failure_rate().filter(|_| enough),
                        slow_rate: counts.slow_rate().filter(|_| enough),
                    }
                })
                .collect(),
            trouble: trouble.map(|(tripped, at)| Trouble {
                tripped,
                ago: now.since(at),
            }),
            would_reject: self.0.would_reject.load(Ordering::Relaxed),
        }
    }
}
