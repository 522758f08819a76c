//! Errors of `reqwest`.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::Duration;

use ::reqwest::{Error, Response, StatusCode};
use bytes::{Bytes, BytesMut};

use super::response::Judge;
use super::status::http_failure;
use crate::outcome::{ASSUMED, FailureKind, Outcome};
use crate::rejection::chain;

/// `Response::error_for_status`, with the delay that the response requests kept for the retry.
///
/// `error_for_status` of reqwest keeps the status alone. A 429 or 503 is then retried after at
/// least a second; with `checked` it is retried after its `Retry-After`.
///
/// ```no_run
/// use std::time::Duration;
/// use seawall::{Backoff, Pipeline, Retry, classify};
///
/// # async fn users(http: reqwest::Client) -> Result<(), seawall::Error<classify::Failed>> {
/// let retry = Retry::new(Backoff::exponential(Duration::from_millis(50)));
/// let pipeline = Pipeline::new().retry(&retry);
/// let text = pipeline.run(|_| async {
///     let response = classify::checked(http.get("http://users/7").send().await?)?;
///     Ok::<_, classify::Failed>(response.text().await?)
/// });
/// let text: String = text.await?;
/// # drop(text); Ok(()) }
/// ```
///
/// # Errors
/// If the status is 4xx or 5xx.
pub fn checked(response: Response) -> Result<Response, Failed> {
    let outcome = response.judge();
    response.error_for_status().map_err(|error| Failed {
        error,
        outcome: Some(outcome),
        body: Bytes::new(),
    })
}

/// [`checked`], with the start of the failed response's body: at most 16 KiB, in which a server says
/// what is wrong.
///
/// A body that breaks off is kept as far as it came. It is read for as long as it takes: the total
/// timeout of a client stack ends that, and so does a timeout of reqwest.
///
/// ```no_run
/// use seawall::classify::checked_with_body;
///
/// # async fn user(client: reqwest::Client) -> Result<(), reqwest::Error> {
/// let response = client.get("http://users/7").send().await?;
/// match checked_with_body(response).await {
///     Ok(user) => println!("{}", user.text().await?),
///     Err(failed) => println!("{:?}: {}", failed.status(), failed.text()),
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// If the status is 4xx or 5xx.
pub async fn checked_with_body(mut response: Response) -> Result<Response, Failed> {
    let Err(error) = response.error_for_status_ref() else {
        return Ok(response);
    };
    let outcome = Some(response.judge());
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let left = MOST_OF_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if body.len() == MOST_OF_BODY {
            break;
        }
    }
    Err(Failed {
        error,
        outcome,
        body: body.freeze(),
    })
}

/// More than the errors of services have, and little enough to keep for a log.
const MOST_OF_BODY: usize = 16 * 1024;

/// An error of `reqwest`, with the delay that the response requested; made by [`checked`],
/// [`checked_with_body`] and by `?`.
///
/// It has the text and the sources of the error.
#[derive(Debug)]
pub struct Failed {
    error: Error,
    outcome: Option<Outcome>,
    body: Bytes,
}

impl Failed {
    /// The failing status; none if there was no response.
    pub fn status(&self) -> Option<StatusCode> {
        self.error.status()
    }

    /// The delay that the failed response requested. `Duration::MAX` for one that cannot be read,
    /// which means "do not retry".
    pub fn retry_after(&self) -> Option<Duration> {
        match self.outcome {
            Some(Outcome::Failure { retry_after, .. }) => retry_after,
            _ => None,
        }
    }

    /// The start of the failed response's body; empty unless made by [`checked_with_body`].
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// [`body`](Self::body) as text. What is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The error.
    pub fn into_inner(self) -> Error {
        self.error
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            outcome: None,
            body: Bytes::new(),
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Failed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

pub(super) fn known(link: &(dyn StdError + 'static)) -> Option<Outcome> {
    if let Some(failed) = link.downcast_ref::<Failed>() {
        return failed.outcome.or_else(|| of(&failed.error));
    }
    of(link.downcast_ref()?)
}

fn of(error: &Error) -> Option<Outcome> {
    if let Some(status) = error.status() {
        let Some(kind) = http_failure(status.as_u16()) else {
            return Some(Outcome::Success);
        };
        let retry_after = (kind == FailureKind::Throttled).then_some(ASSUMED);
        return Some(Outcome::Failure { kind, retry_after });
    }
    if error.is_builder() {
        return Some(Outcome::Ignore);
    }
    let kind = if error.is_connect() {
        FailureKind::Unsent
    } else if error.is_timeout() {
        FailureKind::Timeout
    } else if error.is_redirect() || error.is_decode() && !is_cut_short(error) {
        FailureKind::Permanent
    } else {
        return None;
    };
    Some(Outcome::failure(kind))
}

/// Whether the connection failed while the body was read, so that the body is not at fault.
fn is_cut_short(error: &Error) -> bool {
    chain(error).any(|link| link.is::<::hyper::Error>())
}
