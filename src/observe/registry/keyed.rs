use std::any::Any;

use super::snapshot::{KeyedSnapshot, NotClosed, States};
use crate::circuit_breaker::{self, CircuitBreaker};
#[cfg(feature = "serde")]
use crate::config::ConfigError;
use crate::config::{Mode, Name, PolicyKind};
use crate::counters::Totals;
use crate::event::{Event, Subscription};
#[cfg(feature = "serde")]
use crate::keyed::Change;
use crate::keyed::{Erased, Key, Keyed, PerKey};
use crate::macros::debug_fields;
use crate::policy_id::PolicyId;
use crate::sync::Arc;

/// How many policies that are not closed a snapshot names.
const NAMED: usize = 10;

/// A [`Keyed`] without its types: a handle, like any other.
#[derive(Clone)]
pub struct KeyedPolicy(pub(super) Arc<dyn Erased>, Option<PolicyId>);

impl KeyedPolicy {
    pub(super) fn new(keyed: Arc<dyn Erased>, id: Option<PolicyId>) -> Self {
        Self(keyed, id)
    }

    pub(super) fn id(&self) -> Option<PolicyId> {
        self.1
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        self.0.name()
    }

    /// The kind of its policies.
    pub fn kind(&self) -> PolicyKind {
        self.0.kind()
    }

    /// The mode: that of the policies, unless one was given another.
    pub fn mode(&self) -> Mode {
        self.0.mode()
    }

    /// [`Keyed::set_mode`]: of all keys, existing and new, and of requests without one.
    pub fn set_mode(&self, mode: Mode) {
        self.0.set_mode(mode);
    }

    /// [`Keyed::on_event`]: the listener receives the events of all keys.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.group().listeners.add(listener)
    }

    /// The handle with its types, if these are they.
    ///
    /// ```
    /// use seawall::registry::{self, Policy};
    /// use seawall::{CircuitBreaker, Keyed};
    ///
    /// let per_host = Keyed::<str, CircuitBreaker>::builder(|host| CircuitBreaker::builder(host).build())
    ///     .name("per host")
    ///     .build()?;
    /// let found = registry::find("per host");
    /// let [Policy::Keyed(keyed)] = &*found else { panic!() };
    /// let typed = keyed.typed::<str, CircuitBreaker>().expect("it is one per host");
    /// typed.get("a.example").force_open();
    /// assert!(per_host.get("a.example").try_acquire().is_err());
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn typed<K: ?Sized + Key, P: PerKey>(&self) -> Option<Keyed<K, P>> {
        let handle = Arc::clone(&self.0).handle();
        handle.downcast().ok().map(|keyed| *keyed)
    }

    /// What all its policies have counted together. An anonymous or overflow policy that was
    /// built elsewhere counts for itself.
    pub fn totals(&self) -> Totals {
        self.0.group().cells.totals()
    }

    /// Applies `change` to the policies that it has made.
    #[cfg(feature = "serde")]
    pub(in crate::observe) fn change(&self, change: &Change<dyn Any>) -> Result<(), ConfigError> {
        self.0.change(change)
    }

    /// Applies `change` to those that it has made, and to those that it will make.
    #[cfg(feature = "serde")]
    pub(in crate::observe) fn change_for_good(
        &self,
        change: &Change<dyn Any>,
    ) -> Result<(), ConfigError> {
        self.0.change_new(Arc::clone(change));
        self.0.change(change)
    }

    /// What it has. It reads the state of each circuit breaker, under the lock of its shard.
    pub fn snapshot(&self) -> KeyedSnapshot {
        let states = (self.kind() == PolicyKind::CircuitBreaker).then(|| self.states());
        let (states, not_closed) = states.unzip();
        KeyedSnapshot {
            keys: self.0.len(),
            capacity: self.0.capacity(),
            overflowed: self.0.overflowed(),
            keyless: self.0.keyless(),
            states,
            not_closed: not_closed.unwrap_or_default(),
        }
    }

    fn states(&self) -> (States, Vec<NotClosed>) {
        let mut states = States::default();
        let mut not_closed = Vec::new();
        self.each_breaker(|breaker, text| {
            let state = breaker.state();
            states.count(state);
            if state != circuit_breaker::State::Closed && not_closed.len() < NAMED {
                not_closed.push(NotClosed {
                    key: text(),
                    name: breaker.name().clone(),
                    state,
                });
            }
        });
        (states, not_closed)
    }

    /// The anonymous and the overflow policy, if they are in use: before their first call they
    /// would count as keys that do not exist.
    fn shared_in_use(&self) -> impl Iterator<Item = &dyn Any> {
        let anonymous = self.0.uses_anonymous().then(|| self.0.anonymous());
        let overflow = self.0.overflow().filter(|_| self.0.uses_overflow());
        anonymous.into_iter().chain(overflow)
    }

    /// Calls `f` with the policy of each key, and with the anonymous and the overflow one if they
    /// are in use. If none is, it has the anonymous one, which is what a new key gets. A limiter
    /// has only that.
    #[cfg(feature = "metrics")]
    pub(super) fn each(&self, f: &mut dyn FnMut(&dyn Any)) {
        let mut in_use = false;
        let mut read = |policy: &dyn Any| {
            in_use = true;
            f(policy);
        };
        self.shared_in_use().for_each(&mut read);
        self.0.each(&mut |_, policy| read(policy));
        if !in_use {
            f(self.0.anonymous());
        }
    }

    /// Calls `f` with the breaker of each key, with the anonymous and the overflow one if they are
    /// in use, and with the text of the key.
    pub(super) fn each_breaker(
        &self,
        mut f: impl FnMut(&CircuitBreaker, &dyn Fn() -> Option<String>),
    ) {
        for breaker in self
            .shared_in_use()
            .filter_map(|policy| policy.downcast_ref())
        {
            f(breaker, &|| None);
        }
        self.0.each(&mut |text, policy| {
            if let Some(breaker) = policy.downcast_ref() {
                f(breaker, text);
            }
        });
    }
}

debug_fields!(KeyedPolicy, this: name = this.name(), kind = this.kind(), keys = this.0.len());
