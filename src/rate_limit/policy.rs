//! The limiter's handle: what it consists of, how it is read and how it is changed.

use std::any::Any;
use std::fmt;
use std::time::{Duration, Instant};

use super::queue::Queues;
use super::quota::Quota;
use super::state::Bucket;
use super::table::{KeyHandle, Table};
use crate::common::{Common, Listed, common_methods};
use crate::config::{ConfigError, Live, Mode, Problems};
use crate::counters::Totals;
use crate::event::EventKind;
use crate::macros::from_ref;
use crate::sync::Arc;
use crate::time::{self, Tick};

/// A limit on how many calls are made per period: a token bucket.
///
/// Cheap to clone; every clone is the same limit. It needs no runtime, except for `acquire`. See
/// the [module](super) for a picture and the defaults.
///
/// ```
/// use seawall::RateLimiter;
///
/// let limiter = RateLimiter::per_second(2);
/// assert!(limiter.allow());
/// assert!(limiter.allow());
/// let rejection = limiter.try_acquire().unwrap_err();
/// assert!(rejection.retry_after().is_some());
/// ```
#[derive(Clone)]
#[must_use]
pub struct RateLimiter {
    pub(super) shared: Arc<Shared>,
    /// The key whose bucket this handle uses, if the limiter is keyed.
    pub(super) key: Option<KeyHandle>,
}

pub(super) struct Shared {
    pub(super) common: Common,
    /// Read where a call waits and where a pause begins, never by an admission at once.
    pub(super) config: Live<Config>,
    /// The calls that wait. An admission reads whether there are any.
    pub(super) queues: Queues,
    pub(super) limit: Limit,
}

/// The options that a change replaces as a whole.
///
/// What an admission needs of the quota is in the bucket, because the rate and the word that
/// counts in it change in one exchange.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    /// The quota of the one bucket, as configured. A keyed limiter has one for each tier, in its
    /// table.
    pub(super) quota: Quota,
    pub(super) max_wait: Duration,
    pub(super) max_pause: Duration,
}

/// The longest pause that the bucket's word is sure to hold.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Config {
    pub(super) fn check(&self, problems: &mut Problems) {
        self.quota.check(problems);
        let fits = self.max_pause <= LONGEST_PAUSE;
        problems.check(fits, "max_pause", self.max_pause, "at most 365 days");
    }
}

#[allow(clippy::large_enum_variant)] // One for each limiter, behind its Arc.
pub(super) enum Limit {
    One(Bucket),
    /// A bucket for each key.
    Keyed(Table),
    /// At most [`MAX_MEMBERS`] limiters, none of them joint.
    Joint(Box<[RateLimiter]>),
}

/// The most limiters in a joint one: their charges are kept on the stack.
pub(super) const MAX_MEMBERS: usize = 8;

/// The state and the configuration of a limiter, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The quota as configured. For a joint limiter, the quota of the member with the fewest
    /// tokens.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::text")
    )]
    pub quota: Quota,
    /// The available tokens; `u32::MAX` if there is no limit.
    pub available: u32,
    /// The mode.
    pub mode: Mode,
    /// The longest wait for a token.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub max_wait: Duration,
    /// The longest pause.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub max_pause: Duration,
    /// The remaining time of the current pause.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds_if_any")
    )]
    pub paused: Option<Duration>,
    /// How many calls [`Mode::RecordOnly`] would have rejected since the limiter was built.
    pub would_reject: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}

from_ref!(RateLimiter);

impl Listed for RateLimiter {
    fn of_shared(shared: Arc<dyn Any + Send + Sync>) -> Option<Self> {
        let shared = shared.downcast().ok()?;
        Some(Self { shared, key: None })
    }

    fn base(&self) -> &Common {
        self.common()
    }
}

impl RateLimiter {
    common_methods!();

