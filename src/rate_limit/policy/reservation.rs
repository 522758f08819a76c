//! A token with an instant.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "tokio")]
use super::Acquire;
use super::asked::{Asked, Charged};
use super::joint::{self, Joint};
use super::{RateLimiter, Refusal};
use crate::deadline::Ambient;
#[cfg(feature = "tower")]
use crate::deadline::Deadline;
use crate::event::{Ending, What};
#[cfg(feature = "tokio")]
use crate::keyed::table::Place;
use crate::policy::Mode;
use crate::rejection::{Rejection, Why};
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
/// std::thread::sleep(reservation.wait());
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

enum Charges {
    None,
    One(Charged),
    /// Who waits may allocate once.
    Joint(Box<Joint>),
}

impl RateLimiter {
    /// Reserves a token, now or within [`max_wait`](super::Builder::max_wait): the instant is yours,
    /// and comes in the order of asking.
    ///
    /// Sleep for [`Reservation::wait`], [commit](Reservation::commit), make the call. Dropping
    /// the reservation gives the token back, if nobody has reserved one after it.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire), if the wait would be longer than `max_wait` or
    /// than the [deadline](crate::Deadline) in force, and [`Why::Expired`] if that has passed.
    /// Takes nothing then.
    pub fn reserve(&self) -> Result<Reservation, Rejection> {
        self.reserve_n(1)
    }

    /// Reserves `cost` tokens, as [`reserve`](Self::reserve) does one.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and [`Why::CostAboveBurst`] if they can never be there at
    /// once.
    pub fn reserve_n(&self, cost: u32) -> Result<Reservation, Rejection> {
        let deadline = Ambient::current().deadline;
        self.reserve_within(time::now(), cost, self.max_wait(), deadline, false)
    }

    /// Takes a token, blocking this thread until it is there, for at most
    /// [`max_wait`](super::Builder::max_wait) and the [deadline](crate::Deadline) in force. For code
    /// that is not async; it needs no runtime.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), at once and not after the wait; also if the limiter is
    /// [paused](Self::pause_for) meanwhile for longer than the wait may last.
    pub fn wait(&self) -> Result<(), Rejection> {
        self.wait_n(1)
    }

    /// Takes `cost` tokens, as [`wait`](Self::wait) does one.
    ///
    /// # Errors
    /// As [`reserve_n`](Self::reserve_n).
    pub fn wait_n(&self, cost: u32) -> Result<(), Rejection> {
        let mut reservation = self.reserve_n(cost)?;
        loop {
            time::block_until(reservation.at());
            match reservation.renew(time::now())? {
                Ok(due) => {
                    due.commit();
                    return Ok(());
                }
                Err(later) => reservation = later,
            }
        }
    }

    /// A future of a token: waits for at most [`max_wait`](super::Builder::max_wait) and the
    /// [deadline](crate::Deadline) in force.
    ///
    /// First come, first served, by the first poll: it reserves then, and sleeps on one timer
    /// until the instant that it got. Dropping it gives the token back, if nobody has reserved
    /// one after it. It holds no clone of any service and no lock.
    ///
    /// # Panics
    /// When polled outside of a tokio runtime, and then only if there is something to wait for.
    #[cfg(feature = "tokio")]
    pub fn acquire(&self) -> Acquire {
        Acquire::new(self.clone())
    }

    /// What waiting for at most `max_wait` would be refused with now. Takes nothing and tells
    /// nobody.
    #[cfg(feature = "tower")]
    pub(crate) fn peek_wait(&self, cost: u32, max_wait: Duration) -> Result<(), Rejection> {
        let left = Deadline::remaining().unwrap_or(Duration::MAX);
        let max_wait = patience(max_wait);
        if left.is_zero() && self.mode() == Mode::Enforce {
            return Err(self.expired());
        }
        self.peek_n(cost).or_else(|rejection| {
            let wait = rejection.retry_after();
            match wait.is_some_and(|wait| wait <= max_wait && wait <= left) {
                true => Ok(()),
                false => Err(rejection),
            }
        })
    }

    /// Takes the tokens if they are there, else reserves them: none if there is nothing to wait
    /// for, and then nothing was allocated either.
    #[cfg(feature = "tokio")]
    pub(crate) fn reserve_or_go(
        &self,
        place: Option<Place>,
        cost: u32,
        max_wait: Duration,
    ) -> Result<Option<Reservation>, Rejection> {
        let now = time::now();
        let deadline = Ambient::current().deadline;
        // A reservation holds a handle, which whoever does not wait need not pay for.
        if deadline > now && self.mode() == Mode::Enforce && self.goes_at_once(place, now, cost) {
            return Ok(None);
        }
        let limiter = self.viewed(place);
        let reservation = limiter.reserve_within(now, cost, max_wait, deadline, true)?;
        if reservation.is_due(now) {
            reservation.commit();
            return Ok(None);
        }
        Ok(Some(reservation))
    }

