//! Three endpoints under tower's balancer. Their breakers shut the bad one out, and with all of them
//! down a call is answered at once.
//!
//!     cargo run --example balance

use std::time::Duration;

use seawall::circuit_breaker::{Gates, Trip};
use seawall::{CircuitBreaker, CircuitBreakerLayer, TimeoutLayer};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

const NAMES: [&str; 3] = ["a", "b", "c"];

async fn answer(name: &'static str) -> Result<&'static str, BoxError> {
    match name {
        "c" => Err("c is broken".into()),
        _ => Ok(name),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let breakers = NAMES.map(|name| {
        let three = Trip::consecutive_failures(3);
        CircuitBreaker::builder(name)
            .trip_on(three)
            .build()
            .expect("it is valid")
    });
    // At most all are shut at once; by default half of the set goes on.
    let gates = Gates::at_most(1.0)?;
    let endpoints = NAMES.iter().zip(&breakers).map(|(&name, breaker)| {
        let endpoint = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::gated(breaker).in_set(&gates))
            .layer(TimeoutLayer::new(Duration::from_millis(200))) // One attempt.
            .service(service_fn(move |()| answer(name)));
        PendingRequests::new(endpoint, CompleteOnResponse::default())
    });
    let endpoints: Vec<_> = endpoints.collect();
    // With all gates shut the balancer is not ready: `load_shed` answers then.
    let balancer = Balance::new(ServiceList::new::<()>(endpoints));
    let mut service = ServiceBuilder::new().load_shed().service(balancer);

    let mut failed = 0;
    for _ in 0..300 {
        let answer = service.ready().await?.call(()).await;
        failed += u32::from(answer.is_err());
    }
    println!("{failed} of 300 calls failed, c is {}", breakers[2].state());
    for breaker in &breakers {
        breaker.force_open();
    }
    let answer = service.ready().await?.call(()).await;
    println!("all down: {}", answer.unwrap_err());
    Ok(())
}
