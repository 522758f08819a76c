//! A tier's clock: what one configuration makes of a time, a debt and a cost. Plain arithmetic.
//!
//! The clock counts tokens, in units of [`TOKEN`] to one: after `d` ns at `n` per `period` it has
//! moved on by `d × n × TOKEN / period`. A debt is how far its end lies ahead of the clock, so it
//! is the same number of tokens at every rate, and a change of quota touches no key.
//!
//! # Range
//!
//! A word holds 59 bits of the clock, that is 16 turns of 2^55 units (1.6e10 tokens), and wraps.
//! What a configuration reads is an offset from its `base`, four turns below where the clock
//! stood when it was last set:
//!
//! ```text
//!   0        3        4 ------- 5        6                            16 turns
//!   ends of  floor:   the clock moves    no debt                      what later
//!   before   at rest  here               ends later                   bases write
//! ```
//!
//! Leaving the fifth turn (4 s at 4e9 a second, 4 hours at a million, 5 years at a hundred) the
//! base is moved by at most two turns and every end below the new floor is raised to it: both
//! are at rest. Whoever still reads with the old base reads the new ends rightly, until five
//! more moves; whoever reads with the new one reads ends that are not raised yet, down to 1.

use super::rate::{Rate, Reading, TOKEN};
use crate::rate_limit::{Quota, Refused};
use crate::time::Tick;

/// The bits of the clock that a word holds.
const MASK: u64 = (1 << 59) - 1;

const TURN: u64 = 1 << 55;
/// Below the clock at all times; where ends that are long past are kept.
const FLOOR: u64 = 3 * TURN;
const HOME: u64 = 4 * TURN;
const STALE: u64 = 5 * TURN;
/// The latest end of a debt.
pub(super) const LAST: u64 = 6 * TURN;
/// What a clock shows that is asked about a time too far ahead.
const FAR: u64 = 8 * TURN;

/// Marks a configuration that admits everything.
const UNLIMITED: u64 = u64::MAX;

/// One configuration of a tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) rate: Rate,
    /// The burst in units.
    pub(super) tolerance: u64,
    /// What offsets are counted from.
    pub(super) base: u64,
    /// What the clock showed at `since`: a whole number.
    pub(super) from: u64,
    pub(super) since: Tick,
    /// The last instant that it may be used at.
    pub(super) until: Tick,
    /// How many changes came before, by which a charge tells whether it was made with this one.
    pub(super) changes: u64,
}

/// A charge that would be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) at: Tick,
    /// What it adds to the debt.
    pub(super) units: u64,
    /// Where the debt ends with it, as an offset.
    pub(super) end: u64,
}

impl Config {
    pub(super) fn first(now: Tick, quota: Quota) -> Self {
        let none = Self {
            rate: Rate::STOPPED,
            tolerance: 0,
            base: 0,
            from: HOME,
            since: now,
            until: Tick::NEVER,
            changes: u64::MAX,
        };
        none.changed(now, quota)
    }

    /// The configuration that follows with `quota`. The clock goes on from where it stands,
    /// rounded down, so what is less than a unit is lost and never gained.
    pub(super) fn changed(&self, now: Tick, quota: Quota) -> Self {
        let mut next = *self;
        next.changes = self.changes.wrapping_add(1) & (u64::MAX >> 8);
        next.tolerance = u64::from(quota.max_burst()) * TOKEN;
        let rate = if quota.is_unlimited() {
            next.tolerance = UNLIMITED;
            // The debt goes on being repaid.
            self.rate
        } else {
            Rate::of(quota)
        };
        if rate != self.rate {
            next.rate = rate;
            next.from = self.clock(now).down;
            next.since = now;
            next.until = next.last();
        }
        next
    }

    /// The same with the base moved on, for use at `now`.
    pub(super) fn moved(&self, now: Tick) -> Self {
        let rate = self.rate;
        // To an instant at which the clock shows a whole number.
        let rounds = now.0.saturating_sub(self.since.0) / rate.nanos;
        let shows = u128::from(self.from) + u128::from(rounds) * u128::from(rate.units);
        // Nothing is owed for longer than that, so it need not go on.
        let shows = shows.min(u128::from(LAST)) as u64;
        let mut next = *self;
        next.base = self.end(shows - HOME);
        next.from = HOME;
        next.since = Tick(self.since.0 + rounds * rate.nanos);
        next.until = next.last();
        next
    }

    fn last(&self) -> Tick {
        if self.rate.units == 0 {
            return Tick::NEVER;
        }
        let (whole, _) = self.rate.nanos_for(STALE - self.from.min(STALE));
        Tick(u64::try_from(u128::from(self.since.0) + whole).unwrap_or(u64::MAX))
    }

    #[inline]
    pub(super) fn is_stale(&self, now: Tick) -> bool {
        now > self.until
    }

    #[inline]
    pub(super) fn is_unlimited(&self) -> bool {
        self.tolerance == UNLIMITED
    }

    #[inline]
    fn is_stopped(&self) -> bool {
        self.rate.units == 0
    }

    fn burst(&self) -> u32 {
        u32::try_from(self.tolerance / TOKEN).unwrap_or(u32::MAX)
    }

    /// Where a debt ends that leaves the first token to `at`, or to a unit later; to nobody if
    /// the clock stands still.
    pub(super) fn but_one_token(&self, at: Tick) -> u64 {
        let left = if self.is_stopped() { 0 } else { TOKEN };
        let end = self.clock(at).up + self.tolerance.saturating_sub(left);
        end.min(LAST)
    }

