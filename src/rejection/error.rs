use std::error::Error as StdError;
use std::fmt;

use super::carrier::Carrier;
use super::reason::{Reason, Rejection};

/// A rejection by the library, or an error of the service.
///
/// `run` returns it. It is also the error of services whose own error type cannot carry a
/// rejection, such as `hyper::Error`: put `.map_err(`[`Error::service`]`)` once at the bottom of
/// the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The library rejected the call or cut it short.
    Rejected(Rejection),
    /// The call was made, and this is its error.
    Service(E),
}

impl<E> Error<E> {
    /// Wraps an error of the service. Pass this function to `.map_err(..)`, below every layer of
    /// this crate.
    pub fn service(error: E) -> Self {
        Self::Service(error)
    }

    /// The rejection, if it is one. For a `run` inside a `run` this is the outer rejection; see
    /// [`flatten`](Error::flatten).
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Service(_) => None,
        }
    }

    /// The service's error.
    ///
    /// # Errors
    /// The rejection, if it is one.
    pub fn into_service(self) -> Result<E, Rejection> {
        match self {
            Self::Rejected(rejection) => Err(rejection),
            Self::Service(error) => Ok(error),
        }
    }
}

impl<E> Error<Error<E>> {
    /// Turns the error of a `run` inside a `run` into one level.
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
    /// Turns a rejection into an error of the service, which can carry it.
    pub fn into_carrier(self) -> E {
        match self {
            Self::Rejected(rejection) => E::carry(rejection),
            Self::Service(error) => error,
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> Error<E> {
    /// Boxes the error; [`Reason::of`] still finds a rejection in it. Use it for `?` where `E` is
    /// itself a boxed error or a report, and so not a [`std::error::Error`].
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

impl<E: StdError + 'static> Carrier for Error<E> {
    fn carry(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }

    fn reason(&self) -> Option<&Reason> {
        self.rejection().map(Rejection::reason)
    }

    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

impl<E> From<Error<Error<E>>> for Error<E> {
    /// [`flatten`](Error::flatten), so that `?` does it.
    fn from(nested: Error<Error<E>>) -> Self {
        nested.flatten()
    }
}

impl<E> From<Rejection> for Error<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

// By hand: a derived `source` cannot depend on the error's own source.
impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => fmt::Display::fmt(rejection, f),
            Self::Service(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    /// A rejection is recognized through any number of these wrappers. Any other service error is
    /// the source itself, so that it can be downcast.
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
