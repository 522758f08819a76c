use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use super::{Call, CircuitBreaker, End};
use crate::classify::{Kind, Outcome};
use crate::guard::Watch;
use crate::rejection::Rejection;

/// Leave to make one call, to be ended with what became of it.
///
/// Dropping it ends it as [`OnDrop`](crate::circuit_breaker::OnDrop) says: ignored, unless the
/// deadline in force when it was given has passed. Mind that `?` between getting and ending it
/// is such a drop; [`CircuitBreaker::run`] has no such gap.
#[must_use = "a permit that is dropped unused says nothing of the call"]
pub struct Permit<B: Borrow<CircuitBreaker> = CircuitBreaker> {
    breaker: B,
    // None once it has been ended.
    call: Option<Call>,
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
        self.finish(Outcome::Failure(Kind::Error, None));
    }

    /// The call failed like this, and the dependency asks to be left alone for so long.
    pub fn failure_with(self, kind: Kind, retry_after: Option<Duration>) {
        self.finish(Outcome::Failure(kind, retry_after));
    }

    /// The call says nothing of the dependency: a probe's slot is free again.
    pub fn ignore(self) {
        self.finish(Outcome::Ignore);
    }

    /// The call ended like this.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.end(End::Outcome(outcome));
    }

    #[inline]
    fn end(&mut self, end: End) {
        if let Some(call) = self.call.take() {
            self.breaker.borrow().finish(call, end);
        }
    }
}

impl<B: Borrow<CircuitBreaker>> Watch for Permit<B> {
    fn panicked(mut self) {
        self.end(End::Panicked);
    }

    fn pending(&mut self) {
        if let Some(call) = &mut self.call {
            call.keep_deadline();
        }
    }
}

impl<B: Borrow<CircuitBreaker>> Drop for Permit<B> {
    #[inline]
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}

impl<B: Borrow<CircuitBreaker>> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("breaker", self.breaker.borrow().name())
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
        Permit::of(self)
    }

    /// As [`try_acquire`](Self::try_acquire), for a permit that outlives this handle.
    ///
    /// # Errors
    /// The rejection, which says when the next probe is due.
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<Permit, Rejection> {
        Permit::of(self.clone())
    }

    #[cfg(feature = "tower")]
    #[inline]
    pub(in crate::circuit_breaker) fn into_permit(self) -> Result<Permit, Rejection> {
        Permit::of(self)
    }
}

impl<B: Borrow<CircuitBreaker>> Permit<B> {
    #[inline]
    fn of(breaker: B) -> Result<Self, Rejection> {
        match breaker.borrow().admit() {
            Ok(call) => Ok(Self {
                breaker,
                call: Some(call),
            }),
            Err(refused) => Err(breaker.borrow().reject(refused)),
        }
    }
}
