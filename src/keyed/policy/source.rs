//! How a layer comes to the policy of a request.

use std::fmt;

use super::{Keyed, PerKey, Refuses};
use crate::keyed::Key;
use crate::keyed::policy::made::Store;
use crate::rate_limit::table::KeyHandle;
use crate::rejection::Rejection;

/// Where a layer has the policy of a request from: a policy is its own, for every request, and
/// [`ByKey`] has one for each key.
pub trait Source<Req: ?Sized, P>: Fixed<P> {
    /// The policy of this request.
    ///
    /// # Errors
    /// If it has no key, and is to be refused for that.
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection>;
}

/// What is known of a [`Source`] without a request.
pub trait Fixed<P> {
    /// The policy of every request, if it is one for all.
    fn fixed(&self) -> Option<&P>;
}

/// What a layer takes: a policy, a reference to one, or a [`ByKey`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `{P}`, nor one per key",
    note = "a keyed policy needs the way to a request's key: `.by(|request: &Request| ..)`"
)]
pub trait IntoSource<P> {
    /// What the layer keeps.
    type Source;

    /// What the layer keeps.
    fn into_source(self) -> Self::Source;
}

impl<P: PerKey> IntoSource<P> for P {
    type Source = P;

    fn into_source(self) -> P {
        self
    }
}

impl<P: PerKey> IntoSource<P> for &P {
    type Source = P;

    fn into_source(self) -> P {
        self.clone()
    }
}

impl<K: ?Sized + Key, P: PerKey, F> IntoSource<P> for ByKey<K, P, F> {
    type Source = Self;

    fn into_source(self) -> Self {
        self
    }
}

/// The policy of one request.
pub struct Picked<'a, P> {
    policy: Held<'a, P>,
    place: Option<KeyHandle>,
}

pub(super) enum Held<'a, P> {
    Lent(&'a P),
    Own(P),
}

impl<'a, P> Picked<'a, P> {
    pub(super) fn new(policy: Held<'a, P>, place: Option<KeyHandle>) -> Self {
        Self { policy, place }
    }

    #[inline]
    fn lent(policy: &'a P) -> Self {
        Self::new(Held::Lent(policy), None)
    }

    /// What serves the request, perhaps with others, and which of its places is the request's.
    #[inline]
    pub(crate) fn parts(&self) -> (&P, Option<KeyHandle>) {
        let policy = match &self.policy {
            Held::Lent(policy) => policy,
            Held::Own(policy) => policy,
        };
        (policy, self.place)
    }
}

impl<P: PerKey> Picked<'_, P> {
    /// A handle to it.
    #[inline]
    pub(crate) fn into_policy(self) -> P {
        let policy = match self.policy {
            Held::Lent(policy) => policy.clone(),
            Held::Own(policy) => policy,
        };
        policy.at(self.place)
    }
}

impl<P: PerKey> fmt::Debug for Picked<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Picked(..)")
    }
}

impl<P: PerKey> Fixed<P> for P {
    #[inline]
    fn fixed(&self) -> Option<&P> {
        Some(self)
    }
}

impl<Req: ?Sized, P: PerKey> Source<Req, P> for P {
    #[inline]
    fn pick(&self, _: &Req) -> Result<Picked<'_, P>, Rejection> {
        Ok(Picked::lent(self))
    }
}

/// A keyed policy with the way to a request's key: what a layer takes in place of a policy. Made
/// by [`Keyed::by`] and [`Keyed::by_value`].
///
/// A request without a key has the [anonymous policy](Keyed::anonymous), which is one for all of
/// them, unless one of the `or_` methods says otherwise.
pub struct ByKey<K: ?Sized + Key, P: PerKey, F> {
    keyed: Keyed<K, P>,
    key: F,
    without: Without<P>,
}

/// What becomes of a request without a key.
#[derive(Clone)]
enum Without<P> {
    Anonymous,
    Skipped,
    Refused,
    Other(P),
}

impl<K: ?Sized + Key, P: PerKey, F> ByKey<K, P, F> {
    pub(super) fn new(keyed: Keyed<K, P>, key: F) -> Self {
        Self {
            keyed,
            key,
            without: Without::Anonymous,
        }
    }

