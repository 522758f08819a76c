//! Which bucket a limiter asks: its own, or one key's of many.

use super::{RateLimiter, Shape};
use crate::event::EventKind;
use crate::rate_limit::state::{Bucket, Charge, Refused};
use crate::rate_limit::table::{self, Place, Table};
use crate::time::{self, Tick};

#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    One(&'a Bucket),
    Key(Key<'a>),
    /// Each of these.
    Joint(&'a [RateLimiter]),
}

/// One key of a keyed limiter.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) table: &'a Table,
    pub(super) place: Place,
    limiter: &'a RateLimiter,
}

impl Key<'_> {
    /// Tells if a key in debt lost its place by what `ask` asks for.
    #[inline]
    pub(super) fn telling<T>(&self, ask: impl FnOnce(&Table, Place, &mut bool) -> T) -> T {
        let mut dropped = false;
        let answer = ask(self.table, self.place, &mut dropped);
        if dropped {
            self.limiter.emit(EventKind::Overflow);
        }
        answer
    }
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
            Shape::Keyed(table) => Asked::Key(Key {
                table,
                place: place.unwrap_or(NOBODY),
                limiter: self,
            }),
            Shape::Joint(members) => Asked::Joint(members),
        }
    }
}

/// A reading that was made before, once. Whoever fetches a lease asks again, and for the time of
/// then: he may have been held up since, and others may have spent what came meanwhile.
#[inline]
fn anew_after(now: Tick) -> impl FnMut() -> Tick {
    let mut before = Some(now);
    move || before.take().unwrap_or_else(time::now)
}

impl Asked<'_> {
    #[inline]
    pub(super) fn admit(&self, now: Tick, cost: u32) -> Result<(), Refused> {
        match self {
            Self::One(bucket) => bucket.ask(anew_after(now), cost).map_err(Refused::from),
            Self::Key(key) => {
                key.telling(|table, place, dropped| table.admit_telling(now, place, cost, dropped))
            }
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
            Self::Key(key) => key
                .telling(|table, place, dropped| {
                    table.take_telling(now, not_before, place, cost, latest, dropped)
                })
                .map(Charged::Key),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn probe(&self, now: Tick, not_before: Tick, cost: u32) -> Result<Tick, Refused> {
        match self {
            Self::One(bucket) => bucket.probe(now, not_before, cost),
            Self::Key(key) => key.table.probe(now, not_before, key.place, cost),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn peek(&self, now: Tick, cost: u32) -> Result<(), Refused> {
        match self {
            Self::One(bucket) => bucket.peek(now, cost),
            Self::Key(key) => key.table.peek(now, key.place, cost),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn available(&self, now: Tick) -> u32 {
        match self {
            Self::One(bucket) => bucket.available(now),
            Self::Key(key) => key.table.available(now, key.place),
            Self::Joint(_) => unreachable!("{JOINT}"),
        }
    }

    pub(super) fn cancel(&self, charged: &Charged) {
        match (self, charged) {
            (Self::One(bucket), Charged::One(charge)) => bucket.cancel(charge),
            (Self::Key(key), Charged::Key(charge)) => key.table.cancel(key.place, charge),
            _ => unreachable!("a charge is given back to whom it was taken from"),
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::anew_after;
    use crate::time::{self, Tick};

    // RL1: a lease is charged to when it is fetched, whoever asks for it.
    #[test]
    fn rl1_a_reading_from_before_is_used_once() {
        let mut clock = anew_after(Tick::ZERO);
        let now = time::now();
        assert_eq!(clock(), Tick::ZERO);
        assert!(clock() >= now && clock() >= now);
    }
}
