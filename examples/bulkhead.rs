//! One bulkhead in three ways: it rejects, it queues, and it changes while calls run.
//!
//!     cargo run --example bulkhead
#![allow(clippy::disallowed_methods)] // The crate itself bans clocks.

use std::time::{Duration, Instant};

use futures::future::join_all;
use seawall::{Bulkhead, BulkheadLayer, Reason, RejectionKind};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let reports = Bulkhead::builder(4)
        .name("reports")
        .queue(6)
        .max_wait(Duration::from_millis(50))
        .build()?;
    let slow = service_fn(|n: u32| async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok::<_, BoxError>(n)
    });

    // Rejects the calls above the limit.
    let service = ServiceBuilder::new()
        .layer(BulkheadLayer::new(&reports))
        .service(slow);
    let outcomes = join_all((0..16).map(|n| service.clone().oneshot(n))).await;
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    println!("{served} of 16 at once");

    // Queues. All clones and layers share the four permits and the queue.
    let queued = ServiceBuilder::new()
        .layer(BulkheadLayer::queued(&reports))
        .service(slow);
    let start = Instant::now();
    let outcomes = join_all((0..16).map(|n| queued.clone().oneshot(n))).await;
    let took = start.elapsed();
    let (mut served, mut full, mut late) = (0, 0, 0);
    for outcome in &outcomes {
        match outcome {
            Ok(_) => served += 1,
            Err(error) => match Reason::of(&**error).map(Reason::kind) {
                Some(RejectionKind::BulkheadFull { .. }) => full += 1,
                Some(RejectionKind::QueueTimeout { .. }) => late += 1,
                _ => println!("{error}"),
            },
        }
    }
    println!("{served} of 16 in {took:?}; queue full: {full}, waited too long: {late}");

    // Closed, and without a service.
    let permit = reports.acquire().await?;
    reports.set_limit(0)?;
    println!("{:?}", reports.snapshot());
    let closed = reports.run(|| async { Ok::<_, BoxError>(()) }).await;
    println!("{}", closed.unwrap_err().into_error::<BoxError>());
    permit.release();
    Ok(())
}
