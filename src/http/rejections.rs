//! Rejections as responses with a body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};

use super::format::{is_grpc_request, reason_of};
use super::respond::BUSY;
use crate::rejection::{Reason, Rejection};
use crate::service::{Format, Respond};

/// How rejections are answered over HTTP: with which body, and with which `Retry-After`. It is set by
/// `.respond_as(..)` on a layer or a stack:
///
/// ```
/// use axum::{Router, routing::get};
/// use seawall::ServerStack;
/// use seawall::http::Rejections;
///
/// let stack = ServerStack::http("api", 200).respond_as(Rejections::problem_json());
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(stack);
/// # let _ = app;
/// ```
///
/// | kind | body | `Content-Type` |
/// |---|---|---|
/// | [`empty`](Self::empty) | none | none |
/// | [`text`](Self::text) | `rate limit exceeded` | `text/plain; charset=utf-8` |
/// | [`problem_json`](Self::problem_json) | `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"rate limit exceeded"}` | `application/problem+json` |
///
/// The text is that of [`public_text`](crate::RejectionKind::public_text): it names no policy, limit, count or duration.
/// A gRPC request is answered trailers-only, whatever the kind.
///
/// The service's error may be of any type, because a rejection is always a response. The service's
/// body is made of [`Bytes`], as those of axum, `http_body_util::Full` and the stacks are. The
/// default of every layer, [`Native`](crate::service::Native), is an empty body, which needs
/// `Default` instead.
#[derive(Clone, Copy, Debug)]
#[must_use = "it does nothing until it is given to `.respond_as(..)`"]
pub struct Rejections {
    body: Kind,
    retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Empty,
    Text,
    ProblemJson,
}

impl Rejections {
    const fn new(body: Kind) -> Self {
        Self {
            body,
            retry_after: Some(BUSY),
        }
    }

    /// Without a body.
    pub const fn empty() -> Self {
        Self::new(Kind::Empty)
    }

    /// With a line of text.
    pub const fn text() -> Self {
        Self::new(Kind::Text)
    }

    /// With problem details in JSON (RFC 9457), whose type is `about:blank`.
    pub const fn problem_json() -> Self {
        Self::new(Kind::ProblemJson)
    }

    /// Sets the `Retry-After` of a 429 or 503 whose policy does not know when it will admit a call,
    /// such as a bulkhead. Up to a second of jitter is added, so that the rejected calls do not come
    /// back at once. The default is 1 s. `None` sends no `Retry-After` then.
    ///
    /// A delay that the policy knows is sent as it is, in whole seconds, rounded up.
    pub fn retry_after(mut self, delay: impl Into<Option<Duration>>) -> Self {
        self.retry_after = delay.into();
        self
    }

    pub(super) fn answer<B: From<Bytes>>(self, rejection: Rejection, grpc: bool) -> Response<B> {
        if grpc {
            let response = rejection.into_grpc_response_after(self.retry_after);
            return response.map(|()| Bytes::new().into());
        }
        let text = rejection.kind().public_text();
        let response = rejection.into_http_response_after(self.retry_after);
        let (content_type, body) = match self.body {
            Kind::Empty => return response.map(|()| Bytes::new().into()),
            Kind::Text => (
                "text/plain; charset=utf-8",
                Bytes::from_static(text.as_bytes()),
            ),
            Kind::ProblemJson => ("application/problem+json", problem(&response, text).into()),
        };
        let mut response = response.map(|()| body.into());
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

/// The problem details of a rejection. No text of ours has to be escaped.
fn problem(response: &Response<()>, detail: &str) -> String {
    let status = response.status();
    let title = status.canonical_reason().unwrap_or_default();
    let status = status.as_u16();
    format!(r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"}}"#)
}

/// The [`Format`] of [`Rejections`].
#[derive(Clone, Copy, Debug)]
pub struct WithBody {
    rejections: Rejections,
    grpc: bool,
}

impl<A, B: From<Bytes>, Err> Respond<Request<A>, Response<B>, Err> for Rejections {
    type Format = WithBody;

    fn format(&self, request: &Request<A>) -> WithBody {
        WithBody {
            rejections: *self,
            grpc: is_grpc_request(request),
        }
    }
}

impl<B: From<Bytes>, Err> Format<Response<B>, Err> for WithBody {
    fn reject(self, rejection: Rejection) -> Result<Response<B>, Err> {
        Ok(self.rejections.answer(rejection, self.grpc))
    }

    fn reason<'o>(&self, outcome: Result<&'o Response<B>, &'o Err>) -> Option<&'o Reason> {
        reason_of(outcome)
    }
}
