use std::error::Error as StdError;
use std::marker::PhantomData;

use super::error::Error;
use super::reason::Reason;

/// The error of a closure passed to `run`: it must be possible to check whether it is a rejection
/// by the library.
///
/// Implemented for every [`std::error::Error`], for boxed errors and reports (`anyhow`, `eyre`,
/// anything that is `AsRef<dyn Error + Send + Sync>`), for [`Error<E>`] of any of these, and for
/// text and unit. `Via` distinguishes these cases and is inferred.
///
/// For any other error type use `.map_err(..)` inside the closure, or implement `Fault<Opaque>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be checked for a rejection",
    label = "this error type is neither `std::error::Error`, nor boxed, nor text",
    note = "map it with `.map_err(..)` inside the closure, or implement `seawall::rejection::Fault<seawall::rejection::Opaque>` for it"
)]
pub trait Fault<Via> {
    /// The reason, if this error is itself a rejection (see [`Reason::of`]).
    fn reason(&self) -> Option<&Reason>;
}

/// [`Fault`] of a [`std::error::Error`].
#[derive(Debug)]
pub enum ByError {}
/// [`Fault`] of a boxed error or a report.
#[derive(Debug)]
pub enum ByReport {}
/// [`Fault`] of an [`Error<E>`] whose `E` is no [`std::error::Error`].
#[derive(Debug)]
pub struct Nested<Via>(PhantomData<Via>);
/// [`Fault`] of an error that cannot carry a rejection.
#[derive(Debug)]
pub enum Opaque {}

impl<E: StdError + 'static> Fault<ByError> for E {
    fn reason(&self) -> Option<&Reason> {
        Reason::of(self)
    }
}

impl<E: AsRef<dyn StdError + Send + Sync + 'static>> Fault<ByReport> for E {
    fn reason(&self) -> Option<&Reason> {
        Reason::of(self.as_ref())
    }
}

macro_rules! nested {
    ($inner:ty $(, $via:ident)?) => {
        impl<E: Fault<$inner> $(, $via)?> Fault<Nested<$inner>> for Error<E> {
            fn reason(&self) -> Option<&Reason> {
                match self {
                    Error::Rejected(rejection) => Some(rejection.reason()),
                    Error::Service(error) => error.reason(),
                }
            }
        }
    };
}

// Not for `ByError`: an `Error<E>` around a `std::error::Error` is one itself, and with two
// implementations `Via` could not be inferred.
nested!(ByReport);
nested!(Opaque);
nested!(Nested<Via>, Via);

macro_rules! opaque {
    ($($ty:ty),*) => {$(
        impl Fault<Opaque> for $ty {
            fn reason(&self) -> Option<&Reason> {
                None
            }
        }
    )*};
}

opaque!((), String, &str);
