//! What an admission holds: a charge whose cost is known afterwards, or the tokens of a call that has
//! waited.

use std::time::Duration;

use super::limit::{Ask, Charges};
use super::policy::{Limit, RateLimiter};
use super::table::KeyHandle;
use crate::config::Mode;
use crate::event::Ending;
use crate::macros::debug_fields;
use crate::rejection::Rejection;
use crate::time;

/// The charge of an admitted call whose cost is known afterwards.
///
/// Made by [`RateLimiter::try_charge`] and [`RateLimiter::try_charge_later`]. It is settled exactly
/// once: by [`settle`](Self::settle), by [`refund`](Self::refund), or by dropping it, which charges
/// the tokens that the call was admitted for.
///
/// ```
/// use seawall::{Quota, RateLimiter};
///
/// # fn f() -> Result<(), seawall::Rejection> {
/// let tokens = RateLimiter::per_minute(10_000);
/// let charge = tokens.try_charge(2_000)?; // An estimate.
/// // ... the call has used 1,200
/// charge.settle(1_200);
/// # Ok(()) }
/// ```
///
/// # What is returned
///
/// If too much was charged, the excess is returned, except for tokens that the refill has already
/// returned. If the quota was changed or the limiter was paused in between, or the key of a keyed
/// limiter was evicted, nothing is returned.
///
/// If too little was charged, the rest is taken even if it is not available. The limiter then admits
/// nothing until that debt is repaid.
#[must_use = "dropping a charge charges the call as it was admitted; `.settle(cost)` or `.refund()` changes that"]
pub struct OpenCharge {
    limiter: RateLimiter,
    charges: Charges,
    /// The tokens that the call was admitted for.
    cost: u32,
    /// The tokens that were taken. None if nothing is charged: the limiter was off, or has only
    /// recorded a rejection.
    taken: Option<u32>,
}

impl RateLimiter {
    /// Takes `cost` tokens if they are available, and returns a charge that can be
    /// [settled](OpenCharge::settle) to the actual cost.
    ///
    /// The [limit](crate::rate_limit) holds for the final costs, except for charges above the
    /// estimate, which are repaid before any other call is admitted.
    ///
    /// # Errors
    /// Those of [`try_acquire_n`](Self::try_acquire_n).
    pub fn try_charge(&self, cost: u32) -> Result<OpenCharge, Rejection> {
        self.charged(cost, None, false)
    }

    /// Admits a call if `cost` tokens are available, and takes none before the call has ended: for
    /// limits on failures, such as failed logins. Calls that succeed are
    /// [refunded](OpenCharge::refund), and cost nothing while they run.
    ///
    /// So any number of calls may be admitted at the same time. The [limit](crate::rate_limit) holds
    /// for the calls that are charged, plus as many as were in flight at once: a debt that they
    /// leave is repaid before any other call is admitted. To bound that number, use a
    /// [`Bulkhead`](crate::Bulkhead) per key too.
    ///
    /// ```
    /// use seawall::{RateLimiter, Rejection};
    ///
    /// # fn check(_: &str) -> bool { true }
    /// fn login(failed: &RateLimiter, password: &str) -> Result<bool, Rejection> {
    ///     let charge = failed.try_charge_later(1)?;
    ///     let right = check(password); // If this panics, it is charged.
    ///     if right {
    ///         charge.refund();
    ///     }
    ///     Ok(right)
    /// }
    ///
    /// let failed = RateLimiter::per_minute(5);
    /// assert!((0..20).all(|_| login(&failed, "secret").is_ok()));
    /// ```
    ///
    /// # Errors
    /// Those of [`try_acquire_n`](Self::try_acquire_n).
    pub fn try_charge_later(&self, cost: u32) -> Result<OpenCharge, Rejection> {
        self.charged(cost, None, true)
    }

