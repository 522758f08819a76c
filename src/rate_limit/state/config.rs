//! What one configuration of a bucket makes of a time, a debt and a cost: plain arithmetic.

use std::time::Duration;

use super::stripes::Striped;
use super::{Shortfall, Tick};
use crate::rate_limit::quota::{Quota, SPAN, UNITS};

/// The latest time that the word holds: 4.5 years after the configuration's origin.
pub(in crate::rate_limit) const LAST: u64 = (1 << 62) - 1;

/// From here on the origin is moved. As far from the end as it is because what is admitted at
/// once and what is reserved ahead must fit above it.
pub(super) const STALE: u64 = 1 << 61;

/// How long before it was made a configuration's time begins, so that a clock that steps back
/// by less (a paused runtime that began earlier shows such times) still runs. Before that it stands
/// still; what then changes the configuration lets it run again, with the debt as it is, so that an
/// instant granted before is not counted with those granted after.
const LEAD: u64 = 24 * 3_600 * 1_000_000_000;

/// Marks a configuration that admits everything. It keeps an interval, at which the debt that
/// it was given goes on being repaid.
const UNLIMITED: u64 = u64::MAX;

/// One configuration. Times without a type are in units since `origin`.
#[derive(Clone, Copy, Debug)]
pub(in crate::rate_limit) struct Config {
    /// Units per token; never 0.
    pub(in crate::rate_limit) interval: u64,
    /// The burst in units.
    pub(in crate::rate_limit) tolerance: u64,
    /// Where the clock stands still: the instant at which the rate became zero.
    pub(super) frozen: Tick,
    pub(in crate::rate_limit) origin: Tick,
    /// Until when the limiter is paused.
    pub(super) paused: Tick,
    /// How many tokens a stripe may hold, and how many all of them may, which the word must do
    /// without.
    pub(super) stripes: (u32, u32),
    /// How many configurations came before. The low bits are the word's generation; the whole
    /// is what tells whether a charge was made with this one.
    pub(in crate::rate_limit) changes: u64,
}

/// A charge that would be made.
#[derive(Clone, Copy, Debug)]
pub(in crate::rate_limit) struct Grant {
    /// The instant granted.
    pub(in crate::rate_limit) at: Tick,
    /// The units charged.
    pub(in crate::rate_limit) units: u64,
    /// The debt's end after it.
    pub(in crate::rate_limit) end: u64,
}

impl Grant {
    /// This, unless it is later than `latest` or than the word holds.
    pub(in crate::rate_limit) fn by(self, now: Tick, latest: Tick) -> Result<Self, Shortfall> {
        let fits = self.at <= latest && self.end <= LAST;
        fits.then_some(self)
            .ok_or_else(|| Shortfall::until(self.at, now))
    }
}

/// What a pause did to the debt, for as long as nothing older than it may be returned.
#[derive(Clone, Copy, Debug)]
pub(in crate::rate_limit) struct Pause {
    /// Where the debt would end without it.
    from: u64,
    /// Where it was made to end.
    to: u64,
}

/// Why one configuration follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limit) enum Turn {
    Change,
    Pause,
    Resume,
}

impl Config {
    pub(in crate::rate_limit) fn first(now: Tick, quota: Quota, striped: Striped) -> Self {
        let none = Self {
            // A second: what a bucket without a rate keeps its tokens in.
            interval: UNITS * 1_000_000_000,
            tolerance: 0,
            frozen: Tick::NEVER,
            origin: now,
            paused: Tick::ZERO,
            stripes: (0, 0),
            changes: u64::MAX,
        };
        none.next(now, quota, Tick::ZERO, striped)
    }

    /// The configuration that follows this one.
    pub(in crate::rate_limit) fn next(
        &self,
        now: Tick,
        quota: Quota,
        paused: Tick,
        striped: Striped,
    ) -> Self {
        let burst = u64::from(quota.max_burst());
        let (interval, tolerance, frozen) = if quota.is_unlimited() {
            (self.interval, UNLIMITED, Tick::NEVER)
        } else if quota.is_stopped() {
            // Any interval would do; with the one before, the debt stays exactly what it is.
            let interval = self.interval.min(SPAN / burst.max(1));
            // The last instant marks a clock that runs.
            let frozen = now.min(Tick(u64::MAX - 1));
            (interval, interval * burst, frozen)
        } else {
            let interval = quota.interval();
            (interval, interval * burst, Tick::NEVER)
        };
        let runs = !quota.is_unlimited() && !quota.is_stopped();
        Self {
            interval,
            tolerance,
            stripes: match runs {
                true => striped.lease(quota.max_burst()),
                false => (0, 0),
            },
            frozen,
            origin: Tick(now.0.saturating_sub(LEAD)),
            paused: if paused > now { paused } else { Tick::ZERO },
            changes: self.changes.wrapping_add(1),
        }
    }

