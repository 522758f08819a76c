//! How a call is admitted and ended.

use std::time::Duration;

use super::{CircuitBreaker, Shared};
use crate::circuit_breaker::rules::{Finished, OnDrop, Rules};
use crate::circuit_breaker::state::{Answer, Cause, Refused, Role, State, Ticket, Word};
use crate::classify::{FailureKind, Outcome};
use crate::config::Mode;
use crate::context::CallContext;
use crate::event::{Ending, EventKind};
use crate::per_thread;
use crate::rejection::Rejection;
use crate::sync::Ordering;
use crate::time::{self, Count, Tick};

/// One admitted call.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// A [`Ticket`] as [`Ticket::to_bits`] packs it: written and read in one piece, because a
    /// permit that is moved before its parts have left the store buffer waits for them.
    ticket: u64,
    /// Zero where nobody needs to know: such a call is not told of when it ends, even if
    /// somebody listens by then.
    start: Tick,
    /// The earliest deadline that was in force when the call was admitted or waited.
    deadline: Tick,
}

impl Call {
    #[inline]
    fn new(ticket: Ticket, start: Tick) -> Self {
        Self {
            ticket: ticket.to_bits(),
            start,
            deadline: CallContext::deadline(),
        }
    }

    pub(super) fn keep_deadline(&mut self) {
        self.deadline = self.deadline.min(CallContext::deadline());
    }
}

/// How a call ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Outcome(Outcome),
    Dropped,
    Panicked,
}

impl Shared {
    /// Counts a success of which nobody needs the time, and gives what it read of the counter;
    /// none if the time has to be worked out for it.
    ///
    /// A processor begins to read the counter when all before it is done, so what counts here is
    /// not how many steps there are but how many have to wait for one another: each pointer that
    /// is followed.
    #[inline(never)]
    fn succeed(&self, generation: u32) -> Option<Count> {
        let windows = &self.windows;
        windows
            .succeed(generation, per_thread::current, Count::read, |_| false)
            .ok()
    }
}

impl CircuitBreaker {
    /// Admits a call, which is one load where the breaker is closed.
    #[inline]
    pub(super) fn admit(&self) -> Result<Call, Refused> {
        let word = self.0.machine.word();
        if word.admits() && !word.flags().time_calls && !self.0.listeners.any() {
            let ticket = Ticket {
                generation: word.generation(),
                role: Role::Counted,
            };
            return Ok(Call::new(ticket, Tick::ZERO));
        }
        // Copied, not returned as it is: a call that is written through a pointer by the one
        // way would be kept in memory by the other too.
        match self.admit_slowly(word) {
            Ok(call) => Ok(call),
            Err(refused) => Err(refused),
        }
    }

    #[inline(never)]
    fn admit_slowly(&self, word: Word) -> Result<Call, Refused> {
        if word.admits() {
            // Somebody wants to know how long it takes.
            let ticket = Ticket {
                generation: word.generation(),
                role: Role::Counted,
            };
            return Ok(Call::new(ticket, time::now()));
        }
        if word.mode() == Mode::Enforce {
            if word.state() == State::ForcedOpen {
                return Err(Refused::OPEN);
            }
            let now = time::now();
            match self.0.machine.refuse(now) {
                Some(refused) => Err(refused),
                None => self.ask(word, now),
            }
        } else {
            self.ask(word, time::now())
        }
    }

    /// Asks the machine, with all that a decision can take.
    #[cold]
    fn ask(&self, word: Word, now: Tick) -> Result<Call, Refused> {
        let unseen = Ticket {
            generation: word.generation(),
            role: Role::Unseen,
        };
        if word.mode() == Mode::Off {
            return Ok(Call::new(unseen, Tick::ZERO));
        }
        loop {
            let rules = self.0.rules.load();
            let fraction = || self.0.jitter.fraction();
            match self.0.machine.admit(now, &rules.config, fraction) {
                Answer::Admitted(ticket) => return Ok(Call::new(ticket, now)),
                Answer::Move(step) => self.make(step, now),
                Answer::Refused(refused) if word.mode() == Mode::RecordOnly => {
                    self.0.would_reject.fetch_add(1, Ordering::Relaxed);
                    if self.0.listeners.any() {
                        self.emit(EventKind::WouldReject(&self.rejection(refused)));
                    }
                    return Ok(Call::new(unseen, now));
                }
                Answer::Refused(refused) => return Err(refused),
            }
        }
    }

