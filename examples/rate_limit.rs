//! One limit in three ways: it rejects, it waits, and it is one of several.
//!
//!     cargo run --example rate_limit
#![allow(clippy::disallowed_methods)] // The crate itself bans clocks.

use std::time::Duration;

use seawall::{Quota, RateLimitLayer, RateLimiter};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let limiter = RateLimiter::builder(Quota::per_second(50).burst(5))
        .name("upstream")
        .max_wait(Duration::from_millis(200))
        .build()?;

    // Rejects, and says when to retry.
    let admitted = (0..20).filter(|_| limiter.allow()).count();
    println!("{admitted} of 20 at once");
    if let Err(rejection) = limiter.try_acquire() {
        println!("{rejection}");
    }

    // Waits. All clones and layers share one limit.
    let echo = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let mut service = ServiceBuilder::new()
        .layer(RateLimitLayer::waiting(&limiter))
        .service(echo);
    let start = std::time::Instant::now();
    for n in 0..5 {
        service.ready().await?.call(n).await?;
    }
    println!("5 more, after {:?}", start.elapsed());

    // Both admit a call, or none is charged.
    let daily = RateLimiter::builder(Quota::per_day(8))
        .name("daily")
        .build()?;
    let both = RateLimiter::all_of("both", [limiter.clone(), daily])?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let rejection = (0..10).find_map(|_| both.try_acquire().err());
    println!("{}", rejection.expect("eight a day"));
    Ok(())
}
