//! Pushes what every policy has done to a collector, by OTLP.
//!
//!     docker run -p 4317:4317 otel/opentelemetry-collector:latest
//!     cargo run --example otlp

use std::time::Duration;

use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use seawall::metrics::{BUCKETS, MetricKind, Publisher, table};
use seawall::{CircuitBreaker, Error, Pipeline, Timeout};
use tower::BoxError;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // To http://localhost:4317, or to OTEL_EXPORTER_OTLP_ENDPOINT.
    let exporter = MetricExporter::builder().with_tonic().build()?;
    // Every minute, or every OTEL_METRIC_EXPORT_INTERVAL milliseconds.
    let reader = PeriodicReader::builder(exporter).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("seawall");
    let recorder = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(meter));
    let is_histogram = |kind| kind == MetricKind::Histogram;
    let histograms = table().filter(|metric| is_histogram(metric.kind));
    recorder.set_histogram_bounds(histograms.map(|metric| metric.name), &BUCKETS);
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;

    let timeout = Timeout::builder(SECOND).name("payments.timeout").build()?;
    let payments = Pipeline::new()
        .timeout(timeout)
        .breaker(CircuitBreaker::new("payments"));
    let publisher = Publisher::new();
    let mut next = tokio::time::interval(SECOND);
    for call in 0.. {
        tokio::select! {
            _ = next.tick() => publisher.publish(),
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                let outcome = payments.run(async |_| match call % 3 {
                    0 => Err(std::io::Error::other("the ledger is locked")),
                    _ => Ok(()),
                });
                if let Err(Error::Rejected(rejection)) = outcome.await {
                    println!("{rejection}");
                }
            }
        }
    }
    publisher.publish();
    Ok(provider.shutdown()?) // Pushes what is new.
}
