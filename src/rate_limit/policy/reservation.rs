//! A token with an instant.

use std::fmt;
use std::time::Duration;

use super::RateLimiter;
use super::asked::{Asked, Charged};
use super::joint::{self, Joint};
use crate::config::Mode;
#[cfg(feature = "tower")]
use crate::context::CallContext;
use crate::event::{Ending, EventKind};
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::rejection::RejectionKind;
use crate::time::{self, Tick};

/// A token that is yours from an instant on.
///
/// Made by [`RateLimiter::reserve`]. Dropping it is [`cancel`](Self::cancel): the token goes
/// back, if nobody has reserved one after it. If somebody has, it is lost, since what they were
/// promised rests on it; and so it is if the limit was changed or paused in between.
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
#[must_use = "dropping a reservation gives its token back; `.commit()` spends it"]
pub struct Reservation {
    limiter: RateLimiter,
    charges: Charges,
    cost: u32,
    /// When the caller came.
    since: Tick,
    /// The instant granted.
    at: Tick,
    /// The latest instant that the caller would take.
    latest: Tick,
    /// Whether there is still an event to tell.
    open: bool,
}

pub(super) enum Charges {
    None,
    One(Charged),
    /// Who waits may allocate once.
    Joint(Box<Joint>),
}

impl Reservation {
    pub(super) fn new(
        limiter: RateLimiter,
        charges: Charges,
        cost: u32,
        since: Tick,
        at: Tick,
        latest: Tick,
    ) -> Self {
        Self {
            limiter,
            charges,
            cost,
            since,
            at,
            latest,
            open: true,
        }
    }

    /// Of a limiter that is off: for now, and nobody is told.
    pub(super) fn silent(limiter: RateLimiter, now: Tick) -> Self {
        Self {
            limiter,
            charges: Charges::None,
            cost: 0,
            since: now,
            at: now,
            latest: Tick::NEVER,
            open: false,
        }
    }

    /// How long until the call may be made; zero if it may be made now.
    pub fn delay(&self) -> Duration {
        self.at.since(time::now())
    }

    /// The call is made: the token is spent.
    pub fn commit(mut self) {
        self.charges = Charges::None;
        self.end(Ending::Admitted);
    }

    /// The call is not made: gives the token back, as dropping does.
    pub fn cancel(self) {
        drop(self);
    }

    /// The instant granted.
    pub(crate) fn at(&self) -> Tick {
        self.at
    }

    pub(crate) fn is_due(&self, now: Tick) -> bool {
        self.at <= now
    }

    /// This reservation, if its instant is within the deadline in force here, by which it is
    /// bound from now on.
    ///
    /// # Errors
    /// If it is not; the tokens go back. It has been told.
    #[cfg(feature = "tower")]
    pub(crate) fn within_deadline(mut self) -> Result<Self, Rejection> {
        let ambient = CallContext::current();
        self.latest = self.latest.min(ambient.deadline);
        if ambient.extra {
            // Behind a buffer only the polls know.
            self.latest = self.latest.min(time::now());
        }
        if self.at <= self.latest {
            return Ok(self);
        }
        self.open = false;
        let wait = self.delay();
        let name = self.limiter.name().clone();
        let rejection = Rejection::new(RejectionKind::RateLimited, name).with_retry_after(wait);
        self.limiter.emit(EventKind::Rejected(&rejection));
        Err(rejection)
    }

    /// On waking: this reservation if it is due (`Ok`), or one to wait for (`Err`): the same
    /// after an early wake, a new one if the limiter was paused meanwhile.
    ///
    /// # Errors
    /// If the pause lasts for longer than the wait may. It has been told.
    pub(crate) fn renew(mut self, now: Tick) -> Result<Result<Self, Self>, Rejection> {
        if !self.is_due(now) {
            return Ok(Err(self));
        }
        // Without a pause the instant stands. A token that costs nothing is not paused.
        if self.at <= self.since || self.cost == 0 || !self.limiter.is_paused(now) {
            return Ok(Ok(self));
        }
        // The outcome is the new reservation's to tell. What was charged went under in the
        // pause; what other limits were charged goes back before they are charged anew. The mode is
        // the one that the pause was found in: one that is off by now would tell nobody.
        self.open = false;
        let (limiter, since) = (self.limiter.clone(), self.since);
        let (cost, latest) = (self.cost, self.latest);
        drop(self);
        let anew = limiter.reserve_by(Mode::Enforce, now, since, cost, latest, false)?;
        Ok(if anew.is_due(now) {
            Ok(anew)
        } else {
            Err(anew)
        })
    }

    fn end(&mut self, ending: Ending) {
        if !std::mem::take(&mut self.open) || !self.limiter.0.listeners.any() {
            return;
        }
        let until = match ending {
            Ending::Admitted => self.at,
            _ => time::now(),
        };
        self.limiter.emit(EventKind::Ended {
            ending,
            elapsed: until.since(self.since),
        });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let asked = self.limiter.asked(self.limiter.1);
        match (&mut self.charges, asked) {
            (Charges::None, _) => {}
            (Charges::Joint(charges), Asked::Joint(members)) => {
                joint::give_back(members, self.limiter.1, charges);
            }
            (Charges::One(charge), asked) => asked.cancel(charge),
            (Charges::Joint(_), _) => {}
        }
        self.end(Ending::Dropped);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("limiter", self.limiter.name())
            .field("cost", &self.cost)
            .field("waits", &self.at.since(self.since))
            .finish_non_exhaustive()
    }
}
