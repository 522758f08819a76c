//! Which bucket a limiter asks: its own, or one key's of many.

use super::{RateLimiter, Shape};
use crate::keyed::table::{self, Place, Table};
use crate::rate_limit::state::{Bucket, Charge, Refused};
use crate::time::Tick;

#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    One(&'a Bucket),
    Key(&'a Table, Place),
    /// Each of these.
    Joint(&'a [RateLimiter]),
}

/// Tokens taken, which may be given back once.
#[derive(Clone, Copy)]
pub(super) enum Charged {
    One(Charge),
    Key(table::Charge),
}

impl Charged {
    /// The instant granted.
    pub(super) fn at(&self) -> Tick {
        match self {
            Self::One(charge) => charge.at,
            Self::Key(charge) => charge.at,
        }
    }
}

/// The bucket of whoever asks a keyed limiter without a key: only a joint limiter could, and one
/// that is asked without a key is asked for nobody.
const NOBODY: Place = Place { hash: 0, tier: 0 };

const JOINT: &str = "a joint limiter is asked limit by limit";

impl RateLimiter {
    #[inline]
    pub(super) fn asked(&self, place: Option<Place>) -> Asked<'_> {
        match &self.0.shape {
            Shape::One(bucket) => Asked::One(bucket),
            Shape::Keyed(table) => Asked::Key(table, place.unwrap_or(NOBODY)),
            Shape::Joint(members) => Asked::Joint(members),
        }
    }
}

impl Asked<'_> {
    #[inline]
    pub(super) fn admit(&self, now: Tick, cost: u32) -> Result<(), Refused> {
        match self {
            Self::One(bucket) => bucket.admit(now, cost),
            Self::Key(table, place) => table.admit(now, *place, cost),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charged, Refused> {
        match self {
            Self::One(bucket) => bucket.take(now, not_before, cost, latest).map(Charged::One),
            Self::Key(table, place) => table
                .take(now, not_before, *place, cost, latest)
                .map(Charged::Key),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn probe(&self, now: Tick, not_before: Tick, cost: u32) -> Result<Tick, Refused> {
        match self {
            Self::One(bucket) => bucket.probe(now, not_before, cost),
            Self::Key(table, place) => table.probe(now, not_before, *place, cost),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn peek(&self, now: Tick, cost: u32) -> Result<(), Refused> {
        match self {
            Self::One(bucket) => bucket.peek(now, cost),
            Self::Key(table, place) => table.peek(now, *place, cost),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn available(&self, now: Tick) -> u32 {
        match self {
            Self::One(bucket) => bucket.available(now),
            Self::Key(table, place) => table.available(now, *place),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn cancel(&self, charged: &Charged) {
        match (self, charged) {
            (Self::One(bucket), Charged::One(charge)) => bucket.cancel(charge),
            (Self::Key(table, place), Charged::Key(charge)) => table.cancel(*place, charge),
            _ => unreachable!("a charge is given back to whom it was taken from"),
        }
    }
}