    /// What the stripes may hold, in units. Of a torn configuration anything, but no panic.
    #[inline]
    fn ahead(&self) -> u64 {
        self.interval.saturating_mul(u64::from(self.stripes.1))
    }

    /// The burst in units, less what the stripes may hold: what the word is kept to.
    #[inline]
    pub(super) fn ready(&self) -> u64 {
        self.tolerance.saturating_sub(self.ahead())
    }

    /// Whether the cost is within the burst, but more than is ever there beside the stripes.
    #[inline]
    pub(super) fn needs_all(&self, cost: u32) -> bool {
        let units = u64::from(cost).saturating_mul(self.interval);
        self.stripes.1 > 0 && self.ready() < units && units <= self.tolerance
    }

    /// The debt's end as it would be without stripes, of which these hold `tokens`.
    pub(super) fn gather(&self, tat: u64, tokens: u32, now: Tick) -> u64 {
        let lacking = u64::from(self.stripes.1.saturating_sub(tokens));
        if lacking == 0 {
            return tat;
        }
        (tat.max(self.clock(now)) + lacking * self.interval).min(LAST)
    }

    /// The other way: where the debt ends with stripes, and how many tokens these hold.
    pub(super) fn spread(&self, end: u64, now: Tick) -> (u64, u32) {
        let (here, ahead) = (self.clock(now), self.ahead());
        if ahead == 0 {
            return (end, 0);
        }
        let owed = end.saturating_sub(here);
        match owed.checked_sub(ahead) {
            Some(beyond) => (here + beyond, 0),
            None => {
                let tokens = (ahead - owed) / self.interval;
                (end.min(here), u32::try_from(tokens).unwrap_or(u32::MAX))
            }
        }
    }

    #[inline]
    pub(in crate::rate_limit) fn is_unlimited(&self) -> bool {
        self.tolerance == UNLIMITED
    }

    #[inline]
    pub(in crate::rate_limit) fn is_stopped(&self) -> bool {
        !self.frozen.is_never()
    }

    pub(super) fn burst(&self) -> u32 {
        u32::try_from(self.tolerance / self.interval).unwrap_or(u32::MAX)
    }

    /// Tokens per second.
    #[allow(clippy::cast_precision_loss)] // It is for reading; an f64 holds nine digits more.
    pub(in crate::rate_limit) fn rate(&self) -> f64 {
        if self.is_unlimited() {
            f64::INFINITY
        } else if self.is_stopped() {
            0.0
        } else {
            (UNITS * 1_000_000_000) as f64 / self.interval as f64
        }
    }

    #[inline]
    fn units(&self, time: Tick) -> u64 {
        let passed = time.0.saturating_sub(self.origin.0);
        passed.min(LAST / UNITS) * UNITS
    }

    /// What the limiter's clock shows. One that stands still also does so for times before.
    #[inline]
    pub(in crate::rate_limit) fn clock(&self, now: Tick) -> u64 {
        self.units(if self.is_stopped() { self.frozen } else { now })
    }

    /// Whether time has come so far that the origin must be moved.
    #[inline]
    pub(in crate::rate_limit) fn is_stale(&self, now: Tick) -> bool {
        self.clock(now) >= STALE
    }

    /// The charge that `cost` would be, for use not before `not_before`, or why there is none
    /// at any time.
    #[inline]
    pub(in crate::rate_limit) fn grant(
        &self,
        tat: u64,
        now: Tick,
        not_before: Tick,
        cost: u32,
    ) -> Result<Grant, Shortfall> {
        let start = now.max(not_before);
        if cost == 0 || self.is_unlimited() {
            let at = if cost == 0 {
                start
            } else {
                start.max(self.paused)
            };
            return Ok(Grant {
                at,
                units: 0,
                end: tat,
            });
        }
        let units = u64::from(cost).saturating_mul(self.interval);
        let from = self.clock(start);
        // No sum below leaves a u64: each term fits 62 bits.
        if units > self.tolerance {
            return Err(self.never(!self.is_stopped()));
        }
        let end = tat.max(from) + units;
        let due = end.saturating_sub(self.ready());
        if due <= from {
            return Ok(Grant {
                at: start,
                units,
                end,
            });
        }
        let due = due.div_ceil(UNITS);
        match self.origin.0.checked_add(due) {
            Some(at) if !self.is_stopped() => {
                // As if charged at that instant, which is up to a nanosecond after the debt
                // allows it; that is part of the charge.
                let end = tat.max(due * UNITS) + units;
                let (at, units) = (Tick(at), end - tat);
                Ok(Grant { at, units, end })
            }
            // The clock stands still, or the instant is after the end of time.
            _ => Err(self.never(false)),
        }
    }

