use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::config::{ConfigError, Mode, Name, Problems};
#[cfg(feature = "tower")]
use crate::deadline::Deadline;
use crate::event::{Ending, Event, EventKind, Listeners, Subscription};
use crate::registry::{PolicyId, Registry};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{Tick, nanos};

/// A bound on how long a call may take.
///
/// A handle: clones are the same timeout. It covers all that happens under it, from the call to
/// the response head: queueing, backoff and every attempt below. What runs inside reads what is
/// left with [`Deadline::remaining`](crate::Deadline::remaining).
#[derive(Clone)]
pub struct Timeout(Arc<Shared>);

static REGISTRY: Registry<Shared> = Registry::new();

struct Shared {
    name: Name,
    number: PolicyId,
    /// A [`Setting`]. Read by every call, written by changes. Nothing but itself: relaxed.
    setting: AtomicU64,
    /// Counts, nothing but themselves: relaxed.
    timed_out: AtomicU64,
    would_time_out: AtomicU64,
    listeners: Listeners,
}

impl Drop for Shared {
    fn drop(&mut self) {
        REGISTRY.remove(self.number);
    }
}

/// What a call under a timeout knows it by. A handle for every call would be dearer than all the
/// rest that a call costs, and most calls need none: what ends in time is told to nobody.
pub(super) enum Holder {
    /// There is a listener, or the name cannot be copied.
    Held(Timeout),
    Numbered(PolicyId, Name),
}

impl Holder {
    #[inline]
    pub(super) fn of(timeout: &Timeout) -> Self {
        let shared = &timeout.0;
        match shared.name.kept_only() {
            Some(name) if !shared.listeners.any() => Self::Numbered(shared.number, name),
            _ => Self::Held(timeout.clone()),
        }
    }

    pub(super) fn name(&self) -> &Name {
        match self {
            Self::Held(timeout) => timeout.name(),
            Self::Numbered(_, name) => name,
        }
    }

    /// Shows the timeout; nothing if nobody has it any more, who could count or hear.
    #[cold]
    fn with(&self, show: impl FnOnce(&Timeout)) {
        match self {
            Self::Held(timeout) => show(timeout),
            Self::Numbered(number, _) => {
                if let Some(shared) = REGISTRY.find(*number) {
                    show(&Timeout(shared));
                }
            }
        }
    }

    pub(super) fn refusal(&self, kind: RejectionKind) -> Rejection {
        Rejection::new(kind, self.name().clone())
    }

    pub(super) fn emit_rejected(&self, rejection: &Rejection) {
        self.with(|timeout| timeout.emit_rejected(rejection));
    }

    pub(super) fn emit_would_reject(&self, rejection: &Rejection) {
        self.with(|timeout| timeout.emit_would_reject(rejection));
    }

    #[inline]
    pub(super) fn emit_ended(&self, ending: Ending, start: Tick) {
        if let Self::Held(timeout) = self {
            timeout.emit_ended(ending, start);
        }
    }
}

/// 146 years: what the setting's word holds.
const LONGEST: u64 = u64::MAX >> 2;

/// `[limit: 62 bits, ns][mode: 2 bits]`
#[derive(Clone, Copy)]
pub(super) struct Setting(u64);

impl Setting {
    fn new(limit: Duration, mode: Mode) -> Self {
        Self(nanos(limit).min(LONGEST) << 2 | mode.to_bits())
    }

    #[inline]
    pub(super) fn nanos(self) -> u64 {
        self.0 >> 2
    }

