//! The permit of one call: how it is admitted, and how it is settled.

use std::borrow::Borrow;
use std::time::Duration;

use super::ending::{End, outcome};
#[cfg(feature = "tower")]
use super::gate::Pass;
use super::policy::CircuitBreaker;
use super::rules::{Ended, Rules};
use super::state::{Grant, Moment, Rejected, Role, State, Word};
use crate::classify::{FailureKind, Outcome};
use crate::config::Mode;
use crate::context::{CallContext, Expired};
use crate::counters::Count;
use crate::event::Ending;
use crate::in_flight::Settle;
use crate::macros::debug_fields;
use crate::per_thread;
use crate::rejection::Rejection;
use crate::time::{self, Tick};

/// A permit for one call, to be settled with the call's outcome.
///
/// A permit that is dropped is settled as [`OnDrop`](super::OnDrop) says: ignored, unless the deadline in force
/// when it was given has passed, or a timeout drops it at its end. A `?` between getting and settling it is such a drop;
/// [`CircuitBreaker::run`] has no such gap.
#[must_use = "a permit that is dropped unused says nothing about the call"]
pub struct Permit<B: Borrow<CircuitBreaker> = CircuitBreaker> {
    // None once it is settled.
    breaker: Option<B>,
    call: Call,
}

/// An admitted call.
#[derive(Clone, Copy)]
struct Call {
    grant: Grant,
    /// [`Tick::ZERO`] if neither a rule nor a listener needed it when the call was admitted. Such a
    /// call emits no event at its end.
    start: Tick,
    /// The deadline in force when the call was admitted, or an earlier one that it was pending
    /// under and that no timer enforces.
    deadline: Tick,
}

impl Call {
    #[inline]
    fn starting(grant: Grant, start: Tick) -> Self {
        Self {
            grant,
            start,
            deadline: CallContext::deadline(),
        }
    }
}

impl<B: Borrow<CircuitBreaker>> Permit<B> {
    #[inline]
    pub(super) fn acquire(breaker: B) -> Result<Self, Rejection> {
        match breaker.borrow().admit() {
            Ok(call) => Ok(Self::new(breaker, call)),
            Err(rejected) => Err(breaker.borrow().reject(rejected)),
        }
    }

    /// Admits a call that a gate may have admitted already.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn acquire_with(breaker: B, pass: Pass) -> Result<Self, Rejection> {
        let of = breaker.borrow();
        let call = match pass {
            Pass::Ramp(generation) if of.ramp() == Some(generation) => {
                let role = Role::Counted;
                of.start(Grant { generation, role }, time::now())
            }
            Pass::Set if !of.is_forced_open() => of.admit_in_any_case(),
            _ => return Self::acquire(breaker),
        };
        Ok(Self::new(breaker, call))
    }

    #[inline]
    fn new(breaker: B, call: Call) -> Self {
        let breaker = Some(breaker);
        Self { breaker, call }
    }

    /// The call succeeded. If a rule counts slow calls, it is timed from the permit to here.
    #[inline]
    pub fn success(self) {
        self.finish(Outcome::Success);
    }

    /// The call failed.
    pub fn failure(self) {
        self.failure_with(FailureKind::Error, None);
    }

    /// The call failed with this kind of failure. `retry_after` is the delay that the dependency
    /// requested.
    pub fn failure_with(self, kind: FailureKind, retry_after: Option<Duration>) {
        self.finish(Outcome::Failure { kind, retry_after });
    }

    /// The call says nothing about the dependency. A probe's permit is free again.
    pub fn ignore(self) {
        self.finish(Outcome::Ignore);
    }

    /// The call ended with this outcome.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.settle(End::Outcome(outcome, &|| None));
    }

    /// Settles the permit where it is, once.
    #[inline]
    pub(super) fn settle(&mut self, end: End<'_>) {
        if let Some(breaker) = self.breaker.take() {
            breaker.borrow().settle(self.call, end);
        }
    }
}

impl<B: Borrow<CircuitBreaker>> Settle for Permit<B> {
    fn panicked(mut self) {
        self.settle(End::Panicked);
    }

    fn common(&self) -> Option<&crate::common::Common> {
        Some(self.breaker.as_ref()?.borrow().common())
    }

    fn pending(&mut self) {
        #[cfg(feature = "tokio")]
        {
            let deadline = CallContext::unenforced();
            self.call.deadline = self.call.deadline.min(deadline);
        }
    }
}

