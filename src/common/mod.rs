//! What every policy has beside its own configuration: a name, a mode, listeners and a seed.
//!
//! A builder has a field `options: Options` and [`option_setters!`]. The shared state of a policy
//! has a [`Common`], and its handle has [`common_methods!`].

mod group;
mod listed;
mod methods;
#[cfg(feature = "tracing")]
mod summary;

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use crate::config::{ConfigError, Live, Mode, Name, PolicyKind};
#[cfg(debug_assertions)]
use crate::context::path::Inside;
use crate::counters::{Cells, Count, Totals};
use crate::event::{Ending, Event, EventKind, Listeners, Subscription, trace};
use crate::policy_id::{PolicyId, Registration};
use crate::rejection::{Rejection, RejectionKind};
#[cfg(debug_assertions)]
use crate::sync::AtomicBool;
use crate::sync::{Arc, AtomicU8, AtomicU64, Ordering};
use group::Member;
pub(crate) use group::{Group, unlisted};
pub(crate) use listed::{Listed, listed};
pub use methods::Classified;
pub(crate) use methods::{classify_method, common_methods, option_setters};

/// The options that every builder has.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) kind: PolicyKind,
    pub(crate) name: Name,
    pub(crate) mode: Mode,
    pub(crate) listeners: Listeners,
    /// Only for policies that draw random numbers.
    pub(crate) seed: Option<u64>,
    /// Whether a member of the same name reports each rejection to `tracing`.
    pub(crate) echoes: bool,
}

impl Options {
    pub(crate) fn named(kind: PolicyKind, name: Name) -> Self {
        Self {
            kind,
            name,
            mode: Mode::Enforce,
            listeners: Listeners::default(),
            seed: None,
            echoes: false,
        }
    }

    /// Options with the default name: the kind of policy and its call site.
    pub(crate) fn at(kind: PolicyKind, site: &Location<'_>) -> Self {
        Self::named(kind, Name::at(kind.label(), site))
    }

    /// Adds a listener that is never removed.
    pub(crate) fn listen(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.listeners.add(listener).forever();
    }
}

/// The common part of a policy's shared state.
#[derive(Debug)]
pub(crate) struct Common {
    kind: PolicyKind,
    name: Name,
    mode: AtomicU8,
    listeners: Listeners,
    /// None unless the policy was made by a keyed one.
    member: Option<Arc<Member>>,
    /// Those of the group, if there is one.
    cells: Arc<Cells>,
    registration: Registration,
    #[cfg(feature = "tracing")]
    summaries: summary::Summaries,
    would_reject: AtomicU64,
    /// That of the options.
    echoes: bool,
    /// Whether the warning of [`warn_if_applied_twice`](Self::warn_if_applied_twice) is out.
    #[cfg(debug_assertions)]
    applied_twice: AtomicBool,
}

impl Common {
    pub(crate) fn new(options: Options, registration: Registration) -> Self {
        let member = Member::of(options.kind);
        let cells = member
            .as_ref()
            .map(|member| Arc::clone(&member.group.cells));
        Self {
            kind: options.kind,
            member,
            cells: cells.unwrap_or_else(|| {
                let timed = options.kind == PolicyKind::Timeout;
                Arc::new(Cells::new(timed))
            }),
            registration,
            name: options.name,
            mode: AtomicU8::new(options.mode as u8),
            listeners: options.listeners,
            #[cfg(feature = "tracing")]
            summaries: summary::Summaries::default(),
            would_reject: AtomicU64::new(0),
            echoes: options.echoes,
            #[cfg(debug_assertions)]
            applied_twice: AtomicBool::new(false),
        }
    }

    /// The options of a policy like this one, with the mode of now and copies of the listeners.
    pub(crate) fn options(&self) -> Options {
        Options {
            kind: self.kind,
            name: self.name.clone(),
            mode: self.mode(),
            listeners: self.listeners.clone(),
            seed: None,
            echoes: false,
        }
    }

    /// The id of a policy that has one: that is listed, or is a budget.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    #[inline]
    pub(crate) fn id(&self) -> Option<PolicyId> {
        self.registration.id()
    }

    /// The options of a policy while it is changed, whose listeners stay.
    pub(crate) fn changed(&self, mode: Mode) -> Options {
        let options = Options::named(self.kind, self.name.clone());
        Options { mode, ..options }
    }

    /// Changes a configuration, and the mode with it. `next` makes the configuration and the mode
    /// from the options and the configuration of now, and runs again if another change came first.
    pub(crate) fn change<C>(
        &self,
        live: &Live<C>,
        next: impl Fn(Options, &C) -> Result<(Mode, C), ConfigError>,
    ) -> Result<Arc<C>, ConfigError> {
        let before = self.mode();
        let mut after = before;
        let (_, config) = live.change(|now| {
            let (mode, config) = next(self.changed(before), now)?;
            after = mode;
            Ok(config)
        })?;
        if after != before {
            self.set_mode(after);
        }
        Ok(config)
    }

    pub(crate) fn kind(&self) -> PolicyKind {
        self.kind
    }

