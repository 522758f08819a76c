//! A timeout around a service, and a deadline that the code inside can read.
//!
//!     cargo run --example timeout

use std::time::Duration;

use seawall::{Deadline, Reason, TimeoutLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

/// Works for `millis`, and knows when its caller stops waiting.
async fn work(millis: u64) -> Result<&'static str, BoxError> {
    let remaining = Deadline::remaining().expect("it runs under a timeout");
    println!("{millis} ms of work, {remaining:?} remaining");
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok("done")
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(100)))
        .service(service_fn(work));

    let answer = service.ready().await?.call(10).await?;
    println!("{answer}");

    let error = service.ready().await?.call(1_000).await.unwrap_err();
    let reason = Reason::of(&*error).expect("it timed out");
    println!("{}: {}", reason.policy(), reason.kind());
    Ok(())
}