impl<B: Borrow<CircuitBreaker>> Drop for Permit<B> {
    #[inline]
    fn drop(&mut self) {
        self.settle(End::Dropped);
    }
}

debug_fields!([B: Borrow<CircuitBreaker>] Permit<B>, this:
    breaker = this.breaker.as_ref().map(|breaker| breaker.borrow().name()));

impl CircuitBreaker {
    /// Admits or rejects one call.
    ///
    /// ```
    /// use seawall::CircuitBreaker;
    ///
    /// # fn call() -> Result<u32, std::io::Error> { Ok(7) }
    /// let breaker = CircuitBreaker::new("payments");
    /// let permit = breaker.try_acquire()?;
    /// match call() {
    ///     Ok(_) => permit.success(),
    ///     Err(_) => permit.failure(),
    /// }
    /// # Ok::<_, seawall::Rejection>(())
    /// ```
    ///
    /// # Errors
    /// The rejection, which says when the next probe is due.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<&Self>, Rejection> {
        Permit::acquire(self)
    }

    /// Admits or rejects one call. The permit may outlive this handle.
    ///
    /// # Errors
    /// The rejection, which says when the next probe is due.
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<Permit, Rejection> {
        Permit::acquire(self.clone())
    }

    /// Admits one call, or returns none. Cheaper than [`try_acquire`](Self::try_acquire) if the
    /// call is rejected: a [`Rejection`] is made only for a listener.
    ///
    /// ```
    /// use seawall::CircuitBreaker;
    ///
    /// # fn call() -> Result<u32, std::io::Error> { Ok(7) }
    /// let breaker = CircuitBreaker::new("payments");
    /// if let Some(permit) = breaker.allow() {
    ///     match call() {
    ///         Ok(_) => permit.success(),
    ///         Err(_) => permit.failure(),
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn allow(&self) -> Option<Permit<&Self>> {
        match self.admit() {
            Ok(call) => Some(Permit::new(self, call)),
            Err(rejected) => {
                let rejection = || self.rejection(rejected);
                self.common().rejected_unseen(&rejected.kind, rejection);
                None
            }
        }
    }

    /// Admits a call. Where the breaker is closed, this is one load of its word.
    #[inline]
    fn admit(&self) -> Result<Call, Rejected> {
        let word = self.machine().word();
        if word.state() != State::Closed || word.mode() == Mode::Off {
            return self.admit_unless_closed(word);
        }
        let timed = word.flags().times_calls || self.common().observed();
        let grant = Grant {
            generation: word.generation(),
            role: Role::Counted,
        };
        let start = if timed { time::now() } else { Tick::ZERO };
        Ok(self.start(grant, start))
    }

    /// Counts an admitted call.
    #[inline]
    fn start(&self, grant: Grant, start: Tick) -> Call {
        self.common().admitted();
        Call::starting(grant, start)
    }

    #[inline(never)]
    fn admit_unless_closed(&self, word: Word) -> Result<Call, Rejected> {
        if word.mode() == Mode::Off {
            return Ok(Call::starting(Grant::unrecorded(word), Tick::ZERO));
        }
        let now = time::now();
        let decision = match self.machine().rejects_while_open(now) {
            Some(rejected) => Err(rejected),
            None => self.admit_by_rules(now),
        };
        match decision {
            Ok(grant) => Ok(self.start(grant, now)),
            Err(rejected) if word.mode() == Mode::RecordOnly => {
                Ok(self.only_record(rejected, word, now))
            }
            Err(rejected) => Err(rejected),
        }
    }

    /// Admits a call that is rejected, and only records that.
    fn only_record(&self, rejected: Rejected, word: Word, now: Tick) -> Call {
        self.common().record_rejection(|| self.rejection(rejected));
        self.start(Grant::unrecorded(word), now)
    }

    #[cfg(feature = "tower")]
    #[cold]
    fn admit_in_any_case(&self) -> Call {
        let word = self.machine().word();
        let admitted = self.admit();
        admitted.unwrap_or_else(|rejected| self.only_record(rejected, word, time::now()))
    }

    #[cold]
    fn admit_by_rules(&self, now: Tick) -> Result<Grant, Rejected> {
        let rules = self.rules().load();
        let (decision, edge) = self.decide(now, &rules, |at| self.machine().admit(at));
        self.announce(edge);
        decision
    }

    #[cold]
    fn reject(&self, rejected: Rejected) -> Rejection {
        self.common().rejected(self.rejection(rejected))
    }

    /// Settles a call. The healthy case stands first: a success of a closed breaker, whose time no
    /// rule or listener wants, is recorded by the rules it was built with, and trips nothing.
    #[inline]
    fn settle(&self, call: Call, end: End<'_>) {
        let Grant { generation, role } = call.grant;
        let success = matches!(end, End::Outcome(Outcome::Success, _));
        let is_timed = call.start != Tick::ZERO;
        if success && role == Role::Counted && !(is_timed && self.wants_times()) {
            let word = self.machine().word();
            let flags = word.flags();
            let same = word.state() == State::Closed && word.generation() == generation;
            if same && !flags.changed {
                // By a match: a closure is not inlined here.
                let seen = match flags.counts_successes {
                    true => Some((time::now(), per_thread::current())),
                    false => None,
                };
                self.common().cells().count(Count::ended(Ending::Success));
                return self.built_with().succeed(generation, seen);
            }
        }
        self.settle_otherwise(call, end);
    }

    /// Whether the time of a success matters. A call is also timed for `fair_time`, which concerns
    /// none.
    #[inline(never)]
    fn wants_times(&self) -> bool {
        self.built_with().slow_after.is_some() || self.common().observed()
    }

    /// Settles an admitted call, exactly once.
    #[inline(never)]
    fn settle_otherwise(&self, call: Call, end: End<'_>) {
        let Grant { generation, role } = call.grant;
        let timed = call.start != Tick::ZERO;
        if role == Role::Unrecorded && !timed {
            return;
        }
        let word = self.machine().word();
        let now = time::now();
        let start = timed.then_some(call.start);
        let elapsed = start.map(|start| now.since(start));
        let outcome = self.with_rules(word, |rules| {
            let deadline = call.deadline.min(Expired::deadline());
            let outcome = outcome(rules, end, start, deadline, now);
            match role {
                Role::Counted if word.generation() == generation => {
                    self.count(rules, word, outcome, elapsed, now, end);
                }
                Role::Probe => self.end_probe(rules, generation, outcome, elapsed, now),
                // The outcome of an earlier generation changes nothing.
                Role::Counted | Role::Unrecorded => {}
            }
            outcome
        });
        let ending = end.ending(outcome);
        self.common().ended_if_timed(ending, elapsed);
    }

    /// Records a call by the rules, and trips the breaker if one of them holds.
    fn count(
        &self,
        rules: &Rules,
        word: Word,
        outcome: Outcome,
        elapsed: Option<Duration>,
        now: Tick,
        end: End<'_>,
    ) {
        let failure = match outcome {
            Outcome::Ignore => return,
            Outcome::Success => None,
            Outcome::Failure { kind, retry_after } => Some((kind, retry_after)),
        };
        let call = Ended {
            failure,
            elapsed,
            slot: per_thread::current(),
        };
        let generation = word.generation();
        let mut tripped = rules.record(generation, now, &call);
        if word.state() == State::Recovering {
            let by_ramp = rules.record_ramp(generation, now, &call);
            tripped = tripped.or(by_ramp);
        }
        if let Some(mut tripped) = tripped {
            tripped.error = end.text();
            let machine = self.machine();
            let trip = |at: &Moment<'_>| machine.trip(generation, tripped, at);
            self.announce(self.decide(now, rules, trip));
        }
    }

    /// Releases a probe's permit, which closes or re-opens the breaker if it was the last needed.
    #[cold]
    fn end_probe(
        &self,
        rules: &Rules,
        generation: u32,
        outcome: Outcome,
        elapsed: Option<Duration>,
        now: Tick,
    ) {
        let threshold = rules.slow_after;
        let slow = threshold.is_some() && elapsed > threshold;
        let result = match outcome {
            Outcome::Ignore => None,
            Outcome::Success if slow => Some(Err((FailureKind::Slow, None))),
            Outcome::Success => Some(Ok(())),
            Outcome::Failure { kind, retry_after } => Some(Err((kind, retry_after))),
        };
        let machine = self.machine();
        let end = |at: &Moment<'_>| machine.end_probe(generation, result, at);
        self.announce(self.decide(now, rules, end));
        // Also without a transition: the permit is free.
        self.wake_gate();
    }
}
