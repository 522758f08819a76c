//! How a call is admitted, and how a probe ends.

use std::time::Duration;

use super::machine::Machine;
use super::probes::{has_room, is_lost, is_undecided, is_won};
use super::transition::{Edge, Moment};
use super::word::{State, Word};
use crate::circuit_breaker::config::Config;
use crate::outcome::FailureKind;
use crate::rejection::RejectionKind;
use crate::sync::Ordering::{Relaxed, Release};
use crate::time::Tick;

/// What the machine gives a call that it admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) generation: u32,
    pub(crate) role: Role,
}

impl Grant {
    #[inline]
    pub(crate) fn counted(generation: u32) -> Self {
        Self {
            generation,
            role: Role::Counted,
        }
    }

    pub(crate) fn unrecorded(word: Word) -> Self {
        Self {
            generation: word.generation(),
            role: Role::Unrecorded,
        }
    }
}

// As large as the generation beside it: with bytes of no use between the two and what follows, a
// copy of the grant would wait for the stores of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Role {
    /// Its outcome is counted.
    Counted,
    /// It holds a probe permit.
    Probe,
    /// The mode admitted it; its outcome changes nothing.
    Unrecorded,
}

/// Why the machine rejects a call.
// Two words, which are returned in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The state that rejects it.
    state: State,
    /// From now to when another call may be admitted, in nanoseconds; [`u64::MAX`] if that is not
    /// known.
    wait: u64,
}

impl Rejected {
    #[inline]
    pub(super) fn until(state: State, due: Tick, now: Tick) -> Self {
        let wait = match due.is_never() {
            true => u64::MAX,
            false => due.0.saturating_sub(now.0),
        };
        Self { state, wait }
    }

    pub(crate) fn kind(self) -> RejectionKind {
        match self.state {
            State::HalfOpen => RejectionKind::HalfOpenFull,
            State::Recovering => RejectionKind::Recovering,
            State::Open | State::ForcedOpen | State::Closed => RejectionKind::CircuitOpen,
        }
    }

    pub(crate) fn retry_after(self) -> Option<Duration> {
        (self.wait != u64::MAX).then(|| Duration::from_nanos(self.wait))
    }

