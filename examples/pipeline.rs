//! All policies around a plain async call: what fails, and what the caller sees.
//!
//!     cargo run --example pipeline

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall::{Backoff, Budget, Bulkhead, CircuitBreaker, Hedge, Pipeline, RateLimiter, Retry};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Every third call fails, every tenth hangs for a while.
async fn fetch(page: u32) -> io::Result<u32> {
    let n = CALLS.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(if n % 10 == 9 { 400 } else { 3 })).await;
    match n % 3 {
        2 => Err(io::Error::other("a hiccup")),
        _ => Ok(page),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ms = Duration::from_millis;
    let budget = Budget::builder().ratio(0.5).build()?;
    let retry = Retry::builder().backoff(Backoff::exponential(ms(10)));
    let retry = retry.budget(&budget).build()?;
    let pages = CircuitBreaker::new("pages");
    let pipeline = Pipeline::new()
        .timeout(ms(2_000)) // The whole operation.
        .retry(retry)
        .hedge(Hedge::fixed(ms(50))) // Inside a retry it uses the retry's budget.
        .breaker(&pages)
        .bulkhead(Bulkhead::builder(8).queue(16).build()?)
        .waiting_limiter(RateLimiter::per_second(200))
        .attempt_timeout(ms(300)); // One attempt.

    for page in 0..30 {
        match pipeline.run(|_attempt| fetch(page)).await {
            Ok(_) => print!("."),
            Err(error) => print!("\n{page}: {error:#}\n"),
        }
    }
    println!();
    println!("{} calls for 30 pages", CALLS.load(Ordering::Relaxed));
    println!("{:?}", budget.snapshot());
    println!("{pages:?}");
    Ok(())
}
