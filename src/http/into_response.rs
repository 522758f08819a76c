//! Rejections as answers of axum's handlers.

use axum::response::{IntoResponse, Response};

use super::Rejections;
use crate::classify::status::NOT_PROCESSED;
use crate::rejection::{Error, Rejection};

/// So that a handler may return a rejection by `?`: with its [status](crate::Reason::status), a line of
/// text, and `Retry-After` for a 429 or 503.
///
/// ```
/// use axum::{Router, extract::State, routing::post};
/// use seawall::{RateLimiter, Rejection};
///
/// async fn send(State(mails): State<RateLimiter>) -> Result<&'static str, Rejection> {
///     mails.try_acquire()?;
///     Ok("sent")
/// }
///
/// let app: Router = Router::new().route("/", post(send)).with_state(RateLimiter::per_minute(5));
/// # let _ = app;
/// ```
///
/// The answer does not say that the request was not processed, because the handler may have done so in
/// part. A client may send a request again after a 429 or 503 with `Retry-After`, so check the policy
/// before the work that must not be done twice.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = Rejections::text().answer(self, false);
        response.headers_mut().remove(NOT_PROCESSED);
        response
    }
}

/// So that a handler may return the error of a `run` by `?`.
impl<E: IntoResponse> IntoResponse for Error<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Rejected(rejection) => IntoResponse::into_response(rejection),
            Self::Service(error) => error.into_response(),
        }
    }
}