    pub(super) fn rejection(&self, refused: Refused) -> Rejection {
        Rejection::new(refused.kind(), self.0.name.clone()).with_retry_after(refused.retry_after())
    }

    /// Whether a call is refused now, where no listener wants to know.
    #[inline]
    pub(super) fn refuses_unheard(&self) -> bool {
        let word = self.0.machine.word();
        word.refuses() && !self.0.listeners.any() && self.is_open(word)
    }

    #[inline(never)]
    fn is_open(&self, word: Word) -> bool {
        word.state() == State::ForcedOpen || self.0.machine.is_open_at(Count::read())
    }

    /// Tells of a refusal that nobody else is told of.
    #[cold]
    pub(super) fn refuse_silently(&self, refused: Refused) {
        if self.0.listeners.any() {
            self.emit(EventKind::Rejected(&self.rejection(refused)));
        }
    }

    /// The rejection of a call that ends with it.
    pub(super) fn reject(&self, refused: Refused) -> Rejection {
        let rejection = self.rejection(refused);
        self.emit_rejected(&rejection);
        rejection
    }

    pub(in crate::circuit_breaker) fn emit_rejected(&self, rejection: &Rejection) {
        self.emit(EventKind::Rejected(rejection));
    }

    /// Ends an admitted call: exactly once. Gives what was read of the counter, if that was all
    /// that was read.
    #[inline]
    pub(super) fn finish(&self, call: Call, end: End) -> Option<Count> {
        // Piece by piece, because a call that is passed whole is passed by its address, and then
        // lives in memory also where it is not passed at all.
        let Call {
            ticket,
            start,
            deadline,
        } = call;
        if !matches!(end, End::Outcome(Outcome::Success)) {
            self.finish_slowly(ticket, start, deadline, end);
            return None;
        }
        let Ticket { generation, role } = Ticket::from_bits(ticket);
        match role {
            Role::Unseen if start == Tick::ZERO => return None,
            // A healthy call.
            Role::Counted if start == Tick::ZERO && !self.0.failing.is_set() => {
                let word = self.0.machine.word();
                if !word.flags().count_successes {
                    // Of a breaker that counts nothing but failures in a row, that is all.
                    return None;
                }
                if word.counts_plainly(generation) {
                    if let Some(count) = self.0.succeed(generation) {
                        return Some(count);
                    }
                }
            }
            _ => {}
        }
        self.succeed_slowly(ticket, start, deadline);
        None
    }

    #[inline(never)]
    fn succeed_slowly(&self, ticket: u64, start: Tick, deadline: Tick) {
        let Ticket { generation, role } = Ticket::from_bits(ticket);
        let word = self.0.machine.word();
        let unheard = start == Tick::ZERO || !self.0.listeners.any();
        let plain = role == Role::Counted && unheard && !self.0.failing.is_set();
        if plain && word.counts_plainly(generation) {
            let windows = &self.0.windows;
            let slow = |count: Count| start != Tick::ZERO && windows.is_slow(start, count.tick());
            match windows.succeed(generation, per_thread::current, Count::read, slow) {
                Ok(_) => return,
                Err(count) if !slow(count) => {
                    let (now, slot) = (count.tick(), per_thread::current());
                    return windows.succeed_at(generation, now, slot, Count::before);
                }
                Err(_) => {}
            }
        }
        self.finish_slowly(ticket, start, deadline, End::Outcome(Outcome::Success));
    }

