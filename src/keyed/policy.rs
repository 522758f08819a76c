//! The handle and its builder.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::Location;

use super::Key;
use super::erased::{Erased, Listing};
use super::map::Map;
use super::per_key::{PerKey, Picked, Store};
use super::store::{Make, NOT_SET, Policies};
use crate::common::{Group, unlisted};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::event::{Event, EventKind, Listeners, Subscription};
use crate::macros::{debug_fields, setters};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{Arc, AtomicU8, AtomicU64, Ordering, Weak};

const MAX_CAPACITY: usize = 1 << 24;

pub(crate) fn check_capacity(field: &str, capacity: usize, problems: &mut Problems) {
    let fits = (1..=MAX_CAPACITY).contains(&capacity);
    problems.check(fits, field, capacity, "from 1 to 16,777,216");
}

/// A policy for each key: a limit per caller, a circuit breaker per host.
///
/// A handle: clones have the same policies. The [module](crate::keyed) has the defaults, and says
/// what happens at capacity.
///
/// ```
/// use seawall::{CircuitBreaker, Keyed};
///
/// let per_host = Keyed::new(1_000, |host: &str| CircuitBreaker::builder(host).build())?;
/// per_host.get("a.example").force_open();
/// assert!(per_host.get("a.example").try_acquire().is_err());
/// assert!(per_host.get("b.example").try_acquire().is_ok());
/// # Ok::<_, seawall::ConfigError>(())
/// ```
pub struct Keyed<K: ?Sized + Key, P: PerKey>(Arc<Shared<K, P>>);

pub(crate) struct Shared<K: ?Sized + Key, P: PerKey> {
    pub(crate) name: Name,
    /// How many calls had no key. Publishes nothing: relaxed.
    pub(crate) keyless: AtomicU64,
    pub(crate) hasher: RandomState,
    pub(crate) capacity: usize,
    pub(crate) anonymous: P,
    /// Switched off, for requests that skip the policy. No user has a handle to it.
    pub(crate) off: P,
    pub(crate) store: P::Store<K>,
    pub(super) group: Arc<Group>,
    /// What the registry finds.
    _listed: Arc<Listing>,
}

impl<K: ?Sized + Key, P: PerKey> Keyed<K, P> {
    pub(crate) fn of(
        (name, group): (Name, Arc<Group>),
        capacity: usize,
        (anonymous, off): (P, P),
        (hasher, store): (RandomState, P::Store<K>),
    ) -> Self {
        Self(Arc::new_cyclic(|shared: &Weak<Shared<K, P>>| Shared {
            _listed: Listing::of(shared.clone()),
            group,
            name,
            keyless: AtomicU64::new(0),
            hasher,
            capacity,
            anonymous,
            off,
            store,
        }))
    }

    pub(super) fn from_shared(shared: Arc<Shared<K, P>>) -> Self {
        Self(shared)
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared<K, P> {
        &self.0
    }

    /// The policy of this key. A new key gets one.
    ///
    /// The entry is not evicted while a handle to its policy is held: to keep a change that was
    /// made by the handle, hold the handle. A limiter's handle is one to the key's tokens. Its
    /// name, mode, waits and listeners are those of all keys, and a change of them by any handle
    /// is for all. A pause is for the key alone, and is a debt:
    /// [`resume`](crate::RateLimiter::resume) does not end it.
    pub fn get(&self, key: &K) -> P {
        self.pick(key).into_policy()
    }

    /// The policy that all requests without a key share.
    pub fn anonymous(&self) -> &P {
        &self.0.anonymous
    }

    /// The name: in events, and in rejections of requests without a key.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The most keys that have an entry of their own. The table of a limiter has twice as many
    /// entries, so that this number of keys fits.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// The mode: that of the policies, unless one was given another.
    pub fn mode(&self) -> Mode {
        Erased::mode(&*self.0)
    }

    /// Sets the mode of the policies of all keys, existing and new, and of requests without a key.
    pub fn set_mode(&self, mode: Mode) {
        Erased::set_mode(&*self.0, mode);
    }

    /// Adds a listener, which receives the events of all policies that this one has made, with
    /// their names, and its own: those that the listeners of the [builder](Builder::on_event)
    /// receive. It is removed when the returned subscription is dropped.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.group.listeners.add(listener)
    }

    /// How many keys have an entry. A limiter counts them for each call of this.
    pub fn len(&self) -> usize {
        self.0.store.len()
    }

    /// Whether no key has an entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many times a key got no entry and was served by the
    /// [overflow policy](Builder::overflow). For a limiter: how many times a key in debt was
    /// evicted.
    pub fn overflowed(&self) -> u64 {
        self.0.store.overflowed()
    }

