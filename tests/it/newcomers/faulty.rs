//! A server with one fault.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::hosts::listen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// 404.
    Missing,
    /// 500.
    Error,
    /// 503 with `Retry-After: 1`, once.
    BusyOnce,
    /// No answer.
    Hang,
    /// The first body is cut short.
    CutOnce,
    /// Nothing listens.
    Unreachable,
}

/// It speaks HTTP/1 and HTTP/2, and answers gRPC with one message.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Faulty {
    pub(crate) async fn start(fault: Fault) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let (listener, address) = listen().await;
        if fault != Fault::Unreachable {
            let counted = Arc::clone(&calls);
            let app = Router::new().fallback(move |request: Request| {
                let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                answer(fault, first, request)
            });
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        Self { address, calls }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn answer(fault: Fault, first: bool, request: Request) -> Response<Body> {
    let grpc = request.headers().contains_key("grpc-timeout");
    let status = |status: StatusCode| Response::builder().status(status);
    let response = match fault {
        Fault::Missing => status(StatusCode::NOT_FOUND).body("no such page".into()),
        Fault::Error => status(StatusCode::INTERNAL_SERVER_ERROR).body("broken".into()),
        Fault::BusyOnce if first => {
            let busy = status(StatusCode::SERVICE_UNAVAILABLE);
            busy.header("retry-after", "1").body("busy".into())
        }
        Fault::Hang => std::future::pending().await,
        _ => return whole(grpc, fault == Fault::CutOnce && first),
    };
    response.unwrap()
}

/// `hello`, with or without its end.
fn whole(grpc: bool, is_cut: bool) -> Response<Body> {
    let text: &[u8] = if grpc { b"\0\0\0\0\x05hello" } else { b"hello" };
    let mut frames = vec![Ok(Frame::data(Bytes::copy_from_slice(text)))];
    if is_cut {
        frames.push(Err(std::io::Error::other("cut")));
    } else if grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        frames.push(Ok(Frame::trailers(trailers)));
    }
    // Each is written before the next.
    let frames = futures::stream::iter(frames).then(|frame| async {
        tokio::task::yield_now().await;
        frame
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    if grpc {
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", grpc);
    }
    response
}
