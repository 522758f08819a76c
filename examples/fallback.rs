//! A price service that fails, with the last known prices as the fallback.
//!
//!     cargo run --example fallback

use std::time::Duration;

use seawall::fallback::{Fallback, call};
use seawall::{CircuitBreaker, CircuitBreakerLayer, FallbackLayer, TimeoutLayer, gather};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

async fn price(item: &'static str) -> Result<String, BoxError> {
    match item {
        "tea" => Ok("tea: 3.20".into()),
        "milk" => std::future::pending().await,
        _ => Err("the price service is down".into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let prices = CircuitBreaker::new("prices");
    let last_known = Fallback::builder().name("last known").limit(16).build()?;
    let cached = call(|cause| async move {
        Ok::<_, BoxError>(format!("last known price, because of {cause:?}"))
    });
    // The first line is outermost: the fallback also answers rejections and the timeout.
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(&last_known, cached))
        .layer(CircuitBreakerLayer::new(&prices))
        .layer(TimeoutLayer::new(Duration::from_millis(100)))
        .service(service_fn(price));
    for item in ["tea", "milk", "coffee"] {
        println!("{}", service.clone().oneshot(item).await?);
    }
    prices.force_open();
    println!("{}", service.clone().oneshot("tea").await?);
    println!("{:#?}", last_known.snapshot());

    // One question to several shops: what has come after 50 ms.
    let shops = ["tea", "milk", "coffee"].map(price);
    let found = gather::all(Duration::from_millis(50), shops).await;
    let (failed, missing) = (found.errors().count(), found.missing());
    println!("{failed} failed, {missing} did not answer");
    found.responses().for_each(|price| println!("{price}"));
    Ok(())
}
