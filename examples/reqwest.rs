//! A client of reqwest under a `ClientStack`, against a server that is busy at first.
//!
//!     cargo run --example reqwest --features reqwest

#![allow(clippy::disallowed_methods)] // The crate itself bans `spawn`.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use seawall::classify::checked_with_body;
use seawall::stack::Overrides;
use seawall::{ClientStack, Error::Rejected};

/// Busy at first.
async fn user() -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], ""),
        _ => (StatusCode::OK, [("x-id", "7")], r#"{"name":"Ann"}"#),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/user", get(user))
        .route("/slow", get(std::future::pending::<()>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let client = ClientStack::http("users").reqwest(reqwest::Client::new());

    // A 503 at first, and again after the second that it requests.
    let response = client.get(format!("{server}/user")).send().await?;
    println!("{}", response.text().await?);

    // A failing status as an error, with what the server says about it.
    let response = client.get(format!("{server}/nothing")).send().await?;
    if let Err(failed) = checked_with_body(response).await {
        println!("{failed}: {:?}", failed.text());
    }

    // One call with limits of its own.
    let slow = client
        .get(format!("{server}/slow"))
        .timeout(Duration::from_millis(300));
    match slow.overrides(Overrides::new().once()).send().await {
        Err(Rejected(rejection)) => println!("rejected: {rejection}"),
        other => println!("{other:?}"),
    }
    Ok(())
}
