//! The breaker's state machine: one word, and a lock for whoever moves it to another state.
//!
//! # Orderings
//!
//! - `word` decides everything. A call that is admitted by a closed breaker does one relaxed
//!   load of it and nothing else: the permit's generation, compared again when the call ends, is
//!   what makes a stale reading harmless (model: `a_late_outcome_changes_nothing`).
//! - A move to another state is made under `control`, by compare-exchange, because probes are
//!   counted in the same word without the lock. One generation is left once
//!   (model: `one_generation_is_left_once`).
//! - The times of a state are stored before the word that enters it, in one of two places by
//!   turns: so they are written over only once the word of the next state is there. A reader
//!   loads word, times, word. Release on the word and acquire on its load show at least the
//!   times of that generation; release on the times and acquire on their load make the second
//!   load of the word see at least the word that was there when they were stored, which for
//!   later times in the same place is a later generation: if it is the same both times, the
//!   times are its own (models: `a_refusal_tells_the_time_of_its_own_era`,
//!   `a_count_is_compared_with_the_time_of_its_own_era`).
//! - Probe slots are taken and given back by compare-exchange on the word, so their number
//!   is exact (model: `probes_never_exceed_their_number`).

mod answer;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
mod naive;
mod step;
mod transition;
mod word;

use std::time::Duration;

use super::rules::{Config, GiveUp};
use crate::classify::FailureKind;
use crate::config::Mode;
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::{Count, Tick};

pub(super) use answer::{Answer, Ended, Move, Refused, Role, Ticket};
pub(super) use step::{Control, Step, Timing};
pub use transition::{Cause, Transition};
pub use word::State;
use word::{FAILED, GENERATION, IN_FLIGHT, MODE, SUCCEEDED};
pub(super) use word::{Flags, Word};

#[derive(Debug)]
pub(super) struct Machine {
    word: CachePadded<AtomicU64>,
    /// Of this generation and of the one before, each at its lowest bit. See `# Orderings`.
    times: [Times; 2],
    pub(super) control: Mutex<Control>,
}

#[derive(Debug)]
struct Times {
    /// When the state was entered.
    since: AtomicU64,
    /// When the state may end: open, the first probe; half-open, giving up; recovering, closed.
    /// Never for the others.
    due: AtomicU64,
    /// A count of the clock's counter before `due`.
    due_count: AtomicU64,
}

impl Times {
    fn new(now: Tick) -> Self {
        Self {
            since: AtomicU64::new(now.0),
            due: AtomicU64::new(Tick::NEVER.0),
            due_count: AtomicU64::new(u64::MAX),
        }
    }
}

impl Machine {
    pub(super) fn new(now: Tick, mode: Mode, flags: Flags) -> Self {
        let word = Word::new(0, State::Closed, mode, flags);
        Self {
            word: CachePadded::new(AtomicU64::new(word.0)),
            times: [Times::new(now), Times::new(now)],
            control: Mutex::new(Control::default()),
        }
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    #[inline]
    fn times(&self, generation: u32) -> &Times {
        &self.times[generation as usize & 1]
    }

    /// The word with the times of its own state.
    pub(super) fn timed_word(&self) -> (Word, Tick, Tick) {
        let load = |time: &AtomicU64| Tick(time.load(Ordering::Acquire));
        let (word, (since, due)) = self.timed(|times| (load(&times.since), load(&times.due)));
        (word, since, due)
    }

    #[inline]
    fn timed<T>(&self, read: impl Fn(&Times) -> T) -> (Word, T) {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let times = read(self.times(Word(word).generation()));
            let again = self.word.load(Ordering::Acquire);
            if again >> GENERATION == word >> GENERATION {
                return (Word(again), times);
            }
            word = again;
        }
    }

    /// Whether it is open and surely stays so at this count, unless somebody moves it.
    #[inline]
    pub(super) fn is_open_at(&self, count: Count) -> bool {
        let (word, due) = self.timed(|times| times.due_count.load(Ordering::Acquire));
        word.state() == State::Open && count.0 < due
    }

    /// What [`admit`](Self::admit) says of a breaker that is open and stays so for now; none of
    /// any other.
    pub(super) fn refuse(&self, now: Tick) -> Option<Refused> {
        let (word, _, due) = self.timed_word();
        let shut = word.state() == State::Open && !is_over(now, due);
        shut.then(|| Refused::until(due, now))
    }

