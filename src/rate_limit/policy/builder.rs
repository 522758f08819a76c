//! Making a limiter.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::thread::available_parallelism;
use std::time::Duration;

use super::{Inner, MAX_PAUSE, MAX_WAIT, RateLimiter, Shape, joint};
use crate::event::{Event, Listeners};
use crate::policy::{ConfigError, Mode, Name, Problems};
use crate::rate_limit::quota::Quota;
use crate::rate_limit::state::{Bucket, Striped};
use crate::sync::{Arc, AtomicU8, AtomicU64, OnceLock};
use crate::time;

/// The longest that [`Builder::max_pause`] may be: what the limiter's word is sure to hold.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Makes a [`RateLimiter`]; made by [`RateLimiter::builder`].
#[derive(Debug)]
#[must_use = "nothing is made before `.build()`"]
pub struct Builder {
    quota: Quota,
    name: Name,
    mode: Mode,
    max_wait: Duration,
    max_pause: Duration,
    /// None if it goes by the burst.
    striped: Option<bool>,
    listeners: Listeners,
}

impl RateLimiter {
    /// A limiter with a quota of any kind, and with options.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::{Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::builder(Quota::per_minute(600).burst(20))
    ///     .name("search api")
    ///     .max_wait(Duration::from_millis(200))
    ///     .build()?;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    #[track_caller]
    pub fn builder(quota: Quota) -> Builder {
        Builder {
            quota,
            name: Name::at("rate_limit", Location::caller()),
            mode: Mode::Enforce,
            max_wait: MAX_WAIT,
            max_pause: MAX_PAUSE,
            striped: None,
            listeners: Listeners::default(),
        }
    }

    /// Several limits as one, such as per second and per day: a call is admitted if all of them
    /// admit it, and else none is charged.
    ///
    /// The limits stay what they are: each is shared with its other clones, is changed through
    /// them, and keeps its mode. A refusal is told by the joint limiter and carries the name of
    /// the limit that would make the caller wait longest, and that wait. Where others take from
    /// the same limits at the same instant, a refused call may cost one of them a token, never
    /// gain one. The joint limiter waits for at most the shortest
    /// [`max_wait`](Builder::max_wait) of them.
    ///
    /// ```
    /// use seawall::RateLimiter;
    ///
    /// let plan = RateLimiter::all("plan", [RateLimiter::per_second(10), RateLimiter::per_day(5_000)])?;
    /// assert!(plan.allow());
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// With no limit, and with more than 8: they are charged one by one. A joint limiter among
    /// them counts as its limits. The same limit twice is refused too.
    pub fn all(
        name: impl Into<Name>,
        limits: impl IntoIterator<Item = Self>,
    ) -> Result<Self, ConfigError> {
        let name = name.into();
        let mut members = Vec::new();
        for limit in limits {
            match &limit.0.shape {
                Shape::One(_) => members.push(limit),
                Shape::Joint(inner) => members.extend(inner.iter().cloned()),
            }
        }
        let mut problems = Problems::default();
        let fits = (1..=joint::MOST).contains(&members.len());
        problems.check(fits, "limits", members.len(), "from 1 to 8");
        for (i, member) in members.iter().enumerate() {
            let is_first = members[..i]
                .iter()
                .all(|other| !Arc::ptr_eq(&other.0, &member.0));
            problems.check(is_first, "limits", &*member.0.name, "each limit once");
        }
        problems.finish(&name)?;
        // Charged in one order by every joint limiter, so that two over the same limits do not
        // each take what the other one lacks.
        members.sort_by_key(|member| Arc::as_ptr(&member.0) as usize);
        let shortest = |of: fn(&Inner) -> Duration| members.iter().map(|m| of(&m.0)).min();
        let max_wait = shortest(|inner| inner.max_wait).unwrap_or(MAX_WAIT);
        let max_pause = shortest(|inner| inner.max_pause).unwrap_or(MAX_PAUSE);
        let shape = Shape::Joint(members.into());
        let listeners = Listeners::default();
        Ok(Self::made(
            name,
            Mode::Enforce,
            max_wait,
            max_pause,
            shape,
            listeners,
        ))
    }

