use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;

use super::{Error, Reason, Rejection};

/// An error type that can carry a [`Rejection`].
///
/// Implemented for boxed errors, [`std::io::Error`], [`Rejection`] and [`Error<E>`]; your own
/// enum joins with one line of [`carrier!`](crate::carrier).
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot carry a rejection",
    label = "the service's error has no place for kind a layer refuses",
    note = "put `.map_err(seawall::Error::service)` at the bottom of the stack, or give your own enum a variant and write `seawall::carrier!({Self}::Rejected);`",
    note = "a service that never fails and answers with `http::Response<B>` needs the feature `http` and `B: Default`: re-box a body without one, or use `.respond(..)` on the layer"
)]
pub trait Carrier: Sized {
    /// The error that carries `rejection`.
    fn carry(rejection: Rejection) -> Self;

    /// What [`carry`](Self::carry) put in, if this is such an error.
    fn reason(&self) -> Option<&Reason>;
}

macro_rules! boxed {
    ($($bound:tt)*) => {
        // For every 'a: a bound on 'static alone keeps `spawn` from seeing that a future that
        // holds such an error is `Send`.
        impl<'a> Carrier for Box<dyn StdError $($bound)* + 'a> {
            fn carry(rejection: Rejection) -> Self {
                rejection.into()
            }

            fn reason(&self) -> Option<&Reason> {
                self.source()?.downcast_ref()
            }
        }
    };
}

boxed!(+ Send + Sync);
boxed!();

impl Carrier for Rejection {
    fn carry(rejection: Rejection) -> Self {
        rejection
    }

    fn reason(&self) -> Option<&Reason> {
        Some(Rejection::reason(self))
    }
}

impl Carrier for io::Error {
    fn carry(rejection: Rejection) -> Self {
        Self::other(rejection)
    }

    fn reason(&self) -> Option<&Reason> {
        Reason::of(self)
    }
}

impl<E> Carrier for Error<E> {
    fn carry(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }

    fn reason(&self) -> Option<&Reason> {
        self.rejection().map(Rejection::reason)
    }
}

/// Makes an enum of yours carry rejections in one of its variants.
///
/// ```
/// use seawall::{RateLimiter, Reason, Rejection};
///
/// #[derive(Debug, thiserror::Error)]
/// enum ApiError {
///     #[error(transparent)]
///     Rejected(#[from] Rejection),
///     #[error("no such page")]
///     NotFound,
/// }
///
/// seawall::carrier!(ApiError::Rejected);
///
/// fn page(limiter: &RateLimiter) -> Result<u32, ApiError> {
///     limiter.try_acquire()?; // By `#[from]`.
///     Err(ApiError::NotFound)
/// }
///
/// let limiter = RateLimiter::per_day(1);
/// assert!(matches!(page(&limiter), Err(ApiError::NotFound)));
/// let refused: Box<dyn std::error::Error> = page(&limiter).unwrap_err().into();
/// assert!(Reason::of(&*refused).is_some()); // By `transparent`.
/// ```
///
/// A type in another module is written `carrier!(api::Error, Rejected)`; a generic one needs a
/// [`Carrier`](crate::rejection::Carrier) by hand. For the rejection to be found again after the enum was boxed, `source()` of that
/// variant has to be the rejection's own, as `transparent` makes it. What `run` returns becomes
/// the enum again with [`Error::into_carrier`](crate::Error::into_carrier).
#[macro_export]
macro_rules! carrier {
    ($ty:ident :: $variant:ident) => {
        $crate::carrier!($ty, $variant);
    };
    ($ty:ty, $variant:ident) => {
        impl $crate::rejection::Carrier for $ty {
            fn carry(rejection: $crate::Rejection) -> Self {
                Self::$variant(rejection)
            }

            fn reason(&self) -> ::core::option::Option<&$crate::Reason> {
                match self {
                    Self::$variant(rejection) => ::core::option::Option::Some(rejection.reason()),
                    #[allow(unreachable_patterns)]
                    _ => ::core::option::Option::None,
                }
            }
        }
    };
}

/// The error of a service, asked whether it is a refusal of the library's own.
///
/// The error itself is asked, never the layer that asks: a layer with a `.respond(..)` of its
/// own still knows the refusals of the layers below.
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot be asked whether it is a rejection",
    label = "a layer that judges outcomes must tell the library's refusals from the service's failures",
    note = "put `.map_err(seawall::Error::service)` at the bottom of the stack, or give your own enum a variant and write `seawall::carrier!({Self}::Rejected);`"
)]
pub trait Recognize {
    /// The reason, if this error is itself a rejection.
    fn recognize(&self) -> Option<&Reason>;
}

impl<E: Carrier> Recognize for E {
    fn recognize(&self) -> Option<&Reason> {
        self.reason()
    }
}

impl Recognize for Infallible {
    fn recognize(&self) -> Option<&Reason> {
        match *self {}
    }
}
