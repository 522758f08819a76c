//! The bulkhead's handle, its builder and its snapshot.

use std::fmt;
use std::panic::Location;
use std::task::Waker;
use std::time::Duration;

use super::state::{MAX_QUEUED, Machine, Order, Settings};
use crate::common::{Common, Options, common_methods, listed, option_setters};
use crate::config::{ConfigError, Live, Mode, PolicyKind, Problems};
use crate::counters::Totals;
use crate::macros::{debug_fields, from_ref, setters};
use crate::policy_id;
use crate::sync::Arc;

/// Longer serves callers that have given up, and makes the waiters behind them late as well.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// The highest limit, and the longest queue that has a bound.
const HIGHEST: u32 = 1_000_000;

/// A limit on how many calls run at once.
///
/// A handle: cheap to clone, and every clone is the same limit. It needs no runtime, except for
/// [`acquire`](Self::acquire) and [`run_queued`](Self::run_queued). The [module](super) has a
/// picture and the defaults.
///
/// ```
/// use seawall::{Bulkhead, RejectionKind};
///
/// let bulkhead = Bulkhead::new(1);
/// let permit = bulkhead.try_acquire()?;
/// let rejection = bulkhead.try_acquire().unwrap_err();
/// assert_eq!(rejection.kind(), RejectionKind::BulkheadFull { limit: 1, in_flight: 1, queued: 0 });
/// permit.release();
/// assert!(bulkhead.try_acquire().is_ok());
/// # Ok::<(), seawall::Rejection>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Bulkhead(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// Its mode is not used: the machine's word has the mode, beside the counts.
    common: Common,
    /// Holds a copy of the configuration's settings.
    machine: Machine,
    config: Live<Config>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Config {
    /// Its mode counts only once the bulkhead is built: before, the builder's options have the mode.
    settings: Settings,
    /// None for a queue without a bound.
    queue: Option<u32>,
    max_wait: Duration,
}

#[cfg(feature = "tower")]
impl Config {
    fn text(&self) -> String {
        let (limit, wait) = (self.settings.limit, self.max_wait);
        match self.queue {
            Some(0) => format!("{limit} in flight, no queue"),
            Some(queue) => format!("{limit} in flight, {queue} wait for up to {wait:?}"),
            None => format!("{limit} in flight, any number wait for up to {wait:?}"),
        }
    }
}

impl Bulkhead {
    /// A bulkhead that admits at most `limit` calls at once, without a queue. A limit of 0 is
    /// closed.
    ///
    /// # Panics
    /// If `limit` is above 1,000,000. For a limit that comes from data use
    /// [`builder`](Self::builder).
    #[track_caller]
    pub fn new(limit: u32) -> Self {
        match Self::builder(limit).build() {
            Ok(bulkhead) => bulkhead,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a bulkhead with options that admits at most `limit` calls at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::Bulkhead;
    ///
    /// let bulkhead = Bulkhead::builder(64)
    ///     .name("search api")
    ///     .queue(128)
    ///     .max_wait(Duration::from_millis(50))
    ///     .build()?;
    /// # let _ = bulkhead;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    #[track_caller]
    pub fn builder(limit: u32) -> Builder {
        Builder {
            options: Options::at(PolicyKind::Bulkhead, Location::caller()),
            config: Config {
                settings: Settings {
                    limit,
                    mode: Mode::Enforce,
                    order: Order::Fifo,
                },
                queue: Some(0),
                max_wait: MAX_WAIT,
            },
        }
    }

    common_methods!();

    /// How many calls are admitted at once.
    pub fn limit(&self) -> u32 {
        self.machine().word().limit()
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.machine().word().mode()
    }

    /// Changes the limit while calls run, and waits for none of them. A raised limit admits as
    /// many waiters as it has new permits. After a lowered limit the calls in flight go on, and
    /// none is admitted until their number is below it. Zero closes: waiters are rejected too.
    ///
    /// # Errors
    /// If the limit is above 1,000,000; nothing changes then.
    pub fn set_limit(&self, limit: u32) -> Result<(), ConfigError> {
        self.change(|now| now.limit(limit))
    }

    /// Changes the mode. Waiters are admitted unless the new mode is [`Mode::Enforce`].
    ///
    /// Calls in flight stay counted until they end, so the count is right when the limit is
    /// enforced again. Calls that begin in [`Mode::Off`] are not counted.
    pub fn set_mode(&self, mode: Mode) {
        let changed = self.change(|now| now.mode(mode));
        debug_assert!(changed.is_ok(), "every mode is valid");
    }

    /// Changes any of the options while calls run: `change` gets a builder of the current ones.
    /// It runs again if another change comes first. Name and listeners stay as they are.
    ///
    /// Limit, mode and order hold at once; the length of the queue and the longest wait for calls
    /// that start from now on.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bulkhead = seawall::Bulkhead::new(64);
    /// bulkhead.change(|now| now.limit(32).queue(64).max_wait(Duration::from_millis(20)))?;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// The problems that [`Builder::build`] reports; nothing changes then.
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        self.0.config.change(|now| {
            let options = self.common().changed(now.settings.mode);
            let config = *now;
            change(Builder { options, config }).config()
        })?;
        let admitted = self.machine().apply(|| self.0.config.load().settings);
        admitted.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The configuration and the counts. Takes no permit. Limit, mode and counts are of one
    /// moment.
    pub fn snapshot(&self) -> Snapshot {
        let word = self.machine().word();
        let config = self.0.config.load();
        Snapshot {
            limit: word.limit(),
            in_flight: word.in_flight(),
            queued: word.queued(),
            queue: config.queue,
            order: config.settings.order,
            max_wait: config.max_wait,
            mode: word.mode(),
            would_reject: self.common().would_reject(),
            totals: self.common().totals(),
        }
    }

    /// Its numbers as text.
    #[cfg(feature = "tower")]
    pub(crate) fn text(&self) -> String {
        self.0.config.load().text()
    }

    #[inline]
    pub(super) fn common(&self) -> &Common {
        &self.0.common
    }

    #[inline(always)]
    pub(super) fn warn_if_applied_twice(&self, site: &dyn fmt::Debug) {
        self.common().warn_if_applied_twice(|| self.mode(), site);
    }

    #[inline]
    pub(super) fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// The longest wait, and how many calls may wait.
    pub(super) fn queue_bounds(&self) -> (Duration, u32) {
        let config = self.0.config.load();
        (config.max_wait, config.queue.unwrap_or(MAX_QUEUED))
    }
}

from_ref!(Bulkhead);
listed!(Bulkhead, Inner);

debug_fields!(Bulkhead, this: name = this.name(), state = this.machine());

/// Builds a [`Bulkhead`]; made by [`Bulkhead::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    options: Options,
    config: Config,
}

impl Builder {
    option_setters!();

