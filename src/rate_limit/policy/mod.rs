//! The limiter's handle: reads the clock once per call and passes it down.

#[cfg(feature = "tokio")]
pub(super) mod acquire;
mod asked;
mod builder;
mod decide;
mod joint;
mod live;
mod per_key;
mod reservation;
mod reserve;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

#[cfg(feature = "tokio")]
pub use self::acquire::Acquire;
pub use self::builder::Builder;
pub use self::live::Snapshot;
pub use self::reservation::Reservation;

use self::asked::Asked;
use super::quota::Quota;
use super::state::{Bucket, Refused};
use crate::config::{Mode, Name};
#[cfg(feature = "tower")]
use crate::context::ClockReading;
use crate::event::Listeners;
use crate::rate_limit::table::{Place, Table};
use crate::rejection::{Error, Rejection, RejectionKind};
use crate::sync::{Arc, AtomicU8, AtomicU64, Ordering};
use crate::time;

/// How long a caller that waits is made to wait at most, if not told otherwise: long enough to
/// smooth a burst, short enough that the caller still wants the answer.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// How long one word of an upstream's may stop a limiter, if not told otherwise.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A limit on how many calls are made in a time: a token bucket.
///
/// Cheap to clone; every clone is the same limit. Makes and takes nothing of a runtime, but for
/// `acquire`. See the [module](super) for a picture and the defaults.
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
pub struct RateLimiter(Arc<Inner>, Option<Place>);

struct Inner {
    name: Name,
    /// A [`Mode`] as bits. Nothing but itself: relaxed. Read by every call and hardly ever
    /// written, as is what stands around it.
    mode: AtomicU8,
    /// In nanoseconds, as is the next. Nothing but themselves: relaxed.
    max_wait: AtomicU64,
    max_pause: AtomicU64,
    shape: Shape,
    listeners: Listeners,
    /// What [`Mode::RecordOnly`] would have refused. Nothing but itself: relaxed.
    would_reject: AtomicU64,
}

#[allow(clippy::large_enum_variant)] // One to a limiter, behind its Arc.
enum Shape {
    One(Bucket),
    /// A bucket for each key. Which one is a handle's place, or else that of the joint limiter it
    /// is asked by.
    Keyed(Table),
    /// At least one and at most [`joint::MOST`] limits, none of them joint.
    Joint(Box<[RateLimiter]>),
}

/// A refusal before it is told: to make a rejection of it costs a clone of the name.
#[derive(Clone, Copy)]
struct Refusal<'a> {
    by: &'a RateLimiter,
    cost: u32,
    refused: Refused,
}

impl Refusal<'_> {
    fn rejection(&self) -> Rejection {
        let kind = match self.refused.impossible {
            Some(burst) => RejectionKind::CostAboveBurst {
                cost: self.cost,
                burst,
            },
            None => RejectionKind::RateLimited,
        };
        Rejection::new(kind, self.by.name().clone()).with_retry_after(self.refused.wait)
    }
}

impl From<&RateLimiter> for RateLimiter {
    fn from(limiter: &RateLimiter) -> Self {
        limiter.clone()
    }
}

impl RateLimiter {
    /// `n` a second, and `n` at once after a rest. Of 0 there is never a token.
    #[track_caller]
    pub fn per_second(n: u32) -> Self {
        Self::of(Quota::per_second(n), Location::caller())
    }

    /// `n` a minute, and `n` at once after a rest. Of 0 there is never a token.
    #[track_caller]
    pub fn per_minute(n: u32) -> Self {
        Self::of(Quota::per_minute(n), Location::caller())
    }

    /// `n` an hour, and `n` at once after a rest.
    #[track_caller]
    pub fn per_hour(n: u32) -> Self {
        Self::of(Quota::per_hour(n), Location::caller())
    }

    /// `n` a day, and `n` at once after a rest.
    #[track_caller]
    pub fn per_day(n: u32) -> Self {
        Self::of(Quota::per_day(n), Location::caller())
    }

    /// As many as come, until [`set_quota`](Self::set_quota) says otherwise.
    #[track_caller]
    pub fn unlimited() -> Self {
        Self::of(Quota::unlimited(), Location::caller())
    }

    /// Takes a token if one is there.
    ///
    /// The cheapest way to ask: a refusal makes no [`Rejection`] unless a listener wants it.
    #[must_use = "a call that is not allowed is not to be made"]
    #[inline]
    pub fn allow(&self) -> bool {
        self.allow_n(1)
    }

    /// Takes `cost` tokens if they are there; 0 is free.
    #[must_use = "a call that is not allowed is not to be made"]
    #[inline]
    pub fn allow_n(&self, cost: u32) -> bool {
        self.allow_at(self.1, cost)
    }

