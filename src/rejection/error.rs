use std::error::Error as StdError;
use std::fmt;

use super::{Carrier, Reason, Rejection};

/// Either a refusal of the library's or an error of the service's.
///
/// What `run` returns, and the error of services whose own error type cannot carry a rejection,
/// such as `hyper::Error`: apply [`Error::service`] once with `.map_err(..)` at the bottom of the
/// stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The library refused the call or cut it short.
    Rejected(Rejection),
    /// The call was made, and this is its error.
    Service(E),
}

impl<E> Error<E> {
    /// Wraps an error of the service; the function to hand to `.map_err(..)`, below every layer
    /// of this crate: what it wraps is the service's error, also if that is a refusal.
    pub fn service(error: E) -> Self {
        Self::Service(error)
    }

    /// The refusal, if it is one. Of a `run` within a `run` this is the outer one's; see
    /// [`flatten`](Error::flatten).
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Service(_) => None,
        }
    }

    /// The service's error, or the refusal if there is none.
    pub fn into_service(self) -> Result<E, Rejection> {
        match self {
            Self::Rejected(rejection) => Err(rejection),
            Self::Service(error) => Ok(error),
        }
    }
}

impl<E> Error<Error<E>> {
    /// The error of a `run` within a `run` in one level.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    /// use seawall::{CircuitBreaker, Timeout};
    ///
    /// let breaker = CircuitBreaker::new("disk");
    /// let timeout = Timeout::new(Duration::from_millis(1));
    /// let never = std::future::pending::<Result<u32, std::io::Error>>;
    /// let error = breaker.run(|| timeout.run(never)).await.unwrap_err().flatten();
    /// assert!(error.rejection().is_some());
    /// # }
    /// ```
    pub fn flatten(self) -> Error<E> {
        match self {
            Self::Rejected(rejection) => Error::Rejected(rejection),
            Self::Service(error) => error,
        }
    }
}

impl<E: Carrier> Error<E> {
    /// As the error of the call, which carries a refusal itself.
    pub fn into_carrier(self) -> E {
        match self {
            Self::Rejected(rejection) => E::carry(rejection),
            Self::Service(error) => error,
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> Error<E> {
    /// As a boxed error, of which a refusal is found again by [`Reason::of`]: for `?` in a
    /// function that returns one, where `E` is itself boxed or a report and so no
    /// [`std::error::Error`].
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// # fn run() -> Result<(), seawall::Error<Box<dyn Error + Send + Sync>>> { Ok(()) }
    /// fn call() -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     run().map_err(seawall::Error::boxed)?;
    ///     Ok(())
    /// }
    /// # call().unwrap();
    /// ```
    pub fn boxed(self) -> Box<dyn StdError + Send + Sync> {
        match self {
            Self::Rejected(rejection) => rejection.into(),
            Self::Service(error) => error.into(),
        }
    }
}

impl<E> From<Rejection> for Error<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => fmt::Display::fmt(rejection, f),
            Self::Service(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    /// A rejection stays recognisable at any depth of these wrappers; any other service error
    /// is the source, so that it can be downcast.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Rejected(rejection) => rejection.source(),
            Self::Service(error) => match error.source() {
                Some(source) if source.is::<Reason>() => Some(source),
                _ => Some(error),
            },
        }
    }
}
