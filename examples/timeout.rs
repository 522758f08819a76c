//! A timeout around a service, and a deadline that the code below it can read.

use std::time::Duration;

use seawall::{Deadline, Reason, TimeoutLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

/// Works for as long as it is asked to, but knows when nobody will want the answer.
async fn work(millis: u64) -> Result<&'static str, BoxError> {
    let left = Deadline::remaining().expect("there is a timeout above");
    println!("asked for {millis} ms of work with {left:?} left");
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
    let reason = Reason::of(&*error).expect("it was cut short");
    println!("{reason}");
    Ok(())
}
