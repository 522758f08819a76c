use std::fmt;

use crate::config::Mode;

/// What a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Admits every call, and counts.
    Closed,
    /// Refuses every call until its wait is over.
    Open,
    /// Admits a few calls as probes.
    HalfOpen,
    /// Held open by [`force_open`](crate::CircuitBreaker::force_open) until released.
    ForcedOpen,
    /// Has closed, and admits a growing share of the calls.
    Recovering,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::Recovering => "recovering",
        })
    }
}

impl State {
    const fn to_bits(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
            Self::ForcedOpen => 3,
            Self::Recovering => 4,
        }
    }

    #[inline]
    const fn from_bits(bits: u64) -> Self {
        match bits & 7 {
            0 => Self::Closed,
            1 => Self::Open,
            2 => Self::HalfOpen,
            3 => Self::ForcedOpen,
            _ => Self::Recovering,
        }
    }
}

/// The word, unpacked:
/// `[generation: 32][failed: 8][succeeded: 8][in flight: 8][flags: 3][mode: 2][state: 3]`
///
/// Read by every call; written by transitions, changes and probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) struct Word(pub(super) u64);

/// What a call has to do beyond the least, kept in the word so that one load tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::circuit_breaker) struct Flags {
    /// A success has to be recorded in a window.
    pub(in crate::circuit_breaker) count_successes: bool,
    /// The start of the call has to be known.
    pub(in crate::circuit_breaker) time_calls: bool,
    /// The windows are not those that the breaker was made with.
    pub(in crate::circuit_breaker) changed: bool,
}

pub(super) const MODE: u32 = 3;
pub(super) const FLAGS: u32 = 5;
pub(super) const IN_FLIGHT: u32 = 8;
pub(super) const SUCCEEDED: u32 = 16;
pub(super) const FAILED: u32 = 24;
pub(super) const GENERATION: u32 = 32;

impl Word {
    pub(super) fn new(generation: u32, state: State, mode: Mode, flags: Flags) -> Self {
        let flags = u64::from(flags.count_successes)
            | u64::from(flags.time_calls) << 1
            | u64::from(flags.changed) << 2;
        Self(
            u64::from(generation) << GENERATION
                | flags << FLAGS
                | mode.to_bits() << MODE
                | state.to_bits(),
        )
    }

    #[inline]
    pub(in crate::circuit_breaker) fn state(self) -> State {
        State::from_bits(self.0)
    }

    #[inline]
    pub(in crate::circuit_breaker) fn mode(self) -> Mode {
        Mode::from_bits(self.0 >> MODE)
    }

    #[inline]
    pub(in crate::circuit_breaker) fn flags(self) -> Flags {
        Flags {
            count_successes: self.0 >> FLAGS & 1 != 0,
            time_calls: self.0 >> FLAGS & 2 != 0,
            changed: self.0 >> FLAGS & 4 != 0,
        }
    }

    #[inline]
    pub(in crate::circuit_breaker) fn generation(self) -> u32 {
        (self.0 >> GENERATION) as u32
    }

    pub(in crate::circuit_breaker) fn in_flight(self) -> u32 {
        (self.0 >> IN_FLIGHT) as u32 & 0xFF
    }

    pub(in crate::circuit_breaker) fn succeeded(self) -> u32 {
        (self.0 >> SUCCEEDED) as u32 & 0xFF
    }

    pub(in crate::circuit_breaker) fn failed(self) -> u32 {
        (self.0 >> FAILED) as u32 & 0xFF
    }

    /// Closed and not switched off: a call is admitted without more ado.
    #[inline]
    pub(in crate::circuit_breaker) fn admits(self) -> bool {
        self.state() == State::Closed && self.mode() != Mode::Off
    }

    /// Closed, in this generation, and with the windows that the breaker was made with.
    #[inline]
    pub(in crate::circuit_breaker) fn counts_plainly(self, generation: u32) -> bool {
        self.state() == State::Closed && !self.flags().changed && self.generation() == generation
    }

    /// Enforced and open, if only until its wait is over.
    #[inline]
    pub(in crate::circuit_breaker) fn refuses(self) -> bool {
        self.mode() == Mode::Enforce && matches!(self.state(), State::Open | State::ForcedOpen)
    }
}
