//! Building a limiter, and changing one.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::thread::available_parallelism;
use std::time::Duration;

use super::policy::{Config, Limit, MAX_MEMBERS, RateLimiter, Shared};
use super::queue::Queues;
use super::quota::Quota;
use super::state::{Bucket, Striped};
use crate::common::{Common, Options, option_setters};
use crate::config::{ConfigError, Live, Name, PolicyKind, Problems};
use crate::macros::setters;
use crate::policy_id;
use crate::sync::{Arc, OnceLock};
use crate::time;

/// Long enough to smooth a burst, short enough that the caller still wants the answer.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// One wrong header from an upstream must not stop a client for a day.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Builds a [`RateLimiter`]; made by [`RateLimiter::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is built before `.build()`"]
pub struct Builder {
    pub(super) options: Options,
    pub(super) config: Config,
    /// None if it depends on the burst.
    striped: Option<bool>,
}

impl RateLimiter {
    /// `n` a second, with a burst of `n`. With 0 the limiter admits nothing.
    #[track_caller]
    pub fn per_second(n: u32) -> Self {
        Self::builder(Quota::per_second(n)).build_checked()
    }

    /// `n` a minute, with a burst of `n`. With 0 the limiter admits nothing.
    #[track_caller]
    pub fn per_minute(n: u32) -> Self {
        Self::builder(Quota::per_minute(n)).build_checked()
    }

    /// `n` an hour, with a burst of `n`. With 0 the limiter admits nothing.
    #[track_caller]
    pub fn per_hour(n: u32) -> Self {
        Self::builder(Quota::per_hour(n)).build_checked()
    }

    /// `n` a day, with a burst of `n`. With 0 the limiter admits nothing.
    #[track_caller]
    pub fn per_day(n: u32) -> Self {
        Self::builder(Quota::per_day(n)).build_checked()
    }

    /// Admits everything, until [`set_quota`](Self::set_quota) sets a limit.
    #[track_caller]
    pub fn unlimited() -> Self {
        Self::builder(Quota::unlimited()).build_checked()
    }

    /// A limiter with any quota, and with options.
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
            options: Options::at(PolicyKind::RateLimit, Location::caller()),
            config: Config {
                quota,
                max_wait: MAX_WAIT,
                max_pause: MAX_PAUSE,
            },
            striped: None,
        }
    }

    /// Several limits as one, such as per second and per day: a call is admitted if all of them
    /// admit it; otherwise none is charged.
    ///
    /// Each member remains a limit of its own: it shares its tokens with its other clones, can be
    /// changed through them, and keeps its mode. The joint limiter emits the rejection, which names
    /// the member with the longest wait as its policy. If other calls take from the same members at
    /// the same instant, a rejected call may cost a member a token; a member never gains one. The
    /// [`max_wait`](Builder::max_wait) of the joint limiter is the shortest of its members.
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
    /// If there is no member, if there are more than 8, because they are charged one by one, or if
    /// one limit is there twice. A joint limiter among them counts as all of its members.
    pub fn all_of(
        name: impl Into<Name>,
        limits: impl IntoIterator<Item = Self>,
    ) -> Result<Self, ConfigError> {
        Self::join(Options::named(PolicyKind::RateLimit, name.into()), limits)
    }

    /// [`all_of`](Self::all_of) with options.
    pub(super) fn join(
        options: Options,
        limits: impl IntoIterator<Item = Self>,
    ) -> Result<Self, ConfigError> {
        let mut members = Vec::new();
        for limit in limits {
            members.extend(
                limit
                    .members()
                    .iter()
                    .map(|member| member.viewed(limit.key)),
            );
        }
        let mut problems = Problems::default();
        let fits = (1..=MAX_MEMBERS).contains(&members.len());
        problems.check(fits, "limits", members.len(), "from 1 to 8");
        for (i, member) in members.iter().enumerate() {
            let is_first = members[..i].iter().all(|other| !other.overlaps(member));
            problems.check(is_first, "limits", &**member.name(), "each limit once");
        }
        problems.finish(&options.name)?;
        // All joint limiters charge in the same order, so that two over the same members do not
        // each take what the other one lacks.
        members.sort_by_key(|member| (Arc::as_ptr(&member.shared) as usize, member.key));
        let mut config = Config {
            quota: Quota::unlimited(),
            max_wait: Duration::MAX,
            max_pause: Duration::MAX,
        };
        for member in &members {
            let of_member = member.shared.config.load();
            config.max_wait = config.max_wait.min(of_member.max_wait);
            config.max_pause = config.max_pause.min(of_member.max_pause);
        }
        let joint = Limit::Joint(members.into());
        Ok(Self::new(options, config, joint))
    }

    /// Whether a call may be charged to one bucket by both. A handle of a keyed limiter without a
    /// key may be used for any key.
    fn overlaps(&self, other: &Self) -> bool {
        let may_meet = self.key.is_none() || other.key.is_none() || self.key == other.key;
        Arc::ptr_eq(&self.shared, &other.shared) && may_meet
    }

    /// A builder of a limiter with the same options, and with another quota.
    pub(super) fn beside(&self, quota: Quota) -> Builder {
        let now = self.shared.config.load();
        Builder {
            options: self.common().options(),
            config: Config {
                quota,
                ..Config::clone(&now)
            },
            striped: None,
        }
    }

    pub(super) fn new(options: Options, config: Config, limit: Limit) -> Self {
        Self {
            shared: policy_id::list(|registration| Shared {
                common: Common::new(options, registration),
                config: Live::new(config),
                queues: Queues::new(match &limit {
                    Limit::One(_) => 1,
                    Limit::Keyed(_) => 64,
                    Limit::Joint(_) => 0,
                }),
                limit,
            }),
            key: None,
        }
    }

    /// The error that [`change`](Self::change) would return now. Changes nothing.
    #[cfg(feature = "serde")]
    pub(crate) fn check_change(
        &self,
        change: impl Fn(Builder) -> Builder,
    ) -> Result<(), ConfigError> {
        let now = self.shared.config.load();
        let next = change(Builder {
            options: self.common().changed(self.mode()),
            config: Config::clone(&now),
            striped: None,
        });
        self.check(&next.config, next.config.quota != now.quota)
    }

    /// Changes any of quota, mode, `max_wait` and `max_pause` while calls run: `change` gets a
    /// builder with the current values. It may run again if another change comes first. Name,
    /// listeners and [`striped`](Builder::striped) stay. Waiting calls keep their longest wait,
    /// and a pause keeps its end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seawall::RateLimiter;
    /// let limiter = RateLimiter::per_second(100);
    /// limiter.change(|now| now.max_wait(Duration::from_millis(50)))?;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Builder::build`] and of [`set_quota`](Self::set_quota); nothing changes then.
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        let before = self.mode();
        let mode = Cell::new(before);
        let changed = self.shared.config.change(|now| {
            let next = change(Builder {
                options: self.common().changed(before),
                config: now.clone(),
                striped: None,
            });
            self.check(&next.config, next.config.quota != now.quota)?;
            mode.set(next.options.mode);
            Ok(next.config)
        })?;
        self.install(&changed);
        if mode.get() != before {
            self.set_mode(mode.get());
        }
        Ok(())
    }
}