    /// With a quota that has no problem.
    pub(super) fn of(quota: Quota, place: &Location<'_>) -> Self {
        let shape = Shape::One(Bucket::striped(time::now(), quota, form(None)));
        let name = Name::at("rate_limit", place);
        Self::made(
            name,
            Mode::Enforce,
            MAX_WAIT,
            MAX_PAUSE,
            shape,
            Listeners::default(),
        )
    }

    fn made(
        name: Name,
        mode: Mode,
        max_wait: Duration,
        max_pause: Duration,
        shape: Shape,
        listeners: Listeners,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            mode: AtomicU8::new(super::live::to_byte(mode)),
            max_wait,
            max_pause,
            shape,
            listeners,
            would_reject: AtomicU64::new(0),
        }))
    }
}

/// The form of a bucket: with a stripe for each core, if it is to have any.
fn form(striped: Option<bool>) -> Striped {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = || *CORES.get_or_init(|| available_parallelism().map_or(1, NonZeroUsize::get));
    match striped {
        Some(false) => Striped::Never,
        Some(true) => Striped::Always(cores()),
        None => Striped::IfLarge(cores()),
    }
}

impl Builder {
    /// The name, in rejections and events; `rate_limit@` and the place of the builder if not
    /// set.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// For how long whoever waits is made to wait at most; 1 s if not set: long enough to
    /// smooth a burst, short enough that the caller still wants the answer. Zero is allowed,
    /// and then nobody waits.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// For how long a [pause](RateLimiter::pause_for) lasts at most; 60 s if not set, so that
    /// one wrong header from upstream cannot stop a client for a day. At most 365 days.
    pub fn max_pause(mut self, max_pause: Duration) -> Self {
        self.max_pause = max_pause;
        self
    }

    /// Whether threads are handed tokens ahead of their need, so that they spend them without
    /// meeting, or all take theirs from one exact bucket. If not set, they are where the burst is
    /// large: at least 128 tokens for each stripe, of which there is one to a core, rounded up to
    /// a power of two, and at most 16.
    ///
    /// [What it costs](crate::rate_limit#large-bursts): of a large burst up to a sixteenth may not be there
    /// after a rest; of a small one on which this is forced up to a half, and if it has fewer
    /// than two tokens for each stripe it stays exact. A limiter that begins exact, also because
    /// it begins stopped or unlimited, stays so when its quota is
    /// [changed](RateLimiter::set_quota).
    ///
    /// ```
    /// use seawall::{Quota, RateLimiter};
    ///
    /// let exact = RateLimiter::builder(Quota::per_second(100_000)).striped(false).build()?;
    /// # let _ = exact;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    pub fn striped(mut self, striped: bool) -> Self {
        self.striped = Some(striped);
        self
    }

    /// The mode to start in; [`Mode::Enforce`] if not set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Adds a listener for as long as the limiter lives; it runs on the thread of the call.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// Makes the limiter, full.
    ///
    /// # Errors
    /// With every problem at once: a period of zero, a burst of zero at a rate above zero, a
    /// burst that takes more than 416 days to fill, a `max_pause` above 365 days.
    pub fn build(self) -> Result<RateLimiter, ConfigError> {
        let mut problems = Problems::default();
        self.quota.check(&mut problems);
        let fits = self.max_pause <= LONGEST_PAUSE;
        problems.check(fits, "max_pause", self.max_pause, "at most 365 days");
        problems.finish(&self.name)?;
        let bucket = Bucket::striped(time::now(), self.quota, form(self.striped));
        let shape = Shape::One(bucket);
        Ok(RateLimiter::made(
            self.name,
            self.mode,
            self.max_wait,
            self.max_pause,
            shape,
            self.listeners,
        ))
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limiter = f.debug_struct("RateLimiter");
        limiter
            .field("name", self.name())
            .field("mode", &self.mode());
        match &self.0.shape {
            Shape::One(bucket) => limiter.field("limit", bucket),
            Shape::Joint(members) => limiter.field("all", members),
        };
        limiter.finish_non_exhaustive()
    }
}
