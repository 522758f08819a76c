//! The one way to a token: an [`Ask`] from every entry point, which [`RateLimiter::admit`] decides now
//! and [`RateLimiter::take`] may grant for a later instant.

use std::time::Duration;

use super::joint;
use super::limit::Charges;
use super::policy::{Limit, RateLimiter};
use super::state::Shortfall;
use super::table::KeyHandle;
use crate::config::Mode;
use crate::context::CallContext;
use crate::event::{Ending, EventKind};
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Tick};

/// What a call wants of a limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// How many tokens; 0 is free.
    pub(super) cost: u32,
    /// The key whose bucket is charged, where the handle has none of its own.
    pub(super) key: Option<KeyHandle>,
    /// The latest instant that is of use. One that has passed stands for now.
    pub(super) latest: Tick,
    /// Whether tokens that are available at once may still be returned.
    pub(super) returnable: bool,
}

impl Ask {
    /// For tokens at once, which are spent then.
    #[inline]
    pub(crate) fn now(cost: u32) -> Self {
        Self {
            cost,
            key: None,
            latest: Tick::ZERO,
            returnable: false,
        }
    }

    #[inline]
    pub(crate) fn of(self, key: Option<KeyHandle>) -> Self {
        Self { key, ..self }
    }

    /// For tokens within `max_wait` and the call context.
    pub(super) fn within(self, now: Tick, max_wait: Duration) -> Self {
        let latest = now.after(max_wait);
        Self { latest, ..self }.within_context()
    }

    /// Bounded by the deadline in force. An extra attempt does not wait.
    pub(super) fn within_context(self) -> Self {
        let context = CallContext::current();
        let latest = match context.extra {
            true => Tick::ZERO,
            false => self.latest.min(context.deadline),
        };
        Self { latest, ..self }
    }
}

/// A clock whose first reading is `first`. Each later one is fresh, because a lease is charged to
/// the instant at which it is fetched (RL1).
#[cfg(feature = "tokio")]
#[inline]
pub(super) fn fresh_after(first: impl FnOnce() -> Tick) -> impl FnMut() -> Tick {
    let mut first = Some(first);
    move || first.take().map_or_else(time::now, |first| first())
}

/// Tokens taken for an instant.
pub(super) struct Taken {
    pub(super) at: Tick,
    pub(super) charges: Charges,
}

impl RateLimiter {
    /// Takes a token if one is available.
    #[must_use = "a call that is not admitted must not be made"]
    #[inline]
    pub fn allow(&self) -> bool {
        self.allow_n(1)
    }

    /// Takes `cost` tokens if they are available; 0 is free.
    #[must_use = "a call that is not admitted must not be made"]
    #[inline]
    pub fn allow_n(&self, cost: u32) -> bool {
        self.try_acquire_n(cost).is_ok()
    }

    /// Takes a token if one is available.
    ///
    /// # Errors
    /// [`RejectionKind::RateLimited`], with the time until a token is available if no other call
    /// comes first; without a time if the limiter is stopped.
    #[inline]
    pub fn try_acquire(&self) -> Result<(), Rejection> {
        self.try_acquire_n(1)
    }

    /// Takes `cost` tokens if they are available; 0 is free.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire), and [`RejectionKind::CostAboveBurst`] if the
    /// bucket never holds that many.
    #[inline]
    pub fn try_acquire_n(&self, cost: u32) -> Result<(), Rejection> {
        self.admit(Ask::now(cost), time::now)
    }

    /// What [`try_acquire`](Self::try_acquire) would return now. Takes nothing and emits nothing.
    ///
    /// # Errors
    /// Those of [`try_acquire`](Self::try_acquire).
    pub fn peek(&self) -> Result<(), Rejection> {
        self.peek_n(1)
    }

    /// What [`try_acquire_n`](Self::try_acquire_n) would return now. Takes nothing and emits
    /// nothing.
    ///
    /// # Errors
    /// Those of [`try_acquire_n`](Self::try_acquire_n).
    pub fn peek_n(&self, cost: u32) -> Result<(), Rejection> {
        match self.mode() {
            Mode::Enforce => self.would_take(time::now(), &Ask::now(cost)),
            _ => Ok(()),
        }
    }

    /// What waiting for at most `max_wait` would be rejected with now. Takes nothing and emits
    /// nothing.
    #[cfg(feature = "tower")]
    pub(super) fn peek_wait(&self, cost: u32, max_wait: Option<Duration>) -> Result<(), Rejection> {
        if self.mode() != Mode::Enforce {
            return Ok(());
        }
        let now = time::now();
        let max_wait = max_wait.unwrap_or_else(|| self.max_wait());
        self.check_deadline(now)?;
        self.would_take(now, &Ask::now(cost).within(now, max_wait))
    }