impl Builder {
    option_setters!();

    setters! {
        /// The longest wait for a token. The default is 1 s: long enough to smooth a burst, short enough
        /// that the caller still wants the answer. With zero no call waits.
        max_wait(max_wait: Duration) => config.max_wait = max_wait;

        /// The longest [pause](RateLimiter::pause_for); 60 s by default, so that one wrong header
        /// from an upstream cannot stop a client for a day. At most 365 days.
        max_pause(max_pause: Duration) => config.max_pause = max_pause;

        /// The quota.
        quota(quota: Quota) => config.quota = quota;

        /// Whether threads lease tokens and spend them without contention, instead of taking each
        /// token from one exact bucket. By default they lease tokens if the burst is at least 128
        /// tokens for each stripe. There is a stripe for each core, rounded up to a power of two,
        /// at most 16.
        ///
        /// [What it costs](crate::rate_limit#large-bursts): up to a sixteenth of a large burst may be
        /// missing after an idle time. If it is forced on a small burst, up to a half may be missing;
        /// with fewer than two tokens for each stripe the bucket stays exact. A limiter that starts
        /// exact, including one that starts stopped or unlimited, stays exact when its quota is
        /// [changed](RateLimiter::set_quota).
        ///
        /// ```
        /// use seawall::{Quota, RateLimiter};
        ///
        /// let exact = RateLimiter::builder(Quota::per_second(100_000)).striped(false).build()?;
        /// # let _ = exact;
        /// # Ok::<(), seawall::ConfigError>(())
        /// ```
        striped(striped: bool) => striped = Some(striped);
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Problems::found(&self.options.name, |problems| self.config.check(problems))
    }

    /// The defaults with this quota. The options stay.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self, quota: Quota) -> Self {
        self.quota(quota).max_wait(MAX_WAIT).max_pause(MAX_PAUSE)
    }

    /// Whether all but name and listeners is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.config == other.config && self.options.mode == other.options.mode
    }

    /// Builds the limiter, with a full bucket.
    ///
    /// # Errors
    /// With all problems: a period of zero, a burst of zero at a rate above zero, a burst that
    /// takes more than 416 days to fill, a `max_pause` above 365 days.
    pub fn build(self) -> Result<RateLimiter, ConfigError> {
        self.check()?;
        Ok(self.build_checked())
    }

    /// Builds a limiter with a valid configuration.
    fn build_checked(self) -> RateLimiter {
        let stripes = stripes(self.striped);
        let bucket = Bucket::striped(time::now(), self.config.quota, stripes);
        RateLimiter::new(self.options, self.config, Limit::One(bucket))
    }
}

/// How many stripes a bucket has: one for each core, if any.
fn stripes(striped: Option<bool>) -> Striped {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = || *CORES.get_or_init(|| available_parallelism().map_or(1, NonZeroUsize::get));
    match striped {
        Some(false) => Striped::Never,
        Some(true) => Striped::Always(cores()),
        None => Striped::IfLarge(cores()),
    }
}
