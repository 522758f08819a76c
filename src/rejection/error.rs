use std::error::Error as StdError;
use std::fmt;

use super::carrier::Carrier;
use super::reason::{Reason, Rejection, with_causes};

/// A rejection by the library, or an error of the service.
///
/// `run` returns it. It is also the error of services whose own error type cannot carry a
/// rejection, such as `hyper::Error`: put `.map_err(`[`Error::service`]`)` once at the bottom of
/// the stack.
///
/// Print it with `{:#}`, as a report: `{}` says of an error of the service only that the call failed.
///
/// ```
/// use std::io;
/// use seawall::Error;
///
/// let error = Error::service(io::Error::other("connection lost"));
/// assert_eq!(format!("{error}"), "call failed");
/// assert_eq!(format!("{error:#}"), "call failed: connection lost");
/// ```
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

    /// Turns it into an error of yours, which takes both. Where `E` is a
    /// [`std::error::Error`], `?` into a boxed error or a report needs no call.
    ///
    /// ```
    /// use seawall::{CircuitBreaker, Rejection};
    /// # mod sqlx { pub type Error = std::io::Error; }
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum AppError {
    ///     #[error("query failed")]
    ///     Query(#[from] sqlx::Error),
    ///     #[error(transparent)]
    ///     Rejected(#[from] Rejection),
    /// }
    ///
    /// async fn count(rows: &CircuitBreaker) -> Result<u32, AppError> {
    ///     let count = rows.run(|| async { Ok::<_, sqlx::Error>(7) }).await;
    ///     Ok(count.map_err(seawall::Error::into_error::<AppError>)? + 1)
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # assert_eq!(count(&CircuitBreaker::new("rows")).await.unwrap(), 8);
    /// # }
    /// ```
    pub fn into_error<X: From<E> + From<Rejection>>(self) -> X {
        match self {
            Self::Rejected(rejection) => rejection.into(),
            Self::Service(error) => error.into(),
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

    /// That a call failed is known: the text starts with why.
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Service(error) => with_causes(error),
        })
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

// By hand: what it says depends on the error's own source.
impl<E: StdError + 'static> fmt::Display for Error<E> {
    /// The text of a rejection. For an error of the service by `{}` only that the call failed: the
    /// error itself is the source, which a report prints too. By `{:#}` the errors that caused it
    /// as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Rejected(rejection) => return fmt::Display::fmt(rejection, f),
            Self::Service(error) if rejects(error) => return fmt::Display::fmt(error, f),
            Self::Service(error) => error,
        };
        f.write_str("call failed")?;
        if !f.alternate() {
            return Ok(());
        }
        let first: &(dyn StdError + 'static) = error;
        let mut causes = std::iter::successors(Some(first), |&error| error.source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    /// A rejection is recognized through any number of these wrappers. Any other service error is
    /// the source itself, so that it can be downcast.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Rejected(rejection) => rejection.source(),
            Self::Service(error) if rejects(error) => error.source(),
            Self::Service(error) => Some(error),
        }
    }
}

/// Whether the error of a service is itself a rejection.
fn rejects(error: &(impl StdError + 'static)) -> bool {
    error.source().is_some_and(|source| source.is::<Reason>())
}
