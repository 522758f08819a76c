//! The HTTP stacks under the hosts and over the clients that people have, on real sockets.

mod clients;
mod layers;
mod servers;
#[cfg(feature = "reqwest")]
mod single;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::net::TcpListener;

use crate::support::secs;

type Answer = Response<Body>;

/// Answers by the path: `/hang` never, `/held` with a body that never ends, any other at once.
async fn answer<B>(request: http::Request<B>) -> Result<Answer, std::convert::Infallible> {
    match request.uri().path() {
        "/hang" => std::future::pending::<()>().await,
        "/held" => {
            use futures::StreamExt;
            let first = futures::stream::iter([Ok::<_, axum::Error>(Frame::data("first".into()))]);
            let body = StreamBody::new(first.chain(futures::stream::pending()));
            return Ok(Response::new(Body::new(body)));
        }
        _ => {}
    }
    Ok(Response::new(Body::from("hello")))
}

/// A listener on loopback.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Fails instead of hanging.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    let result = tokio::time::timeout(secs(20), future).await;
    result.expect("it hangs")
}

/// The next chunk of a body, or its error.
async fn chunk<B>(body: &mut B) -> Result<Bytes, B::Error>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let frame = in_time(body.frame()).await.expect("the body has ended")?;
    Ok(frame.into_data().unwrap_or_default())
}

/// Calls until `holds`, for a state that follows a drop.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    in_time(async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
