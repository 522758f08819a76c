//! A breaker with two rules, around a dependency that fails and recovers.
//!
//!     cargo run --example circuit_breaker

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seawall::circuit_breaker::{Trip, Window};
use seawall::event::EventKind;
use seawall::{Backoff, CircuitBreaker, CircuitBreakerLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ms = Duration::from_millis;
    let breaker = CircuitBreaker::builder("inventory")
        .trip_on(Trip::consecutive_failures(3).within(ms(500)))
        .trip_on(Trip::failure_rate(0.5).over(Window::count(20)))
        .open_for(Backoff::exponential(ms(100)).max(ms(400)))
        .on_event(|event| {
            if let EventKind::Transition(transition) = event.kind {
                let (from, to) = (transition.from, transition.to);
                println!("{}: {from:?} -> {to:?}", event.policy);
            }
        })
        .build()?;

    let down = Arc::new(AtomicBool::new(false));
    let dependency = service_fn({
        let down = Arc::clone(&down);
        move |item: u32| {
            let down = down.load(Ordering::Relaxed);
            async move {
                match down {
                    true => Err(BoxError::from("connection refused")),
                    false => Ok(item),
                }
            }
        }
    });
    let mut client = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(&breaker))
        .service(dependency);

    for step in 0..60 {
        down.store((10..35).contains(&step), Ordering::Relaxed);
        if let Err(error) = client.ready().await?.call(step).await {
            println!("{step}: {error}");
        }
        tokio::time::sleep(ms(20)).await;
    }
    println!("{:#?}", breaker.snapshot());
    Ok(())
}