    /// How many calls had no key. Each emits
    /// [`EventKind::Keyless`](crate::event::EventKind::Keyless).
    pub fn keyless(&self) -> u64 {
        Erased::keyless(&*self.0)
    }

    /// Counts and emits a call without a key.
    pub(super) fn note_keyless(&self) {
        if self.0.anonymous.mode() == Mode::Off {
            return;
        }
        let first = self.0.keyless.fetch_add(1, Ordering::Relaxed) == 0;
        self.0.store.emit(EventKind::Keyless { first });
    }

    pub(super) fn off(&self) -> &P {
        &self.0.off
    }

    fn hash(&self, key: &K) -> u64 {
        self.0.hasher.hash_one(key)
    }

    #[inline]
    pub(crate) fn pick(&self, key: &K) -> Picked<'_, P> {
        self.0.store.pick(self.hash(key), key)
    }

    /// The same for a caller that has hashed the key with this policy's hasher.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn pick_hashed(&self, hash: u64, key: &K) -> Picked<'_, P> {
        debug_assert_eq!(hash, self.hash(key));
        self.0.store.pick(hash, key)
    }

    /// Rejects a request without a key, if the mode says so.
    #[cold]
    pub(super) fn reject_keyless(&self, kind: RejectionKind) -> Result<(), Rejection> {
        let rejection = Rejection::new(kind, self.name().clone());
        match self.0.store.rejects(&rejection, self.0.anonymous.mode()) {
            true => Err(rejection),
            false => Ok(()),
        }
    }
}

impl<K: ?Sized + Key, P: PerKey<Store<K> = Policies<K, P>>> Keyed<K, P> {
    /// A policy for each of at most `capacity` keys, constructed by `make` when a key is new.
    ///
    /// `make` also constructs the anonymous and the overflow policy, with
    /// [`Key::anonymous`]. For options see [`builder`](Self::builder); for limiters,
    /// [`limit`](Self::limit).
    ///
    /// # Errors
    /// If `capacity` is not from 1 to 16,777,216, or if `make` fails for the anonymous key.
    #[track_caller]
    pub fn new(
        capacity: usize,
        make: impl Fn(&K) -> Result<P, ConfigError> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::builder(make).capacity(capacity).build()
    }

    /// A builder of a policy per key, each constructed by `make` when a key is new.
    #[track_caller]
    pub fn builder(
        make: impl Fn(&K) -> Result<P, ConfigError> + Send + Sync + 'static,
    ) -> Builder<K, P> {
        Builder {
            name: Name::at("keyed", Location::caller()),
            capacity: 10_000,
            make: Box::new(make),
            anonymous: None,
            overflow: None,
            overflow_key: K::anonymous(),
            hasher: RandomState::new(),
            shows_keys: false,
            listeners: Listeners::default(),
        }
    }

    /// The policy that new keys share while every entry is in use.
    pub fn overflow(&self) -> &P {
        &self.0.store.overflow
    }

    /// The policy of this key, if it has an entry.
    pub fn find(&self, key: &K) -> Option<P> {
        self.0.store.map.find(self.hash(key), key)
    }

    /// Evicts this key's entry, idle or not, and returns its policy. Calls in flight stay under
    /// that policy. The next call of this key gets a new one.
    pub fn evict(&self, key: &K) -> Option<P> {
        self.0.store.map.remove(self.hash(key), key)
    }

    /// All keys that have an entry, with their policies, in no order.
    pub fn entries(&self) -> Vec<(K::Owned, P)>
    where
        K::Owned: Clone,
    {
        self.0.store.map.entries()
    }

    /// Applies `change` to the policies of all keys, to the anonymous and the overflow policy.
    ///
    /// For new keys `make` has to read the changed configuration, so change that first. A policy
    /// that another thread is constructing at the same time is then constructed again. Where a
    /// section of `settings` was applied to this keyed policy, new keys get that after `make`.
    pub fn change_all(&self, change: impl Fn(&P)) {
        change(self.anonymous());
        change(self.overflow());
        self.0.store.map.start_change().iter().for_each(change);
    }

    /// The same, and forgets the section of settings that was applied to it: new keys get what
    /// `make` constructs. The mode is that of `modes` after the change if it is about the mode or
    /// if the section gave it. Otherwise it stays, for existing and new keys.
    #[cfg(feature = "tower")]
    pub(crate) fn change_all_as_made(&self, modes: (Mode, Mode), change: impl Fn(&P)) {
        let (before, after) = modes;
        if self.0.store.forget_section() || before != after {
            self.set_mode(after);
        }
        self.change_all(change);
    }
}

impl<K: ?Sized + Key, P: PerKey> Clone for Keyed<K, P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

