//! A client that retries within a budget and within the deadline of its caller.
//!
//!     cargo run --example retry

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall::prelude::*;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let ms = Duration::from_millis;
    // One for all calls of this process: in an outage 1.1 times the load, not three.
    let budget = Budget::percent(10);
    let retry = Retry::builder()
        .backoff(Backoff::exponential(ms(20)))
        .max_attempts(3)
        .budget(&budget)
        .build()?;
    retry
        .on_event(|event| println!("    {:?}", event.kind))
        .forever();

    // Fails every other call.
    let calls = Arc::new(AtomicU32::new(0));
    let flaky = service_fn(move |page: u32| {
        let nth = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            println!("    attempt {:?} of page {page}", seawall::attempt());
            match nth % 2 {
                0 => Err(BoxError::from("connection reset")),
                _ => Ok(format!("page {page}")),
            }
        }
    });
    let mut client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(RetryLayer::new(&retry))
        .layer(TimeoutLayer::new(ms(100)))
        .service(flaky);
    for page in 1..=2 {
        println!("page {page}");
        println!("{:?}", client.ready().await?.call(page).await);
    }

    // Without a service, each attempt makes a new call, so nothing has to be `Clone`.
    println!("a dependency that is down");
    let answer = retry.run(|attempt| async move {
        Err::<(), _>(std::io::Error::other(format!(
            "still down at attempt {attempt}"
        )))
    });
    println!("{:?}", answer.await.unwrap_err());
    println!("{:?}\n{:?}", retry.snapshot(), budget.snapshot());
    Ok(())
}
