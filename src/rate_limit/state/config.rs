//! The arithmetic of one configuration: a time, a debt and a cost become a grant or a shortfall.

use std::time::Duration;

use super::grant::Shortfall;
pub(crate) use super::grant::{Grant, LAST};
use super::stripes::Striped;
use crate::rate_limit::quota::{Quota, SPAN, UNITS};
use crate::time::Tick;

/// From this time on the origin is moved. Bursts and reservations must fit between here and
/// [`LAST`].
pub(super) const STALE: u64 = 1 << 61;

/// A configuration's time starts this long before it was made, so that a clock that steps back by
/// less still runs: a paused runtime that started earlier shows such times. Before its start the
/// time stands still until the next change. That keeps the debt, so that instants granted before
/// and after are not counted together.
const LEAD: u64 = 24 * 3_600 * 1_000_000_000;

/// By how much a timer may fire late: 2 ms, in units.
pub(super) const TIMER: u64 = 2_000_000 * UNITS;

/// The tolerance of a configuration that admits everything. It has an interval, at which the debt
/// of before is repaid.
const UNLIMITED: u64 = u64::MAX;

/// One configuration. Times without a type are in units since `origin`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// The emission interval: units per token; never 0.
    pub(crate) interval: u64,
    /// The burst in units.
    pub(crate) tolerance: u64,
    /// The instant at which the rate became zero and the clock stopped; never if it runs.
    pub(super) frozen: Tick,
    pub(crate) origin: Tick,
    /// The end of the pause; in the past if there is none.
    pub(super) paused: Tick,
    /// How many tokens a stripe may hold, and how many all of them may. The word is short of the
    /// latter.
    pub(super) stripes: (u32, u32),
    /// How many configurations came before. The low bits are the word's generation; a charge holds
    /// the whole count.
    pub(crate) changes: u64,
}

/// The effect of a pause on the debt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    /// The end of the debt without it.
    from: u64,
    /// The end of the debt with it.
    to: u64,
}

/// The reason for the next configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Change,
    Pause,
    Resume,
}