    setters! {
        /// Sets how many calls are admitted at once, at most 1,000,000. A limit of 0 is closed.
        limit(limit: u32) => config.settings.limit = limit;

        /// Sets how many calls may wait, at most 1,000,000. The default is 0, because a caller can act
        /// on a rejection at once. Only calls that are made to wait do:
        /// [`BulkheadLayer::queued`](crate::BulkheadLayer::queued), [`acquire`](Bulkhead::acquire),
        /// [`run_queued`](Bulkhead::run_queued). A rejection of another call says that the queue is not
        /// used.
        queue(len: u32) => config.queue = Some(len);

        /// Lets any number of calls wait, up to the million that the bulkhead can count.
        ///
        /// Each waiter holds its memory and its caller, so this only moves the overload. It is for
        /// callers that are bounded elsewhere, such as the workers of a batch.
        unbounded_queue() => config.queue = None;

        /// Sets the longest wait. The default is 100 ms, because a longer one serves callers that have
        /// given up. The [deadline](crate::Deadline) in force bounds it too. With zero no call waits.
        max_wait(max_wait: Duration) => config.max_wait = max_wait;

        /// Sets which waiter is admitted next. The default is [`Order::Fifo`].
        order(order: Order) => config.settings.order = order;
    }

    /// Admits the newest waiter next: under lasting overload it serves some callers in time
    /// instead of all of them too late.
    pub fn lifo(self) -> Self {
        self.order(Order::Lifo)
    }

    /// Builds the bulkhead.
    ///
    /// # Errors
    /// With every problem at once: a limit above 1,000,000, a queue above 1,000,000 that is not
    /// an [unbounded](Self::unbounded_queue) one.
    pub fn build(self) -> Result<Bulkhead, ConfigError> {
        let config = self.config()?;
        Ok(Bulkhead(policy_id::list(|registration| Inner {
            common: Common::new(self.options, registration),
            machine: Machine::new(config.settings),
            config: Live::new(config),
        })))
    }

    #[cfg(any(feature = "serde", feature = "tower"))]
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.config().map(drop)
    }

    /// The defaults with this limit. The options stay.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self, limit: u32) -> Self {
        let config = Config {
            settings: Settings {
                limit,
                ..self.config.settings
            },
            ..self.config
        };
        Self { config, ..self }
            .queue(0)
            .max_wait(MAX_WAIT)
            .order(Order::default())
    }

    /// Whether all but name and listeners is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let config = |builder: &Self| {
            let mut config = builder.config;
            config.settings.mode = builder.options.mode;
            config
        };
        config(self) == config(other)
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let mut problems = Problems::default();
        let mut config = self.config;
        config.settings.mode = self.options.mode;
        let (limit, queue) = (config.settings.limit, config.queue.unwrap_or(0));
        problems.check(limit <= HIGHEST, "limit", limit, "at most 1,000,000");
        let allowed = "at most 1,000,000, or an unbounded queue";
        problems.check(queue <= HIGHEST, "queue", queue, allowed);
        problems.finish(&self.options.name)?;
        Ok(config)
    }

    /// Its numbers as text.
    #[cfg(feature = "tower")]
    pub(crate) fn text(&self) -> String {
        self.config.text()
    }

    /// How long a call waits at most, if there is a queue.
    #[cfg(feature = "tower")]
    pub(crate) fn longest_queueing(&self) -> Option<Duration> {
        (self.config.queue != Some(0)).then_some(self.config.max_wait)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.options.mode
    }
}

/// The configuration and the counts of a [`Bulkhead`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// How many calls are admitted at once.
    pub limit: u32,
    /// How many calls are in flight. They can exceed the limit after it was lowered, and while
    /// rejections are only recorded. Calls that began in [`Mode::Off`] are not counted.
    pub in_flight: u32,
    /// How many calls wait.
    pub queued: u32,
    /// How many calls may wait; none for an unbounded queue.
    pub queue: Option<u32>,
    /// Which waiter is admitted next.
    pub order: Order,
    /// The longest wait.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub max_wait: Duration,
    /// The mode.
    pub mode: Mode,
    /// How many calls [`Mode::RecordOnly`] would have rejected since the bulkhead was built.
    pub would_reject: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}
