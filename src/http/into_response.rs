//! Rejections as answers of axum's handlers.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;

use super::Rejections;
use crate::classify::status::NOT_PROCESSED;
use crate::rejection::{Error, Rejection};

/// So that a handler may return a rejection by `?`: with its [status](crate::Reason::status), a line of
/// text, and `Retry-After` for a 429.
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
/// part. For the same reason a 503 has no `Retry-After`: after one, a client may send even a POST
/// again. A 429 has one, so check the limit before the work that must not be done twice.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = Rejections::text().answer(self, false);
        let repeatable = response.status() == StatusCode::TOO_MANY_REQUESTS;
        let headers = response.headers_mut();
        headers.remove(NOT_PROCESSED);
        if !repeatable {
            headers.remove(RETRY_AFTER);
        }
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
