//! Servers, clients and bodies that the tests share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seawall::Error;
use seawall::http::ReplayBody;
use tokio::net::TcpListener;
use tower::util::MapErr;
use tower::{BoxError, ServiceExt};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

type HyperError = hyper_util::client::legacy::Error;
pub(crate) type Plain<B> =
    MapErr<Client<HttpConnector, ReplayBody<B>>, fn(HyperError) -> Error<HyperError>>;

/// hyper-util's client, whose errors carry rejections.
pub(crate) fn client<B>() -> Plain<B>
where
    B: http_body::Body<Error: Into<BoxError>> + Unpin + Send + 'static,
{
    let error: fn(HyperError) -> Error<HyperError> = Error::service;
    Client::builder(TokioExecutor::new())
        .build_http()
        .map_err(error)
}

/// The bodies that a server has received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Bytes>>>);

impl Seen {
    /// Returns how many there are with this one.
    pub(crate) fn add(&self, body: Bytes) -> usize {
        let mut seen = self.0.lock().unwrap();
        seen.push(body);
        seen.len()
    }

    pub(crate) fn all(&self) -> Vec<Bytes> {
        self.0.lock().unwrap().clone()
    }
}

/// A body of unknown size, with a pause before each chunk.
pub(crate) fn stream(
    chunks: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static> + 'static,
    pause: Duration,
) -> Body {
    Body::from_stream(paused(chunks, pause))
}

fn paused(
    chunks: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static> + 'static,
    pause: Duration,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    futures::stream::iter(chunks).then(move |chunk| async move {
        tokio::time::sleep(pause).await;
        Ok(Bytes::from_static(chunk.as_bytes()))
    })
}
