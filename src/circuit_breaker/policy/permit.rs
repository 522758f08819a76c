use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use super::{Call, CircuitBreaker, End};
use crate::circuit_breaker::state::Refused;
use crate::classify::{FailureKind, Outcome};
use crate::in_flight::Settle;
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::time::Count;

/// Leave to make one call, to be ended with what became of it.
///
/// Dropping it ends it as [`OnDrop`](crate::circuit_breaker::OnDrop) says: ignored, unless the
/// deadline in force when it was given has passed. Mind that `?` between getting and ending it
/// is such a drop; [`CircuitBreaker::run`] has no such gap.
#[must_use = "a permit that is dropped unused says nothing of the call"]
pub struct Permit<B: Borrow<CircuitBreaker> = CircuitBreaker> {
    // None once it has been ended.
    breaker: Option<B>,
    call: Call,
}

impl<B: Borrow<CircuitBreaker>> Permit<B> {
    /// The call succeeded. Where the breaker has a slow rule, it is also timed: from the permit
    /// to here.
    #[inline]
    pub fn success(self) {
        self.finish(Outcome::Success);
    }

    /// The call failed.
    pub fn failure(self) {
        self.finish(Outcome::Failure {
            kind: FailureKind::Error,
            retry_after: None,
        });
    }

    /// The call failed like this, and the dependency asks to be left alone for so long.
    pub fn failure_with(self, kind: FailureKind, retry_after: Option<Duration>) {
        self.finish(Outcome::Failure { kind, retry_after });
    }

    /// The call says nothing of the dependency: a probe's slot is free again.
    pub fn ignore(self) {
        self.finish(Outcome::Ignore);
    }

    /// The call ended like this.
    #[inline]
    pub fn finish(self, outcome: Outcome) {
        self.end(End::Outcome(outcome));
    }

    /// As [`finish`](Self::finish), where it is. Gives what was read of the counter, if that was
    /// all that was read.
    #[cfg(feature = "tower")]
    #[inline]
    pub(in crate::circuit_breaker) fn settle(&mut self, outcome: Outcome) -> Option<Count> {
        let breaker = self.breaker.take()?;
        breaker.borrow().finish(self.call, End::Outcome(outcome))
    }

    #[inline]
    fn end(mut self, end: End) {
        let (breaker, call) = (self.breaker.take(), self.call);
        // Nothing is left in it; its drop would hold it in memory.
        std::mem::forget(self);
        if let Some(breaker) = breaker {
            breaker.borrow().finish(call, end);
        }
    }
}

impl<B: Borrow<CircuitBreaker>> Settle for Permit<B> {
    fn panicked(self) {
        self.end(End::Panicked);
    }

    fn pending(&mut self) {
        self.call.keep_deadline();
    }
}

impl<B: Borrow<CircuitBreaker>> Drop for Permit<B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(breaker) = self.breaker.take() {
            breaker.borrow().finish(self.call, End::Dropped);
        }
    }
}

impl<B: Borrow<CircuitBreaker>> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.breaker.as_ref().map(|breaker| breaker.borrow().name());
        f.debug_struct("Permit")
            .field("breaker", &name)
            .finish_non_exhaustive()
    }
}

impl CircuitBreaker {
    /// Asks for leave to make one call.
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
        Permit::of(self).map_err(|(refused, _)| self.reject(refused))
    }

    /// As [`try_acquire`](Self::try_acquire), for a permit that outlives this handle.
    ///
    /// # Errors
    /// The rejection, which says when the next probe is due.
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<Permit, Rejection> {
        self.clone().into_permit()
    }

    /// Asks for leave to make one call, without a word to who is refused.
    ///
    /// The cheapest way to ask: a refusal makes no [`Rejection`] unless a listener wants it.
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
        if self.refuses_unheard() {
            return None;
        }
        match Permit::of(self) {
            Ok(permit) => Some(permit),
            Err((refused, _)) => {
                self.refuse_silently(refused);
                None
            }
        }
    }

    #[inline]
    pub(in crate::circuit_breaker) fn into_permit(self) -> Result<Permit, Rejection> {
        let admitted = Permit::of(self);
        admitted.map_err(|(refused, breaker)| breaker.reject(refused))
    }
}

impl<B: Borrow<CircuitBreaker>> Permit<B> {
    #[inline]
    fn of(breaker: B) -> Result<Self, (Refused, B)> {
        // Taken apart and put together again: so a permit stays in registers, which it would not
        // if the way round wrote into the same place.
        match breaker.borrow().admit() {
            Ok(call) => Ok(Self {
                breaker: Some(breaker),
                call,
            }),
            Err(refused) => Err((refused, breaker)),
        }
    }
}
