//! `/metrics`, for Prometheus.

use std::future::ready;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use seawall::metrics::{BUCKETS, Publisher};

/// Adds `/metrics` with what all policies of the process have done. Once in a process.
pub(crate) fn route(router: Router) -> Result<Router, BuildError> {
    let exporter = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Prefix("resilience".into()), &BUCKETS)?
        .install_recorder()?;
    let publisher = Publisher::new();
    let page = move || {
        publisher.publish();
        // Takes the recorded durations into the buckets.
        exporter.run_upkeep();
        ready(exporter.render())
    };
    Ok(router.route("/metrics", get(page)))
}
