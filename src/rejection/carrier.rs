#[cfg(feature = "tower")]
use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;

use super::reason::{Reason, Rejection, with_causes};

/// An error type that can carry a [`Rejection`].
///
/// Implemented for boxed errors, [`std::io::Error`], [`Rejection`] and
/// [`Error<E>`](crate::Error). Your own enum becomes one with one line of
/// [`carrier!`](crate::carrier).
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot carry a rejection",
    label = "the error has no variant for a rejection by a layer",
    note = "put `.map_err(seawall::Error::service)` at the bottom of the stack, or give your own enum a variant and write `seawall::carrier!({Self}::Rejected);`",
    note = "a service with `Infallible` and `http::Response<B>` needs the feature `http` and `B: Default`; re-box a body without `Default`, or use `.respond(..)` on the layer"
)]
pub trait Carrier: Sized {
    /// Makes an error from `rejection`.
    fn carry(rejection: Rejection) -> Self;

    /// The reason, if this error was made by [`carry`](Self::carry).
    fn reason(&self) -> Option<&Reason>;

    /// The error, as far as it can be looked at: a rejection in its source chain is found, and
    /// [`by_source`](crate::classify::by_source) knows what the failure is. `None` by default.
    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        None
    }

    /// The text of the error, for what tripped a breaker. That of [`error`](Self::error) and of its
    /// causes by default.
    fn text(&self) -> Option<String> {
        self.error().map(with_causes)
    }
}

macro_rules! boxed {
    ($($bound:tt)*) => {
        // For every 'a: with 'static alone, `spawn` does not see that a future which holds such
        // an error is `Send`.
        impl<'a> Carrier for Box<dyn StdError $($bound)* + 'a> {
            fn carry(rejection: Rejection) -> Self {
                rejection.into()
            }

            fn reason(&self) -> Option<&Reason> {
                self.source()?.downcast_ref()
            }

            // Not the error itself, which lives for 'a.
            fn error(&self) -> Option<&(dyn StdError + 'static)> {
                self.source()
            }

            fn text(&self) -> Option<String> {
                Some(with_causes(&**self))
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

    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

impl Carrier for io::Error {
    fn carry(rejection: Rejection) -> Self {
        Self::other(rejection)
    }

    fn reason(&self) -> Option<&Reason> {
        Reason::of(self)
    }

    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

/// What [`carrier!`](crate::carrier) sees of an enum: all of it if it is an error. The compiler
/// takes the first of the two methods for which it adds no reference.
#[doc(hidden)]
#[allow(missing_docs)]
pub mod look {
    use std::error::Error as StdError;

    #[derive(Debug)]
    pub struct Look<'e, E>(pub &'e E);

    pub trait OfError<'e> {
        fn error(&self) -> Option<&'e (dyn StdError + 'static)>;
    }

    impl<'e, E: StdError + 'static> OfError<'e> for Look<'e, E> {
        fn error(&self) -> Option<&'e (dyn StdError + 'static)> {
            Some(self.0)
        }
    }

    pub trait Any<'e> {
        fn error(&self) -> Option<&'e (dyn StdError + 'static)>;
    }

    impl<'e, E> Any<'e> for &Look<'e, E> {
        fn error(&self) -> Option<&'e (dyn StdError + 'static)> {
            None
        }
    }
}

/// An error of a service that can be distinguished from a rejection by the library: every
/// [`Carrier`], and `Infallible`.
///
/// The error itself is checked, so a layer with a `.respond(..)` recognizes the rejections of the
/// layers below.
#[cfg(feature = "tower")]
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot be distinguished from a rejection",
    label = "a layer that classifies outcomes must distinguish the library's rejections from the service's failures",
    note = "put `.map_err(seawall::Error::service)` at the bottom of the stack, or give your own enum a variant and write `seawall::carrier!({Self}::Rejected);`"
)]
pub trait Recognize {
    /// The reason, if this error is itself a rejection.
    fn recognize(&self) -> Option<&Reason>;

    /// The error, as far as it can be looked at.
    fn look(&self) -> Option<&(dyn StdError + 'static)>;

    /// The text of the error.
    fn text(&self) -> Option<String>;
}

#[cfg(feature = "tower")]
impl<E: Carrier> Recognize for E {
    fn recognize(&self) -> Option<&Reason> {
        self.reason()
    }

    fn look(&self) -> Option<&(dyn StdError + 'static)> {
        self.error()
    }

    fn text(&self) -> Option<String> {
        Carrier::text(self)
    }
}

#[cfg(feature = "tower")]
impl Recognize for Infallible {
    fn text(&self) -> Option<String> {
        match *self {}
    }

    fn recognize(&self) -> Option<&Reason> {
        match *self {}
    }

    fn look(&self) -> Option<&(dyn StdError + 'static)> {
        match *self {}
    }
}
