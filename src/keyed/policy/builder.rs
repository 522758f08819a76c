//! Making policies per key.

use std::fmt;
use std::panic::Location;

use super::made::{Follow, Make, Policies, Single, Stored};
use super::{Keyed, Made};
use crate::config::{ConfigError, Name, Problems};
use crate::event::{Event, Listeners};
use crate::keyed::Key;
use crate::keyed::map::Map;
use crate::sync::AtomicU64;

/// More than anybody has memory for.
pub(super) const MOST_PLACES: usize = 1 << 24;

pub(crate) fn check_places(field: &str, capacity: usize, problems: &mut Problems) {
    let fits = (1..=MOST_PLACES).contains(&capacity);
    problems.check(fits, field, capacity, "from 1 to 16,777,216");
}

/// Makes a [`Keyed`] of breakers, bulkheads, budgets or hedges; made by [`Keyed::builder`].
#[must_use = "nothing is made before `.build()`"]
pub struct Builder<K: ?Sized + Key, P: Single> {
    name: Name,
    capacity: usize,
    make: Make<K, P>,
    anonymous: Option<P>,
    overflow: Option<P>,
    listeners: Listeners,
    follow: Option<Box<dyn Follow<P>>>,
}

impl<K, P> Keyed<K, P>
where
    K: ?Sized + Key,
    P: Single + Stored<Store<K> = Policies<K, P>>,
{
    /// A policy for each of `places` keys at most, made by `make` when a key is first seen.
    ///
    /// `make` also makes the policies of those who have no key and of those who find no place,
    /// with the [key of nobody](Key::nobody).
    ///
    /// # Errors
    /// If `places` is not from 1 to 16,777,216, and if `make` fails for nobody.
    #[track_caller]
    pub fn new<M>(
        capacity: usize,
        make: impl Fn(&K) -> M + Send + Sync + 'static,
    ) -> Result<Self, ConfigError>
    where
        M: Made<Policy = P>,
    {
        Self::builder(make).capacity(capacity).build()
    }

    /// As [`new`](Self::new), with options.
    #[track_caller]
    pub fn builder<M>(make: impl Fn(&K) -> M + Send + Sync + 'static) -> Builder<K, P>
    where
        M: Made<Policy = P>,
    {
        Builder {
            name: Name::at("keyed", Location::caller()),
            capacity: 10_000,
            make: Box::new(move |key| make(key).made()),
            anonymous: None,
            overflow: None,
            listeners: Listeners::default(),
            follow: None,
        }
    }

    /// The policy of this key, if it has one. Makes none.
    pub fn find(&self, key: &K) -> Option<P> {
        let hash = self.hash(key);
        self.0.store.map.find(hash, key)
    }

    /// Takes this key's place away from it; its policy, if it had one. Calls under way go on
    /// under that; the key's next call makes a new one.
    pub fn forget(&self, key: &K) -> Option<P> {
        let hash = self.hash(key);
        self.0.store.map.remove(hash, key)
    }

    /// All keys that have a policy, in no order: for a look at them, or to change them all. New
    /// keys go on having what is made for them.
    pub fn all(&self) -> Vec<(K::Owned, P)>
    where
        K::Owned: Clone,
    {
        self.0.store.map.all()
    }
}

impl<K, P> Builder<K, P>
where
    K: ?Sized + Key,
    P: Single + Stored<Store<K> = Policies<K, P>>,
{
    /// The name, in events; `keyed@` and the place of the builder if not set.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// How many keys have a policy of their own at most; 10,000 if not set.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// The policy of all who have no key, in place of the one that is made with the
    /// [key of nobody](Key::nobody).
    pub fn anonymous(mut self, policy: impl Into<P>) -> Self {
        self.anonymous = Some(policy.into());
        self
    }

    /// The policy that serves all who find no place because everybody's is in use, in place of
    /// the one that is made with the [key of nobody](Key::nobody).
    pub fn overflow(mut self, policy: impl Into<P>) -> Self {
        self.overflow = Some(policy.into());
        self
    }

    /// Adds a listener for as long as the keyed policy lives: it is told of
    /// [`EventKind::Overflow`](crate::event::EventKind::Overflow) and
    /// [`EventKind::ConstructionFailed`](crate::event::EventKind::ConstructionFailed), and of requests that are refused for
    /// want of a key. What the policies themselves tell is heard by listeners that are given to
    /// them when they are made.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// Keeps what is made in step with `follow`.
    #[cfg(feature = "tower")]
    pub(crate) fn following(mut self, follow: impl Follow<P> + 'static) -> Self {
        self.follow = Some(Box::new(follow));
        self
    }

    /// Makes it, with nobody in it.
    ///
    /// # Errors
    /// As [`Keyed::new`].
    pub fn build(self) -> Result<Keyed<K, P>, ConfigError> {
        let mut problems = Problems::default();
        check_places("capacity", self.capacity, &mut problems);
        let nobody = K::nobody();
        let mut made = || {
            let made = (self.make)(&nobody);
            made.map_err(|error| problems.add(&error)).ok()
        };
        let anonymous = self.anonymous.or_else(&mut made);
        let overflow = match anonymous {
            // Once is enough to say what is wrong.
            None => None,
            Some(_) => self.overflow.or_else(&mut made),
        };
        let skipped = overflow.as_ref().and_then(|_| made());
        problems.finish(&self.name)?;
        let (Some(anonymous), Some(overflow), Some(skipped)) = (anonymous, overflow, skipped)
        else {
            unreachable!("kind is not made is a problem");
        };
        skipped.switch_off();
        Ok(Keyed::made(Policies {
            map: Map::new(self.capacity),
            name: self.name,
            make: self.make,
            anonymous,
            overflow,
            skipped,
            listeners: self.listeners,
            follow: self.follow,
            overflowed: AtomicU64::new(0),
        }))
    }
}

impl<K: ?Sized + Key, P: Single> fmt::Debug for Builder<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
