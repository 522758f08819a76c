//! Tokens for an instant, and waiting for it.

use std::fmt;
use std::time::Duration;

use super::ask::Ask;
#[cfg(feature = "tokio")]
use super::ask::fresh_after;
use super::joint;
use super::limit::Charges;
use super::policy::RateLimiter;
use crate::config::Mode;
use crate::event::{Ending, EventKind};
use crate::rejection::Rejection;
#[cfg(feature = "tokio")]
use crate::rejection::RejectionKind;
use crate::time::{self, Tick};

/// Tokens that are the caller's from an instant on.
///
/// Made by [`RateLimiter::reserve`]. Dropping it [cancels](Self::cancel) it: the tokens are
/// returned if no tokens were reserved after them. Otherwise they are lost, because later
/// reservations depend on them; the same if the limit was changed or paused in between.
///
/// ```
/// # use seawall::{Rejection, RateLimiter};
/// # fn f() -> Result<(), Rejection> {
/// let limiter = RateLimiter::per_second(10);
/// let reservation = limiter.reserve()?;
/// std::thread::sleep(reservation.delay());
/// reservation.commit();
/// // ... make the call
/// # Ok(()) }
/// ```
#[must_use = "dropping a reservation returns its tokens; `.commit()` spends them"]
pub struct Reservation {
    limiter: RateLimiter,
    ask: Ask,
    charges: Charges,
    /// When the call came.
    since: Tick,
    /// The instant granted.
    at: Tick,
    /// Whether its terminal event is still to be emitted.
    open: bool,
}

impl RateLimiter {
    /// Reserves a token, for now or for an instant within
    /// [`max_wait`](super::Builder::max_wait). Instants are granted in the order of the calls.
    ///
    /// Sleep for [`Reservation::delay`], [commit](Reservation::commit), make the call. Dropping
    /// the reservation returns the token if no tokens were reserved after it.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire), if the wait would be longer than `max_wait` or
    /// the [deadline](crate::Deadline) in force;
    /// [`RejectionKind::Expired`](crate::RejectionKind::Expired) if that has passed. Nothing is
    /// taken then.
    pub fn reserve(&self) -> Result<Reservation, Rejection> {
        self.reserve_n(1)
    }

    /// Reserves `cost` tokens, like [`reserve`](Self::reserve).
    ///
    /// # Errors
    /// Those of [`reserve`](Self::reserve), and
    /// [`RejectionKind::CostAboveBurst`](crate::RejectionKind::CostAboveBurst) if the bucket never
    /// holds that many.
    pub fn reserve_n(&self, cost: u32) -> Result<Reservation, Rejection> {
        let ask = Ask {
            returnable: true,
            ..Ask::now(cost)
        };
        self.reserve_within(time::now(), ask, self.max_wait())
    }

    /// Takes a token and blocks the thread until its instant, for at most
    /// [`max_wait`](super::Builder::max_wait) and the [deadline](crate::Deadline) in force. For
    /// code that is not async; needs no runtime.
    ///
    /// # Errors
    /// Those of [`reserve`](Self::reserve), at once and not after the wait; and a rejection on
    /// waking if a [pause](Self::pause_for) lasts for longer than the wait may.
    pub fn acquire_blocking(&self) -> Result<(), Rejection> {
        self.acquire_blocking_n(1)
    }

    /// Takes `cost` tokens, like [`acquire_blocking`](Self::acquire_blocking).
    ///
    /// # Errors
    /// Those of [`acquire_blocking`](Self::acquire_blocking), and
    /// [`RejectionKind::CostAboveBurst`](crate::RejectionKind::CostAboveBurst) if the bucket never
    /// holds that many.
    pub fn acquire_blocking_n(&self, cost: u32) -> Result<(), Rejection> {
        let mut reservation = self.reserve_n(cost)?;
        loop {
            time::block_until(reservation.at);
            if reservation.wake(time::now())? {
                reservation.commit();
                return Ok(());
            }
        }
    }