    /// The mode.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.common().mode()
    }

    /// Sets the mode. In a mode that does not enforce, waiting calls proceed at once.
    pub fn set_mode(&self, mode: Mode) {
        self.common().set_mode(mode);
        self.wake_waiters();
    }

    /// Wakes the calls that wait for this limiter, after a change.
    pub(super) fn wake_waiters(&self) {
        self.members().iter().for_each(Self::wake_all);
    }

    /// The available tokens: the fewest of a joint limiter's members, `u32::MAX` if there is no
    /// limit. Takes nothing. Another thread may take them before the caller acts on the number.
    pub fn available(&self) -> u32 {
        let mode = self.mode();
        let now = time::now();
        self.members()
            .iter()
            .filter(|member| mode != Mode::Off && member.mode() != Mode::Off)
            .map(|member| member.tokens(self.key).available(now))
            .min()
            .unwrap_or(u32::MAX)
    }

    /// The quota as configured. For a joint limiter, the quota of the member with the fewest
    /// tokens now.
    pub fn quota(&self) -> Quota {
        let now = time::now();
        let tightest = self
            .members()
            .iter()
            .min_by_key(|member| member.tokens(self.key).available(now));
        tightest.map_or(Quota::unlimited(), |member| {
            let of_tier = member.tokens(self.key).quota_of_tier();
            of_tier.unwrap_or_else(|| member.shared.config.load().quota)
        })
    }

    /// The exact rate in tokens per second: the configured rate, less the rounding of the time per
    /// token up to 1/32 ns. Zero if the limiter is stopped, infinite if it is unlimited. For a
    /// joint limiter, the lowest of its members.
    pub fn kept_rate(&self) -> f64 {
        self.members()
            .iter()
            .map(|member| member.tokens(self.key).rate())
            .fold(f64::INFINITY, f64::min)
    }

    /// Sets the quota while calls run. No token is lost or gained: a debt stays the same number of
    /// tokens. Waiting calls are admitted at the new rate, or rejected at once if their wait is now too
    /// long. A [`Reservation`](super::Reservation) made before the change keeps its instant, and
    /// returns nothing when it is dropped.
    ///
    /// A rate of zero stops the limiter's clock, and the next change starts it again. An unlimited
    /// quota admits everything; meanwhile a debt is repaid at the previous rate. A pause continues.
    ///
    /// # Errors
    /// If the quota is invalid, as in [`Builder::build`](super::Builder::build), or the limiter is
    /// joint, which has no quota of its own, or [keyed](crate::keyed): use
    /// [`Keyed::set_quota`](crate::Keyed::set_quota) for the quota of a tier. Nothing changes then.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        let changed = self.shared.config.change(|now| {
            let next = Config {
                quota,
                ..now.clone()
            };
            self.check(&next, true).map(|()| next)
        })?;
        self.install(&changed);
        Ok(())
    }

    /// Whether `next` can be installed. `sets_quota` is whether its quota is a new one.
    pub(super) fn check(&self, next: &Config, sets_quota: bool) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        next.check(&mut problems);
        let allowed = match &self.shared.limit {
            Limit::Keyed(_) => "set for each tier, by `Keyed::set_quota`",
            Limit::Joint(_) => "set on the members of a joint limiter",
            Limit::One(_) => "",
        };
        let settable = !sets_quota || allowed.is_empty();
        problems.check(settable, "quota", next.quota, allowed);
        problems.finish(self.name())
    }

    /// Carries a changed quota over to the bucket. After two concurrent changes the bucket has the
    /// quota that the configuration has, in whichever order they come here.
    pub(super) fn install(&self, (before, after): &(Arc<Config>, Arc<Config>)) {
        if let Limit::One(bucket) = &self.shared.limit {
            if before.quota != after.quota {
                bucket.change_to(time::now(), || self.shared.config.load().quota);
                self.wake_all();
            }
        }
    }

    /// Admits nothing for `d`, at most for [`max_pause`](super::Builder::max_pause): for an
    /// outbound limiter whose upstream has answered 429 or 503 with `Retry-After`.
    ///
    /// At the end of the pause one token is available, not a burst. A later pause never shortens
    /// an earlier one. A waiting call goes on waiting, or is rejected at once if the pause is longer
    /// than it may wait. A call that costs nothing is not paused. A joint limiter pauses all
    /// its members.
    ///
    /// One key of a [keyed](crate::keyed) limiter is paused by a debt.
    /// [`resume`](Self::resume) does not end it, and a change of
    /// quota keeps the debt in tokens, not the end of the pause. With a quota of zero the pause
    /// ends when the quota changes; an unlimited key is not paused.
    pub fn pause_for(&self, d: Duration) {
        let now = time::now();
        self.pause(now, now.after(d));
    }

    /// Admits nothing until `instant`, like [`pause_for`](Self::pause_for).
    pub fn pause_until(&self, instant: Instant) {
        self.pause(time::now(), time::tick_of(instant));
    }

    fn pause(&self, now: Tick, until: Tick) {
        let until = until.min(now.after(self.shared.config.load().max_pause));
        for member in self.members() {
            member.emit_eviction(member.tokens(self.key).pause(now, until));
            member.wake_all();
        }
    }

    /// Ends a pause. One token is available then, not a burst, and goes to the first waiting call.
    pub fn resume(&self) {
        let now = time::now();
        for member in self.members() {
            if let Limit::One(bucket) = &member.shared.limit {
                bucket.resume(now);
                member.wake_all();
            }
        }
    }

    /// The remaining time of the longest pause.
    fn pause_left(&self, now: Tick) -> Option<Duration> {
        self.members()
            .iter()
            .filter_map(|member| match &member.shared.limit {
                Limit::One(bucket) => bucket.pause_left(now),
                _ => None,
            })
            .max()
    }

    /// The state and the configuration now. Takes no token.
    pub fn snapshot(&self) -> Snapshot {
        let config = self.shared.config.full();
        Snapshot {
            quota: self.quota(),
            available: self.available(),
            mode: self.mode(),
            max_wait: config.max_wait,
            max_pause: config.max_pause,
            paused: self.pause_left(time::now()),
            would_reject: self.common().would_reject(),
            totals: self.common().totals(),
        }
    }

    #[inline]
    pub(super) fn common(&self) -> &Common {
        &self.shared.common
    }

    pub(crate) fn emit(&self, kind: EventKind<'_>) {
        self.common().emit(kind);
    }

    pub(crate) fn max_wait(&self) -> Duration {
        self.shared.config.load().max_wait
    }

    /// The limiters that a call is charged to: this one, or the members of a joint one.
    pub(crate) fn members(&self) -> &[Self] {
        match &self.shared.limit {
            Limit::Joint(members) => members,
            _ => std::slice::from_ref(self),
        }
    }

    /// The same limiter, for `key` where this handle has no key of its own.
    pub(crate) fn viewed(&self, key: Option<KeyHandle>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            key: self.key.or(key),
        }
    }

    /// The buckets of all keys, if this is a keyed limiter or has one as a member.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.members()
            .iter()
            .find_map(|member| match &member.shared.limit {
                Limit::Keyed(table) => Some(table),
                _ => None,
            })
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limiter = f.debug_struct("RateLimiter");
        limiter
            .field("name", self.name())
            .field("mode", &self.mode());
        match &self.shared.limit {
            Limit::One(bucket) => limiter.field("limit", bucket),
            Limit::Keyed(table) => limiter.field("keys", table),
            Limit::Joint(members) => limiter.field("members", members),
        };
        limiter.finish_non_exhaustive()
    }
}
