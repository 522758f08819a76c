//! How a call is admitted, and how a probe ends.

use std::time::Duration;

use super::machine::Machine;
use super::transition::{Edge, Moment};
use super::word::{State, Word};
use crate::circuit_breaker::config::{Config, GiveUp};
use crate::outcome::FailureKind;
use crate::rejection::RejectionKind;
use crate::sync::Ordering::Relaxed;
use crate::time::Tick;

/// What the machine gives a call that it admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) generation: u32,
    pub(crate) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its outcome is counted.
    Counted,
    /// It holds a probe permit.
    Probe,
    /// The mode admitted it; its outcome changes nothing.
    Unrecorded,
}

/// Why the machine rejects a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) kind: RejectionKind,
    pub(crate) retry_after: Option<Duration>,
}

impl Rejected {
    /// Open for ever.
    pub(super) const OPEN: Self = Self::without_time(RejectionKind::CircuitOpen);
    pub(super) const HALF_OPEN_FULL: Self = Self::without_time(RejectionKind::HalfOpenFull);
    const RECOVERING: Self = Self::without_time(RejectionKind::Recovering);

    const fn without_time(kind: RejectionKind) -> Self {
        let retry_after = None;
        Self { kind, retry_after }
    }

    pub(super) fn open_until(due: Tick, now: Tick) -> Self {
        Self {
            kind: RejectionKind::CircuitOpen,
            retry_after: (!due.is_never()).then(|| due.since(now)),
        }
    }
}

/// How a probe ended; none if it says nothing.
type ProbeResult = Option<Result<(), (FailureKind, Option<Duration>)>>;

impl Machine {
    /// Admits or rejects a call. Takes the transitions that are due when a call comes.
    pub(crate) fn admit(&self, at: &Moment<'_>) -> (Result<Grant, Rejected>, Edge) {
        let mut edge = Edge::NotTaken;
        loop {
            let (word, since, due) = self.timed_word();
            let generation = word.generation();
            let over = is_over(at.now, due);
            let counted = Grant {
                generation,
                role: Role::Counted,
            };
            let decision = match word.state() {
                State::Closed => Ok(counted),
                State::ForcedOpen => Err(Rejected::OPEN),
                State::Open if !over => Err(Rejected::open_until(due, at.now)),
                State::Recovering if !over => {
                    // In whole nanoseconds: seconds would round once more.
                    let passed = at.now.0.saturating_sub(since.0) as f64;
                    let share = 0.1 + 0.9 * passed / due.0.saturating_sub(since.0) as f64;
                    match (at.random)() < share {
                        true => Ok(counted),
                        false => Err(Rejected::RECOVERING),
                    }
                }
                State::HalfOpen if has_probe_permit(word, over, at.config()) => {
                    match self.take_probe_permit(word) {
                        Some(probe) => Ok(probe),
                        // The word has changed.
                        None => continue,
                    }
                }
                State::HalfOpen if waits_for_probes(word, over, at.config()) => {
                    Err(Rejected::HALF_OPEN_FULL)
                }
                // The state is at its end. If another thread ends it first, look again.
                ended => {
                    let taken = match ended {
                        State::Open => self.half_open(generation, at),
                        State::Recovering => self.recover(generation, at),
                        _ if over => self.give_up(generation, at),
                        // A change has lowered what is needed to what has succeeded,
                        _ if is_won(word, at.config()) => self.close(generation, at),
                        // or raised it above what can still succeed.
                        _ => self.reopen(generation, FailureKind::Error, None, at),
                    };
                    if taken == Edge::Taken {
                        edge = taken;
                    }
                    continue;
                }
            };
            return (decision, edge);
        }
    }

    fn take_probe_permit(&self, word: Word) -> Option<Grant> {
        let next = word.with_probe();
        let taken = (self.word).compare_exchange(word.0, next.0, Relaxed, Relaxed);
        taken.ok().map(|_| Grant {
            generation: word.generation(),
            role: Role::Probe,
        })
    }

