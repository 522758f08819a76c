use std::error::Error as StdError;
use std::marker::PhantomData;

use super::{Error, Reason};

/// An error that can say whether it is a refusal of the library's own: what `run` asks of the
/// closure's error.
///
/// Nearly every error type is one: what implements [`std::error::Error`], the boxed and reported
/// ones (`Box<dyn Error + Send + Sync>`, and what else lends itself as `dyn Error + Send + Sync`,
/// like `anyhow` and `eyre`), [`Error<E>`] of any of them, text and unit. `Via` tells these apart
/// and is inferred.
///
/// For an error type that is none of these, use a closure over `.map_err(..)`, or implement
/// `Fault<Opaque>` for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked whether it is a rejection",
    label = "this error type is neither `std::error::Error`, nor boxed, nor text",
    note = "map it with `.map_err(..)` inside the closure, or implement `seawall::rejection::Fault<seawall::rejection::Opaque>` for it"
)]
pub trait Fault<Via> {
    /// The reason, if this error is itself a rejection (see [`Reason::of`]).
    fn reason(&self) -> Option<&Reason>;
}

/// [`Fault`] of an error type.
#[derive(Debug)]
pub enum ByError {}
/// [`Fault`] of a boxed error or a report.
#[derive(Debug)]
pub enum ByReport {}
/// [`Fault`] of [`Error<E>`] around what is no `std::error::Error` itself.
#[derive(Debug)]
pub struct Nested<Via>(PhantomData<Via>);
/// [`Fault`] of what can carry no rejection.
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

// Not for every `Via`: an `Error<E>` around a `std::error::Error` is one already, and two ways
// would leave the compiler none.
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
