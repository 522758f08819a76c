//! `/metrics` for Prometheus: what every policy of the process has done.
//!
//!     cargo run --example prometheus
//!     curl http://127.0.0.1:8080/; curl http://127.0.0.1:8080/metrics
//!
//! `docs/grafana.json` is a dashboard for these names.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use seawall::ServerStack;
use seawall::metrics::{BUCKETS, Publisher};
use tower::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let exporter = PrometheusBuilder::new()
        .with_recommended_naming(true) // `_total` and `_seconds`.
        .set_buckets_for_metric(Matcher::Prefix("resilience".into()), &BUCKETS)?
        .install_recorder()?;
    let publisher = Publisher::new();
    let metrics = async move || {
        publisher.publish(); // Reads the policies: between two scrapes nothing runs.
        exporter.run_upkeep(); // Takes the durations into the buckets.
        exporter.render()
    };

    let slow = async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        "hello\n"
    };
    let app = Router::new()
        .route("/", get(slow))
        .layer(ServerStack::http("api", 10))
        .route("/metrics", get(metrics)); // Outside of the stack, for when it is full.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/metrics", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