impl Config {
    pub(crate) fn first(now: Tick, quota: Quota, striped: Striped) -> Self {
        let none = Self {
            // A second: for a bucket that starts without a rate.
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
    pub(crate) fn next(&self, now: Tick, quota: Quota, paused: Tick, striped: Striped) -> Self {
        let burst = u64::from(quota.max_burst());
        let (interval, tolerance, frozen) = if quota.is_unlimited() {
            (self.interval, UNLIMITED, Tick::NEVER)
        } else if quota.is_stopped() {
            // With the interval before, the debt is not rounded.
            let interval = self.interval.min(SPAN / burst.max(1));
            // `Tick::NEVER` marks a clock that runs.
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

    /// What the stripes may hold, in units. Saturating, because a torn configuration is possible.
    #[inline]
    fn leased(&self) -> u64 {
        self.interval.saturating_mul(u64::from(self.stripes.1))
    }

    /// The burst in units, less what the stripes may hold: the limit of the word.
    #[inline]
    pub(super) fn ready(&self) -> u64 {
        self.tolerance.saturating_sub(self.leased())
    }

    /// Whether the cost is within the burst, but above what the word may hold.
    #[inline]
    pub(super) fn needs_all(&self, cost: u32) -> bool {
        let units = u64::from(cost).saturating_mul(self.interval);
        self.stripes.1 > 0 && self.ready() < units && units <= self.tolerance
    }

    /// The end of the debt as it would be without stripes, if these hold `tokens`.
    pub(super) fn gather(&self, tat: u64, tokens: u32, now: Tick) -> u64 {
        let lacking = u64::from(self.stripes.1.saturating_sub(tokens));
        if lacking == 0 {
            return tat;
        }
        (tat.max(self.clock(now)) + lacking * self.interval).min(LAST)
    }

    /// The inverse: the end of the debt with stripes, and how many tokens these hold.
    pub(super) fn spread(&self, end: u64, now: Tick) -> (u64, u32) {
        let (here, leased) = (self.clock(now), self.leased());
        if leased == 0 {
            return (end, 0);
        }
        let owed = end.saturating_sub(here);
        match owed.checked_sub(leased) {
            Some(beyond) => (here + beyond, 0),
            None => {
                let tokens = (leased - owed) / self.interval;
                (end.min(here), u32::try_from(tokens).unwrap_or(u32::MAX))
            }
        }
    }

    #[inline]
    pub(crate) fn is_unlimited(&self) -> bool {
        self.tolerance == UNLIMITED
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        !self.frozen.is_never()
    }

    pub(super) fn burst(&self) -> u32 {
        u32::try_from(self.tolerance / self.interval).unwrap_or(u32::MAX)
    }

    /// Tokens per second.
    #[allow(clippy::cast_precision_loss)] // For people; an f64 has nine digits more.
    pub(crate) fn rate(&self) -> f64 {
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

    /// The time of the limiter's clock. A stopped one shows the same for every instant.
    #[inline]
    pub(crate) fn clock(&self, now: Tick) -> u64 {
        self.units(if self.is_stopped() { self.frozen } else { now })
    }

    /// Whether the origin must be moved.
    #[inline]
    pub(crate) fn is_stale(&self, now: Tick) -> bool {
        self.clock(now) >= STALE
    }

    /// The instant as of which a call gets its tokens that would wait for them, or `has_waited`.
    /// Timers tick in milliseconds, so a bucket that refills faster would lose tokens while its
    /// waiters sleep. A call that has not waited gets them too if the last one was taken so lately.
    ///
    /// With this the limit holds for a burst of the tokens of 2 ms, if the burst is smaller: the debt
    /// that a window adds starts at most the difference before it.
    #[inline]
    pub(crate) fn as_of(&self, tat: u64, now: Tick, has_waited: bool) -> Tick {
        let late = TIMER.saturating_sub(self.tolerance) / UNITS;
        let start = Tick(now.0.saturating_sub(late));
        match has_waited || tat >= self.clock(start) {
            true => start,
            false => now,
        }
    }

    /// Where the debt will end after calls that take `in_front` tokens as they come.
    pub(crate) fn behind(&self, tat: u64, now: Tick, in_front: u64) -> u64 {
        if in_front == 0 || self.is_unlimited() {
            return tat;
        }
        let units = in_front.saturating_mul(self.interval);
        tat.max(self.clock(now)).saturating_add(units).min(LAST)
    }

    /// The charge for `cost`, for use not before `start`, or the shortfall if no wait helps.
    #[inline]
    pub(crate) fn grant(&self, tat: u64, start: Tick, cost: u32) -> Result<Grant, Shortfall> {
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
        // No sum below overflows: each term fits 62 bits.
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
                // As if charged at that instant, which is rounded up to a nanosecond. The rounding is
                // part of the charge.
                let end = tat.max(due * UNITS) + units;
                let (at, units) = (Tick(at), end - tat);
                Ok(Grant { at, units, end })
            }
            // The clock is stopped, or the instant is after the end of time.
            _ => Err(self.never(false)),
        }
    }

    /// The shortfall if no token will come, or if the bucket never holds the cost.
    #[cold]
    fn never(&self, is_above_burst: bool) -> Shortfall {
        match is_above_burst {
            true => Shortfall::AboveBurst(u64::from(self.burst())),
            false => Shortfall::Unknown,
        }
    }

    /// When a charge of `cost`, for use not before `not_before`, would be granted behind calls that
    /// will take `in_front` tokens as they come, if the stripes hold `tokens`.
    pub(crate) fn probe(
        &self,
        tat: u64,
        (now, not_before): (Tick, Tick),
        cost: u32,
        in_front: u64,
        tokens: u32,
    ) -> Result<Tick, Shortfall> {
        let (leased, lacking) = self.stripes;
        let config = Self {
            stripes: (leased, lacking.saturating_sub(tokens)),
            ..*self
        };
        let tat = config.behind(tat, now, in_front);
        let grant = config.grant(tat, now.max(not_before), cost)?;
        grant.by(now, Tick::NEVER).map(|grant| grant.at)
    }

    /// The available tokens, not counting the stripes.
    pub(crate) fn available(&self, tat: u64, now: Tick) -> u32 {
        if self.is_unlimited() {
            return if self.paused > now { 0 } else { u32::MAX };
        }
        let from = self.clock(now);
        let free = (from + self.ready()).saturating_sub(tat.max(from));
        u32::try_from(free / self.interval).unwrap_or(u32::MAX)
    }

    /// The rest of the pause.
    pub(super) fn pause_left(&self, now: Tick) -> Option<Duration> {
        (self.paused > now).then(|| self.paused.since(now))
    }

    /// Carries the debt that ends at `tat` over to the configuration `to`: the same number of
    /// tokens, rounded up, at the new interval. Returns the rest of a pause too.
    pub(crate) fn carry(
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
        let moved = |end: u64| {
            let debt = rescale(end.saturating_sub(here));
            debt.saturating_add(there).min(LAST)
        };
        // Reservations since the start of the pause come after it. What the pause added is no
        // debt and is not rescaled.
        let (from, queued) = match pause {
            // After its end it is a debt like any other.
            Some(pause) if self.paused > now => (pause.from, tat.saturating_sub(pause.to)),
            _ => (tat, 0),
        };
        let begins = if to.paused > now && !to.is_unlimited() && !to.is_stopped() {
            // With this debt the first token is available exactly at the end of the pause.
            Some(to.units(to.paused) + to.tolerance - to.interval)
        } else {
            None
        };
        let (from, end, queued) = match turn {
            Turn::Change => (moved(from), moved(from), rescale(queued)),
            // An instant reserved after the pause stays, and no call comes before it.
            Turn::Pause | Turn::Resume if queued > 0 => (moved(tat), moved(tat), 0),
            Turn::Pause => (moved(from), moved(tat), 0),
            Turn::Resume => {
                let one = here
                    .saturating_add(self.tolerance)
                    .saturating_sub(self.interval);
                let end = moved(from.max(one.min(tat)));
                (end, end, 0)
            }
        };
        let end = end.max(begins.unwrap_or(0)).min(LAST);
        let pause = begins.map(|_| Pause { from, to: end });
        (end.saturating_add(queued).min(LAST), pause)
    }
}
