//! A server with at most four requests in flight, and two a second for each client.
//!
//!     cargo run --example server_stack

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::{Router, routing::get};
use seawall::{Keyed, Quota, ServerStack};
use tower::{BoxError, ServiceExt};

async fn work() -> &'static str {
    tokio::time::sleep(Duration::from_millis(50)).await;
    "done"
}

fn client(request: &Request<Body>) -> Option<&str> {
    request.headers().get("x-api-key")?.to_str().ok()
}

/// The statuses of the answers to `clients`, each of which sends three requests at once.
async fn send(app: &Router, clients: u32) -> BTreeMap<StatusCode, u32> {
    let mut answers = tokio::task::JoinSet::new();
    for client in 0..3 * clients {
        let request = Request::get("/").header("x-api-key", client / 3);
        let call = app.clone().oneshot(request.body(Body::empty()).unwrap());
        answers.spawn(async move { call.await.unwrap().status() });
    }
    let mut seen = BTreeMap::new();
    while let Some(status) = answers.join_next().await {
        *seen.entry(status.unwrap()).or_default() += 1;
    }
    seen
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let per_client = Keyed::<str, _>::limit(10_000, Quota::per_second(2))?;
    let stack = ServerStack::builder("api", 4)
        .timeout(Duration::from_secs(5))
        .build()?
        .rate_limit(per_client.by(client));
    let app = Router::new().route("/", get(work)).layer(stack.clone());

    println!("one client:    {:?}", send(&app, 1).await);
    // Six of the nine are within their limits, and four permits are available.
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("three clients: {:?}", send(&app, 3).await);

    stack.change(|now| now.bulkhead(|bulkhead| bulkhead.limit(4).queue(2)))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("with a queue:  {:?}", send(&app, 3).await);
    println!("{stack:#?}");
    Ok(())
}
