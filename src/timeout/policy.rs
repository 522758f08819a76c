//! The timeout's handle, its builder and its snapshot.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::common::{Common, Options, common_methods, listed, option_setters};
use crate::config::{ConfigError, Mode, Name, PolicyKind, Problems};
use crate::counters::{Count, SHORTEST, Totals};
use crate::event::Ending;
use crate::macros::{debug_fields, from_ref};
use crate::policy_id;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{self, Tick, nanos};

/// A bound on how long a call may take.
///
/// A handle: cheap to clone, and every clone is the same timeout. It covers everything from the
/// call to the response head: queueing, backoff and every attempt below. Code that runs inside
/// reads the time left with [`Deadline::remaining`](crate::Deadline::remaining).
#[derive(Clone)]
pub struct Timeout(Arc<Shared>);

struct Shared {
    common: Common,
    /// In nanoseconds. One number, so no [`Live`](crate::config::Live): every call reads it and
    /// nothing has to agree with it. Relaxed.
    limit: AtomicU64,
}

impl Timeout {
    /// A timeout of `limit`, named after its call site.
    ///
    /// There is no default duration, because no number fits all.
    ///
    /// # Panics
    /// If `limit` is zero. For a duration that comes from data use [`Timeout::builder`].
    #[track_caller]
    pub fn new(limit: Duration) -> Self {
        match Self::builder(limit).build() {
            Ok(timeout) => timeout,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a timeout with a name, a mode or a listener.
    #[track_caller]
    pub fn builder(limit: Duration) -> Builder {
        Builder {
            options: Options::at(PolicyKind::Timeout, Location::caller()),
            limit,
        }
    }

    common_methods!();

    /// How long a call may take.
    #[inline]
    pub fn limit(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    /// The same in nanoseconds.
    #[inline]
    pub(super) fn nanos(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes how long calls that start from now on may take.
    ///
    /// # Errors
    /// If `limit` is zero; nothing changes then.
    pub fn set_limit(&self, limit: Duration) -> Result<(), ConfigError> {
        check(limit, self.name())?;
        self.0.limit.store(nanos(limit), Ordering::Relaxed);
        Ok(())
    }

    /// Changes limit and mode for calls that start from now on. `change` gets a builder with the
    /// current ones, and runs again if the limit changes meanwhile. Name and listeners stay.
    ///
    /// # Errors
    /// If the limit is zero; nothing changes then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let timeout = seawall::Timeout::new(Duration::from_secs(2));
    /// timeout.change(|now| now.limit(Duration::from_secs(1)))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        let (limit, before) = (&self.0.limit, self.mode());
        let mut current = limit.load(Ordering::Relaxed);
        loop {
            let next = change(Builder {
                options: self.common().changed(before),
                limit: Duration::from_nanos(current),
            });
            next.check()?;
            let (to, relaxed) = (nanos(next.limit), Ordering::Relaxed);
            match limit.compare_exchange(current, to, relaxed, relaxed) {
                Ok(_) if next.options.mode == before => return Ok(()),
                Ok(_) => {
                    self.set_mode(next.options.mode);
                    return Ok(());
                }
                Err(newer) => current = newer,
            }
        }
    }

    /// The mode.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.0.common.mode()
    }

    /// Changes the mode for calls that start from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.0.common.set_mode(mode);
    }

    /// The configuration and the counts. They are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let totals = self.common().totals();
        Snapshot {
            limit: self.limit(),
            mode: self.mode(),
            timed_out: totals.cut_short(),
            would_reject: totals.would_reject(),
            totals,
        }
    }

    pub(super) fn common(&self) -> &Common {
        &self.0.common
    }

    /// In debug builds, warns if the running call is under this timeout already.
    #[inline(always)]
    pub(super) fn warn_if_applied_twice(&self, site: &dyn fmt::Debug) {
        self.common().warn_if_applied_twice(|| self.mode(), site);
    }

    #[cold]
    pub(super) fn rejection(&self, kind: RejectionKind) -> Rejection {
        Rejection::new(kind, self.name().clone())
    }

