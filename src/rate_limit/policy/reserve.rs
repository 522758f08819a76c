//! Asking for a token with an instant.

use std::time::Duration;

#[cfg(feature = "tokio")]
use super::Acquire;
use super::asked::Asked;
use super::reservation::Charges;
use super::{RateLimiter, Refusal, Reservation, joint};
use crate::config::Mode;
use crate::context::CallContext;
#[cfg(feature = "tokio")]
use crate::context::ClockReading;
#[cfg(feature = "tower")]
use crate::deadline::Deadline;
#[cfg(feature = "tokio")]
use crate::event::Ending;
use crate::event::EventKind;
#[cfg(feature = "tokio")]
use crate::rate_limit::table::Place;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Tick};

impl RateLimiter {
    /// Reserves a token, now or within [`max_wait`](super::Builder::max_wait): the instant is yours,
    /// and comes in the order of asking.
    ///
    /// Sleep for [`Reservation::delay`], [commit](Reservation::commit), make the call. Dropping
    /// the reservation gives the token back, if nobody has reserved one after it.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire), if the wait would be longer than `max_wait` or
    /// than the [deadline](crate::Deadline) in force, and [`RejectionKind::Expired`] if that has passed.
    /// Takes nothing then.
    pub fn reserve(&self) -> Result<Reservation, Rejection> {
        self.reserve_n(1)
    }

    /// Reserves `cost` tokens, as [`reserve`](Self::reserve) does one.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and [`RejectionKind::CostAboveBurst`] if they can never be there at
    /// once.
    pub fn reserve_n(&self, cost: u32) -> Result<Reservation, Rejection> {
        let deadline = CallContext::deadline();
        self.reserve_within(time::now(), cost, self.max_wait(), deadline, false)
    }

    /// Takes a token, blocking this thread until it is there, for at most
    /// [`max_wait`](super::Builder::max_wait) and the [deadline](crate::Deadline) in force. For code
    /// that is not async; it needs no runtime.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), at once and not after the wait; also if the limiter is
    /// [paused](Self::pause_for) meanwhile for longer than the wait may last.
    pub fn acquire_blocking(&self) -> Result<(), Rejection> {
        self.acquire_blocking_n(1)
    }

    /// Takes `cost` tokens, as [`wait`](Self::wait) does one.
    ///
    /// # Errors
    /// As [`reserve_n`](Self::reserve_n).
    pub fn acquire_blocking_n(&self, cost: u32) -> Result<(), Rejection> {
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
    #[inline]
    pub(crate) fn reserve_or_go(
        &self,
        clock: &mut ClockReading,
        place: Option<Place>,
        cost: u32,
        max_wait: Duration,
    ) -> Result<Option<Reservation>, Rejection> {
        let now = clock.now();
        let deadline = CallContext::deadline();
        // A reservation holds a handle, which whoever does not wait need not pay for.
        if deadline > now && self.mode() == Mode::Enforce && self.goes_at_once(place, now, cost) {
            return Ok(None);
        }
        self.reserve_or_wait(place, now, cost, max_wait)
    }

    #[cfg(feature = "tokio")]
    #[inline(never)]
    fn reserve_or_wait(
        &self,
        place: Option<Place>,
        now: Tick,
        cost: u32,
        max_wait: Duration,
    ) -> Result<Option<Reservation>, Rejection> {
        let deadline = CallContext::deadline();
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
    #[inline]
    fn goes_at_once(&self, place: Option<Place>, now: Tick, cost: u32) -> bool {
        let admitted = match self.asked(place) {
            Asked::Joint(_) => false,
            asked => asked.admit(now, cost).is_ok(),
        };
        if admitted {
            self.emit(EventKind::Ended {
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
            self.emit(EventKind::Rejected(&rejection));
            return Err(rejection);
        }
        let latest = now.after(patience(max_wait)).min(deadline);
        let mode = self.mode();
        if mode == Mode::Off {
            return Ok(Reservation::silent(self.clone(), now));
        }
        self.reserve_by(mode, now, now, cost, latest, spend_if_due)
    }

    fn expired(&self) -> Rejection {
        Rejection::new(RejectionKind::Expired, self.name().clone())
    }

    /// Reserves on behalf of somebody who came at `since`, in a mode that is not off.
    pub(super) fn reserve_by(
        &self,
        mode: Mode,
        now: Tick,
        since: Tick,
        cost: u32,
        latest: Tick,
        spend_if_due: bool,
    ) -> Result<Reservation, Rejection> {
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

/// How long a call waits that would wait for `max_wait`: an attempt that nobody asked for does
/// not stand in line with those that were.
fn patience(max_wait: Duration) -> Duration {
    match CallContext::extra() {
        true => Duration::ZERO,
        false => max_wait,
    }
}
