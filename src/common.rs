//! What every policy has beside its own configuration: a name, a mode, listeners and a seed.
//!
//! A builder has a field `options: Options` and [`option_setters!`]. The shared state of a policy
//! has a [`Common`], and its handle has [`common_methods!`].

use std::any::Any;
use std::fmt::Debug;
use std::panic::Location;

use crate::config::{Mode, Name, PolicyKind};
#[cfg(debug_assertions)]
use crate::context::path::Inside;
use crate::event::{Event, EventKind, Listeners, Subscription, trace_event, traces_rejections};
use crate::per_thread;
use crate::policy_id::{PolicyId, Registration};
use crate::rejection::Rejection;
#[cfg(debug_assertions)]
use crate::sync::AtomicBool;
use crate::sync::{Arc, AtomicU8, AtomicU64, Ordering};

/// The options that every builder has.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) kind: PolicyKind,
    pub(crate) name: Name,
    pub(crate) mode: Mode,
    pub(crate) listeners: Listeners,
    /// Only for policies that draw random numbers.
    pub(crate) seed: Option<u64>,
}

impl Options {
    pub(crate) fn named(kind: PolicyKind, name: Name) -> Self {
        Self {
            kind,
            name,
            mode: Mode::Enforce,
            listeners: Listeners::default(),
            seed: None,
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

/// What the policies of one keyed policy share.
#[derive(Debug)]
pub(crate) struct Group {
    kind: PolicyKind,
    /// They receive the events of all these policies, and those of the keyed policy itself.
    pub(crate) listeners: Listeners,
}

impl Group {
    pub(crate) fn new(kind: PolicyKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            listeners: Listeners::default(),
        })
    }

    /// Runs `make`. The policies of this kind that it makes belong to the group, and the registry
    /// lists none that it makes.
    pub(crate) fn make<T>(self: &Arc<Self>, make: impl FnOnce() -> T) -> T {
        per_thread::in_group(self.clone(), make)
    }

    /// The group that a policy of this kind, made now, belongs to.
    fn of(kind: PolicyKind) -> Option<Arc<Self>> {
        per_thread::group().filter(|group: &Arc<Self>| group.kind == kind)
    }
}

/// Runs `make`. The registry lists no policy that it makes.
pub(crate) fn unlisted<T>(make: impl FnOnce() -> T) -> T {
    per_thread::in_group(Arc::new(()), make)
}

/// A policy as the registry has it.
pub(crate) trait Listed: Sized {
    /// A handle, if this is the shared state of such a policy.
    fn of_shared(shared: Arc<dyn Any + Send + Sync>) -> Option<Self>;