    fn finish_slowly(&self, ticket: u64, start: Tick, deadline: Tick, end: End) {
        let call = Call {
            ticket,
            start,
            deadline,
        };
        let ticket = Ticket::from_bits(ticket);
        if ticket.role == Role::Unseen && start == Tick::ZERO {
            return;
        }
        let now = time::now();
        if matches!(end, End::Outcome(Outcome::Success)) && ticket.role == Role::Counted {
            // Before the rules are read: so they are those of the failures it was set by, or
            // newer ones, and the run that has to be ended is among them.
            self.0.failing.clear(ticket.generation);
        }
        let rules = self.0.rules.load();
        let outcome = self.outcome(&rules, call, end, now);
        let timed = call.start != Tick::ZERO;
        let elapsed = timed.then(|| now.since(call.start));
        match ticket.role {
            Role::Unseen => {}
            Role::Counted => self.count(&rules, ticket, outcome, elapsed, now),
            Role::Probe => self.end_probe(&rules, ticket, outcome, elapsed, now),
        }
        // Whoever was admitted while somebody listened has an end, whatever the mode is by now.
        if let Some(elapsed) = elapsed.filter(|_| self.0.listeners.any()) {
            let ending = match (end, outcome) {
                (End::Panicked, _) => Ending::Panicked,
                (End::Dropped, Outcome::Ignore) => Ending::Dropped,
                (_, Outcome::Success) => Ending::Success,
                (_, Outcome::Failure { kind, .. }) => Ending::Failure(kind),
                (_, Outcome::Ignore) => Ending::Ignored,
            };
            self.emit(EventKind::Ended { ending, elapsed });
        }
    }

    /// What the end of a call says of the service.
    fn outcome(&self, rules: &Rules, call: Call, end: End, now: Tick) -> Outcome {
        let overdue = !call.deadline.is_never() && now >= call.deadline;
        // A caller who came with less time than the service may fairly take.
        let unfair = rules.config.fair_time.is_some_and(|fair| {
            overdue && call.start != Tick::ZERO && call.deadline.since(call.start) < fair
        });
        let timeout = match unfair {
            true => Outcome::Ignore,
            false => Outcome::Failure {
                kind: FailureKind::Timeout,
                retry_after: None,
            },
        };
        match end {
            End::Outcome(Outcome::Failure {
                kind: FailureKind::Timeout,
                ..
            }) if unfair => Outcome::Ignore,
            End::Outcome(outcome) => outcome,
            End::Panicked => Outcome::Failure {
                kind: FailureKind::Panic,
                retry_after: None,
            },
            End::Dropped => match rules.config.on_drop {
                OnDrop::ByDeadline if overdue => timeout,
                OnDrop::ByDeadline | OnDrop::Ignore => Outcome::Ignore,
                OnDrop::Failure => timeout,
            },
        }
    }

    fn count(
        &self,
        rules: &Rules,
        ticket: Ticket,
        outcome: Outcome,
        elapsed: Option<Duration>,
        now: Tick,
    ) {
        let failure = match outcome {
            Outcome::Ignore => return,
            Outcome::Success => None,
            Outcome::Failure { kind, retry_after } => Some((kind, retry_after)),
        };
        let word = self.0.machine.word();
        if word.generation() != ticket.generation {
            return;
        }
        let call = Finished {
            failure,
            elapsed,
            slot: per_thread::current(),
        };
        let mut tripped = rules.record(ticket.generation, now, &call);
        if failure.is_some() {
            self.0.failing.set(ticket.generation);
        }
        if word.state() == State::Recovering {
            let ramp = rules.record_ramp(ticket.generation, now, &call);
            tripped = tripped.or(ramp);
        }
        if let Some(tripped) = tripped {
            let retry_after = tripped.retry_after;
            let from = Some(ticket.generation);
            self.go(from, State::Open, Cause::Tripped(tripped), retry_after);
        }
    }

    fn end_probe(
        &self,
        rules: &Rules,
        ticket: Ticket,
        outcome: Outcome,
        elapsed: Option<Duration>,
        now: Tick,
    ) {
        let threshold = rules.slow_after();
        let slow = threshold.is_some() && elapsed > threshold;
        let result = match outcome {
            Outcome::Ignore => None,
            Outcome::Success if slow => Some(Err((FailureKind::Slow, None))),
            Outcome::Success => Some(Ok(())),
            Outcome::Failure { kind, retry_after } => Some(Err((kind, retry_after))),
        };
        match self.0.machine.end_probe(ticket, result, &rules.config) {
            Some(step) => self.make(step, now),
            None => self.wake_gate(),
        }
    }
}
