use std::error::Error as StdError;
use std::marker::PhantomData;

use super::error::Error;

/// The error of a closure passed to `run`: its type and its sources can be looked at, for a
/// rejection by the library and for what the failure is.
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
    /// The error, if it can be looked at.
    fn error(&self) -> Option<&(dyn StdError + 'static)>;
}

/// [`Fault`] of a [`std::error::Error`].
#[derive(Debug)]
pub enum ByError {}
/// [`Fault`] of a boxed error or a report.
#[derive(Debug)]
pub enum ByReport {}
/// [`Fault`] of a `Box<dyn Error>` that is not `Send`.
#[derive(Debug)]
pub enum ByBox {}
/// [`Fault`] of an [`Error<E>`] whose `E` is no [`std::error::Error`].
#[derive(Debug)]
pub struct Nested<Via>(PhantomData<Via>);
/// [`Fault`] of an error that cannot carry a rejection.
#[derive(Debug)]
pub enum Opaque {}

impl<E: StdError + 'static> Fault<ByError> for E {
    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

impl<E: AsRef<dyn StdError + Send + Sync + 'static>> Fault<ByReport> for E {
    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.as_ref())
    }
}

impl Fault<ByBox> for Box<dyn StdError> {
    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self)
    }
}

macro_rules! nested {
    ($inner:ty $(, $via:ident)?) => {
        impl<E: Fault<$inner> $(, $via)?> Fault<Nested<$inner>> for Error<E> {
            fn error(&self) -> Option<&(dyn StdError + 'static)> {
                match self {
                    Error::Rejected(rejection) => Some(rejection),
                    Error::Service(error) => error.error(),
                }
            }
        }
    };
}

// Not for `ByError`: an `Error<E>` around a `std::error::Error` is one itself, and with two
// implementations `Via` could not be inferred.
nested!(ByReport);
nested!(ByBox);
nested!(Opaque);
nested!(Nested<Via>, Via);

macro_rules! opaque {
    ($($ty:ty),*) => {$(
        impl Fault<Opaque> for $ty {
            fn error(&self) -> Option<&(dyn StdError + 'static)> {
                None
            }
        }
    )*};
}

opaque!((), String, &str);
