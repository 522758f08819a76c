//! What goes wrong, and the load.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use seawall::registry::{self, Policy};
use seawall::serve::Server;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::metrics;
use crate::policies::Limits;
use crate::proxy::{self, Gateway, Policies};
use crate::service::{Answers, Service};
use crate::target::Target;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outage {
    DependencySlow,
    DependencyDead,
    DependencyFlapping,
    DependencyShedding,
    DependencyTruncating,
    OneClientFlooding,
    LimitTooLow,
    BulkheadTooSmall,
    RetryStormFromOutside,
    BudgetSpent,
    BreakerForcedOpen,
    DeadlineTooShort,
}

pub(crate) const ALL: [Outage; 12] = [
    Outage::DependencySlow,
    Outage::DependencyDead,
    Outage::DependencyFlapping,
    Outage::DependencyShedding,
    Outage::DependencyTruncating,
    Outage::OneClientFlooding,
    Outage::LimitTooLow,
    Outage::BulkheadTooSmall,
    Outage::RetryStormFromOutside,
    Outage::BudgetSpent,
    Outage::BreakerForcedOpen,
    Outage::DeadlineTooShort,
];

const CLIENTS: u32 = 20;
/// Requests a second of each client.
const RATE: u32 = 1;

fn limits() -> Limits {
    let ms = Duration::from_millis;
    Limits {
        rate: 80,
        burst: 80,
        client_rate: Some(10),
        trust: vec!["127.0.0.0/8".parse().expect("a network")],
        in_flight: 1_000,
        timeout: ms(3_000),
        attempt_timeout: ms(1_000),
        attempts: 3,
        budget: 20,
        hedge: None,
        hedge_samples: 100,
        capacity: 50,
        queue: 50,
        queue_wait: ms(100),
        breaker: None,
    }
}

/// How much more than [`RATE`] the clients send.
#[derive(Clone)]
struct Load {
    first: Arc<AtomicU32>,
    others: Arc<AtomicU32>,
}

/// Runs an outage that starts at `onset`, and keeps `/metrics` of every second.
pub(crate) async fn run(outage: Outage, onset: Duration, length: Duration, files: &Path) {
    let (service, upstream) = Service::start();
    let target = Target::parse(&format!("http://{upstream}")).expect("a URL");
    let server = Server::builder().name("gateway").signals(false).build();
    let server = server.expect("a server");
    let gateway = Gateway::protected(&[target], &limits(), server.health(), |_| {});
    let gateway = gateway.expect("a gateway");
    let policies = gateway.policies.clone().expect("it is protected");
    let router = metrics::route(gateway.router).expect("the one recorder of this process");
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move { server.serve(listener, router).await });

    let load = Load {
        first: Arc::new(AtomicU32::new(1)),
        others: Arc::new(AtomicU32::new(1)),
    };
    for client in 0..CLIENTS {
        let of_client = if client == 0 {
            &load.first
        } else {
            &load.others
        };
        tokio::spawn(drive(addr, client, Arc::clone(of_client)));
    }
    let start = Instant::now();
    let wrong = async {
        sleep_until(start + onset).await;
        happen(outage, &service, &policies, &load).await;
        sleep(length).await;
    };
    tokio::select! {
        () = wrong => {}
        () = scrape(addr, start, length, files) => {}
    }
}

async fn happen(outage: Outage, service: &Service, policies: &Policies, load: &Load) {
    match outage {
        Outage::DependencySlow => service.set(Answers::Slowly),
        Outage::DependencyDead => service.set(Answers::Dead),
        Outage::DependencyFlapping => loop {
            service.set(Answers::Failing(1.0));
            sleep(Duration::from_millis(2_500)).await;
            service.set(Answers::Well);
            sleep(Duration::from_millis(2_500)).await;
        },
        Outage::DependencyShedding => service.set(Answers::Shedding),
        Outage::DependencyTruncating => service.set(Answers::Truncated),
        Outage::OneClientFlooding => load.first.store(60, Ordering::Relaxed),
        Outage::LimitTooLow => {
            let found = registry::find("gateway");
            let limiters = found.iter().filter_map(|policy| match policy {
                Policy::RateLimiter(limiter) => Some(limiter),
                _ => None,
            });
            for limiter in limiters {
                let _ = limiter.set_quota(seawall::Quota::per_second(8));
            }
        }
        Outage::BulkheadTooSmall => policies.client.bulkheads().change_all(|bulkhead| {
            let _ = bulkhead.change(|now| now.limit(1).queue(0));
        }),
        Outage::RetryStormFromOutside => {
            load.first.store(6, Ordering::Relaxed);
            load.others.store(6, Ordering::Relaxed);
        }
        Outage::BudgetSpent => service.set(Answers::Failing(0.4)),
        Outage::BreakerForcedOpen => {
            for (_, breaker) in policies.client.breakers().entries() {
                breaker.force_open();
            }
        }
        Outage::DeadlineTooShort => {
            for policy in registry::find("gateway.timeout") {
                if let Policy::Timeout(timeout) = policy {
                    let _ = timeout.set_limit(Duration::from_millis(25));
                }
            }
        }
    }
}

/// Sends what one client sends, by the clock.
async fn drive(addr: SocketAddr, number: u32, factor: Arc<AtomicU32>) {
    let client = proxy::client(false);
    let from = format!("10.0.0.{}", number + 1);
    loop {
        let gap = Duration::from_secs(1) / (RATE * factor.load(Ordering::Relaxed));
        sleep(gap.mul_f64(0.5 + fastrand::f64())).await;
        let (client, from) = (client.clone(), from.clone());
        tokio::spawn(async move {
            let request = Request::get(format!("http://{addr}/"))
                .header("x-forwarded-for", from)
                .body(Body::empty())
                .expect("a request");
            if let Ok(response) = client.request(request).await {
                let _ = response.into_body().collect().await;
            }
        });
    }
}

async fn scrape(addr: SocketAddr, start: Instant, length: Duration, files: &Path) {
    let client = proxy::client(false);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while start.elapsed() < length {
        seconds.tick().await;
        let at = start.elapsed().as_secs_f64().round();
        let request = Request::get(format!("http://{addr}/metrics")).body(Body::empty());
        let response = client.request(request.expect("a request")).await;
        let body = response.expect("an answer").into_body().collect().await;
        let page = body.expect("a page").to_bytes();
        std::fs::write(files.join(format!("{at:03}.prom")), page).expect("a file");
    }
}