    /// Asks for a call to be admitted, without moving anything but a probe slot. `fraction` is
    /// randomness in `[0, 1)`, drawn only where a share of the calls is admitted.
    pub(super) fn admit(&self, now: Tick, config: &Config, fraction: impl Fn() -> f64) -> Answer {
        loop {
            let (word, since, due) = self.timed_word();
            let from = Some(word.generation());
            let refused = Answer::Refused;
            let counted = Answer::Admitted(Ticket {
                generation: word.generation(),
                role: Role::Counted,
            });
            return match word.state() {
                State::Closed => counted,
                State::ForcedOpen => refused(Refused::OPEN),
                State::Open if is_over(now, due) => Answer::Move(Move {
                    from,
                    to: State::HalfOpen,
                    kind: Ended::WaitOver,
                }),
                State::Open => refused(Refused::until(due, now)),
                State::HalfOpen if is_over(now, due) => Answer::Move(Move {
                    from,
                    to: match config.give_up {
                        GiveUp::Open => State::Open,
                        GiveUp::Closed => State::Closed,
                    },
                    kind: Ended::GaveUp,
                }),
                // A change may have asked for fewer than have succeeded already, or admit fewer
                // than could still be enough.
                State::HalfOpen if word.succeeded() >= config.close_after() => {
                    Answer::Move(closing(word.generation(), config))
                }
                State::HalfOpen if is_lost(word, config) => Answer::Move(Move {
                    from,
                    to: State::Open,
                    kind: Ended::ProbesFailed(FailureKind::Error, None),
                }),
                State::HalfOpen => match self.take_slot(word, config.probes) {
                    Some(Some(ticket)) => Answer::Admitted(ticket),
                    Some(None) => refused(Refused::PROBES_OUT),
                    None => continue,
                },
                State::Recovering if is_over(now, due) => Answer::Move(Move {
                    from,
                    to: State::Closed,
                    kind: Ended::Recovered,
                }),
                State::Recovering => {
                    // In whole nanoseconds: seconds would round once more.
                    let passed = now.0.saturating_sub(since.0) as f64;
                    let share = 0.1 + 0.9 * passed / due.0.saturating_sub(since.0) as f64;
                    match fraction() < share {
                        true => counted,
                        false => refused(Refused::RECOVERING),
                    }
                }
            };
        }
    }

    /// What asking would be answered, with nothing moved and no slot taken.
    pub(super) fn peek(&self, now: Tick, config: &Config) -> Result<(), Refused> {
        let (word, _, due) = self.timed_word();
        match (word.state(), is_over(now, due)) {
            (State::ForcedOpen, _) => Err(Refused::OPEN),
            (State::Open, false) => Err(Refused::until(due, now)),
            // Whoever comes gives it up, and finds it open.
            (State::HalfOpen, true) if config.give_up == GiveUp::Open => Err(Refused::OPEN),
            (State::HalfOpen, false) if word.succeeded() >= config.close_after() => Ok(()),
            (State::HalfOpen, false) if is_lost(word, config) => Err(Refused::OPEN),
            (State::HalfOpen, false) if !has_slot(word, config.probes) => Err(Refused::PROBES_OUT),
            _ => Ok(()),
        }
    }

    /// Until when nobody is admitted and nothing is moved by asking, unless another call or the
    /// handle moves something; none if asking does either.
    #[cfg(feature = "tower")]
    pub(super) fn shut_until(&self, now: Tick, config: &Config) -> Option<Tick> {
        let (word, _, due) = self.timed_word();
        let shut = match word.state() {
            State::ForcedOpen => true,
            State::Open => !is_over(now, due),
            State::HalfOpen => {
                let ends = word.succeeded() >= config.close_after() || is_lost(word, config);
                !is_over(now, due) && !ends && !has_slot(word, config.probes)
            }
            State::Closed | State::Recovering => false,
        };
        shut.then_some(due)
    }

    /// A probe slot, none if all are out, and none at all if the word has moved.
    fn take_slot(&self, word: Word, probes: u32) -> Option<Option<Ticket>> {
        if !has_slot(word, probes) {
            return Some(None);
        }
        let next = word.0 + (1 << IN_FLIGHT);
        let order = Ordering::Relaxed;
        let taken = (self.word).compare_exchange(word.0, next, order, order);
        taken.ok().map(|_| {
            Some(Ticket {
                generation: word.generation(),
                role: Role::Probe,
            })
        })
    }

