//! Metrics of all policies, through the facade of the crate [`metrics`](https://docs.rs/metrics).
//!
//! ```text
//!  calls ──> counters in the policies <── registry <── Publisher::publish() ──> metrics::Recorder
//!            (always on)                               on each scrape           Prometheus, OTLP, ...
//! ```
//!
//! # What it does
//!
//! A [`Publisher`] reads the policies when it is called, and sets the metrics of the recorder that
//! the program has installed. Calls never come here.
//!
//! ```
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use seawall::CircuitBreaker;
//! use seawall::metrics::{BUCKETS, Publisher};
//!
//! let exporter = PrometheusBuilder::new()
//!     .with_recommended_naming(true)
//!     .set_buckets_for_metric(Matcher::Prefix("resilience".into()), &BUCKETS)?
//!     .install_recorder()?;
//! let publisher = Publisher::new();
//!
//! let payments = CircuitBreaker::new("payments");
//! payments.force_open();
//! // In the handler of `/metrics`:
//! publisher.publish();
//! let page = exporter.render();
//! assert!(page.contains(r#"resilience_circuit_breaker_state{policy="payments",kind="circuit_breaker"} 4"#));
//! # Ok::<_, metrics_exporter_prometheus::BuildError>(())
//! ```
//!
//! # Names
//!
//! The [guide](crate::guide::observing) has all names, kinds, labels and units, and [`table`]
//! has them for programs. The label `policy` is the [name](crate::config::Name) of a policy, and
//! `kind` its [`PolicyKind`](crate::registry::PolicyKind). A key is never a label: of a keyed
//! policy all keys are counted together, so that the number of series is fixed by the program.
//!
//! # Sharing
//!
//! Clones of a publisher are one publisher. Two publishers for one recorder count everything twice.
//!
//! # When not to use it
//!
//! Where a program reads one policy, its own [`snapshot`](crate::CircuitBreaker::snapshot) is
//! shorter, and where it reacts to an event, a [listener](crate::event).

mod expected;
mod histogram;
mod publisher;
mod read;
mod table;

pub use histogram::BUCKETS;
pub use publisher::Publisher;
pub use table::{Metric, MetricKind, table};
