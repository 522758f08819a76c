//! The HTTP stacks, which watch bodies to their end, beside the plain stacks.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use seawall::{ClientStack, ServerStack};
use seawall_benches::http_call::request;
use seawall_benches::noop::{Fault, runtime, serve_with};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

/// A body of a number of chunks, ready at once.
struct Chunks(usize);

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
struct Streams(usize);

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
struct Reads<S>(S);

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

fn calls<S>(runtime: &Rc<Runtime>, kind: Kind, name: &'static str, service: S) -> Contender
where
    Reads<S>: Service<seawall_benches::http_call::Request, Response = StatusCode> + 'static,
{
    let template = request();
    let make = move || std::hint::black_box(&template).clone();
    let right = |status: &StatusCode| *status == StatusCode::OK;
    let service = Reads(service);
    Contender::alone(kind, name, serve_with(runtime, service, make, right))
}

const PLAIN: &str = "the plain stack";
const HTTP: &str = "the HTTP stack";
const CHUNKS: usize = 100;

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    for (what, chunks) in [("one chunk", 1), ("100 chunks", CHUNKS)] {
        let above = 60.0 + 10.0 * chunks as f64;
        let group = |plain, http| Group {
            admitted: true,
            may_allocate: Some(PLAIN),
            contenders: vec![plain, http],
            goals: vec![Goal {
                of: HTTP,
                limit: Limit::Above(above, PLAIN),
            }],
            ..Group::new()
        };
        report.group(&format!("HTTP client stack, body of {what}"), || {
            let _entered = runtime.enter();
            let plain = ClientStack::new("orders").layer(Streams(chunks));
            let http = ClientStack::http("orders").layer(Streams(chunks));
            group(
                calls(&runtime, Kind::Floor, PLAIN, plain),
                calls(&runtime, Kind::Ours, HTTP, http),
            )
        });
        report.group(&format!("HTTP server stack, body of {what}"), || {
            let _entered = runtime.enter();
            let plain = ServerStack::new("api", 1_000).layer(Streams(chunks));
            let http = ServerStack::http("api", 1_000).layer(Streams(chunks));
            group(
                calls(&runtime, Kind::Floor, PLAIN, plain),
                calls(&runtime, Kind::Ours, HTTP, http),
            )
        });
    }
}