    fn base(&self) -> &Common;
}

/// [`Listed`] for a handle that is a tuple of its shared state.
macro_rules! listed {
    ($handle:ident, $shared:ty) => {
        impl crate::common::Listed for $handle {
            fn of_shared(
                shared: crate::sync::Arc<dyn std::any::Any + Send + Sync>,
            ) -> Option<Self> {
                shared.downcast::<$shared>().ok().map($handle)
            }

            fn base(&self) -> &crate::common::Common {
                self.common()
            }
        }
    };
}
pub(crate) use listed;

/// The common part of a policy's shared state.
#[derive(Debug)]
pub(crate) struct Common {
    kind: PolicyKind,
    name: Name,
    mode: AtomicU8,
    listeners: Listeners,
    /// None unless the policy was made by a keyed one.
    group: Option<Arc<Group>>,
    registration: Registration,
    would_reject: AtomicU64,
    /// Whether the warning of [`warn_if_applied_twice`](Self::warn_if_applied_twice) is out.
    #[cfg(debug_assertions)]
    applied_twice: AtomicBool,
}

impl Common {
    pub(crate) fn new(options: Options, registration: Registration) -> Self {
        Self {
            kind: options.kind,
            group: Group::of(options.kind),
            registration,
            name: options.name,
            mode: AtomicU8::new(options.mode as u8),
            listeners: options.listeners,
            would_reject: AtomicU64::new(0),
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
                .group
                .as_ref()
                .is_some_and(|group| group.listeners.any())
    }

    /// Whether a rejection would reach a listener or `tracing`.
    #[inline]
    pub(crate) fn observes_rejections(&self) -> bool {
        traces_rejections() || self.observed()
    }

    #[inline]
    pub(crate) fn emit(&self, kind: EventKind<'_>) {
        self.emit_event(kind, None);
    }

    /// Emits an event, which has the number of attempts where it ends a call that makes several.
    #[inline]
    fn emit_event(&self, kind: EventKind<'_>, attempts: Option<u32>) {
        trace_event(&self.name, kind);
        if self.observed() {
            let event = Event {
                policy: &self.name,
                kind,
                attempts,
            };
            self.listeners.deliver(&event);
            if let Some(group) = &self.group {
                group.listeners.deliver(&event);
            }
        }
    }

    /// Emits the rejection of a call, and returns it.
    #[cold]
    pub(crate) fn rejected(&self, rejection: Rejection) -> Rejection {
        self.emit(EventKind::Rejected(&rejection));
        rejection
    }

    /// Emits the terminal event of a call that made this number of attempts.
    #[cfg(feature = "tokio")]
    pub(crate) fn emit_after(&self, kind: EventKind<'_>, attempts: u32) {
        self.emit_event(kind, Some(attempts));
    }

    /// Counts a rejection of record-only mode, and emits it.
    #[cold]
    pub(crate) fn record_rejection(&self, rejection: impl FnOnce() -> Rejection) {
        self.would_reject.fetch_add(1, Ordering::Relaxed);
        if self.observes_rejections() {
            self.emit(EventKind::WouldReject(&rejection()));
        }
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

/// The setters of [`Options`], for a builder with a field `options`.
macro_rules! option_setters {
    () => {
        /// Sets the name, which is in rejections and events. The default is the kind of policy
        /// and its call site.
        pub fn name(mut self, name: impl Into<crate::config::Name>) -> Self {
            self.options.name = name.into();
            self
        }

        /// Sets the mode that the policy starts in. The default is
        /// [`Mode::Enforce`](crate::Mode::Enforce).
        pub fn mode(mut self, mode: crate::Mode) -> Self {
            self.options.mode = mode;
            self
        }

        /// Adds a listener, which stays for as long as the policy lives.
        pub fn on_event(
            self,
            listener: impl Fn(&crate::Event<'_>) + Send + Sync + 'static,
        ) -> Self {
            self.options.listen(listener);
            self
        }
    };
}
pub(crate) use option_setters;

/// The methods that every handle has, for a handle with `fn common(&self) -> &Common`.
///
/// `common_methods!(with mode)` adds the getter and the setter of the mode. A policy that keeps
/// its mode elsewhere has its own.
macro_rules! common_methods {
    () => {
        /// The policy's name.
        pub fn name(&self) -> &crate::config::Name {
            self.common().name()
        }

        /// Adds a listener, which is removed when the returned subscription is dropped.
        pub fn on_event(
            &self,
            listener: impl Fn(&crate::Event<'_>) + Send + Sync + 'static,
        ) -> crate::event::Subscription {
            self.common().subscribe(listener)
        }
    };
    (with mode) => {
        crate::common::common_methods!();

        /// The current mode.
        pub fn mode(&self) -> crate::Mode {
            self.common().mode()
        }

        /// Changes the mode while calls run. A call that is under way keeps the mode it started
        /// with.
        pub fn set_mode(&self, mode: crate::Mode) {
            self.common().set_mode(mode);
        }
    };
}
pub(crate) use common_methods;

/// A policy with a classifier of yours for its [`run`](crate::CircuitBreaker::run); made by
/// `classify` of a circuit breaker, retry or hedge. It is the same policy, and has all its other
/// methods.
#[derive(Clone, Debug)]
pub struct Classified<P, C> {
    pub(crate) policy: P,
    pub(crate) classifier: C,
}

impl<P, C> std::ops::Deref for Classified<P, C> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.policy
    }
}

/// `classify` of a handle with `run` and `run_with`, whose closure is `$call`.
macro_rules! classify_method {
    ($policy:ty, $call:ident($($number:ty)?)) => {
        impl $policy {
            /// This policy, with `classifier` for its `run`, a [`Classify`](crate::Classify).
            pub fn classify<C>(&self, classifier: C) -> crate::Classified<Self, C> {
                crate::Classified {
                    policy: self.clone(),
                    classifier,
                }
            }
        }

        impl<C> crate::Classified<$policy, C> {
            /// `run` of the policy, whose outcomes are judged by the classifier.
            ///
            /// # Errors
            /// Those of `run` of the policy.
            pub async fn run<T, E, F, Fut, Via, Seen>(&self, call: F) -> Result<T, crate::Error<E>>
            where
                F: $call($($number)?) -> Fut,
                Fut: std::future::Future<Output = Result<T, E>>,
                E: crate::rejection::Fault<Via>,
                C: crate::Classify<T, E, Seen> + Clone,
            {
                self.policy.run_with(self.classifier.clone(), call).await
            }
        }
    };
}
pub(crate) use classify_method;
