use std::collections::{BTreeMap, BTreeSet};

use ::metrics::{Key, Label, Level, Metadata, Recorder, Unit, with_recorder};

use super::histogram::values;
use super::read::{Reading, read};
use super::table::{HEALTH, Metric, MetricKind, table};
use crate::macros::debug_fields;
use crate::observe::registry::{self, Policy, Status};
use crate::sync::{Arc, Mutex};

/// Publishes what the policies of the process have done and do, through the facade of the crate
/// [`metrics`](https://docs.rs/metrics).
///
/// It reads when it is called: call [`publish`](Self::publish) when the metrics are scraped, or
/// every few seconds where they are pushed. Between two calls it costs nothing.
///
/// It keeps what it has published, so that counters and histograms grow by what is new. One
/// publisher for each recorder is enough. Clones are the same publisher.
///
/// ```
/// use seawall::CircuitBreaker;
/// use seawall::metrics::Publisher;
///
/// let payments = CircuitBreaker::new("payments");
/// let publisher = Publisher::new();
/// // In the handler of `/metrics`, before the exporter renders:
/// publisher.publish();
/// ```
#[derive(Clone, Default)]
pub struct Publisher(Arc<Mutex<Published>>);

debug_fields!(Publisher, this: policies = this.0.lock().policies.len());

/// A metric with the values of its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    metric: &'static Metric,
    /// The name and the kind of the policy. None for the health.
    policy: Option<(String, &'static str)>,
    /// The value of the third label, where there is one.
    value: &'static str,
}

#[derive(Default)]
struct Published {
    described: bool,
    /// The last readings, by the id of the policy.
    policies: BTreeMap<u64, Reading>,
    /// The gauges that had a value.
    gauges: BTreeSet<Series>,
}

impl Publisher {
    /// A publisher that has published nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads every policy in the [registry](crate::registry), and sets the metrics of the current
    /// recorder. All series of a policy exist after the first call that finds it there.
    ///
    /// Policies of one name and kind share their series: counters and numbers of calls are added,
    /// and of states and limits the highest is shown. The counters of a policy that was dropped
    /// stay, without what it counted since the call before, and its gauges become `NaN`. So does a gauge whose value is no longer known.
    ///
    /// It takes the locks of the registry, and about as long as an exporter needs to render the same
    /// series. It blocks, but not on calls. Install the recorder before the first call.
    pub fn publish(&self) {
        let mut published = self.0.lock();
        with_recorder(|recorder| published.publish(recorder));
    }
}

impl Published {
    fn publish(&mut self, recorder: &dyn Recorder) {
        if !std::mem::replace(&mut self.described, true) {
            table().for_each(|metric| describe(metric, recorder));
        }
        let values = values();
        let mut gauges = BTreeMap::new();
        let mut policies = BTreeMap::new();
        for policy in registry::policies() {
            let Some(id) = policy.id() else { continue };
            let mut reading = read(&policy);
            let before = self.policies.get(&id);
            if let Some(before) = before {
                reading.keep(before);
            }
            count(&policy, before, &reading, (recorder, &values));
            for (&(metric, value), &number) in &reading.gauges {
                let series = Series::of(&policy, metric, value);
                let merged = gauges
                    .get(&series)
                    .map(|&of_others| metric.merge.apply(of_others, number));
                gauges.insert(series, merged.unwrap_or(number));
            }
            policies.insert(id, reading);
        }
        let health = Series {
            metric: &HEALTH,
            policy: None,
            value: "",
        };
        gauges.insert(
            health,
            match registry::health().status {
                Status::Ready => 0.0,
                Status::Degraded => 1.0,
                Status::Draining => 2.0,
            },
        );
        for (series, &number) in &gauges {
            recorder
                .register_gauge(&series.key(), &METADATA)
                .set(number);
        }
        for gone in self
            .gauges
            .iter()
            .filter(|series| !gauges.contains_key(series))
        {
            recorder
                .register_gauge(&gone.key(), &METADATA)
                .set(f64::NAN);
        }
        self.gauges = gauges.into_keys().collect();
        self.policies = policies;
    }
}

/// Adds what is new since the reading before.
fn count(
    policy: &Policy,
    before: Option<&Reading>,
    now: &Reading,
    (recorder, values): (&dyn Recorder, &[f64]),
) {
    for (&(metric, value), &number) in &now.counters {
        let last = before.and_then(|before| before.counters.get(&(metric, value)));
        let key = Series::of(policy, metric, value).key();
        let counter = recorder.register_counter(&key, &METADATA);
        counter.increment(number.saturating_sub(last.copied().unwrap_or(0)));
    }
    for (&metric, buckets) in &now.histograms {
        let last = before.and_then(|before| before.histograms.get(metric));
        let key = Series::of(policy, metric, "").key();
        let histogram = recorder.register_histogram(&key, &METADATA);
        for (at, (&number, &value)) in buckets.iter().zip(values).enumerate() {
            let new = number.saturating_sub(last.map_or(0, |last| last[at]));
            if new > 0 {
                histogram.record_many(value, usize::try_from(new).unwrap_or(usize::MAX));
            }
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new("seawall", Level::INFO, None);

fn describe(metric: &Metric, recorder: &dyn Recorder) {
    let unit = (metric.unit == "s").then_some(Unit::Seconds);
    let (name, text) = (metric.name.into(), metric.text.into());
    match metric.kind {
        MetricKind::Counter => recorder.describe_counter(name, unit, text),
        MetricKind::Gauge => recorder.describe_gauge(name, unit, text),
        MetricKind::Histogram => recorder.describe_histogram(name, unit, text),
    }
}

impl Series {
    fn of(policy: &Policy, metric: &'static Metric, value: &'static str) -> Self {
        Self {
            metric,
            policy: Some((policy.name().to_string(), policy.kind().label())),
            value,
        }
    }

    fn key(&self) -> Key {
        let mut labels = Vec::with_capacity(3);
        if let Some((name, kind)) = &self.policy {
            labels.push(Label::new("policy", name.clone()));
            labels.push(Label::from_static_parts("kind", kind));
        }
        if let [_, _, label] = *self.metric.labels {
            labels.push(Label::from_static_parts(label, self.value));
        }
        Key::from_parts(self.metric.name, labels)
    }
}