    /// The rejection of a call in this mode whose deadline has passed before it is made. None in
    /// record-only mode, which counts it.
    #[cold]
    pub(super) fn expired(&self, mode: Mode) -> Option<Rejection> {
        if mode == Mode::RecordOnly {
            self.record_rejection(RejectionKind::Expired);
            return None;
        }
        let rejection = self.rejection(RejectionKind::Expired);
        self.common().emit_rejected(&rejection);
        Some(rejection)
    }

    /// Emits the rejection of a call that is not under way: one of a wait for a service or for a
    /// part of a body. It is counted as a call of its own.
    #[cfg(feature = "tower")]
    #[cold]
    pub(super) fn emit_cut_wait(&self, rejection: &Rejection) {
        if !rejection.call_not_made() {
            self.0.common.admitted();
        }
        self.common().emit_rejected(rejection);
    }

    /// The rejection of a wait since `since` that has been too long, whose kind has the limit and
    /// the time waited. None in record-only mode.
    #[cfg(all(feature = "http", feature = "tower"))]
    pub(crate) fn cut(
        &self,
        since: Tick,
        now: Tick,
        kind: impl FnOnce(Duration, Duration) -> RejectionKind,
    ) -> Option<Rejection> {
        let kind = kind(self.limit(), now.since(since));
        if self.mode() == Mode::RecordOnly {
            self.record_rejection(kind);
            return None;
        }
        let rejection = self.rejection(kind);
        self.emit_cut_wait(&rejection);
        Some(rejection)
    }

    pub(super) fn record_rejection(&self, kind: RejectionKind) {
        self.0.common.record_rejection(|| self.rejection(kind));
    }

    /// Counts and emits the end of a call. If it was never `pending`, the last reading of the clock
    /// says whether it was one of the shortest, whose times are not counted.
    #[inline]
    pub(super) fn emit_ended(&self, ending: Ending, start: Tick, pending: bool) {
        let common = self.common();
        if pending || common.observed() || time::recent() >= start.after(SHORTEST) {
            self.emit_timed(ending, start);
        } else {
            common.cells().count(Count::ended(ending));
        }
    }

    /// The same for a call whose time matters.
    #[inline(never)]
    fn emit_timed(&self, ending: Ending, start: Tick) {
        let elapsed = time::now().since(start);
        if elapsed >= SHORTEST {
            self.common().cells().time(elapsed);
        }
        self.common().ended(ending, || elapsed);
    }
}

listed!(Timeout, Shared);

fn check(limit: Duration, name: &Name) -> Result<(), ConfigError> {
    let mut problems = Problems::default();
    problems.check(!limit.is_zero(), "limit", limit, "more than zero");
    problems.finish(name)
}

debug_fields!(Timeout, this: name = this.name(), limit = this.limit(), mode = this.mode());

from_ref!(Timeout);

impl From<Duration> for Timeout {
    /// [`Timeout::new`], which panics on zero.
    #[track_caller]
    fn from(limit: Duration) -> Self {
        Self::new(limit)
    }
}

/// Builds a [`Timeout`]; made by [`Timeout::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    options: Options,
    limit: Duration,
}

impl Builder {
    option_setters!();

    /// Sets how long a call may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Whether all but name and listeners is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.limit, self.options.mode) == (other.limit, other.options.mode)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check(self.limit, &self.options.name)
    }

    /// Builds the timeout.
    ///
    /// # Errors
    /// If the limit is zero.
    pub fn build(self) -> Result<Timeout, ConfigError> {
        self.check()?;
        Ok(Timeout(policy_id::list(|registration| Shared {
            common: Common::new(self.options, registration),
            limit: AtomicU64::new(nanos(self.limit)),
        })))
    }
}

/// The configuration and the counts of a [`Timeout`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// How long a call may take.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub limit: Duration,
    /// The mode.
    pub mode: Mode,
    /// How many calls timed out since the timeout was built.
    pub timed_out: u64,
    /// How many calls [`Mode::RecordOnly`] would have rejected since the timeout was built,
    /// before or after they were made.
    pub would_reject: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}