    /// Tokens per second.
    #[allow(clippy::cast_precision_loss)] // It is for reading.
    pub(super) fn per_second(&self) -> f64 {
        if self.is_unlimited() {
            return f64::INFINITY;
        }
        self.rate.units as f64 / self.rate.nanos as f64 * (1e9 / TOKEN as f64)
    }

    /// What a word's end is as an offset.
    #[inline]
    pub(super) fn offset(&self, end: u64) -> u64 {
        end.wrapping_sub(self.base) & MASK
    }

    /// An offset as a word's end.
    #[inline]
    pub(super) fn end(&self, offset: u64) -> u64 {
        self.base.wrapping_add(offset) & MASK
    }

    /// The end of a debt that is past at any time.
    pub(super) fn floor(&self) -> u64 {
        self.end(FLOOR)
    }

    /// Where a debt ended before `units` were added, or the floor.
    pub(super) fn without(&self, end: u64, units: u64) -> u64 {
        self.end(self.offset(end).saturating_sub(units).max(FLOOR))
    }

    /// Whether an end is below the floor.
    pub(super) fn is_below(&self, end: u64) -> bool {
        self.offset(end) < FLOOR
    }

    /// What the clock shows. Before the configuration it runs backwards at the same rate, down
    /// to the floor, so that a clock that has stepped back still runs.
    #[inline]
    pub(super) fn clock(&self, now: Tick) -> Reading {
        if now >= self.since {
            let passed = self.rate.units_in(now.0 - self.since.0, FAR);
            return Reading {
                down: self.from + passed.down,
                up: self.from + passed.up,
            };
        }
        let ahead = self.rate.units_in(self.since.0 - now.0, FAR);
        Reading {
            down: self.from.saturating_sub(ahead.up).max(FLOOR),
            up: self.from.saturating_sub(ahead.down).max(FLOOR),
        }
    }

    /// The first instant at which the clock shows `offset`, which is above the floor; none if
    /// it stands still before, or time ends.
    fn instant(&self, offset: u64) -> Option<Tick> {
        if self.is_stopped() {
            return None;
        }
        if offset >= self.from {
            let (_, d) = self.rate.nanos_for(offset - self.from);
            return self.since.0.checked_add(u64::try_from(d).ok()?).map(Tick);
        }
        let (d, _) = self.rate.nanos_for(self.from - offset);
        Some(Tick(
            self.since
                .0
                .saturating_sub(u64::try_from(d).unwrap_or(u64::MAX)),
        ))
    }

    /// The charge that `cost` would be on a debt that ends at `end`, for use not before
    /// `not_before`, or why there is none at any time.
    ///
    /// It is granted when the clock, rounded down, shows that the debt with it is no more than
    /// the burst; a charge at rest begins at the clock rounded up. So between two grants the
    /// debt grows by all that was charged, and falls by no more than the clock really moves.
    #[inline]
    pub(super) fn grant(
        &self,
        end: u64,
        now: Tick,
        not_before: Tick,
        cost: u32,
    ) -> Result<Grant, Refused> {
        let start = now.max(not_before);
        if cost == 0 || self.is_unlimited() {
            let (at, units) = (start, 0);
            return Ok(Grant { at, units, end });
        }
        let units = u64::from(cost) * TOKEN;
        if units > self.tolerance {
            return Err(self.refuse_for_good(!self.is_stopped()));
        }
        let clock = self.clock(start);
        // What is charged fits the burst, so this is no later than `end`.
        let due = (end + units).saturating_sub(self.tolerance);
        let (at, clock) = if due <= clock.down {
            (start, clock)
        } else {
            // As if charged at that instant.
            let at = self
                .instant(due)
                .ok_or_else(|| self.refuse_for_good(false))?;
            (at, self.clock(at))
        };
        let after = end.max(clock.up) + units;
        let (units, end) = (after - end, after);
        Ok(Grant { at, units, end })
    }

    /// [`grant`](Self::grant), if it is there by `latest` and the word can hold it.
    #[inline]
    pub(super) fn grant_by(
        &self,
        end: u64,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Grant, Refused> {
        let grant = self.grant(end, now, not_before, cost)?;
        if grant.at <= latest && (grant.end <= LAST || grant.units == 0) {
            return Ok(grant);
        }
        Err(Refused {
            wait: Some(grant.at.since(now)),
            impossible: None,
        })
    }

    #[cold]
    fn refuse_for_good(&self, impossible: bool) -> Refused {
        Refused {
            wait: None,
            impossible: impossible.then(|| self.burst()),
        }
    }

    /// How many tokens are there.
    pub(super) fn available(&self, end: u64, now: Tick) -> u32 {
        if self.is_unlimited() {
            return u32::MAX;
        }
        let debt = end.saturating_sub(self.clock(now).down);
        u32::try_from(self.tolerance.saturating_sub(debt) / TOKEN).unwrap_or(u32::MAX)
    }

    /// When the debt is repaid, which may be long ago.
    pub(super) fn rests_at(&self, end: u64) -> Tick {
        if self.is_stopped() && end <= self.from {
            return self.since;
        }
        self.instant(end).unwrap_or(Tick::NEVER)
    }

    /// The same debt in tokens, from the clock of `other` to this one's.
    pub(super) fn carried(&self, other: &Self, end: u64, now: Tick) -> u64 {
        let debt = other.offset(end).saturating_sub(other.clock(now).down);
        let clock = self.clock(now);
        if debt == 0 {
            clock.down
        } else {
            clock.up + debt
        }
    }
}
