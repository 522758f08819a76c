//! The app as one connection sees it: each request gets the peer's address and is counted until its
//! response has been sent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::request::{Connection, InFlight};
use crate::http::Peer;
use crate::sync::Arc;

#[derive(Clone)]
pub(super) struct Connected<S> {
    app: S,
    connection: Arc<Connection>,
}

impl<S> Connected<S> {
    pub(super) fn new(app: S, connection: Arc<Connection>) -> Self {
        Self { app, connection }
    }
}

impl<S, B> Service<Request<Incoming>> for Connected<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let is_http2 = request.version() == Version::HTTP_2;
        // Counted first, so that a panic of the app uncounts it too.
        let in_flight = InFlight::start(&self.connection, is_http2);
        let peer = self.connection.peer;
        request.extensions_mut().insert(Peer(peer));
        #[cfg(feature = "axum")]
        request
            .extensions_mut()
            .insert(axum::extract::ConnectInfo(peer));
        Answer {
            call: self.app.call(request),
            in_flight: Some(in_flight),
            is_http2,
        }
    }
}

pin_project! {
    /// The response future of a request.
    pub(super) struct Answer<F> {
        #[pin]
        call: F,
        in_flight: Option<InFlight>,
        is_http2: bool,
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<CountedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(cx))?;
        let in_flight = this.in_flight.take().expect("polled after it was ready");
        // A client that keeps its connection would lose the request that crosses with its end.
        if !*this.is_http2
            && in_flight.is_draining()
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|body| CountedBody {
            body,
            _in_flight: in_flight,
        })))
    }
}

pin_project! {
    /// A response body whose request is in flight until it is dropped.
    pub(super) struct CountedBody<B> {
        #[pin]
        body: B,
        _in_flight: InFlight,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