    /// The instant of [`retry_after`](Self::retry_after), if it was decided `now`.
    #[cfg(feature = "tower")]
    pub(crate) fn due(self, now: Tick) -> Tick {
        Tick(now.0.saturating_add(self.wait))
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
            if let Some(rejected) = self.shut(word, due, at.now, at.config()) {
                return (Err(rejected), edge);
            }
            let role = match word.state() {
                State::Recovering if !is_over(at.now, due) => {
                    if !is_drawn(since, due, at) {
                        let rejected = Rejected::until(State::Recovering, Tick::NEVER, at.now);
                        return (Err(rejected), edge);
                    }
                    Role::Counted
                }
                State::HalfOpen if self.has_probe_permit(word, at.now, at.config()) => {
                    if !self.take_probe_permit(word, at.now) {
                        continue;
                    }
                    Role::Probe
                }
                State::Closed => Role::Counted,
                _ => {
                    if self.end_state(word, at) == Edge::Taken {
                        edge = Edge::Taken;
                    }
                    continue;
                }
            };
            return (Ok(Grant { generation, role }), edge);
        }
    }

    /// Whether the ramp admits the next call, and in which generation; none without a ramp under
    /// way.
    #[cfg(feature = "tower")]
    pub(crate) fn draw(&self, at: &Moment<'_>) -> Option<(bool, u32)> {
        let (word, since, due) = self.timed_word();
        let recovers = word.state() == State::Recovering && !is_over(at.now, due);
        recovers.then(|| (is_drawn(since, due, at), word.generation()))
    }

    /// Ends a state that is at its end. Not taken if another thread has ended it first.
    fn end_state(&self, word: Word, at: &Moment<'_>) -> Edge {
        let (generation, config) = (word.generation(), at.config());
        match word.state() {
            State::Open => self.half_open(generation, at),
            State::Recovering => self.recover(generation, at),
            // A change has lowered what is needed to what has succeeded,
            _ if is_won(word, config) => self.close(generation, at),
            // or raised it above what can still succeed.
            _ if is_lost(word, config) => self.reopen(generation, FailureKind::Error, None, at),
            _ => self.give_up(word, at),
        }
    }

    /// Takes a probe permit. False if the word has changed.
    ///
    /// Under the lock, so that no probe starts while others are given up.
    fn take_probe_permit(&self, word: Word, now: Tick) -> bool {
        let control = self.control.lock();
        let next = word.with_probe();
        if self.word() == word {
            self.last_probe.store(now.0, Relaxed);
        }
        let taken = (self.word).compare_exchange(word.0, next.0, Release, Relaxed);
        drop(control);
        taken.is_ok()
    }

    /// Releases a probe's permit and counts its result, which may close or re-open the breaker.
    pub(crate) fn end_probe(&self, generation: u32, result: ProbeResult, at: &Moment<'_>) -> Edge {
        let mut word = self.word();
        loop {
            if word.generation() != generation {
                // A probe of an earlier half-open state, or one that was given up.
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
        shut_open(word, due, now)
    }

    /// What [`admit`](Self::admit) would decide, without a transition and without a permit.
    pub(crate) fn peek(&self, now: Tick, config: &Config) -> Result<(), Rejected> {
        let (word, _, due) = self.timed_word();
        if let Some(rejected) = self.shut(word, due, now, config) {
            return Err(rejected);
        }
        match self.would_open(word, now, config) {
            // It is not known yet for how long.
            true => Err(Rejected::until(State::Open, Tick::NEVER, now)),
            false => Ok(()),
        }
    }

    /// The rejection of every call until it is due, unless another call ends or the handle changes
    /// the state. A transition that a call would make before it is rejected is made here, so that
    /// the call need not come.
    #[cfg(feature = "tower")]
    pub(crate) fn shut_now(&self, at: &Moment<'_>) -> (Option<Rejected>, Edge) {
        let mut edge = Edge::NotTaken;
        loop {
            let (word, _, due) = self.timed_word();
            let shut = self.shut(word, due, at.now, at.config());
            if shut.is_some() || !self.would_open(word, at.now, at.config()) {
                return (shut, edge);
            }
            if self.end_state(word, at) == Edge::Taken {
                edge = Edge::Taken;
            }
        }
    }

    /// The rejection of a call that makes no transition.
    fn shut(&self, word: Word, due: Tick, now: Tick, config: &Config) -> Option<Rejected> {
        let full = word.state() == State::HalfOpen
            && is_undecided(word, config)
            && !has_room(word, config)
            && !self.hangs(word, now, config);
        match full {
            true => {
                let due = self.gives_up_at(config);
                Some(Rejected::until(State::HalfOpen, due, now))
            }
            false => shut_open(word, due, now),
        }
    }

    /// Whether a half-open state admits one more probe.
    fn has_probe_permit(&self, word: Word, now: Tick, config: &Config) -> bool {
        is_undecided(word, config) && has_room(word, config) && !self.hangs(word, now, config)
    }

    /// Whether a call would open a half-open breaker, and then be rejected.
    fn would_open(&self, word: Word, now: Tick, config: &Config) -> bool {
        let given_up = match self.hangs(word, now, config) {
            true => word.with_probes_given_up(),
            false => word,
        };
        word.state() == State::HalfOpen && !is_won(word, config) && is_lost(given_up, config)
    }

    /// Whether all probes in flight hang, the last one too.
    pub(super) fn hangs(&self, word: Word, now: Tick, config: &Config) -> bool {
        word.in_flight() > 0 && is_over(now, self.gives_up_at(config))
    }

    /// When the probes in flight are given up. Read after the word, it is not earlier than the
    /// time of the last probe in it.
    fn gives_up_at(&self, config: &Config) -> Tick {
        Tick(self.last_probe.load(Relaxed)).after(config.max_probe_time())
    }
}

fn shut_open(word: Word, due: Tick, now: Tick) -> Option<Rejected> {
    let shut = match word.state() {
        State::Open => !is_over(now, due),
        State::ForcedOpen => true,
        _ => false,
    };
    shut.then(|| Rejected::until(word.state(), due, now))
}

/// Whether a ramp admits a call.
fn is_drawn(since: Tick, due: Tick, at: &Moment<'_>) -> bool {
    // In whole nanoseconds: seconds would round once more.
    let passed = at.now.0.saturating_sub(since.0) as f64;
    let share = 0.1 + 0.9 * passed / due.0.saturating_sub(since.0) as f64;
    (at.random)() < share
}

/// A state that never ends is not over at the end of time either.
fn is_over(now: Tick, due: Tick) -> bool {
    now >= due && !due.is_never()
}
