//! The transitions: one function for each edge.

use std::time::Duration;

use super::cause::{Cause, Transition};
use super::machine::{Control, Machine};
use super::probes::is_lost;
use super::word::{State, Word};
use crate::circuit_breaker::config::Config;
use crate::circuit_breaker::rules::{Rules, Tripped};
use crate::outcome::{FailureKind, NEVER};
use crate::sync::Ordering::{self, Relaxed};
use crate::time::Tick;

/// What a decision depends on besides the machine.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Tick,
    pub(crate) rules: &'a Rules,
    /// Draws from `[0, 1)`.
    pub(crate) random: &'a dyn Fn() -> f64,
}

impl Moment<'_> {
    pub(super) fn config(&self) -> &Config {
        &self.rules.config
    }

    /// The least open wait that a failure requests.
    fn floor(&self, kind: FailureKind, retry_after: Option<Duration>) -> Duration {
        let config = self.config();
        // "Do not retry this call" says nothing about when the next call may come, and a delay for
        // one throttled caller nothing about the others.
        let floor = retry_after.filter(|&floor| floor != NEVER && config.rates(kind));
        floor.unwrap_or_default().min(config.retry_after_cap)
    }
}

/// Whether the caller made a transition. Another thread may have made one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the thread that makes a transition emits it and wakes the gate"]
pub(crate) enum Edge {
    Taken,
    NotTaken,
}

/// A state to enter.
struct Entry {
    state: State,
    /// None if no time ends it.
    lasts: Option<Duration>,
    cause: Cause,
}

impl Entry {
    /// A state that no time ends.
    fn endless(state: State, cause: Cause) -> Self {
        let lasts = None;
        Self {
            state,
            lasts,
            cause,
        }
    }
}

impl Machine {
    /// Closed or recovering to open: a rule holds.
    pub(crate) fn trip(&self, from: u32, tripped: Tripped, at: &Moment<'_>) -> Edge {
        self.leave(from, at, |control| {
            control.last_trip = Some((tripped.clone(), at.now));
            let floor = at.floor(tripped.kind, tripped.retry_after);
            control.open(Cause::Tripped(tripped), floor, at)
        })
    }

    /// Open to half-open: the wait is over, and a call comes.
    pub(super) fn half_open(&self, from: u32, at: &Moment<'_>) -> Edge {
        self.leave(from, at, |_| {
            Entry::endless(State::HalfOpen, Cause::WaitOver)
        })
    }

    /// Half-open, all probes of which hang: they have failed, and what they return later changes
    /// nothing, because it is of an earlier generation. Opens if too many have failed.
    pub(super) fn give_up(&self, hung: Word, at: &Moment<'_>) -> Edge {
        let mut control = self.control.lock();
        // Again, under the lock: another probe may have started since, in the same word.
        if self.word() != hung || !self.hangs(hung, at.now, at.config()) {
            return Edge::NotTaken;
        }
        let word = hung.with_probes_given_up();
        at.rules.begin(word.generation());
        self.set_times(
            word.generation(),
            self.since(hung.generation()),
            Tick::NEVER,
        );
        // A probe that has ended meanwhile did not hang. None can start under the lock.
        let given_up = (self.word).compare_exchange(hung.0, word.0, Ordering::Release, Relaxed);
        if given_up.is_err() {
            return Edge::NotTaken;
        }
        if is_lost(word, at.config()) {
            let open = |control: &mut Control| control.open(Cause::GaveUp, Duration::ZERO, at);
            self.enter(&mut control, word, at, open);
        }
        Edge::Taken
    }

    /// Half-open to open: too many probes failed, the last one like this.
    pub(super) fn reopen(
        &self,
        from: u32,
        kind: FailureKind,
        retry_after: Option<Duration>,
        at: &Moment<'_>,
    ) -> Edge {
        self.leave(from, at, |control| {
            let floor = at.floor(kind, retry_after);
            control.open(Cause::ProbesFailed(kind), floor, at)
        })
    }

    /// Half-open to closed, or to recovering where there is a ramp: enough probes succeeded.
    pub(super) fn close(&self, from: u32, at: &Moment<'_>) -> Edge {
        self.leave(from, at, |_| match at.config().ramp {
            None => Entry::endless(State::Closed, Cause::ProbesSucceeded),
            Some(ramp) => Entry {
                state: State::Recovering,
                lasts: Some(ramp.over),
                cause: Cause::ProbesSucceeded,
            },
        })
    }

    /// Recovering to closed: the ramp is over, and a call comes.
    pub(super) fn recover(&self, from: u32, at: &Moment<'_>) -> Edge {
        self.leave(from, at, |_| {
            Entry::endless(State::Closed, Cause::Recovered)
        })
    }

    /// Any state to forced open.
    pub(crate) fn force_open(&self, at: &Moment<'_>) -> Edge {
        let may = |word: Word| word.state() != State::ForcedOpen;
        self.leave_if(may, at, |_| {
            Entry::endless(State::ForcedOpen, Cause::ForcedOpen)
        })
    }

    /// Forced open to closed.
    pub(crate) fn release(&self, at: &Moment<'_>) -> Edge {
        let may = |word: Word| word.state() == State::ForcedOpen;
        self.leave_if(may, at, |_| Entry::endless(State::Closed, Cause::Released))
    }

    /// Any state to closed.
    pub(crate) fn reset(&self, at: &Moment<'_>) -> Edge {
        self.leave_if(
            |_| true,
            at,
            |_| Entry::endless(State::Closed, Cause::Reset),
        )
    }

    /// Leaves the state of this generation, unless another transition has.
    fn leave(&self, from: u32, at: &Moment<'_>, entry: impl FnOnce(&mut Control) -> Entry) -> Edge {
        self.leave_if(|word| word.generation() == from, at, entry)
    }

    fn leave_if(
        &self,
        may: impl FnOnce(Word) -> bool,
        at: &Moment<'_>,
        entry: impl FnOnce(&mut Control) -> Entry,
    ) -> Edge {
        let mut control = self.control.lock();
        let word = self.word();
        if !may(word) {
            return Edge::NotTaken;
        }
        self.enter(&mut control, word, at, entry);
        Edge::Taken
    }

    /// Leaves the state of this word. Under the lock.
    fn enter(
        &self,
        control: &mut Control,
        word: Word,
        at: &Moment<'_>,
        entry: impl FnOnce(&mut Control) -> Entry,
    ) {
        let Entry {
            state,
            lasts,
            cause,
        } = entry(control);
        if state == State::Closed {
            control.opened = 0;
        }
        let generation = word.generation().wrapping_add(1);
        // All that belongs to the new state is in place before the word that enters it.
        at.rules.begin(generation);
        let due = lasts.map_or(Tick::NEVER, |lasts| at.now.after(lasts));
        self.set_times(generation, at.now, due);
        self.exchange(Ordering::Release, |word| {
            Word::new(generation, state, word.mode(), word.flags())
        });
        control.pending.push_back(Transition {
            from: word.state(),
            to: state,
            cause,
            after: at.now.since(self.since(word.generation())),
            open_for: lasts.filter(|_| state == State::Open),
        });
    }
}

impl Control {
    /// The open state: longer each time, and at least as long as `floor`.
    fn open(&mut self, cause: Cause, floor: Duration, at: &Moment<'_>) -> Entry {
        self.opened = self.opened.saturating_add(1);
        let wait = at.config().open_for.delay(self.opened, (at.random)());
        Entry {
            state: State::Open,
            lasts: Some(wait.max(floor)),
            cause,
        }
    }
}
