//! How a layer gets the policy of a request.

use std::borrow::Borrow;
use std::fmt;

use super::per_key::{PerKey, Picked};
use super::{Key, Keyed};
use crate::rejection::{Rejection, RejectionKind};

/// What a layer takes: a policy, a reference to one, or a [`ByKey`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `{P}`, and not one per key",
    label = "expected a `{P}`, a reference to one, or one per key",
    note = "make the policy first, and give the layer a reference to it",
    note = "a keyed policy needs the way to a request's key: `.by(|request: &Request<_>| ..)`"
)]
pub trait IntoSource<P> {
    /// What the layer keeps.
    type Source;

    /// Converts into what the layer keeps.
    fn into_source(self) -> Self::Source;

    /// The policy of every request, if there is one for all.
    #[doc(hidden)]
    fn fixed(&self) -> Option<&P>;
}

/// Gives the policy of each request: a policy gives itself, a [`ByKey`] that of the request's
/// key.
pub trait Source<Req: ?Sized, P: PerKey>: IntoSource<P> {
    /// The policy of this request.
    ///
    /// # Errors
    /// If the request has no key and is rejected for that.
    #[doc(hidden)]
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection>;
}

impl<P: PerKey> IntoSource<P> for P {
    type Source = P;

    fn into_source(self) -> P {
        self
    }

    #[inline]
    fn fixed(&self) -> Option<&P> {
        Some(self)
    }
}

impl<P: PerKey> IntoSource<P> for &P {
    type Source = P;

    fn into_source(self) -> P {
        self.clone()
    }

    fn fixed(&self) -> Option<&P> {
        Some(self)
    }
}

impl<K: ?Sized + Key, P: PerKey, F> IntoSource<P> for ByKey<K, P, F> {
    type Source = Self;

    fn into_source(self) -> Self {
        self
    }

    #[inline]
    fn fixed(&self) -> Option<&P> {
        None
    }
}

impl<Req: ?Sized, P: PerKey> Source<Req, P> for P {
    #[inline]
    fn pick(&self, _: &Req) -> Result<Picked<'_, P>, Rejection> {
        Ok(Picked::Shared(self))
    }
}

impl<K, P, F, Req> Source<Req, P> for ByKey<K, P, BorrowedKey<F>>
where
    K: ?Sized + Key,
    P: PerKey,
    Req: ?Sized,
    F: Fn(&Req) -> Option<&K>,
{
    #[inline]
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection> {
        self.pick_key((self.key.0)(request))
    }
}

impl<K, P, F, Req> Source<Req, P> for ByKey<K, P, OwnedKey<F>>
where
    K: ?Sized + Key,
    P: PerKey,
    Req: ?Sized,
    F: Fn(&Req) -> Option<K::Owned>,
{
    #[inline]
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection> {
        let key = (self.key.0)(request);
        self.pick_key(key.as_ref().map(Borrow::borrow))
    }
}

/// A keyed policy with the way to a request's key: what a layer takes instead of a policy. Made
/// by [`Keyed::by`] and [`Keyed::by_value`].
///
/// All requests without a key share the [anonymous policy](Keyed::anonymous), unless one of the
/// `or` methods configures something else. They are counted by [`Keyed::keyless`] and emitted as
/// [`EventKind::Keyless`](crate::event::EventKind::Keyless), and in debug builds the first one is
/// a warning of `tracing`, because a forgotten key is one limit for all.
pub struct ByKey<K: ?Sized + Key, P: PerKey, F> {
    keyed: Keyed<K, P>,
    key: F,
    keyless: Keyless<P>,
}

/// What happens to a request without a key.
#[derive(Clone)]
enum Keyless<P> {
    Anonymous,
    Skip,
    Reject(RejectionKind),
    Other(P),
}

/// A key that is borrowed from the request.
#[derive(Clone, Copy)]
pub struct BorrowedKey<F>(F);

/// A key that is computed from the request.
#[derive(Clone, Copy)]
pub struct OwnedKey<F>(F);

impl<K: ?Sized + Key, P: PerKey> Keyed<K, P> {
    /// For a layer, instead of a policy: each request gets the policy of its key, which `key`
    /// borrows from the request. None is a request without a key; [`ByKey`] has the options for
    /// these.
    ///
    #[cfg_attr(all(feature = "http", feature = "tower"), doc = "```")]
    #[cfg_attr(not(all(feature = "http", feature = "tower")), doc = "```ignore")]
    /// use axum::{Router, http::Request, routing::get};
    /// use seawall::{Keyed, Quota, ServerStack};
    ///
    /// let per_client = Keyed::<str, _>::limit(10_000, Quota::per_second(10))?;
    /// let stack = ServerStack::http("api", 200).rate_limit(per_client.by(|request: &Request<_>| {
    ///     request.headers().get("x-api-key")?.to_str().ok()
    /// }));
    /// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(stack);
    /// # let _ = app;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    ///
    /// `&Request<_>`, or `fn key<B>(request: &Request<B>) -> Option<&str>`, leaves the type of the body
    /// open: the layers of a stack over HTTP see the body of a request in a wrapper.
    pub fn by<Req, F>(&self, key: F) -> ByKey<K, P, BorrowedKey<F>>
    where
        F: Fn(&Req) -> Option<&K>,
    {
        ByKey::new(self.clone(), BorrowedKey(key))
    }

