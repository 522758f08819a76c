//! The example `examples/otlp.rs`, and a collector.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric as Exported;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use seawall::metrics::{BUCKETS, MetricKind, table};
use seawall::{CircuitBreaker, Timeout};
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::example::example;
use super::{Page, Prometheus, at_prometheus};

/// Receives what a program pushes.
struct Collector(mpsc::UnboundedSender<Vec<Exported>>);

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_metrics.into_iter();
        let metrics = scopes.flat_map(|resource| resource.scope_metrics);
        let _ = self
            .0
            .send(metrics.flat_map(|scope| scope.metrics).collect());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kind of a metric, and the names of the labels of its points.
fn kind_and_labels(data: &Data) -> (MetricKind, BTreeSet<&str>) {
    fn names<'a>(points: impl Iterator<Item = &'a Vec<KeyValue>>) -> BTreeSet<&'a str> {
        points.flatten().map(|label| &*label.key).collect()
    }
    match data {
        Data::Gauge(gauge) => {
            let labels = names(gauge.data_points.iter().map(|point| &point.attributes));
            (MetricKind::Gauge, labels)
        }
        Data::Sum(sum) => {
            assert!(sum.is_monotonic);
            let labels = names(sum.data_points.iter().map(|point| &point.attributes));
            (MetricKind::Counter, labels)
        }
        Data::Histogram(histogram) => {
            let points = &histogram.data_points;
            assert!(points.iter().all(|point| point.explicit_bounds == BUCKETS));
            let labels = names(points.iter().map(|point| &point.attributes));
            (MetricKind::Histogram, labels)
        }
        other => panic!("{other:?} is no kind of the table"),
    }
}

/// The names at Prometheus of the policies of the example, in this process.
fn names(page: &Page) -> BTreeSet<String> {
    let names = page.keys().map(|series| series.split_once('{').unwrap().0);
    let parts = ["_bucket", "_sum", "_count"];
    let whole = names.map(|name| {
        let mut whole = parts.iter().filter_map(|part| name.strip_suffix(part));
        whole.next().unwrap_or(name).to_owned()
    });
    whole.collect()
}

#[tokio::test]
async fn ob2_a_collector_gets_the_metrics_of_the_table_by_otlp() {
    let (send, mut received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let collector = MetricsServiceServer::new(Collector(send));
    let server = tonic::transport::Server::builder().add_service(collector);
    let server = server.serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);

    // The same policies, before their first call and after it.
    let prometheus = Prometheus::new();
    let breaker = CircuitBreaker::new("otlp.twin");
    let timeout = Timeout::builder(Duration::from_secs(1)).name("otlp.twin.timeout");
    let timeout = timeout.build().unwrap();
    let always = names(&prometheus.scrape("otlp.twin"));
    for _ in 0..50 {
        let call = || breaker.run(async || Ok::<_, std::io::Error>(()));
        timeout.run(call).await.unwrap();
    }
    let known = names(&prometheus.scrape("otlp.twin"));

    let mut example = example("otlp");
    example
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
        .stdout(Stdio::null());
    let _running = Running(example.spawn().unwrap());
    let mut exported = BTreeMap::new();
    let all_came = async {
        while !always.iter().all(|name| exported.contains_key(name)) {
            for metric in received.recv().await.expect("the collector runs") {
                let of_table = table().find(|of_table| of_table.name == metric.name);
                let of_table =
                    of_table.unwrap_or_else(|| panic!("{} is not in the table", metric.name));
                exported.insert(at_prometheus(of_table), (of_table, metric));
            }
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(30), all_came).await;
    assert!(came.is_ok(), "{:?} of {always:?}", exported.keys());

    for (name, (of_table, metric)) in &exported {
        assert!(
            known.contains(name) || *name == "resilience_health",
            "{name}"
        );
        let (kind, labels) = kind_and_labels(metric.data.as_ref().unwrap());
        assert_eq!(kind, of_table.kind, "{name}");
        assert_eq!(labels, of_table.labels.iter().copied().collect(), "{name}");
        assert_eq!(metric.description, of_table.text, "{name}");
        let unit = if of_table.unit == "s" { "s" } else { "" };
        assert_eq!(metric.unit, unit, "{name}");
    }
    assert!(exported.contains_key("resilience_health"));
}
