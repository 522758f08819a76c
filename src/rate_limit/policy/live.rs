//! Reading and changing a limiter while calls run.

use std::time::{Duration, Instant};

use super::asked::Asked;
use super::{RateLimiter, Shape, builder};
use crate::config::{ConfigError, Mode, Problems};
use crate::event::{Event, Subscription};
use crate::rate_limit::quota::Quota;
use crate::sync::Ordering;
use crate::time::{self, Tick};

/// What a limiter is and does, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The quota as it was asked for; of a joint limiter that of the limit with the fewest
    /// tokens.
    pub quota: Quota,
    /// The tokens that were there; `u32::MAX` if there is no limit.
    pub available: u32,
    /// The mode.
    pub mode: Mode,
    /// For how long whoever waits is made to wait at most.
    pub max_wait: Duration,
    /// For how long a pause lasts at most.
    pub max_pause: Duration,
    /// How long a pause still lasts, if there is one.
    pub paused: Option<Duration>,
    /// How many calls [`Mode::RecordOnly`] would have refused since the limiter was made.
    pub would_reject: u64,
}

impl RateLimiter {
    /// Changes the quota while calls run, without losing or minting a token: what was admitted
    /// too early stays owed, in tokens. Who waits keeps the instant that was granted: after a
    /// raise, beside those whom the new rate brings. A
    /// [`Reservation`](super::Reservation) made before returns nothing when it is dropped.
    ///
    /// A rate of zero stops the limiter's clock, and the next change starts it where it stood.
    /// Unlimited admits everything; what is owed is meanwhile repaid at the old rate. A pause
    /// outlasts the change.
    ///
    /// # Errors
    /// As [`Builder::build`](super::Builder::build); nothing has changed then. A joint limiter
    /// has no quota of its own: change its limits. Nor has one key of a [keyed](crate::keyed)
    /// limiter: change the tier, with [`Keyed::set_quota`](crate::Keyed::set_quota).
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        quota.check(&mut problems);
        let (bucket, allowed) = match &self.0.shape {
            Shape::One(bucket) => (Some(bucket), ""),
            Shape::Keyed(_) => (None, "set for all keys of a tier, by `Keyed::set_quota`"),
            Shape::Joint(_) => (None, "set on the limits that a joint limiter is made of"),
        };
        problems.check(bucket.is_some(), "quota", quota, allowed);
        problems.finish(self.name())?;
        if let Some(bucket) = bucket {
            bucket.change(time::now(), quota);
        }
        Ok(())
    }

    /// The quota as it was asked for; of a joint limiter that of the limit with the fewest
    /// tokens now.
    pub fn quota(&self) -> Quota {
        match self.asked(self.1) {
            Asked::One(bucket) => bucket.quota(),
            Asked::Key(key) => key.table.quota(key.place.tier),
            Asked::Joint(members) => members
                .iter()
                .min_by_key(|member| member.available_at(member.1.or(self.1)))
                .map_or(Quota::unlimited(), |member| member.viewed(self.1).quota()),
        }
    }

    /// The rate that is really kept, in tokens per second: what was asked for, less the
    /// rounding up of the time per token to 1/32 ns. Zero if stopped, infinite if unlimited; of
    /// a joint limiter the least.
    pub fn kept_rate(&self) -> f64 {
        match self.asked(self.1) {
            Asked::One(bucket) => bucket.rate(),
            Asked::Key(key) => key.table.rate(key.place.tier),
            Asked::Joint(members) => members
                .iter()
                .map(|member| member.viewed(self.1).kept_rate())
                .fold(f64::INFINITY, f64::min),
        }
    }

    /// Changes for how long whoever waits is made to wait at most. Who waits already keeps what it
    /// began with. A joint limiter has one of its own: when it was made, the shortest of its
    /// limits.
    pub fn set_max_wait(&self, max_wait: Duration) {
        let nanos = time::nanos(max_wait);
        self.0.max_wait.store(nanos, Ordering::Relaxed);
    }

    /// Changes for how long a [pause](Self::pause_for) lasts at most. One that has begun lasts as
    /// long as it was to.
    ///
    /// # Errors
    /// As [`Builder::build`](super::Builder::build); nothing has changed then.
    pub fn set_max_pause(&self, max_pause: Duration) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        builder::check_pause(max_pause, &mut problems);
        problems.finish(self.name())?;
        let nanos = time::nanos(max_pause);
        self.0.max_pause.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// The mode.
    #[inline]
    pub fn mode(&self) -> Mode {
        Mode::from_bits(u64::from(self.0.mode.load(Ordering::Relaxed)))
    }

    /// Changes the mode. Who already waits goes on waiting.
    pub fn set_mode(&self, mode: Mode) {
        self.0.mode.store(to_byte(mode), Ordering::Relaxed);
    }

    /// Admits nothing for `d`, capped at [`max_pause`](super::Builder::max_pause): for an
    /// outbound limiter whose upstream has answered 429 or 503 with `Retry-After`.
    ///
    /// At its end one token is there, and no burst. A pause is never shortened by another one.
    /// Who waits for a token that would have come before the end reserves anew on waking. A
    /// call that costs nothing is not paused. A joint limiter pauses all of its limits.
    ///
    /// One key of a [keyed](crate::keyed) limiter is paused by a debt: it ends up to a token's
    /// two-millionth part late, [`resume`](Self::resume) does not end it, who waits keeps the
    /// instant that was granted, and a change of quota keeps what is owed and not the end. With
    /// a quota of zero it ends when that changes; with an unlimited one there is none.
    pub fn pause_for(&self, d: Duration) {
        let now = time::now();
        self.pause(now, now.after(d));
    }

    /// Admits nothing until `instant`, as [`pause_for`](Self::pause_for) does.
    pub fn pause_until(&self, instant: Instant) {
        self.pause(time::now(), time::tick_of(instant));
    }

    fn pause(&self, now: Tick, until: Tick) {
        let until = until.min(now.after(self.max_pause()));
        match self.asked(self.1) {
            Asked::One(bucket) => bucket.pause(now, until),
            Asked::Key(key) => key.telling(|table, place, dropped| {
                table.pause(now, place, until, dropped);
            }),
            Asked::Joint(members) => {
                for member in members {
                    member.viewed(self.1).pause(now, until);
                }
            }
        }
    }

    /// Ends a pause; one token is there, and no burst. Who already waits keeps the instant that
    /// was granted.
    pub fn resume(&self) {
        match self.asked(self.1) {
            Asked::One(bucket) => bucket.resume(time::now()),
            // What a pause of one key added is a debt like any other.
            Asked::Key(_) => {}
            Asked::Joint(members) => {
                for member in members {
                    member.viewed(self.1).resume();
                }
            }
        }
    }

    /// What the limiter is and does now. Takes no token.
    pub fn snapshot(&self) -> Snapshot {
        let now = time::now();
        Snapshot {
            quota: self.quota(),
            available: self.available(),
            mode: self.mode(),
            max_wait: self.max_wait(),
            max_pause: self.max_pause(),
            paused: self.pause_left(now),
            would_reject: self.0.would_reject.load(Ordering::Relaxed),
        }
    }

    /// Adds a listener; it runs on the thread of the call, after the decision.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.listeners.add(listener)
    }

    pub(super) fn is_paused(&self, now: Tick) -> bool {
        self.mode() == Mode::Enforce && self.pause_left(now).is_some()
    }

    /// The longest pause among the limits that are kept.
    fn pause_left(&self, now: Tick) -> Option<Duration> {
        match self.asked(self.1) {
            Asked::One(bucket) => bucket.pause_left(now),
            Asked::Key(_) => None,
            Asked::Joint(members) => members
                .iter()
                .filter(|member| member.mode() == Mode::Enforce)
                .filter_map(|member| member.pause_left(now))
                .max(),
        }
    }
}

pub(super) fn to_byte(mode: Mode) -> u8 {
    // Two bits by construction.
    mode.to_bits() as u8
}
