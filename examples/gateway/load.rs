//! An open-loop load, and what its callers saw.
//!
//! Requests are sent by the clock, whether or not earlier ones have returned. Each wait counts from the
//! instant at which its request was due: a proxy that stalls does not slow down its measurement.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hdrhistogram::Histogram;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::proxy::{self, Upstream};
use crate::upstream::PHASE;

/// What one caller saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) phase: usize,
    /// When it was due, from the start of the load.
    pub(crate) due: Duration,
    pub(crate) waited: Duration,
    pub(crate) served: bool,
}

/// The samples so far, in the order of their ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Arc<Mutex<Vec<Sample>>>);

impl Samples {
    fn push(&self, sample: Sample) {
        self.0.lock().expect("nothing panics under it").push(sample);
    }

    pub(crate) fn of_phase(&self, phase: usize) -> Vec<Sample> {
        let all = self.0.lock().expect("nothing panics under it");
        all.iter()
            .filter(|sample| sample.phase == phase)
            .copied()
            .collect()
    }
}

/// The load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) rate: u32,
    /// How long a caller waits before it gives up.
    pub(crate) patience: Duration,
    /// How long each phase lasts.
    pub(crate) phases: Vec<Duration>,
}

impl Load {
    /// Sends the whole load to the proxy at `addr`, and returns when its last caller is done.
    pub(crate) async fn drive(self, addr: SocketAddr, start: Instant, samples: Samples) {
        let client = proxy::client(false);
        let mut callers = JoinSet::new();
        let gap = Duration::from_secs(1) / self.rate;
        let mut due = Duration::ZERO;
        let mut phase_ends = Duration::ZERO;
        for (phase, lasts) in self.phases.iter().enumerate() {
            phase_ends += *lasts;
            while due < phase_ends {
                sleep_until(start + due).await;
                let (client, samples, patience) = (client.clone(), samples.clone(), self.patience);
                callers.spawn(async move {
                    let at = start + due;
                    let served = timeout_at(at + patience, call(client, addr, phase)).await;
                    samples.push(Sample {
                        phase,
                        due,
                        waited: at.elapsed(),
                        served: served.unwrap_or(false),
                    });
                });
                due += gap;
                while callers.try_join_next().is_some() {}
            }
        }
        callers.join_all().await;
    }
}

/// Whether the call was served, to the last byte of its body.
async fn call(client: Upstream, addr: SocketAddr, phase: usize) -> bool {
    let request = Request::get(format!("http://{addr}/"))
        .header(PHASE, phase)
        .body(Body::empty())
        .expect("an address makes a URL");
    match client.request(request).await {
        Ok(response) => {
            let ok = response.status() == StatusCode::OK;
            response.into_body().collect().await.is_ok() && ok
        }
        Err(_) => false,
    }
}

/// In microseconds: more than any caller's patience.
const HOUR: u64 = 3_600_000_000;

/// What the callers of one phase saw.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) requests: usize,
    pub(crate) served: usize,
    waits: Histogram<u64>,
}

impl Summary {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut waits = Histogram::new_with_bounds(1, HOUR, 3).expect("bounds in order");
        for sample in samples {
            let micros = sample.waited.as_micros().try_into().unwrap_or(u64::MAX);
            waits.saturating_record(micros);
        }
        let served = samples.iter().filter(|sample| sample.served).count();
        Self {
            requests: samples.len(),
            served,
            waits,
        }
    }

    pub(crate) fn success_rate(&self) -> f64 {
        self.served as f64 / self.requests.max(1) as f64
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.waits.value_at_quantile(quantile))
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.waits.max())
    }
}

/// How long after `from` the service had recovered: the first request that was served and from which on
/// at least 99 in 100 were. None if too few follow.
pub(crate) fn recovery(samples: &[Sample], from: Duration) -> Option<Duration> {
    const ENOUGH: usize = 20;
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.due);
    let mut left = samples.len();
    let mut served = samples.iter().filter(|sample| sample.served).count();
    for sample in &samples {
        if left < ENOUGH {
            return None;
        }
        if sample.served && served * 100 >= left * 99 {
            return Some(sample.due.saturating_sub(from));
        }
        left -= 1;
        served -= usize::from(sample.served);
    }
    None
}
