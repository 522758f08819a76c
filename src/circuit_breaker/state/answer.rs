use std::time::Duration;

use super::State;
use crate::classify::FailureKind;
use crate::rejection::RejectionKind;
use crate::time::Tick;

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

impl Ticket {
    /// `[generation: 32][role: 2]`
    #[inline]
    pub(in crate::circuit_breaker) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 2 | self.role as u64
    }

    #[inline]
    pub(in crate::circuit_breaker) const fn from_bits(bits: u64) -> Self {
        Self {
            generation: (bits >> 2) as u32,
            role: match bits & 3 {
                0 => Role::Counted,
                1 => Role::Probe,
                _ => Role::Unseen,
            },
        }
    }
}

/// Why a machine does not admit a call: two words, to be refused costs next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) struct Refused {
    shut: Shut,
    /// In nanoseconds; [`Tick::NEVER`]'s for no time that could be told.
    wait: u64,
}

// A whole word: where a byte of a refusal lay, a ticket of an admitted call would be put together
// from pieces, and whoever reads it waits for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Shut {
    Open,
    HalfOpenFull,
    Recovering,
}

impl Refused {
    /// By a breaker that is open for ever.
    pub(in crate::circuit_breaker) const OPEN: Self = Self::of(Shut::Open);
    pub(in crate::circuit_breaker) const PROBES_OUT: Self = Self::of(Shut::HalfOpenFull);
    pub(in crate::circuit_breaker) const RECOVERING: Self = Self::of(Shut::Recovering);

    const fn of(shut: Shut) -> Self {
        let wait = Tick::NEVER.0;
        Self { shut, wait }
    }

    /// By a breaker that is open until `due`.
    #[inline]
    pub(in crate::circuit_breaker) fn until(due: Tick, now: Tick) -> Self {
        match due.is_never() {
            true => Self::OPEN,
            false => Self {
                shut: Shut::Open,
                wait: due.0.saturating_sub(now.0),
            },
        }
    }

    pub(in crate::circuit_breaker) fn kind(self) -> RejectionKind {
        match self.shut {
            Shut::Open => RejectionKind::CircuitOpen,
            Shut::HalfOpenFull => RejectionKind::HalfOpenFull,
            Shut::Recovering => RejectionKind::Recovering,
        }
    }

    pub(in crate::circuit_breaker) fn retry_after(self) -> Option<Duration> {
        (self.wait != Tick::NEVER.0).then(|| Duration::from_nanos(self.wait))
    }
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
    pub(in crate::circuit_breaker) kind: Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum Ended {
    WaitOver,
    GaveUp,
    Recovered,
    ProbesSucceeded,
    ProbesFailed(FailureKind, Option<Duration>),
}