    #[inline]
    pub(crate) fn allow_at(&self, place: Option<Place>, cost: u32) -> bool {
        match (&self.0.shape, self.mode()) {
            (Shape::One(bucket), Mode::Enforce) if !self.0.listeners.any() => {
                bucket.allows(time::now, cost)
            }
            _ => self.allow_otherwise(place, cost),
        }
    }

    /// Takes a token if one is there.
    ///
    /// # Errors
    /// [`RejectionKind::RateLimited`], and how long until a token is there if nobody else comes; no time
    /// if the limiter is stopped.
    #[inline]
    pub fn try_acquire(&self) -> Result<(), Rejection> {
        self.try_acquire_n(1)
    }

    /// Takes `cost` tokens if they are there; 0 is free.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire), and [`RejectionKind::CostAboveBurst`] if they can never be
    /// there at once.
    #[inline]
    pub fn try_acquire_n(&self, cost: u32) -> Result<(), Rejection> {
        self.try_acquire_at(self.1, cost)
    }

    #[inline]
    pub(crate) fn try_acquire_at(&self, place: Option<Place>, cost: u32) -> Result<(), Rejection> {
        if let Some(decided) = self.decide_one(time::now, cost) {
            return decided.map_err(|early| self.reject_early(cost, early));
        }
        self.acquire_otherwise(time::now, place, cost)
    }

    /// As [`try_acquire_at`](Self::try_acquire_at), by a layer that may know the time.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn try_acquire_by(
        &self,
        clock: &mut ClockReading,
        place: Option<Place>,
        cost: u32,
    ) -> Result<(), Rejection> {
        let mut read = false;
        // What is handed serves once: whoever fetches a lease asks again, and for the time of
        // then.
        let now = || match std::mem::replace(&mut read, true) {
            false => clock.now(),
            true => time::now(),
        };
        if let Some(decided) = self.decide_one(now, cost) {
            return decided.map_err(|early| self.reject_early(cost, early));
        }
        self.acquire_otherwise(|| clock.now(), place, cost)
    }

    /// What [`try_acquire`](Self::try_acquire) would say now. Takes nothing and tells nobody.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    pub fn peek(&self) -> Result<(), Rejection> {
        self.peek_n(1)
    }

    /// What [`try_acquire_n`](Self::try_acquire_n) would say now. Takes nothing and tells
    /// nobody.
    ///
    /// # Errors
    /// As [`try_acquire_n`](Self::try_acquire_n).
    pub fn peek_n(&self, cost: u32) -> Result<(), Rejection> {
        if self.mode() != Mode::Enforce {
            return Ok(());
        }
        let now = time::now();
        let refused = match self.asked(self.1) {
            Asked::Joint(members) => joint::peek(members, self.1, now, cost),
            asked => asked.peek(now, cost).map_err(|refused| Refusal {
                by: self,
                cost,
                refused,
            }),
        };
        refused.map_err(|refusal| refusal.rejection())
    }

    /// How many tokens are there: the least of a joint limiter's limits, `u32::MAX` if there is
    /// no limit. It may have changed before you read it, and takes nothing.
    pub fn available(&self) -> u32 {
        if self.mode() == Mode::Off {
            return u32::MAX;
        }
        self.available_at(self.1)
    }

    fn available_at(&self, place: Option<Place>) -> u32 {
        match self.asked(place) {
            Asked::Joint(members) => members
                .iter()
                .filter(|member| member.mode() != Mode::Off)
                .map(|member| member.available_at(member.1.or(place)))
                .min()
                .unwrap_or(u32::MAX),
            asked => asked.available(time::now()),
        }
    }

    /// Makes the call if a token is there. Waits for nothing, and needs no runtime.
    ///
    /// ```
    /// # use seawall::{Error, RateLimiter};
    /// # async fn f() -> Result<(), Error<std::io::Error>> {
    /// # async fn query() -> std::io::Result<u32> { Ok(1) }
    /// let limiter = RateLimiter::per_second(100);
    /// let rows = limiter.run(|| query()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// To wait for the token, `limiter.acquire().await?` before the call.
    ///
    /// Dropped before its first poll it has taken nothing; after that the token is spent.
    ///
    /// # Errors
    /// [`Error::Rejected`] as [`try_acquire`](Self::try_acquire), without `call` having been
    /// called; [`Error::Service`] with what it failed with.
    pub async fn run<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.try_acquire()?;
        call().await.map_err(Error::Service)
    }

    /// The limiter's name: in its rejections and events.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    pub(crate) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.0.max_wait.load(Ordering::Relaxed))
    }

    fn max_pause(&self) -> Duration {
        Duration::from_nanos(self.0.max_pause.load(Ordering::Relaxed))
    }
}