    /// Lets requests without a key pass, as if there were no policy.
    #[must_use]
    pub fn or_skip(mut self) -> Self {
        self.without = Without::Skipped;
        self
    }

    /// Refuses requests without a key, with [`RejectionKind::NoKey`](crate::RejectionKind::NoKey), unless all keys
    /// have a limiter whose [mode](Keyed::mode) refuses nothing. Not for budgets and hedges,
    /// which refuse nothing.
    #[must_use]
    pub fn or_refuse(mut self) -> Self
    where
        P: Refuses,
    {
        self.without = Without::Refused;
        self
    }

    /// Puts all requests without a key under `policy`.
    #[must_use]
    pub fn or(mut self, policy: impl Into<P>) -> Self {
        self.without = Without::Other(policy.into());
        self
    }

    #[cold]
    fn without(&self) -> Result<Picked<'_, P>, Rejection> {
        Ok(Picked::lent(match &self.without {
            Without::Anonymous => self.keyed.anonymous(),
            Without::Skipped => self.keyed.0.store.skipped(),
            Without::Refused => {
                self.keyed.refuse()?;
                self.keyed.0.store.skipped()
            }
            Without::Other(policy) => policy,
        }))
    }
}

impl<K: ?Sized + Key, P: PerKey, F> Fixed<P> for ByKey<K, P, F> {
    fn fixed(&self) -> Option<&P> {
        None
    }
}

impl<K, P, F, Req> Source<Req, P> for ByKey<K, P, F>
where
    K: ?Sized + Key,
    P: PerKey,
    F: KeyOf<Req, K>,
{
    #[inline]
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection> {
        let picked = self.key.with_key(request, |key| self.keyed.pick(key));
        match picked {
            Some(picked) => Ok(picked),
            None => self.without(),
        }
    }
}

impl<K: ?Sized + Key, P: PerKey, F: Clone> Clone for ByKey<K, P, F> {
    fn clone(&self) -> Self {
        Self {
            keyed: self.keyed.clone(),
            key: self.key.clone(),
            without: self.without.clone(),
        }
    }
}

impl<K: ?Sized + Key, P: PerKey, F> fmt::Debug for ByKey<K, P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = match self.without {
            Without::Anonymous => "anonymous",
            Without::Skipped => "skipped",
            Without::Refused => "refused",
            Without::Other(_) => "under another policy",
        };
        f.debug_struct("ByKey")
            .field("keyed", &self.keyed)
            .field("without_key", &without)
            .finish_non_exhaustive()
    }
}

/// The way from a request to its key.
pub trait KeyOf<Req: ?Sized, K: ?Sized> {
    /// What `use_key` makes of the key; none if there is no key.
    fn with_key<T>(&self, request: &Req, use_key: impl FnOnce(&K) -> T) -> Option<T>;
}

/// A key that is borrowed from the request.
#[derive(Clone, Copy)]
pub struct RequestKey<F>(pub(super) F);

impl<Req: ?Sized, K: ?Sized, F: Fn(&Req) -> Option<&K>> KeyOf<Req, K> for RequestKey<F> {
    #[inline]
    fn with_key<T>(&self, request: &Req, use_key: impl FnOnce(&K) -> T) -> Option<T> {
        (self.0)(request).map(use_key)
    }
}

/// A key that is made of the request.
#[derive(Clone, Copy)]
pub struct OwnedKey<F>(pub(super) F);

impl<Req, K, F> KeyOf<Req, K> for OwnedKey<F>
where
    Req: ?Sized,
    K: ?Sized + Key,
    F: Fn(&Req) -> Option<K::Owned>,
{
    #[inline]
    fn with_key<T>(&self, request: &Req, use_key: impl FnOnce(&K) -> T) -> Option<T> {
        let key = (self.0)(request)?;
        Some(use_key(std::borrow::Borrow::borrow(&key)))
    }
}

macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl<F> fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

opaque_debug!(RequestKey, OwnedKey);
