use std::time::Duration;

use super::State;
use crate::classify::Kind;
use crate::rejection::Why;

/// What a machine gives a call that it admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) struct Ticket {
    pub(in crate::circuit_breaker) generation: u32,
    pub(in crate::circuit_breaker) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum Role {
    /// Its outcome is counted.
    Counted,
    /// It holds a probe slot.
    Probe,
    /// It was let through by a mode; its outcome changes nothing.
    Unseen,
}

/// Why a machine does not admit a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) struct Refused {
    pub(in crate::circuit_breaker) why: Why,
    pub(in crate::circuit_breaker) retry_after: Option<Duration>,
}

/// What a machine says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum Answer {
    Admitted(Ticket),
    Refused(Refused),
    /// The state has come to its end: make this move, then ask again.
    Move(Move),
}

/// A move that a machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the machine does not move by itself"]
pub(in crate::circuit_breaker) struct Move {
    /// The generation to leave; none to leave whatever it is.
    pub(in crate::circuit_breaker) from: Option<u32>,
    pub(in crate::circuit_breaker) to: State,
    pub(in crate::circuit_breaker) why: Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum Ended {
    WaitOver,
    GaveUp,
    Recovered,
    ProbesSucceeded,
    ProbesFailed(Kind, Option<Duration>),
}
