//! An axum server that bounds its connections, limits each client by its address and each body by its
//! progress, reports its health and drains on SIGTERM. Stop it with Ctrl-C; the exit code says whether
//! a request was cut off.
//!
//!     cargo run --example serve
//!     for n in $(seq 9); do curl -i http://127.0.0.1:8080/; done
//!     curl http://127.0.0.1:8081/readyz

use std::time::Duration;

use axum::{Router, routing::get};
use seawall::http::ClientIp;
use seawall::serve::{Drained, Server};
use seawall::{CircuitBreaker, ServerStack};
use tokio::net::TcpListener;
use tower::BoxError;

async fn work() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "done\n"
}

#[tokio::main]
async fn main() -> Result<Drained, BoxError> {
    let payments = CircuitBreaker::new("payments");
    let server = Server::builder()
        .name("shop")
        .max_connections(2_000)
        .header_timeout(Duration::from_secs(5))
        .max_age(Duration::from_secs(600))
        .build()?;

    // Behind a proxy on this machine each client has its own limit; without one the peer is the client.
    let clients = ClientIp::trusting(["127.0.0.0/8".parse()?, "::1/128".parse()?]);
    let stack = ServerStack::builder("api", 200)
        .timeout(Duration::from_secs(10)) // To the head of the response.
        .build()?
        .until_body_end()
        .body(|body| body.idle(Duration::from_secs(10))) // Between its chunks.
        .rate_limit(clients.per_second(5));
    let app = Router::new().route("/", get(work)).layer(stack);

    // On a port of its own, because the reasons name dependencies.
    let health = server.health().degraded_by(&payments);
    let port = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let (app_port, health_port) = tokio::try_join!(port(8080), port(8081))?;
    println!("http://127.0.0.1:8080/ and http://127.0.0.1:8081/readyz");
    let (drained, _) = tokio::try_join!(
        server.serve(app_port, app),
        server.serve(health_port, health),
    )?;
    println!("{drained:?}");
    Ok(drained)
}
