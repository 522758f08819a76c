use std::fmt;
use std::time::Duration;

use super::word::State;
use crate::circuit_breaker::rules::Tripped;
use crate::outcome::FailureKind;

/// Why a breaker changed its state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// A rule held.
    Tripped(Tripped),
    /// The wait of the open state was over when a call came.
    WaitOver,
    /// Too many probes failed; the last one with this kind of failure.
    ProbesFailed(FailureKind),
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed, the last ones by not ending within
    /// [`max_probe_time`](crate::circuit_breaker::Builder::max_probe_time).
    GaveUp,
    /// The ramp was over when a call came.
    Recovered,
    /// [`force_open`](crate::CircuitBreaker::force_open) was called.
    ForcedOpen,
    /// [`release`](crate::CircuitBreaker::release) was called.
    Released,
    /// [`reset`](crate::CircuitBreaker::reset) was called.
    Reset,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tripped(tripped) => fmt::Display::fmt(tripped, f),
            Self::WaitOver => f.write_str("open wait over"),
            Self::ProbesFailed(kind) => write!(f, "probes failed, the last one by {kind}"),
            Self::ProbesSucceeded => f.write_str("probes succeeded"),
            Self::GaveUp => f.write_str("probes did not end in time"),
            Self::Recovered => f.write_str("ramp over"),
            Self::ForcedOpen => f.write_str("forced open"),
            Self::Released => f.write_str("released"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

/// A breaker's transition from one state to another.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Transition {
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// How long it had been in the state it left.
    pub after: Duration,
    /// How long it stays open before the first probe, if it opened.
    pub open_for: Option<Duration>,
}
