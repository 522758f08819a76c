//! What clients see of a server's limits: problem JSON, what is left of their limit, and the deadlines
//! that they send.
//!
//!     cargo run --example answers --features axum
//!
//!     curl -i localhost:3000/                                 # The fourth in a row is a 429.
//!     curl -i localhost:3000/slow & sleep .2; curl -i localhost:3000/   # A 503: one call at once.
//!     curl -i -H 'x-request-timeout-ms: 200' localhost:3000/slow
//!     curl -i -H 'x-request-timeout-ms: 0' localhost:3000/

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Router, routing::get};
use seawall::http::{CallHeaders, ClientIp, RateLimitFields, Rejections};
use seawall::{Deadline, Quota, ServerStack};

async fn hello() -> String {
    format!("{:?} are left\n", Deadline::remaining())
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "done\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let per_client = seawall::Keyed::limit(10_000, Quota::new(3, Duration::from_secs(10)))?;
    let stack = ServerStack::builder("api", 1)
        .timeout(Duration::from_secs(5))
        .build()?
        .until_body_end()
        .rate_limit(per_client.by_client_ip(ClientIp::peer()))
        .respond_as(Rejections::problem_json())
        .rate_limit_fields(RateLimitFields::new())
        .trust_call_headers(CallHeaders::new());
    let app = Router::new()
        .route("/", get(hello))
        .route("/slow", get(slow))
        .layer(stack)
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}
