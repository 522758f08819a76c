//! A program under load, one of whose two dependencies fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use seawall::{ClientStack, Quota, RateLimiter, ServerStack};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tower::{BoxError, Layer, ServiceExt, service_fn};

#[derive(Clone)]
struct Query {
    host: &'static str,
}

seawall::resend!(Query);
seawall::authority!(Query, |query| Some(query.host));

/// It runs until it is dropped.
pub(crate) struct Scene {
    fails: Arc<AtomicBool>,
    _load: JoinSet<()>,
}

impl Scene {
    /// An API, `api`, in front of a client, `orders`, of two hosts.
    pub(crate) fn start() -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let is_down = fails.clone();
        let hosts = service_fn(move |query: Query| {
            let fails = query.host == "eu.orders.example" && is_down.load(Relaxed);
            async move {
                sleep(Duration::from_millis(8 + u64::from(fastrand::u8(..)) / 12)).await;
                match fails {
                    true => Err(BoxError::from("connection reset by peer")),
                    false => Ok(query.host),
                }
            }
        });
        let orders = ClientStack::builder("orders")
            .attempt_timeout(Duration::from_millis(500))
            .total_timeout(Duration::from_secs(2))
            .build()
            .unwrap()
            .only(|_: &Query| true)
            .layer(hosts);
        let quota = Quota::per_second(150);
        let limiter = RateLimiter::builder(quota).name("partners").build();
        let stack = ServerStack::builder("api", 4)
            .bulkhead(|bulkhead| bulkhead.queue(8))
            .build()
            .unwrap()
            .rate_limit(limiter.unwrap());
        let api = stack.layer(service_fn(move |host: &'static str| {
            orders.clone().oneshot(Query { host })
        }));
        let mut load = JoinSet::new();
        for host in ["eu.orders.example", "us.orders.example"] {
            let api = api.clone();
            load.spawn(async move {
                let mut calls = JoinSet::new();
                let mut ticks = interval(Duration::from_micros(14_000));
                loop {
                    ticks.tick().await;
                    // A few at once now and then, as real callers do.
                    for _ in 0..=fastrand::u8(..8) / 7 * 4 {
                        calls.spawn(api.clone().oneshot(host));
                    }
                    while calls.try_join_next().is_some() {}
                }
            });
        }
        Self { fails, _load: load }
    }

    /// From now on one of the hosts fails.
    pub(crate) fn fail(&self) {
        self.fails.store(true, Relaxed);
    }
}
