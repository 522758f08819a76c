//! The operations on one bucket: a limiter's own, or that of a key.

use super::policy::{Limit, MAX_MEMBERS, RateLimiter};
use super::state::{self, Shortfall};
use super::table::{self, KeyHandle};
use crate::event::EventKind;
use crate::time::Tick;

/// Tokens taken from one bucket. They can be returned once.
#[derive(Clone, Copy)]
pub(super) enum Charge {
    One(state::Charge),
    Keyed(table::Charge),
}

impl Charge {
    /// The instant granted.
    pub(super) fn at(&self) -> Tick {
        match self {
            Self::One(charge) => charge.at,
            Self::Keyed(charge) => charge.at,
        }
    }
}

/// The charges of a call, to be returned if it is not made.
pub(super) enum Charges {
    /// Nothing was charged, or it is spent.
    None,
    One(Charge),
    /// By member. A waiting call may allocate once.
    Joint(Box<JointCharge>),
}

pub(super) type JointCharge = [Option<Charge>; MAX_MEMBERS];

/// The entry of a call without a key: only a joint limiter with a keyed member can be called so.
const NO_KEY: KeyHandle = KeyHandle { hash: 0, tier: 0 };

const MEMBERS: &str = "a joint limiter is charged member by member";

/// These are called on the [members](RateLimiter::members) of a limiter, never on a joint one.
impl RateLimiter {
    /// The entry of `key`, or of this handle's own key.
    #[inline]
    pub(super) fn handle(&self, key: Option<KeyHandle>) -> KeyHandle {
        self.key.or(key).unwrap_or(NO_KEY)
    }

    /// Takes `cost` tokens, for use not before `not_before`, if they are available by `latest`;
    /// otherwise takes nothing.
    #[inline]
    pub(super) fn charge(
        &self,
        key: Option<KeyHandle>,
        cost: u32,
        now: Tick,
        not_before: Tick,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        match &self.shared.limit {
            Limit::One(bucket) => bucket.take(now, not_before, cost, latest).map(Charge::One),
            Limit::Keyed(table) => {
                let charge = table.take(now, not_before, self.handle(key), cost, latest)?;
                self.emit_eviction(charge.evicted);
                Ok(Charge::Keyed(charge))
            }
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// The instant at which a charge would be granted. Takes nothing.
    pub(super) fn probe(
        &self,
        key: Option<KeyHandle>,
        cost: u32,
        now: Tick,
        not_before: Tick,
    ) -> Result<Tick, Shortfall> {
        match &self.shared.limit {
            Limit::One(bucket) => bucket.probe(now, not_before, cost),
            Limit::Keyed(table) => table.probe(now, not_before, self.handle(key), cost),
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// The available tokens.
    pub(super) fn tokens(&self, key: Option<KeyHandle>, now: Tick) -> u32 {
        match &self.shared.limit {
            Limit::One(bucket) => bucket.available(now),
            Limit::Keyed(table) => table.available(now, self.handle(key)),
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// Returns a charge, as far as no later one depends on it.
    pub(super) fn cancel(&self, key: Option<KeyHandle>, charge: &Charge) {
        match (&self.shared.limit, charge) {
            (Limit::One(bucket), Charge::One(charge)) => bucket.cancel(charge),
            (Limit::Keyed(table), Charge::Keyed(charge)) => table.cancel(self.handle(key), charge),
            _ => unreachable!("a charge is returned to the bucket it was taken from"),
        }
    }

    /// Emits an event if a key in debt was evicted.
    #[inline]
    pub(super) fn emit_eviction(&self, evicted: bool) {
        if evicted {
            self.emit(EventKind::Overflow);
        }
    }
}
