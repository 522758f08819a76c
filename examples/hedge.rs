//! A hedge at the 95th percentile: one call in 50 hangs for 300 ms, and few callers see it.
//!
//!     cargo run --example hedge
#![allow(clippy::disallowed_methods)] // The crate itself bans clocks.

use std::time::{Duration, Instant};

use seawall::{Hedge, HedgeLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

async fn lookup(key: u32) -> Result<u32, BoxError> {
    // The second attempt goes to another replica.
    let attempt = seawall::attempt().unwrap_or(1);
    let hangs = key % 50 == 0 && attempt == 1;
    let takes = if hangs { 300 } else { 5 + u64::from(key % 7) };
    tokio::time::sleep(Duration::from_millis(takes)).await;
    Ok(key)
}

/// The 50th and the 99th percentile of 1,000 calls, in milliseconds.
async fn measure<S>(mut service: S) -> Result<(u128, u128), BoxError>
where
    S: Service<u32, Error = BoxError, Future: Send + 'static>,
    S::Response: Send + 'static,
{
    let mut calls = tokio::task::JoinSet::new();
    for key in 0..1_000 {
        let call = service.ready().await?.call(key);
        calls.spawn(async move {
            let start = Instant::now();
            call.await.map(|_| start.elapsed().as_millis())
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut took = Vec::new();
    while let Some(call) = calls.join_next().await {
        took.push(call??);
    }
    took.sort_unstable();
    Ok((took[500], took[990]))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hedge = Hedge::builder().name("lookup").quantile(0.95).build()?;
    let hedged = ServiceBuilder::new()
        .layer(HedgeLayer::new(&hedge))
        .service(service_fn(lookup));

    let plain = measure(service_fn(lookup)).await?;
    println!("plain:  p50 and p99 {plain:?} ms");
    // The first 100 calls are samples.
    println!("hedged: p50 and p99 {:?} ms", measure(hedged).await?);
    println!("{:?}", hedge.snapshot());
    Ok(())
}
