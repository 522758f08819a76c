//! Ready-made copiers for `.resend(..)`.

use http::Request;
use http_body::Body as HttpBody;

/// The largest body that is copied.
const MOST: u64 = 64 * 1024;

/// The head of `request` with this body.
pub(crate) fn with_body<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

/// A copier for `.resend(..)` that copies a request without a body. One with a body is sent once. For
/// the bodies of axum and reqwest, and boxed ones, which are not `Clone`.
///
/// To send requests with a body again as well, put a [`ReplayLayer`](super::ReplayLayer) around the
/// retry instead.
///
/// ```
/// use axum::body::Body;
/// use http::Request;
/// use seawall::{Backoff, Retry, RetryLayer, http::copy_empty};
///
/// let retry = Retry::new(Backoff::exponential(std::time::Duration::from_millis(50)));
/// let layer = RetryLayer::new(retry).resend(copy_empty::<Body>);
/// # let _ = layer;
/// assert!(copy_empty(&Request::get("/").body(Body::empty()).unwrap()).is_some());
/// assert!(copy_empty(&Request::put("/").body(Body::from("text")).unwrap()).is_none());
/// ```
pub fn copy_empty<B: HttpBody + Default>(request: &Request<B>) -> Option<Request<B>> {
    let is_empty = request.body().is_end_stream();
    is_empty.then(|| with_body(request, B::default()))
}

/// A copier for `.resend(..)` that copies a request whose body is known to be at most 64 KiB. A larger
/// one is sent once. For `Full` and other bodies in memory, which are `Clone`.
///
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use hyper::body::Bytes;
/// use seawall::http::copy_small;
///
/// let sized = |size| Request::put("/").body(Full::<Bytes>::from(vec![0; size])).unwrap();
/// assert!(copy_small(&sized(64 * 1024)).is_some());
/// assert!(copy_small(&sized(64 * 1024 + 1)).is_none());
/// ```
pub fn copy_small<B: HttpBody + Clone>(request: &Request<B>) -> Option<Request<B>> {
    let most = request.body().size_hint().upper();
    let is_small = most.is_some_and(|most| most <= MOST);
    is_small.then(|| with_body(request, request.body().clone()))
}
