//! What the page gets: one JSON document twice a second.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::registry::States;

/// Counts or rates by the label of what they count.
pub(super) type ByLabel<T> = BTreeMap<&'static str, T>;

/// All that a viewer sees at one instant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Document {
    /// Of this form. A field that is added changes no version.
    pub(super) version: u32,
    /// Seconds since the console was made.
    pub(super) now: Seconds,
    pub(super) status: &'static str,
    /// One sentence: what is wrong first.
    pub(super) headline: String,
    pub(super) levers: bool,
    /// The worst first.
    pub(super) policies: Vec<Tile>,
    /// How many policies are in none of the tiles.
    pub(super) not_shown: usize,
    /// The newest first.
    pub(super) transitions: Vec<Passed>,
}

/// One policy.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tile {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) mode: &'static str,
    pub(super) trouble: Trouble,
    /// One sentence.
    pub(super) says: String,
    /// Since it was made.
    pub(super) calls: u64,
    pub(super) state: Option<&'static str>,
    pub(super) in_state: Option<Seconds>,
    /// A second, as all rates are.
    pub(super) admitted: Option<Number>,
    pub(super) rejected: Option<ByLabel<Number>>,
    pub(super) would_reject: Option<ByLabel<Number>>,
    pub(super) failed: Option<ByLabel<Number>>,
    /// Extra attempts that were due and not made.
    pub(super) suppressed: Option<ByLabel<Number>>,
    pub(super) threshold: Option<Number>,
    pub(super) limit: Option<u32>,
    pub(super) queue_limit: Option<u32>,
    /// The balance of a limiter or a budget that nothing uses.
    pub(super) full: Option<Number>,
    pub(super) time_limit: Option<Seconds>,
    pub(super) attempts_per_call: Option<Number>,
    pub(super) latency: Option<Latency>,
    /// None unless it is a policy for each key.
    pub(super) keys: Option<Keys>,
    /// What only this kind of policy has, as text.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) levers: Vec<Handle>,
    /// What the charts show of this instant.
    pub(super) point: Point,
    /// The points of the last minute, the oldest first; only in the first document of a viewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<History>,
}

/// How urgent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trouble {
    Bad,
    Warn,
    Note,
    #[default]
    Ok,
}

/// The latencies of the last seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: Seconds,
    pub(super) p90: Seconds,
    pub(super) p99: Seconds,
    pub(super) p999: Seconds,
    /// How many seconds they are of.
    pub(super) over: Seconds,
}

/// The keys of a policy for each key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Keys {
    pub(super) count: usize,
    pub(super) capacity: usize,
    /// How many times a new key found no entry.
    pub(super) overflowed: u64,
    /// Of circuit breakers.
    pub(super) states: Option<States>,
    /// Up to ten circuit breakers that are not closed, with their states.
    pub(super) not_closed: Vec<(String, &'static str)>,
}

/// A lever that works on a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Handle {
    pub(super) lever: &'static str,
    /// The present value, where it sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<String>,
    /// Whether it works on one key, which is its value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) key: bool,
    /// All values, where there are few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allowed: Option<&'static [&'static str]>,
}

/// A transition that has happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Passed {
    /// On the clock of [`Document::now`].
    pub(super) at: Seconds,
    pub(super) policy: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) cause: String,
}

/// A point of each chart, and the points of a minute, under the same names.
macro_rules! series {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
        pub(super) struct Point {
            $($(#[$doc])* pub(super) $name: Option<Number>,)+
        }

        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub(super) struct History {
            $(pub(super) $name: Vec<Option<Number>>,)+
        }

        impl History {
            pub(super) fn of<'a>(points: impl Iterator<Item = &'a Point>) -> Self {
                let mut history = Self::default();
                for point in points {
                    $(history.$name.push(point.$name);)+
                }
                history
            }
        }
    };
}
series! {
    admitted,
    rejected,
    failure_rate,
    /// 0 closed, 1 half-open or recovering, 2 open or forced open.
    state,
    in_flight,
    queue,
    /// Tokens of a limiter, or extra attempts of a budget.
    balance,
    p50,
    p99,
}

/// A number with as many digits as a person reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Number(pub(super) f64);

/// A duration in seconds, with milliseconds or three digits.
pub(super) type Seconds = Number;

impl Number {
    pub(super) fn of(value: impl Into<f64>) -> Self {
        Self(value.into())
    }
}

impl From<std::time::Duration> for Number {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let scale = if self.0.abs() < 1.0 { 1e6 } else { 1e3 };
        serializer.serialize_f64((self.0 * scale).round() / scale)
    }
}
