//! Tokens for an instant.

use std::time::Duration;

use super::joint;
use super::limit::{Ask, Charges};
use super::policy::RateLimiter;
use crate::config::Mode;
use crate::context::CallContext;
use crate::event::Ending;
use crate::macros::debug_fields;
use crate::rejection::Rejection;
use crate::time::{self, Tick};

/// Tokens that belong to the caller from an instant on.
///
/// Made by [`RateLimiter::reserve`], for callers that do their own waiting; to wait, use `acquire`
/// or [`acquire_blocking`](RateLimiter::acquire_blocking). From that instant on the tokens are
/// spent, whether the reservation is [committed](Self::commit) or dropped. If it is dropped
/// earlier, the tokens are returned, unless others were taken after them, because later calls
/// depend on them. Nothing is returned either if the limit was changed or paused in between.
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
#[must_use = "a reservation that is dropped before its instant returns its tokens"]
pub struct Reservation {
    limiter: RateLimiter,
    cost: u32,
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
    /// Sleep for [`Reservation::delay`] and make the call. A reservation does not overtake waiting
    /// calls: while a call waits, `reserve` rejects.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire), if the wait would be longer than `max_wait` or
    /// would end after the [deadline](crate::Deadline) in force;
    /// [`RejectionKind::Expired`](crate::RejectionKind::Expired) if that has passed. No token is
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
        let (mode, now) = (self.mode(), time::now());
        let mut reservation = Reservation {
            limiter: self.clone(),
            cost,
            charges: Charges::None,
            since: now,
            at: now,
            open: false,
        };
        if mode == Mode::Off {
            return Ok(reservation);
        }
        let is_enforced = mode == Mode::Enforce;
        if is_enforced {
            let in_time = self.check_deadline(now);
            in_time.map_err(|rejection| self.common().rejected(rejection))?;
        }
        let latest = now.after(self.max_wait()).min(CallContext::deadline());
        let taken = self.take(&Ask {
            latest: latest.max(now),
            quiet: !is_enforced,
            ..Ask::now(cost).at(now)
        });
        let charges = self.enforced(mode, taken)?;
        // Record-only mode delays no call.
        if let Some(charges) = charges.filter(|_| is_enforced) {
            reservation.at = charges.at().unwrap_or(now);
            reservation.charges = charges;
        }
        reservation.open = true;
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
        self.end(Ending::Admitted, self.at);
    }

    /// Drops the reservation: before its instant the tokens are returned; after it they are spent.
    pub fn cancel(self) {
        drop(self);
    }

    fn give_back(&self) {
        let limiter = &self.limiter;
        match &self.charges {
            Charges::None => {}
            Charges::One(charge) => limiter.cancel(limiter.key, charge),
            Charges::Joint(_, charges) => joint::give_back(limiter.members(), limiter.key, charges),
        }
    }

    fn end(&mut self, ending: Ending, until: Tick) {
        if std::mem::take(&mut self.open) {
            self.limiter.emit_ended(ending, until.since(self.since));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let now = time::now();
        if now >= self.at {
            // A caller that slept and made its call may just drop it.
            return self.end(Ending::Admitted, self.at);
        }
        self.give_back();
        self.end(Ending::Dropped, now);
    }
}

debug_fields!(Reservation, this:
    limiter = this.limiter.name(), cost = this.cost, waits = this.at.since(this.since));