    /// Takes the tokens of one bucket if they are there.
    #[cfg(feature = "tokio")]
    fn goes_at_once(&self, place: Option<Place>, now: Tick, cost: u32) -> bool {
        let admitted = match self.asked(place) {
            Asked::Joint(_) => false,
            asked => asked.admit(now, cost).is_ok(),
        };
        if admitted {
            self.tell(What::Ended {
                ending: Ending::Admitted,
                elapsed: Duration::ZERO,
            });
        }
        admitted
    }

    /// Reserves by the earlier of `now + max_wait` and `deadline`, or takes nothing. Tells of a
    /// refusal. What is due at once need not be kept for a return if it is going to be spent.
    fn reserve_within(
        &self,
        now: Tick,
        cost: u32,
        max_wait: Duration,
        deadline: Tick,
        spend_if_due: bool,
    ) -> Result<Reservation, Rejection> {
        if deadline <= now && self.mode() == Mode::Enforce {
            let rejection = self.expired();
            self.tell(What::Rejected(&rejection));
            return Err(rejection);
        }
        let latest = now.after(patience(max_wait)).min(deadline);
        self.reserve_by(now, now, cost, latest, spend_if_due)
    }

    fn expired(&self) -> Rejection {
        Rejection::new(Why::Expired, self.name().clone())
    }

    /// Reserves on behalf of somebody who came at `since`.
    fn reserve_by(
        &self,
        now: Tick,
        since: Tick,
        cost: u32,
        latest: Tick,
        spend_if_due: bool,
    ) -> Result<Reservation, Rejection> {
        let mode = self.mode();
        if mode == Mode::Off {
            return Ok(Reservation::silent(self.clone(), now));
        }
        let taken = match self.asked(self.1) {
            Asked::Joint(members) => {
                let mut charges = joint::NONE;
                let at = joint::take(members, self.1, now, cost, latest, &mut charges);
                at.map(|at| match spend_if_due {
                    true if at <= now => (at, Charges::None),
                    _ => (at, Charges::Joint(Box::new(charges))),
                })
            }
            asked => asked
                .take(now, now, cost, latest)
                .map(|charge| (charge.at(), Charges::One(charge)))
                .map_err(|refused| Refusal {
                    by: self,
                    cost,
                    refused,
                }),
        };
        let (at, charges) = match taken {
            Ok(taken) => taken,
            Err(refusal) => {
                self.refuse(mode, &refusal)?;
                (now, Charges::None)
            }
        };
        // What only records does not delay either.
        let at = if mode == Mode::RecordOnly { now } else { at };
        Ok(Reservation::new(
            self.clone(),
            charges,
            cost,
            since,
            at,
            latest,
        ))
    }
}

impl Reservation {
    fn new(
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
    fn silent(limiter: RateLimiter, now: Tick) -> Self {
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
    pub fn wait(&self) -> Duration {
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
        let ambient = Ambient::current();
        self.latest = self.latest.min(ambient.deadline);
        if ambient.extra {
            // Behind a buffer only the polls know.
            self.latest = self.latest.min(time::now());
        }
        if self.at <= self.latest {
            return Ok(self);
        }
        self.open = false;
        let wait = self.wait();
        let name = self.limiter.name().clone();
        let rejection = Rejection::new(Why::RateLimited, name).with_retry_after(wait);
        self.limiter.tell(What::Rejected(&rejection));
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
        // pause; what other limits were charged goes back before they are charged anew.
        self.open = false;
        let (limiter, since) = (self.limiter.clone(), self.since);
        let (cost, latest) = (self.cost, self.latest);
        drop(self);
        let anew = limiter.reserve_by(now, since, cost, latest, false)?;
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
        self.limiter.tell(What::Ended {
            ending,
            elapsed: until.since(self.since),
        });
    }
}

/// How long a call waits that would wait for `max_wait`: an attempt that nobody asked for does
/// not stand in line with those that were.
fn patience(max_wait: Duration) -> Duration {
    match Ambient::current().extra {
        true => Duration::ZERO,
        false => max_wait,
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
