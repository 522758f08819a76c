//! The permit of one call, and how it is admitted.

use std::borrow::Borrow;
use std::mem::ManuallyDrop;
use std::time::Duration;

use super::call::Call;
use super::ending::End;
#[cfg(feature = "tower")]
use super::gate::Pass;
use super::policy::CircuitBreaker;
use super::state::{Grant, Rejected, State, Word};
use crate::classify::{FailureKind, Outcome};
use crate::config::Mode;
#[cfg(feature = "tokio")]
use crate::context::CallContext;
use crate::in_flight::Settle;
use crate::macros::debug_fields;
use crate::rejection::Rejection;
use crate::time::{self, Tick};

/// A permit for one call, to be settled with the call's outcome.
///
/// A permit that is dropped is settled as [`OnDrop`](super::OnDrop) says. By default the call is
/// then ignored, unless the deadline that was in force when the permit was given has passed, or a
/// timeout that elapses drops the permit. A `?` between getting and settling the permit can drop
/// it; [`CircuitBreaker::run`] avoids that.
#[must_use = "a permit that is dropped unused says nothing about the call"]
pub struct Permit<B: Borrow<CircuitBreaker> = CircuitBreaker> {
    // None once it is settled.
    breaker: Option<B>,
    call: Call,
}

impl<B: Borrow<CircuitBreaker>> Permit<B> {
    #[inline(always)]
    pub(super) fn acquire(breaker: B) -> Result<Self, Rejection> {
        Self::admit(breaker).map_err(|(breaker, rejected)| breaker.borrow().reject(rejected))
    }

    /// Admits a call. One of a closed breaker, whose time is not needed, takes one load of the
    /// word.
    #[inline(always)]
    fn admit(breaker: B) -> Result<Self, (B, Rejected)> {
        let of = breaker.borrow();
        let word = of.0.machine.word();
        let plain = word.state() == State::Closed
            && word.mode() != Mode::Off
            && !word.flags().times_calls
            && !of.common().observed();
        if plain {
            let call = of.start(Grant::counted(word.generation()), Tick::ZERO);
            return Ok(Self::new(breaker, call));
        }
        match of.admit_otherwise(word) {
            Ok(call) => Ok(Self::new(breaker, call)),
            Err(rejected) => Err((breaker, rejected)),
        }
    }

    /// Admits a call that a gate may have admitted already.
    #[cfg(feature = "tower")]
    #[inline(always)]
    pub(super) fn acquire_with(breaker: B, pass: Pass) -> Result<Self, Rejection> {
        match pass {
            Pass::Breaker => Self::acquire(breaker),
            gate => Self::acquire_by_gate(breaker, gate),
        }
    }

    #[cfg(feature = "tower")]
    #[cold]
    fn acquire_by_gate(breaker: B, pass: Pass) -> Result<Self, Rejection> {
        let of = breaker.borrow();
        let call = match pass {
            Pass::Ramp(generation) if of.ramp() == Some(generation) => {
                of.start(Grant::counted(generation), time::now())
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
    pub fn finish(self, outcome: Outcome) {
        // Settling leaves nothing in it. Its drop, where a panic goes through here, would keep it in
        // memory.
        ManuallyDrop::new(self).settle(outcome, &|| None);
    }

    /// Settles the permit where it is, once. `text` is that of the error, if it was one.
    #[inline(always)]
    pub(super) fn settle(&mut self, outcome: Outcome, text: &dyn Fn() -> Option<String>) {
        let Some((breaker, call)) = self.take() else {
            return;
        };
        let (breaker, grant) = (breaker.borrow(), call.grant);
        match outcome {
            Outcome::Success if breaker.is_healthy(grant, call.start) => {
                breaker.succeed(grant.generation);
            }
            _ => breaker.settle(call, End::Outcome(outcome, text)),
        }
    }

    #[cold]
    fn end(&mut self, end: End<'_>) {
        if let Some((breaker, call)) = self.take() {
            breaker.borrow().settle(call, end);
        }
    }

    /// What the permit holds. Part by part, because a copy of the whole waits until the stores of
    /// its parts are done.
    #[inline(always)]
    fn take(&mut self) -> Option<(B, Call)> {
        let Call {
            start,
            grant,
            deadline,
        } = self.call;
        let call = Call {
            start,
            grant,
            deadline,
        };
        Some((self.breaker.take()?, call))
    }
}

impl<B: Borrow<CircuitBreaker>> Settle for Permit<B> {
    #[inline(always)]
    fn made(permit: &mut Option<Self>) -> Option<Self> {
        let (breaker, call) = permit.as_mut()?.take()?;
        Some(Self::new(breaker, call))
    }

    fn panicked(mut self) {
        self.end(End::Panicked);
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
        if self.breaker.is_some() {
            self.end(End::Dropped);
        }
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
        match Permit::admit(self) {
            Ok(permit) => Some(permit),
            Err((_, rejected)) => {
                let rejection = || self.rejection(rejected);
                self.common().count_rejected(&rejected.kind(), rejection);
                None
            }
        }
    }

    /// Counts an admitted call.
    #[inline(always)]
    fn start(&self, grant: Grant, start: Tick) -> Call {
        self.common().admitted();
        Call::starting(grant, start)
    }

    #[inline(never)]
    fn admit_otherwise(&self, word: Word) -> Result<Call, Rejected> {
        if word.mode() == Mode::Off {
            return Ok(Call::starting(Grant::unrecorded(word), Tick::ZERO));
        }
        let now = time::now();
        if word.state() == State::Closed {
            return Ok(self.start(Grant::counted(word.generation()), now));
        }
        let decision = match self.0.machine.rejects_while_open(now) {
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
        let word = self.0.machine.word();
        let admitted = self.admit_otherwise(word);
        admitted.unwrap_or_else(|rejected| self.only_record(rejected, word, time::now()))
    }

    #[cold]
    fn admit_by_rules(&self, now: Tick) -> Result<Grant, Rejected> {
        let rules = self.0.rules.load();
        let (decision, edge) = self.decide(now, &rules, |at| self.0.machine.admit(at));
        self.announce(edge);
        decision
    }

    #[cold]
    fn reject(&self, rejected: Rejected) -> Rejection {
        let make = || self.rejection(rejected);
        self.common().reject(&rejected.kind(), make)
    }
}