    pub(super) fn charged(
        &self,
        cost: u32,
        key: Option<KeyHandle>,
        later: bool,
    ) -> Result<OpenCharge, Rejection> {
        let mode = self.mode();
        let mut charge = OpenCharge {
            limiter: self.viewed(key),
            charges: Charges::None,
            cost,
            taken: None,
        };
        if mode == Mode::Off {
            return Ok(charge);
        }
        let ask = Ask {
            quiet: mode != Mode::Enforce,
            keep: true,
            ..Ask::now(cost).of(key).at(time::now())
        };
        let decided = match later {
            true => {
                let due = self.due(&ask, None).and_then(|due| due.in_time(&ask));
                due.map(|_| (Charges::None, 0))
            }
            false => self.take(&ask).map(|charges| (charges, cost)),
        };
        if let Some((charges, taken)) = self.enforced(mode, decided)? {
            (charge.charges, charge.taken) = (charges, Some(taken));
        }
        self.emit_ended(Ending::Admitted, std::time::Duration::ZERO);
        Ok(charge)
    }

    /// Changes charges of `from` tokens to `to`.
    pub(super) fn settle(&self, charges: &Charges, (from, to): (u32, u32)) {
        if from == to {
            return;
        }
        let now = time::now();
        match (&self.shared.limit, charges) {
            (Limit::Joint(members), Charges::Joint(_, charges)) => {
                for (member, charge) in members.iter().zip(charges.iter()) {
                    if let Some(charge) = charge {
                        member.settle_one(self.key, charge, (from, to), now);
                    }
                }
            }
            (_, Charges::One(charge)) => self.settle_one(self.key, charge, (from, to), now),
            // Nothing was taken.
            _ if to > from => {
                let counting = |member: &&Self| member.mode() != Mode::Off;
                for member in self.members().iter().filter(counting) {
                    member.owe(self.key, to - from, now);
                }
            }
            _ => {}
        }
    }
}

impl OpenCharge {
    /// The tokens that the call was admitted for.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    #[cfg(feature = "tower")]
    pub(super) fn charges(&self) -> &Charges {
        &self.charges
    }

    /// Charges `cost` tokens for the call. What was taken above that is returned, and what is
    /// missing becomes a debt.
    pub fn settle(mut self, cost: u32) {
        self.end(cost);
    }

    /// Charges nothing for the call.
    pub fn refund(self) {
        self.settle(0);
    }

    fn end(&mut self, cost: u32) {
        if let Some(taken) = self.taken.take() {
            self.limiter.settle(&self.charges, (taken, cost));
        }
    }
}

impl Drop for OpenCharge {
    fn drop(&mut self) {
        self.end(self.cost);
    }
}

debug_fields!(OpenCharge, this: limiter = this.limiter.name(), cost = this.cost);

/// The tokens that a waiter has got. Dropping them returns them.
#[allow(unreachable_pub)] // Named by the future of a layer that waits.
#[derive(Debug)]
pub struct Granted {
    pub(super) limiter: RateLimiter,
    pub(super) cost: u32,
    pub(super) charges: Charges,
    pub(super) waited: Duration,
    /// Whether its terminal event is still to be emitted.
    pub(super) open: bool,
    #[cfg(feature = "tower")]
    pub(super) noted: bool,
}

impl Granted {
    /// Spends the tokens: the call is made.
    pub(super) fn commit(mut self) {
        if std::mem::take(&mut self.open) {
            self.limiter.emit_ended(Ending::Admitted, self.waited);
        }
    }

    /// Notes what is left for the layer above.
    #[cfg(feature = "tower")]
    pub(super) fn note(&self) {
        if self.noted {
            self.limiter.note(None, Some(&self.charges));
        }
    }

    /// The deadline has passed, and the call is not made: returns the tokens. They stay spent if
    /// the limiter rejects nothing.
    #[cfg(feature = "tower")]
    pub(super) fn expired(mut self) -> Result<Self, Rejection> {
        if self.limiter.mode() != Mode::Enforce {
            return Ok(self);
        }
        self.open = false;
        self.limiter.settle(&self.charges, (self.cost, 0));
        if self.noted {
            self.limiter.note(None, None);
        }
        Err(self.limiter.common().rejected(self.limiter.expired()))
    }
}

impl Drop for Granted {
    /// The call is not made, so its tokens are returned.
    fn drop(&mut self) {
        if std::mem::take(&mut self.open) {
            self.limiter.settle(&self.charges, (self.cost, 0));
            self.limiter.emit_ended(Ending::Dropped, self.waited);
        }
    }
}