    /// No token will come, so far as anybody knows, or never so many at once.
    #[cold]
    fn never(&self, is_above_burst: bool) -> Shortfall {
        Shortfall {
            wait: None,
            above_burst: is_above_burst.then(|| self.burst()),
        }
    }

    /// The charge that `cost` would be with `tokens` in the stripes, and how many of these it
    /// would take: no more than are missing.
    pub(super) fn grant_with(
        &self,
        tat: u64,
        now: Tick,
        not_before: Tick,
        cost: u32,
        tokens: u32,
    ) -> (Result<Grant, Shortfall>, u32) {
        let start = now.max(not_before);
        let missing = match tokens {
            0 => 0,
            // Impossible, whatever is there.
            _ if u64::from(cost).saturating_mul(self.interval) > self.tolerance => 0,
            _ => cost.saturating_sub(self.available(tat, start)),
        };
        let ahead = missing.min(tokens);
        let mut grant = self.grant(tat, now, not_before, cost - ahead);
        if let Ok(grant) = &mut grant {
            if ahead > 0 && grant.units == 0 && start > now {
                // Moves the word, so that nothing older can be given back, and be leased to the
                // stripe again, before these tokens are used.
                grant.end = tat.max(self.clock(start)) + 1;
                grant.units = grant.end - tat;
            }
        }
        (grant, ahead)
    }

    /// How many tokens are there, beside the stripes.
    pub(in crate::rate_limit) fn available(&self, tat: u64, now: Tick) -> u32 {
        if self.is_unlimited() {
            return if self.paused > now { 0 } else { u32::MAX };
        }
        let from = self.clock(now);
        let free = (from + self.ready()).saturating_sub(tat.max(from));
        u32::try_from(free / self.interval).unwrap_or(u32::MAX)
    }

    /// From now to `paused`, if that is ahead.
    pub(super) fn pause_left(&self, now: Tick) -> Option<Duration> {
        (self.paused > now).then(|| self.paused.since(now))
    }

    /// Carries the debt that ends at `tat` over into the configuration `to`: the same number
    /// of tokens, rounded up, whatever each now takes. Also what is left of a pause.
    pub(in crate::rate_limit) fn carry(
        &self,
        to: &Self,
        tat: u64,
        pause: Option<Pause>,
        turn: Turn,
        now: Tick,
    ) -> (u64, Option<Pause>) {
        let (here, there) = (self.clock(now), to.clock(now));
        let rescale = |units: u64| {
            let units = u128::from(units) * u128::from(to.interval);
            u64::try_from(units.div_ceil(u128::from(self.interval))).unwrap_or(LAST)
        };
        let place = |end: u64| {
            let debt = rescale(end.saturating_sub(here));
            debt.saturating_add(there).min(LAST)
        };
        // What was reserved since the pause began lies after it; what the pause added is no
        // debt, and is not rescaled.
        let (from, queued) = match pause {
            // Once over, it is a debt like any other: it has been waited for.
            Some(pause) if self.paused > now => (pause.from, tat.saturating_sub(pause.to)),
            _ => (tat, 0),
        };
        let begins = if to.paused > now && !to.is_unlimited() && !to.is_stopped() {
            // With the debt ending here, the first token is there exactly at the pause's end.
            Some(to.units(to.paused) + to.tolerance - to.interval)
        } else {
            None
        };
        let (from, end, queued) = match turn {
            Turn::Change => (place(from), place(from), rescale(queued)),
            // Who has reserved a place behind the pause keeps it, and nobody comes before.
            Turn::Pause | Turn::Resume if queued > 0 => (place(tat), place(tat), 0),
            Turn::Pause => (place(from), place(tat), 0),
            Turn::Resume => {
                let one = here
                    .saturating_add(self.tolerance)
                    .saturating_sub(self.interval);
                let end = place(from.max(one.min(tat)));
                (end, end, 0)
            }
        };
        let end = end.max(begins.unwrap_or(0)).min(LAST);
        let pause = begins.map(|_| Pause { from, to: end });
        (end.saturating_add(queued).min(LAST), pause)
    }
}
