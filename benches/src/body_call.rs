//! A call whose response has a body of chunks, read to its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::runtime::Runtime;
use tower::Service;

use crate::http_call::{Request, request};
use crate::noop::{Fault, serve_with};

/// A body of a number of chunks, ready at once.
pub struct Chunks(usize);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.checked_sub(1).map(|left| {
            self.0 = left;
            Ok(Frame::data(Bytes::from_static(b"hello")))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Answers every request with a body of this number of chunks.
#[derive(Clone)]
pub struct Streams(pub usize);

impl<B> Service<http::Request<B>> for Streams {
    type Response = http::Response<Chunks>;
    type Error = Fault;
    type Future = std::future::Ready<Result<Self::Response, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        std::hint::black_box(&request);
        std::future::ready(Ok(http::Response::new(Chunks(self.0))))
    }
}

/// Reads every response to its end.
pub struct Reads<S>(pub S);

impl<S, Req, B> Service<Req> for Reads<S>
where
    S: Service<Req, Response = http::Response<B>, Error: std::fmt::Debug>,
    S::Future: 'static,
    B: Body<Error: std::fmt::Debug> + 'static,
{
    type Response = StatusCode;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<StatusCode, S::Error>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let call = self.0.call(request);
        Box::pin(async move {
            let response = call.await?;
            let status = response.status();
            let mut body = pin!(response.into_body());
            while let Some(frame) = body.frame().await {
                std::hint::black_box(frame.expect("the body is whole"));
            }
            Ok(status)
        })
    }
}

/// Calls with a clone of one [`request`], and reads each response to its end.
pub fn serve_bodies<S>(runtime: &Rc<Runtime>, service: S) -> impl FnMut(u64) -> u64 + 'static
where
    Reads<S>: Service<Request, Response = StatusCode> + 'static,
{
    let template = request();
    let make = move || std::hint::black_box(&template).clone();
    let right = |status: &StatusCode| *status == StatusCode::OK;
    serve_with(runtime, Reads(service), make, right)
}
