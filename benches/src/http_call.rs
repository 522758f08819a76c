//! A call over `http::Request`, and the service at its end.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::runtime::Runtime;
use tower::Service;

use crate::noop::{Fault, When, serve_with};

pub type Request = http::Request<Full<Bytes>>;
pub type Response = http::Response<Full<Bytes>>;

/// A GET as a client sends it: a parsed URI with an authority, four headers of which two are
/// static and two are not, and an empty body that can be cloned.
#[must_use]
pub fn request() -> Request {
    let token = HeaderValue::from_str("Bearer 0123456789abcdef0123456789abcdef");
    let parent = HeaderValue::from_str("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    http::Request::get("http://orders.internal:8080/v1/orders/4711?fields=state")
        .header(header::ACCEPT, HeaderValue::from_static("application/json"))
        .header(header::USER_AGENT, HeaderValue::from_static("bench/1.0"))
        .header(header::AUTHORIZATION, token.unwrap())
        .header("traceparent", parent.unwrap())
        .body(Full::default())
        .unwrap()
}

/// Calls with a clone of one [`request`], which stands for making a request: every contender pays
/// for it.
pub fn serve_http<S>(runtime: &Rc<Runtime>, service: S) -> impl FnMut(u64) -> u64 + 'static
where
    S: Service<Request, Response = Response> + 'static,
{
    let template = request();
    let make = move || black_box(&template).clone();
    let right = |response: &Response| black_box(response.status()) == StatusCode::OK;
    serve_with(runtime, service, make, right)
}

/// Answers every request with status 200 and a short body. Its future holds the request to the
/// end, as a client's does until the request is sent.
#[derive(Clone)]
pub struct Endpoint(pub When);

impl Service<Request> for Endpoint {
    type Response = Response;
    type Error = Fault;
    type Future = Respond;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request) -> Respond {
        Respond {
            pending: self.0 == When::PendingOnce,
            request,
        }
    }
}

pub struct Respond {
    pending: bool,
    request: Request,
}

impl Future for Respond {
    type Output = Result<Response, Fault>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.pending) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        black_box(&self.request);
        Poll::Ready(Ok(Response::new(Full::from("hello"))))
    }
}

/// Clones every request before the call and drops the clone after it: the copy that a retry has
/// to keep, and nothing else.
#[derive(Clone)]
pub struct KeepsCopy(pub Endpoint);

impl Service<Request> for KeepsCopy {
    type Response = Response;
    type Error = Fault;
    type Future = Kept;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Kept {
        Kept {
            _copy: request.clone(),
            call: self.0.call(request),
        }
    }
}

pub struct Kept {
    _copy: Request,
    call: Respond,
}

impl Future for Kept {
    type Output = Result<Response, Fault>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.call).poll(cx)
    }
}