// Shows no key: keys may be secrets, and there may be thousands.
debug_fields!([K: ?Sized + Key, P: PerKey] Keyed<K, P>, this:
    name = this.name(), capacity = this.capacity(), len = this.len());

/// Builds a [`Keyed`] of breakers, bulkheads, budgets or hedges; made by [`Keyed::builder`]. For
/// limiters there is [`rate_limit::Builder::per_key`](crate::rate_limit::Builder::per_key).
#[must_use = "a builder does nothing until `.build()`"]
pub struct Builder<K: ?Sized + ToOwned + 'static, P> {
    name: Name,
    capacity: usize,
    make: Make<K, P>,
    anonymous: Option<P>,
    overflow: Option<P>,
    overflow_key: Cow<'static, K>,
    hasher: RandomState,
    shows_keys: bool,
    listeners: Listeners,
}

impl<K: ?Sized + Key, P: PerKey<Store<K> = Policies<K, P>>> Builder<K, P> {
    setters! {
        /// Sets the name, which is in events and in rejections of requests without a key. The default
        /// is `keyed` and the call site of the builder.
        name(name: impl Into<Name>) => name = name.into();

        /// Sets the most keys that have an entry of their own. The default is 10,000.
        capacity(capacity: usize) => capacity = capacity;

        /// Makes the events of a key's policy carry the [text](Key::text) of the key, as
        /// [`Event::key`]. By default they do not, because keys may be secrets. The text is made
        /// once, when the key is new.
        show_keys() => shows_keys = true;

        /// Sets the policy of requests without a key. The default is what `make` constructs for
        /// [`Key::anonymous`].
        anonymous(policy: impl Into<P>) => anonymous = Some(policy.into());

        /// Sets the policy that new keys share while every entry is in use. The default is what
        /// `make` constructs for [`Key::anonymous`].
        overflow(policy: impl Into<P>) => overflow = Some(policy.into());
    }

    /// Sets the key that `make` constructs the overflow policy for.
    #[cfg(feature = "tower")]
    pub(crate) fn overflow_for(mut self, key: Cow<'static, K>) -> Self {
        self.overflow_key = key;
        self
    }

    /// Sets what hashes the keys. The default is one of its own.
    #[cfg(feature = "tower")]
    pub(crate) fn hashed_by(mut self, hasher: RandomState) -> Self {
        self.hasher = hasher;
        self
    }

    /// Adds a listener for as long as the keyed policy lives. It receives
    /// [`EventKind::Overflow`](crate::event::EventKind::Overflow),
    /// [`EventKind::ConstructionFailed`](crate::event::EventKind::ConstructionFailed),
    /// [`EventKind::Keyless`](crate::event::EventKind::Keyless), and rejections of requests without a key. Events of the policies themselves go to the
    /// listeners that `make` gives them.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// Builds it, without any entry.
    ///
    /// # Errors
    /// If the capacity is not from 1 to 16,777,216, or if `make` fails for the anonymous key.
    pub fn build(self) -> Result<Keyed<K, P>, ConfigError> {
        let mut problems = Problems::default();
        check_capacity("capacity", self.capacity, &mut problems);
        let group = Group::new(P::KIND);
        let make = |key: &K| group.make(|| (self.make)(key));
        #[cfg(feature = "serde")]
        let has_made = (self.anonymous.is_none(), self.overflow.is_none());
        let anonymous = || make(&K::anonymous());
        let overflow = || make(&self.overflow_key);
        let made = || {
            let off = unlisted(P::off)?;
            let anonymous = self.anonymous.map_or_else(anonymous, Ok)?;
            Ok((off, anonymous, self.overflow.map_or_else(overflow, Ok)?))
        };
        let made: Result<_, ConfigError> = made();
        if let Err(error) = &made {
            problems.add(error);
        }
        problems.finish(&self.name)?;
        let (off, anonymous, overflow) = made?;
        let store = Policies {
            map: Map::new(self.capacity),
            name: self.name.clone(),
            make: self.make,
            overflow,
            listeners: self.listeners,
            group: Arc::clone(&group),
            shows_keys: self.shows_keys,
            mode: AtomicU8::new(NOT_SET),
            overflowed: AtomicU64::new(0),
            #[cfg(feature = "serde")]
            change: crate::sync::Mutex::default(),
            #[cfg(feature = "serde")]
            has_made,
        };
        let store = (self.hasher, store);
        let name = (self.name, group);
        Ok(Keyed::of(name, self.capacity, (anonymous, off), store))
    }
}

debug_fields!([K: ?Sized + ToOwned + 'static, P] Builder<K, P>, this: name = this.name, capacity = this.capacity);