    fn limit(self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    #[inline]
    pub(super) fn mode(self) -> Mode {
        Mode::from_bits(self.0)
    }
}

impl Timeout {
    /// A timeout of `limit`, named after the place of this call.
    ///
    /// There is no default duration: no number fits all.
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
            name: Name::at("timeout", Location::caller()),
            limit,
            mode: Mode::Enforce,
            listeners: Listeners::default(),
        }
    }

    /// The name, as in its rejections.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// How long a call may take. More than 146 years is kept as 146 years.
    pub fn limit(&self) -> Duration {
        self.setting().limit()
    }

    /// Changes how long calls that start from now on may take.
    ///
    /// # Errors
    /// If `limit` is zero; nothing changes then.
    pub fn set_limit(&self, limit: Duration) -> Result<(), ConfigError> {
        check(limit, &self.0.name)?;
        self.change(|setting| Setting::new(limit, setting.mode()));
        Ok(())
    }

    /// Whether it is enforced.
    pub fn mode(&self) -> Mode {
        self.setting().mode()
    }

    /// Enforces, only records, or switches off, for calls that start from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.change(|setting| Setting::new(setting.limit(), mode));
    }

    /// Calls `listener` for every event of this timeout until the subscription is dropped. Of a
    /// call that began before, only what cuts it short is told.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.listeners.add(listener)
    }

    /// What it is set to and what it has done. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let setting = self.setting();
        Snapshot {
            limit: setting.limit(),
            mode: setting.mode(),
            timed_out: self.0.timed_out.load(Ordering::Relaxed),
            would_time_out: self.0.would_time_out.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(super) fn setting(&self) -> Setting {
        Setting(self.0.setting.load(Ordering::Relaxed))
    }

    /// What a call would be refused with before it is made: the deadline in force has passed.
    #[cfg(feature = "tower")]
    pub(super) fn would_refuse(&self) -> Option<Rejection> {
        let deadline = Deadline::current()?;
        let refuses = self.mode() == Mode::Enforce && deadline.has_passed();
        refuses.then(|| self.refusal(RejectionKind::Expired))
    }

    fn change(&self, to: impl Fn(Setting) -> Setting) {
        let word = &self.0.setting;
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(to(Setting(word)).0)
        });
    }

    pub(super) fn refusal(&self, kind: RejectionKind) -> Rejection {
        Rejection::new(kind, self.0.name.clone())
    }

    pub(super) fn emit_rejected(&self, rejection: &Rejection) {
        if let RejectionKind::TimedOut { .. } = rejection.kind() {
            self.0.timed_out.fetch_add(1, Ordering::Relaxed);
        }
        self.emit(EventKind::Rejected(rejection));
    }

    pub(super) fn emit_would_reject(&self, rejection: &Rejection) {
        self.0.would_time_out.fetch_add(1, Ordering::Relaxed);
        self.emit(EventKind::WouldReject(rejection));
    }

    #[inline]
    pub(super) fn emit_ended(&self, ending: Ending, start: Tick) {
        if self.0.listeners.any() {
            self.emit_end(ending, start);
        }
    }

    #[cold]
    fn emit_end(&self, ending: Ending, start: Tick) {
        let elapsed = crate::time::now().since(start);
        self.emit(EventKind::Ended { ending, elapsed });
    }

    fn emit(&self, kind: EventKind<'_>) {
        self.0.listeners.emit(&self.0.name, kind);
    }
}

fn check(limit: Duration, name: &Name) -> Result<(), ConfigError> {
    let mut problems = Problems::default();
    problems.check(!limit.is_zero(), "limit", limit, "more than zero");
    problems.finish(name)
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = self.setting();
        f.debug_struct("Timeout")
            .field("name", &self.0.name)
            .field("limit", &setting.limit())
            .field("mode", &setting.mode())
            .finish_non_exhaustive()
    }
}

impl From<&Timeout> for Timeout {
    fn from(timeout: &Timeout) -> Self {
        timeout.clone()
    }
}

impl From<Duration> for Timeout {
    /// As [`Timeout::new`], with its panic on zero.
    #[track_caller]
    fn from(limit: Duration) -> Self {
        Self::new(limit)
    }
}

/// Builds a [`Timeout`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: Name,
    limit: Duration,
    mode: Mode,
    listeners: Listeners,
}

impl Builder {
    /// The name; by default `timeout@` and the place of the builder.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// The mode to start in; enforced by default.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Calls `listener` for every event, for as long as the timeout lives.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// The timeout.
    ///
    /// # Errors
    /// If the limit is zero.
    pub fn build(self) -> Result<Timeout, ConfigError> {
        check(self.limit, &self.name)?;
        Ok(Timeout(REGISTRY.add(|number| Shared {
            name: self.name,
            number,
            setting: AtomicU64::new(Setting::new(self.limit, self.mode).0),
            timed_out: AtomicU64::new(0),
            would_time_out: AtomicU64::new(0),
            listeners: self.listeners,
        })))
    }
}

/// What a [`Timeout`] is set to and what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How long a call may take.
    pub limit: Duration,
    /// Whether it is enforced.
    pub mode: Mode,
    /// Calls cut short so far.
    pub timed_out: u64,
    /// Calls that would have been cut or refused, in [`Mode::RecordOnly`].
    pub would_time_out: u64,
}