    /// Gives a probe's slot back with what it says, and asks for the move that follows from it.
    /// A probe of an earlier half-open state says nothing.
    pub(super) fn end_probe(
        &self,
        ticket: Ticket,
        result: Option<Result<(), (FailureKind, Option<Duration>)>>,
        config: &Config,
    ) -> Option<Move> {
        let mut word = self.word();
        loop {
            if word.generation() != ticket.generation {
                return None;
            }
            let said = match result {
                None => 0,
                Some(Ok(())) => 1 << SUCCEEDED,
                Some(Err(_)) => 1 << FAILED,
            };
            let next = word.0 - (1 << IN_FLIGHT) + said;
            let order = Ordering::Relaxed;
            match (self.word).compare_exchange_weak(word.0, next, order, order) {
                Ok(_) => {
                    word = Word(next);
                    break;
                }
                Err(now) => word = Word(now),
            }
        }
        match result? {
            Ok(()) if word.succeeded() >= config.close_after() => {
                Some(closing(ticket.generation, config))
            }
            Err((kind, retry_after)) if is_lost(word, config) => Some(Move {
                from: Some(ticket.generation),
                to: State::Open,
                kind: Ended::ProbesFailed(kind, retry_after),
            }),
            _ => None,
        }
    }

    /// Takes `step`, if the generation is still the one it leaves: under the lock, with everything that
    /// belongs to the new state in place before the word is. `begin` is told the new era before
    /// anybody can be in it.
    pub(super) fn enter(
        &self,
        control: &mut Control,
        now: Tick,
        step: Step<'_>,
        begin: impl FnOnce(u32),
    ) -> bool {
        let Step {
            from,
            to,
            cause,
            timing,
        } = step;
        let mut word = self.word();
        if from.is_some_and(|from| from != word.generation()) {
            return false;
        }
        // A change may have taken the ramp away since the move was asked for.
        let to = match (to, timing.config.ramp) {
            (State::Recovering, None) => State::Closed,
            _ => to,
        };
        let since = Tick(self.times(word.generation()).since.load(Ordering::Relaxed));
        let left = word.state();
        let open_for = (to == State::Open).then(|| control.wait(left, &timing));
        match to {
            State::Open if left != State::Closed => {
                control.failed_recoveries = control.failed_recoveries.saturating_add(1);
            }
            State::Closed => control.failed_recoveries = 0,
            _ => {}
        }
        let lasts = match to {
            State::Open => open_for,
            State::HalfOpen => Some(timing.config.half_open_for),
            State::Recovering => timing.config.ramp.map(|ramp| ramp.over),
            State::Closed | State::ForcedOpen => None,
        };
        let due = lasts.map_or(Tick::NEVER, |lasts| now.after(lasts));
        let generation = word.generation().wrapping_add(1);
        begin(generation);
        let times = self.times(generation);
        times.since.store(now.0, Ordering::Release);
        times.due.store(due.0, Ordering::Release);
        let due_count = (timing.before)(due);
        times.due_count.store(due_count.0, Ordering::Release);
        // Others may take and give back slots in between, but only we move on.
        loop {
            let next = Word::new(generation, to, word.mode(), word.flags());
            let moved =
                (self.word).compare_exchange(word.0, next.0, Ordering::Release, Ordering::Relaxed);
            match moved {
                Ok(_) => break,
                Err(now) => word = Word(now),
            }
        }
        if let Cause::Tripped(tripped) = &cause {
            control.last_trip = Some((tripped.clone(), now));
        }
        control.untold.push_back(Transition {
            from: left,
            to,
            cause,
            after: now.since(since),
            open_for,
        });
        true
    }

    /// Changes mode and flags where they are; the state stays. Under the lock.
    pub(super) fn set(&self, _: &mut Control, mode: Option<Mode>, flags: Option<Flags>) {
        let mut word = self.word();
        loop {
            let keep = word.0 & !(0x1F << MODE);
            let mode = mode.unwrap_or(word.mode());
            let flags = flags.unwrap_or(word.flags());
            let next = keep | Word::new(0, State::Closed, mode, flags).0;
            let order = Ordering::Relaxed;
            match (self.word).compare_exchange_weak(word.0, next, order, order) {
                Ok(_) => return,
                Err(now) => word = Word(now),
            }
        }
    }
}

/// From `now` to `due`; none if that never comes.
pub(super) fn until(due: Tick, now: Tick) -> Option<Duration> {
    (!due.is_never()).then(|| due.since(now))
}

fn closing(from: u32, config: &Config) -> Move {
    let to = match config.ramp {
        Some(_) => State::Recovering,
        None => State::Closed,
    };
    Move {
        from: Some(from),
        to,
        kind: Ended::ProbesSucceeded,
    }
}

/// So many probes have failed that the rest could no longer be enough.
fn is_lost(word: Word, config: &Config) -> bool {
    word.failed() + config.close_after() > config.probes
}

/// What never ends is not over at the end of time either.
fn is_over(now: Tick, due: Tick) -> bool {
    now >= due && !due.is_never()
}

fn has_slot(word: Word, probes: u32) -> bool {
    // No more than can still say something: with all outcomes in, the state has ended.
    word.in_flight() + word.succeeded() + word.failed() < probes
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
