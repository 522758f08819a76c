use std::fmt;
use std::time::Duration;

use crate::circuit_breaker::counts::Counts;
use crate::outcome::FailureKind;

/// What tripped a breaker.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Tripped {
    /// The rule, as it was configured.
    pub rule: String,
    /// What its memory held.
    pub counts: Counts,
    /// The kind of the last failure.
    pub kind: FailureKind,
    /// The delay that the dependency requested.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds_if_any")
    )]
    pub retry_after: Option<Duration>,
    /// The text of the last failure and of its causes, if it was an error that a layer or `run` has
    /// seen. The text is made only when the breaker trips.
    pub error: Option<String>,
}

impl fmt::Display for Tripped {
    /// The rule, and the last failure: its text, where it has one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; last failure: ", self.rule)?;
        match &self.error {
            Some(error) => f.write_str(error),
            None => fmt::Display::fmt(&self.kind, f),
        }
    }
}