    #[inline]
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Relaxed: a mode publishes no other memory.
    #[inline]
    pub(crate) fn mode(&self) -> Mode {
        Mode::from_bits(u64::from(self.mode.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    pub(crate) fn subscribe(
        &self,
        listener: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Subscription {
        self.listeners.add(listener)
    }

    /// Whether an event would reach a listener.
    #[inline]
    pub(crate) fn observed(&self) -> bool {
        self.listeners.any()
            || self
                .member
                .as_ref()
                .is_some_and(|member| member.group.listeners.any())
    }

    /// Whether a rejection may reach a listener or a subscriber of `tracing`.
    #[inline]
    fn may_be_observed(&self) -> bool {
        trace::is_on() || self.observed()
    }

    #[inline]
    pub(crate) fn emit(&self, kind: EventKind<'_>) {
        self.emit_event(kind, None);
    }

    /// Emits an event, which has the number of attempts where it ends a call that makes several.
    #[cold]
    #[inline(never)]
    fn emit_event(&self, kind: EventKind<'_>, attempts: Option<u32>) {
        if !(self.echoes && matches!(kind, EventKind::Rejected(_))) {
            trace::emit(&self.name, kind);
        }
        if self.observed() {
            let member = self.member.as_deref();
            let event = Event {
                policy: &self.name,
                kind,
                attempts,
                key: member.and_then(|member| member.key.as_deref()),
            };
            self.listeners.deliver(&event);
            if let Some(member) = member {
                member.group.listeners.deliver(&event);
            }
        }
    }

    /// What the policy, or all policies of its group, have counted.
    pub(crate) fn totals(&self) -> Totals {
        let totals = self.cells.totals();
        match self.kind {
            PolicyKind::Timeout => totals.with_shortest(),
            _ => totals,
        }
    }

    #[inline]
    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Counts a call that is admitted.
    #[inline]
    pub(crate) fn admitted(&self) {
        self.cells.count(Count::ADMITTED);
    }

    /// Counts the end of an admitted call, and emits its terminal event.
    #[inline]
    pub(crate) fn ended(&self, ending: Ending, elapsed: impl FnOnce() -> Duration) {
        self.ended_after(None, ending, elapsed);
    }

    /// The same for a call that made this number of attempts.
    #[inline]
    pub(crate) fn ended_after(
        &self,
        attempts: Option<u32>,
        ending: Ending,
        elapsed: impl FnOnce() -> Duration,
    ) {
        self.cells.count(Count::ended(ending));
        if self.observed() {
            let elapsed = elapsed();
            self.emit_event(EventKind::Ended { ending, elapsed }, attempts);
        }
    }

    /// Counts that a circuit breaker enters the state with this index, and emits it.
    pub(crate) fn entered(&self, state: usize, kind: EventKind<'_>) {
        self.cells.count(Count::entered(state));
        self.emit(kind);
    }

    /// Reports what was rejected since the last summary, unless that is less than ten seconds ago.
    /// So the first rejection of a burst is reported at once.
    fn summarise_rejections(&self) {
        #[cfg(feature = "tracing")]
        if !self.echoes && trace::wants_summaries() {
            let summaries = match &self.member {
                Some(member) => &member.group.summaries,
                None => &self.summaries,
            };
            summaries.report(&self.name, || self.totals());
        }
    }

    /// Counts and emits the rejection of a call, and returns it. It is made once more for what
    /// observes it: if nothing does, it is made where it is returned, and not copied.
    #[inline]
    pub(crate) fn reject(&self, kind: &RejectionKind, make: impl Fn() -> Rejection) -> Rejection {
        self.count_rejected(kind, &make);
        make()
    }

    /// The same for a rejection that is made already.
    #[inline]
    pub(crate) fn rejected(&self, rejection: Rejection) -> Rejection {
        self.emit_rejected(&rejection);
        rejection
    }

    /// Counts and emits the rejection of a call.
    #[inline]
    pub(crate) fn emit_rejected(&self, rejection: &Rejection) {
        self.count_rejected(&rejection.kind(), || rejection.clone());
    }

    /// Counts the rejection of a call, and makes it only if something observes it.
    #[inline]
    pub(crate) fn count_rejected(
        &self,
        kind: &RejectionKind,
        rejection: impl FnOnce() -> Rejection,
    ) {
        if self.count_rejection(Count::rejected(kind)) {
            self.report_rejected(rejection);
        }
    }

    /// Counts a rejection, and returns whether it may have to be reported. Not inlined, so that
    /// its caller is.
    #[inline(never)]
    fn count_rejection(&self, word: Count) -> bool {
        self.cells.count(word);
        self.may_be_observed()
    }

    #[cold]
    #[inline(never)]
    fn report_rejected(&self, rejection: impl FnOnce() -> Rejection) {
        self.summarise_rejections();
        if trace::wants_rejections() || self.observed() {
            self.emit_event(EventKind::Rejected(&rejection()), None);
        }
    }

    /// Counts a rejection of record-only mode, and emits it.
    #[cold]
    pub(crate) fn record_rejection(&self, rejection: impl FnOnce() -> Rejection) {
        self.would_reject.fetch_add(1, Ordering::Relaxed);
        let rejection = rejection();
        self.cells.count(Count::would_reject(&rejection.kind()));
        self.emit(EventKind::WouldReject(&rejection));
    }

    /// In debug builds, warns once if the running call is under this policy already and comes to
    /// it again at `site`.
    #[inline(always)]
    pub(crate) fn warn_if_applied_twice(&self, mode: impl Fn() -> Mode, site: &dyn Debug) {
        #[cfg(debug_assertions)]
        if Inside::of(self)
            && mode() != Mode::Off
            && !self.applied_twice.swap(true, Ordering::Relaxed)
        {
            #[cfg(feature = "tracing")]
            crate::event::trace::applied_twice(&self.name, site);
        }
        let _ = (mode, site);
    }

    /// How many calls record-only mode would have rejected.
    pub(crate) fn would_reject(&self) -> u64 {
        self.would_reject.load(Ordering::Relaxed)
    }
}