    /// Releases a probe's permit and counts its result, which may close or re-open the breaker.
    pub(crate) fn end_probe(&self, generation: u32, result: ProbeResult, at: &Moment<'_>) -> Edge {
        let mut word = self.word();
        loop {
            if word.generation() != generation {
                // A probe of an earlier half-open state.
                return Edge::NotTaken;
            }
            let next = word.without_probe(result.map(|result| result.is_ok()));
            match (self.word).compare_exchange_weak(word.0, next.0, Relaxed, Relaxed) {
                Ok(_) => {
                    word = next;
                    break;
                }
                Err(now) => word = Word(now),
            }
        }
        match result {
            Some(Ok(())) if is_won(word, at.config()) => self.close(generation, at),
            Some(Err((kind, retry_after))) if is_lost(word, at.config()) => {
                self.reopen(generation, kind, retry_after, at)
            }
            _ => Edge::NotTaken,
        }
    }

    /// The rejection of an open breaker whose wait is not over: it needs no rules.
    pub(crate) fn rejects_while_open(&self, now: Tick) -> Option<Rejected> {
        let (word, _, due) = self.timed_word();
        match word.state() {
            State::ForcedOpen => Some(Rejected::OPEN),
            State::Open if !is_over(now, due) => Some(Rejected::open_until(due, now)),
            _ => None,
        }
    }

    /// What [`admit`](Self::admit) would decide, without a transition and without a permit.
    pub(crate) fn peek(&self, now: Tick, config: &Config) -> Result<(), Rejected> {
        let (word, _, due) = self.timed_word();
        if let Some(rejected) = shut(word, due, now, config) {
            return Err(rejected);
        }
        // A call would open it, and then be rejected.
        let over = is_over(now, due);
        let opens = match over {
            true => config.give_up == GiveUp::Open,
            false => !is_won(word, config) && is_lost(word, config),
        };
        match word.state() == State::HalfOpen && opens {
            true => Err(Rejected::OPEN),
            false => Ok(()),
        }
    }

    /// Until when every call is rejected, unless another call ends or the handle changes the state;
    /// none if a call is admitted or makes a transition.
    #[cfg(feature = "tower")]
    pub(crate) fn shut_until(&self, now: Tick, config: &Config) -> Option<Tick> {
        let (word, _, due) = self.timed_word();
        shut(word, due, now, config).map(|_| due)
    }
}

/// The rejection of a call that makes no transition.
fn shut(word: Word, due: Tick, now: Tick, config: &Config) -> Option<Rejected> {
    let over = is_over(now, due);
    match word.state() {
        State::ForcedOpen => Some(Rejected::OPEN),
        State::Open if !over => Some(Rejected::open_until(due, now)),
        State::HalfOpen
            if waits_for_probes(word, over, config) && !has_probe_permit(word, over, config) =>
        {
            Some(Rejected::HALF_OPEN_FULL)
        }
        _ => None,
    }
}

/// A state that never ends is not over at the end of time either.
fn is_over(now: Tick, due: Tick) -> bool {
    now >= due && !due.is_never()
}

fn is_won(word: Word, config: &Config) -> bool {
    word.succeeded() >= config.close_after()
}

/// The probes that have not failed are too few to close.
fn is_lost(word: Word, config: &Config) -> bool {
    word.failed() + config.close_after() > config.probes
}

/// Whether the half-open state goes on: its probes have decided nothing yet.
fn waits_for_probes(word: Word, over: bool, config: &Config) -> bool {
    !over && !is_won(word, config) && !is_lost(word, config)
}

/// Whether it admits one more probe. With the results of all probes the state has ended, so no more
/// are admitted than can still say something.
fn has_probe_permit(word: Word, over: bool, config: &Config) -> bool {
    waits_for_probes(word, over, config)
        && word.in_flight() + word.succeeded() + word.failed() < config.probes
}