    /// For a layer, like [`by`](Self::by), with a key that `key` computes from the request, such
    /// as an address.
    pub fn by_value<Req, F>(&self, key: F) -> ByKey<K, P, OwnedKey<F>>
    where
        F: Fn(&Req) -> Option<K::Owned>,
    {
        ByKey::new(self.clone(), OwnedKey(key))
    }

    /// For a layer, with a way to the key that is a type and implements [`Source`](super::Source).
    #[cfg(feature = "tower")]
    pub(crate) fn by_type<F>(&self, key: F) -> ByKey<K, P, F> {
        ByKey::new(self.clone(), key)
    }
}

impl<K: ?Sized + Key, P: PerKey, F> ByKey<K, P, F> {
    fn new(keyed: Keyed<K, P>, key: F) -> Self {
        Self {
            keyed,
            key,
            keyless: Keyless::Anonymous,
        }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn keyed(&self) -> &Keyed<K, P> {
        &self.keyed
    }

    /// Lets requests without a key pass, as if there were no policy.
    #[must_use]
    pub fn or_skip(mut self) -> Self {
        self.keyless = Keyless::Skip;
        self
    }

    /// Rejects requests without a key, with
    /// [`RejectionKind::NoKey`](crate::RejectionKind::NoKey). The mode applies: that of all keys
    /// of a limiter, else that of the anonymous policy. For budgets and hedges, which reject
    /// nothing, this does not compile.
    #[must_use]
    pub fn or_reject(mut self) -> Self {
        const { assert!(P::REJECTS, "a budget or a hedge rejects nothing") };
        self.keyless = Keyless::Reject(RejectionKind::NoKey);
        self
    }

    /// Rejects requests without a key with this kind, if the policy rejects at all: for a key that
    /// every request must have.
    #[cfg(all(feature = "http", feature = "tower"))]
    pub(crate) fn must_have_key(mut self, otherwise: RejectionKind) -> Self {
        if P::REJECTS {
            self.keyless = Keyless::Reject(otherwise);
        }
        self
    }

    /// The way to a request's key.
    #[cfg(feature = "tower")]
    pub(crate) fn key(&self) -> &F {
        &self.key
    }

    /// Whether requests without a key are rejected.
    #[cfg(all(feature = "http", feature = "tower"))]
    pub(crate) fn rejects_keyless(&self) -> bool {
        matches!(self.keyless, Keyless::Reject(_))
    }

    /// Puts all requests without a key under `policy`.
    #[must_use]
    pub fn or(mut self, policy: impl Into<P>) -> Self {
        self.keyless = Keyless::Other(policy.into());
        self
    }

    /// The policy of a request with this key.
    #[inline]
    pub(crate) fn pick_key(&self, key: Option<&K>) -> Result<Picked<'_, P>, Rejection> {
        match key {
            Some(key) => Ok(self.keyed.pick(key)),
            None => self.pick_keyless(),
        }
    }

    #[cold]
    fn pick_keyless(&self) -> Result<Picked<'_, P>, Rejection> {
        self.keyed.note_keyless();
        let policy = match &self.keyless {
            Keyless::Anonymous => self.keyed.anonymous(),
            Keyless::Skip => self.keyed.off(),
            Keyless::Reject(kind) => {
                self.keyed.reject_keyless(*kind)?;
                self.keyed.off()
            }
            Keyless::Other(policy) => policy,
        };
        Ok(Picked::Shared(policy))
    }
}

impl<K: ?Sized + Key, P: PerKey, F: Clone> Clone for ByKey<K, P, F> {
    fn clone(&self) -> Self {
        Self {
            keyed: self.keyed.clone(),
            key: self.key.clone(),
            keyless: self.keyless.clone(),
        }
    }
}

impl<K: ?Sized + Key, P: PerKey, F> fmt::Debug for ByKey<K, P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyless = match self.keyless {
            Keyless::Anonymous => "anonymous",
            Keyless::Skip => "skip",
            Keyless::Reject(_) => "reject",
            Keyless::Other(_) => "another policy",
        };
        f.debug_struct("ByKey")
            .field("keyed", &self.keyed)
            .field("without_key", &keyless)
            .finish_non_exhaustive()
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

opaque_debug!(BorrowedKey, OwnedKey);