    /// Takes the tokens now or rejects, and emits the event.
    #[inline]
    pub(crate) fn admit(&self, ask: Ask, clock: impl FnMut() -> Tick) -> Result<(), Rejection> {
        self.decide(ask, clock)
            .inspect_err(|rejection| self.emit(EventKind::Rejected(rejection)))
    }

    /// Takes the tokens now or says why not, and emits an admission. `clock` is read again where
    /// a lease is fetched: what was read before may be long ago.
    #[inline]
    pub(super) fn decide(&self, ask: Ask, clock: impl FnMut() -> Tick) -> Result<(), Rejection> {
        match (&self.shared.limit, self.mode()) {
            (Limit::One(bucket), Mode::Enforce) => match bucket.admit_now(clock, ask.cost) {
                Ok(()) => self.emit_admitted(),
                Err(shortfall) => return Err(self.rejection(ask.cost, shortfall)),
            },
            _ => return self.decide_otherwise(ask, clock),
        }
        Ok(())
    }

    /// The same for keyed and joint limiters, and in the other modes.
    #[inline(never)]
    fn decide_otherwise(&self, ask: Ask, mut clock: impl FnMut() -> Tick) -> Result<(), Rejection> {
        let mode = self.mode();
        if mode == Mode::Off {
            return Ok(());
        }
        match self.take(clock(), &ask) {
            Ok(_) => {}
            Err(rejection) if mode == Mode::Enforce => return Err(rejection),
            Err(rejection) => self.common().record_rejection(|| rejection),
        }
        self.emit_admitted();
        Ok(())
    }

    /// Takes the tokens for the earliest instant that is not after `ask.latest`, or nothing.
    pub(super) fn take(&self, now: Tick, ask: &Ask) -> Result<Taken, Rejection> {
        let latest = ask.latest.max(now);
        let key = self.key.or(ask.key);
        let is_kept = |at| ask.returnable || at > now;
        if let Limit::Joint(members) = &self.shared.limit {
            let (at, charges) = joint::take(members, key, ask.cost, now, latest)?;
            let charges = match is_kept(at) {
                true => Charges::Joint(Box::new(charges)),
                false => Charges::None,
            };
            return Ok(Taken { at, charges });
        }
        let charge = self
            .charge(key, ask.cost, now, now, latest)
            .map_err(|shortfall| self.rejection(ask.cost, shortfall))?;
        let at = charge.at();
        let charges = match is_kept(at) {
            true => Charges::One(charge),
            false => Charges::None,
        };
        Ok(Taken { at, charges })
    }

    /// What [`take`](Self::take) would be rejected with.
    fn would_take(&self, now: Tick, ask: &Ask) -> Result<(), Rejection> {
        let (key, latest) = (self.key.or(ask.key), ask.latest.max(now));
        joint::peek(self.members(), key, ask.cost, now, latest)
    }

    /// # Errors
    /// [`RejectionKind::Expired`] if the deadline in force has passed.
    pub(super) fn check_deadline(&self, now: Tick) -> Result<(), Rejection> {
        if CallContext::deadline() > now {
            return Ok(());
        }
        Err(Rejection::new(RejectionKind::Expired, self.name().clone()))
    }

    #[cold]
    pub(super) fn rejection(&self, cost: u32, shortfall: Shortfall) -> Rejection {
        let kind = match shortfall.above_burst {
            Some(burst) => RejectionKind::CostAboveBurst { cost, burst },
            None => RejectionKind::RateLimited,
        };
        Rejection::new(kind, self.name().clone()).with_retry_after(shortfall.wait)
    }

    #[inline]
    fn emit_admitted(&self) {
        if self.common().observed() {
            self.emit(EventKind::Ended {
                ending: Ending::Admitted,
                elapsed: Duration::ZERO,
            });
        }
    }

    /// Emits a rejection that was made without taking a token, and returns whether the mode
    /// rejects.
    #[cold]
    pub(crate) fn rejects(&self, rejection: &Rejection) -> bool {
        match self.mode() {
            Mode::Enforce => {
                self.emit(EventKind::Rejected(rejection));
                return true;
            }
            Mode::RecordOnly => self.common().record_rejection(|| rejection.clone()),
            Mode::Off => {}
        }
        false
    }
}
