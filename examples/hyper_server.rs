//! A server of plain hyper, with an accept loop of its own: a limit for each client, at most 100
//! requests in flight to the ends of their bodies, and limits of their times. `serve_hyper` has it all
//! shorter, with limits of connections and a drain.
//!
//!     cargo run --example hyper_server
//!     for n in $(seq 12); do curl -i http://127.0.0.1:8080/; done

#![allow(clippy::disallowed_methods)] // A server has tasks of its own.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use seawall::ServerStack;
use seawall::http::{ClientIp, Peer};
use tower::{BoxError, ServiceBuilder};

async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("hello by {:?}\n", request.version());
    Ok(Response::new(Full::from(text)))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let stack = ServerStack::builder("api", 100)
        .timeout(Duration::from_secs(10)) // To the head of the response.
        .build()?
        .until_body_end()
        .body(|body| body.idle(Duration::from_secs(5))) // Between its chunks.
        .rate_limit(ClientIp::peer().per_second(10));
    let app = ServiceBuilder::new().layer(stack).service_fn(hello);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let app = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer)); // The key of the limit.
                request
            })
            .service(app.clone());
        tokio::spawn(async move {
            let (io, app) = (TokioIo::new(stream), TowerToHyperService::new(app));
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(io, app).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}
