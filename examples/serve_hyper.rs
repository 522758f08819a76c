//! A tower service without a framework, served over HTTP/1 and HTTP/2 with at most 100 requests in
//! flight, and each client's address as the key of its limit.
//!
//!     cargo run --example serve_hyper
//!     curl -i http://127.0.0.1:8080/
//!     curl -i --http2-prior-knowledge http://127.0.0.1:8080/readyz

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use seawall::ServerStack;
use seawall::http::{ClientIp, Peer};
use seawall::serve::{Drained, Server};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

type Answer = Response<Full<Bytes>>;

async fn hello<B>(request: Request<B>) -> Result<Answer, Infallible> {
    let peer = request.extensions().get::<Peer>();
    let text = format!("hello {peer:?} by {:?}\n", request.version());
    Ok(Response::new(Full::from(text)))
}

#[tokio::main]
async fn main() -> Result<Drained, BoxError> {
    let server = Server::new();
    let stack = ServerStack::http("api", 100).rate_limit(ClientIp::peer().per_second(10));
    let hello = ServiceBuilder::new().layer(stack).service_fn(hello);

    let health = server.health();
    let app = service_fn(move |request: Request<Incoming>| {
        let (health, hello) = (health.answer(request.uri().path()), hello.clone());
        async move {
            match health {
                Some(answer) => Ok(answer.map(Full::<Bytes>::from).map(Either::Left)),
                None => hello.oneshot(request).await.map(|r| r.map(Either::Right)),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/", listener.local_addr()?);
    Ok(server.serve(listener, app).await?)
}
