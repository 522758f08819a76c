//! Making a limiter.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::thread::available_parallelism;
use std::time::Duration;

use super::{Inner, MAX_PAUSE, MAX_WAIT, RateLimiter, Shape, joint};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::event::{Event, Listeners};
use crate::keyed::{self, Key, Keyed};
use crate::rate_limit::quota::Quota;
use crate::rate_limit::state::{Bucket, Striped};
use crate::rate_limit::table::Table;
use crate::sync::{Arc, AtomicU8, AtomicU64, OnceLock};
use crate::time;

/// The longest that [`Builder::max_pause`] may be: what the limiter's word is sure to hold.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// As many as a word's tier has numbers for, but for one.
const MOST_TIERS: usize = 15;

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
    /// let plan = RateLimiter::all_of("plan", [RateLimiter::per_second(10), RateLimiter::per_day(5_000)])?;
    /// assert!(plan.allow());
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// With no limit, and with more than 8: they are charged one by one. A joint limiter among
    /// them counts as its limits. The same limit twice is refused too.
    pub fn all_of(
        name: impl Into<Name>,
        limits: impl IntoIterator<Item = Self>,
    ) -> Result<Self, ConfigError> {
        let name = name.into();
        let mut members = Vec::new();
        for limit in limits {
            match &limit.0.shape {
                Shape::One(_) | Shape::Keyed(_) => members.push(limit),
                Shape::Joint(inner) => {
                    members.extend(inner.iter().map(|member| member.viewed(limit.1)));
                }
            }
        }
        let mut problems = Problems::default();
        let fits = (1..=joint::MOST).contains(&members.len());
        problems.check(fits, "limits", members.len(), "from 1 to 8");
        for (i, member) in members.iter().enumerate() {
            let is_first = members[..i].iter().all(|other| !other.overlaps(member));
            problems.check(is_first, "limits", &*member.0.name, "each limit once");
        }
        problems.finish(&name)?;
        // Charged in one order by every joint limiter, so that two over the same limits do not
        // each take what the other one lacks.
        members.sort_by_key(|member| (Arc::as_ptr(&member.0) as usize, member.1));
        let max_wait = members.iter().map(Self::max_wait).min();
        let max_wait = max_wait.unwrap_or(MAX_WAIT);
        let max_pause = members.iter().map(Self::max_pause).min();
        let max_pause = max_pause.unwrap_or(MAX_PAUSE);
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

    /// Whether a call may be charged to one bucket by both. Of a keyed limiter every key's is one
    /// of its buckets.
    fn overlaps(&self, other: &Self) -> bool {
        let meet = self.1.is_none() || other.1.is_none() || self.1 == other.1;
        Arc::ptr_eq(&self.0, &other.0) && meet
    }

    /// A limiter of its own for whoever has no key of this keyed one: with this quota, and in all
    /// else as this one is.
    pub(crate) fn beside(&self, quota: Quota) -> Builder {
        Builder {
            quota,
            name: self.name().clone(),
            mode: self.mode(),
            max_wait: self.max_wait(),
            max_pause: self.max_pause(),
            striped: None,
            listeners: self.0.listeners.clone(),
        }
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
        let inner = Arc::new(Inner {
            name,
            mode: AtomicU8::new(super::live::to_byte(mode)),
            max_wait: AtomicU64::new(time::nanos(max_wait)),
            max_pause: AtomicU64::new(time::nanos(max_pause)),
            shape,
            listeners,
            would_reject: AtomicU64::new(0),
        });
        Self(inner, None)
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

pub(super) fn check_pause(max_pause: Duration, problems: &mut Problems) {
    let fits = max_pause <= LONGEST_PAUSE;
    problems.check(fits, "max_pause", max_pause, "at most 365 days");
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
        self.check(&mut problems);
        problems.finish(&self.name)?;
        let bucket = Bucket::striped(time::now(), self.quota, form(self.striped));
        Ok(self.made(Shape::One(bucket)))
    }

    pub(crate) fn policy_name(&self) -> &Name {
        &self.name
    }

    fn check(&self, problems: &mut Problems) {
        self.quota.check(problems);
        check_pause(self.max_pause, problems);
    }

    fn made(self, shape: Shape) -> RateLimiter {
        RateLimiter::made(
            self.name,
            self.mode,
            self.max_wait,
            self.max_pause,
            shape,
            self.listeners,
        )
    }

    /// A limiter for each of `places` keys at most: every key has a bucket with this quota of
    /// its own, and all have name, mode and listeners in common. See [`keyed`](crate::keyed).
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    /// use seawall::{Keyed, Quota, RateLimiter};
    ///
    /// let per_client: Keyed<IpAddr, RateLimiter> =
    ///     RateLimiter::builder(Quota::per_second(1)).name("per client").per_key(10_000)?;
    /// assert!(per_client.allow(&Ipv4Addr::LOCALHOST.into()));
    /// assert!(!per_client.allow(&Ipv4Addr::LOCALHOST.into()));
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`build`](Self::build), and with `places` not from 1 to 16,777,216.
    pub fn per_key<K: ?Sized + Key>(
        self,
        capacity: usize,
    ) -> Result<Keyed<K, RateLimiter>, ConfigError> {
        self.per_key_in_tiers(capacity, [], |_| 0)
    }

    /// As [`per_key`](Self::per_key), with quotas that depend on the key. This builder's quota
    /// is that of tier 0, those of `more` are the tiers from 1 on, and `tier` says which one a
    /// key is in; a number that no tier has is tier 0. There are at most 15 tiers.
    ///
    /// A key that moves to another tier takes what it owes along, in tokens.
    ///
    /// # Errors
    /// As [`per_key`](Self::per_key), for each quota.
    pub fn per_key_in_tiers<K: ?Sized + Key>(
        self,
        capacity: usize,
        more: impl IntoIterator<Item = Quota>,
        tier: impl Fn(&K) -> usize + Send + Sync + 'static,
    ) -> Result<Keyed<K, RateLimiter>, ConfigError> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        let quotas: Vec<_> = std::iter::once(self.quota).chain(more).collect();
        quotas[1..]
            .iter()
            .for_each(|quota| quota.check(&mut problems));
        problems.check(
            quotas.len() <= MOST_TIERS,
            "tiers",
            quotas.len(),
            "at most 15",
        );
        keyed::check_capacity("capacity", capacity, &mut problems);
        problems.finish(&self.name)?;
        // A key has its place among a few; with half of all taken, these few are seldom full.
        let shape = Shape::Keyed(Table::new(time::now(), 2 * capacity, &quotas));
        Ok(Keyed::of_limiter(
            self.made(shape),
            quotas.len(),
            Arc::new(tier),
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
            Shape::Keyed(table) => limiter.field("keys", table),
            Shape::Joint(members) => limiter.field("all", members),
        };
        limiter.finish_non_exhaustive()
    }
}
