use std::time::Duration;

use super::State;
use crate::circuit_breaker::rules::Tripped;
use crate::classify::FailureKind;

/// Why a breaker moved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// A rule held.
    Tripped(Tripped),
    /// The wait of the open state was over when a call came.
    WaitOver,
    /// Too many probes failed; the last one like this.
    ProbesFailed(FailureKind),
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// The probes did not come back within the half-open state's time.
    GaveUp,
    /// The slow return was over when a call came.
    Recovered,
    /// [`force_open`](crate::CircuitBreaker::force_open) was called.
    ForcedOpen,
    /// [`release`](crate::CircuitBreaker::release) was called.
    Released,
    /// [`reset`](crate::CircuitBreaker::reset) was called.
    Reset,
}

/// A move of a breaker from one state to another.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Transition {
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// RejectionKind.
    pub cause: Cause,
    /// How long it had been in the state it left.
    pub after: Duration,
    /// How long it stays open before the first probe, if it opened.
    pub open_for: Option<Duration>,
}