    /// Takes the tokens if they are available, otherwise reserves them; `None` if there is nothing
    /// to wait for.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(super) fn acquire_or_reserve(
        &self,
        now: Tick,
        ask: Ask,
        max_wait: Option<Duration>,
    ) -> Result<Option<Reservation>, Rejection> {
        // A reservation holds a handle, which costs more than the decision. In record-only mode
        // it decides: a call that would wait is not one that would be rejected.
        if self.mode() == Mode::Enforce
            && self.check_deadline(now).is_ok()
            && self.decide(ask, fresh_after(|| now)).is_ok()
        {
            return Ok(None);
        }
        let max_wait = max_wait.unwrap_or_else(|| self.max_wait());
        let reservation = self.reserve_within(now, ask, max_wait)?;
        if reservation.is_due(now) {
            reservation.commit();
            return Ok(None);
        }
        Ok(Some(reservation))
    }

    /// Reserves within `max_wait` and the deadline in force, or takes nothing. Emits a rejection.
    #[inline(never)]
    fn reserve_within(
        &self,
        now: Tick,
        ask: Ask,
        max_wait: Duration,
    ) -> Result<Reservation, Rejection> {
        let mode = self.mode();
        let mut reservation = Reservation {
            limiter: self.viewed(ask.key),
            ask: ask.within(now, max_wait),
            charges: Charges::None,
            since: now,
            at: now,
            open: mode != Mode::Off,
        };
        if mode == Mode::Off {
            return Ok(reservation);
        }
        let taken = self
            .check_deadline(now)
            .and_then(|()| self.take(now, &reservation.ask));
        match taken {
            Ok(taken) => {
                reservation.charges = taken.charges;
                // Record-only mode delays no call.
                if mode == Mode::Enforce {
                    reservation.at = taken.at;
                }
            }
            Err(rejection) if mode == Mode::Enforce => return Err(reservation.reject(rejection)),
            Err(rejection) => self.common().record_rejection(|| rejection),
        }
        Ok(reservation)
    }
}

impl Reservation {
    /// The time until the call may be made; zero if it may be made now.
    pub fn delay(&self) -> Duration {
        self.at.since(time::now())
    }

    /// Spends the tokens: the call is made.
    pub fn commit(mut self) {
        self.charges = Charges::None;
        self.end(Ending::Admitted, self.at);
    }

    /// Returns the tokens, as dropping does: the call is not made.
    pub fn cancel(self) {
        drop(self);
    }

    /// The instant granted.
    #[cfg(feature = "tokio")]
    pub(super) fn at(&self) -> Tick {
        self.at
    }

    fn is_due(&self, now: Tick) -> bool {
        self.at <= now
    }

    /// Bounds the wait by the call context of the first poll: behind a buffer, the call was made
    /// under another one.
    ///
    /// # Errors
    /// If the instant is not within it. The rejection has been emitted.
    #[cfg(feature = "tokio")]
    pub(super) fn bound_by_context(&mut self) -> Result<(), Rejection> {
        self.ask = self.ask.within_context();
        if self.at <= self.ask.latest {
            return Ok(());
        }
        let rejection = Rejection::new(RejectionKind::RateLimited, self.limiter.name().clone());
        Err(self.reject(rejection.with_retry_after(self.delay())))
    }

    /// Whether the instant has come. If the limiter was paused during the wait, the tokens are
    /// taken again, for an instant after the pause.
    ///
    /// # Errors
    /// If the pause lasts for longer than the wait may. The rejection has been emitted.
    pub(super) fn wake(&mut self, now: Tick) -> Result<bool, Rejection> {
        let has_waited = self.at > self.since && self.ask.cost > 0;
        if self.is_due(now) && has_waited && self.limiter.is_paused(now) {
            // The pause has cancelled the charge to the paused member; the other members must
            // not be charged twice.
            self.give_back();
            match self.limiter.take(now, &self.ask) {
                Ok(taken) => (self.at, self.charges) = (taken.at, taken.charges),
                Err(rejection) => return Err(self.reject(rejection)),
            }
        }
        Ok(self.is_due(now))
    }

    fn give_back(&mut self) {
        let limiter = &self.limiter;
        match std::mem::replace(&mut self.charges, Charges::None) {
            Charges::None => {}
            Charges::One(charge) => limiter.cancel(limiter.key, &charge),
            Charges::Joint(charges) => {
                joint::give_back(limiter.members(), limiter.key, &charges);
            }
        }
    }

    /// Returns the tokens and emits `rejection` as the terminal event.
    #[cold]
    fn reject(&mut self, rejection: Rejection) -> Rejection {
        self.give_back();
        self.open = false;
        self.limiter.emit(EventKind::Rejected(&rejection));
        rejection
    }

    fn end(&mut self, ending: Ending, until: Tick) {
        if std::mem::take(&mut self.open) {
            self.limiter.emit(EventKind::Ended {
                ending,
                elapsed: until.since(self.since),
            });
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back();
        if self.open && self.limiter.common().observed() {
            self.end(Ending::Dropped, time::now());
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("limiter", self.limiter.name())
            .field("cost", &self.ask.cost)
            .field("waits", &self.at.since(self.since))
            .finish_non_exhaustive()
    }
}
