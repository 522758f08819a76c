use std::fmt;

use crate::config::Mode;

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Admits every call and counts outcomes.
    Closed,
    /// Rejects every call until its wait is over.
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

crate::macros::serialize_label!(State);

impl State {
    /// A short text that never changes: `closed`, `open`, `half_open`, `forced_open`, `recovering`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::Recovering => "recovering",
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

/// The machine's word, as one load returns it:
/// `[generation: 32][failed: 8][succeeded: 8][in flight: 8][flags: 2][mode: 2][state: 3]`
///
/// The mode is here and not in [`Common`](crate::common::Common), so that a call is admitted by
/// one load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(super) u64);

/// What the rules need to know of a call, in the word so that the call need not read the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// The start of a call matters.
    pub(crate) times_calls: bool,
    /// The rules are not those that the breaker was built with.
    pub(crate) changed: bool,
}

const STATE: u64 = 7;
const MODE: u32 = 3;
const FLAGS: u32 = 5;
const CHANGED: u64 = 2 << FLAGS;
const IN_FLIGHT: u32 = 8;
const SUCCEEDED: u32 = 16;
const FAILED: u32 = 24;
const GENERATION: u32 = 32;

impl Word {
    /// A word with no probes.
    pub(super) fn new(generation: u32, state: State, mode: Mode, flags: Flags) -> Self {
        let flags = u64::from(flags.times_calls) | u64::from(flags.changed) << 1;
        Self(
            u64::from(generation) << GENERATION
                | flags << FLAGS
                | mode.to_bits() << MODE
                | state as u64,
        )
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        State::from_bits(self.0)
    }

    #[inline]
    pub(crate) fn mode(self) -> Mode {
        Mode::from_bits(self.0 >> MODE)
    }

    #[inline]
    pub(crate) fn flags(self) -> Flags {
        Flags {
            times_calls: self.0 >> FLAGS & 1 != 0,
            changed: self.0 >> FLAGS & 2 != 0,
        }
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> GENERATION) as u32
    }

    /// Whether it is closed, in this generation, under the rules that the breaker was built with.
    // By one comparison: this is on the path of every success.
    #[inline]
    pub(crate) fn is_closed_as_built(self, generation: u32) -> bool {
        const GENERATIONS: u64 = u64::MAX << GENERATION;
        let closed = u64::from(generation) << GENERATION | State::Closed as u64;
        self.0 & (GENERATIONS | CHANGED | STATE) == closed
    }

    /// Probes in flight.
    pub(crate) fn in_flight(self) -> u32 {
        (self.0 >> IN_FLIGHT) as u32 & 0xFF
    }

    /// Probes that have succeeded.
    pub(crate) fn succeeded(self) -> u32 {
        (self.0 >> SUCCEEDED) as u32 & 0xFF
    }

    /// Probes that have failed.
    pub(crate) fn failed(self) -> u32 {
        (self.0 >> FAILED) as u32 & 0xFF
    }

    /// The same state with another mode and flags.
    pub(super) fn with(self, mode: Mode, flags: Flags) -> Self {
        let set = Self(0xF << MODE);
        Self(self.0 & !set.0 | Self::new(0, State::Closed, mode, flags).0)
    }

    /// The same state with one more probe in flight.
    pub(super) fn with_probe(self) -> Self {
        Self(self.0 + (1 << IN_FLIGHT))
    }

    /// The next generation of the same state, with the probes in flight counted as failed.
    pub(super) fn with_probes_given_up(self) -> Self {
        let (given_up, probes) = (u64::from(self.in_flight()), 0xFF << IN_FLIGHT);
        Self((self.0 & !probes).wrapping_add(given_up << FAILED | 1 << GENERATION))
    }

    /// The same state with one probe ended: succeeded, failed, or neither.
    pub(super) fn without_probe(self, succeeded: Option<bool>) -> Self {
        let counted = match succeeded {
            None => 0,
            Some(true) => 1 << SUCCEEDED,
            Some(false) => 1 << FAILED,
        };
        Self(self.0 - (1 << IN_FLIGHT) + counted)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("state", &self.state())
            .field("generation", &self.generation())
            .field("mode", &self.mode())
            .field("flags", &self.flags())
            .field("in_flight", &self.in_flight())
            .field("succeeded", &self.succeeded())
            .field("failed", &self.failed())
            .finish()
    }
}
