//! Throttled answers through the client's stack: they do not shut a server that works.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use seawall::{ClientStack, Mode};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::support::{ms, secs};

const WORKERS: u32 = 4;
/// How long a worker is busy with a call: the server serves 400 calls a second.
const WORK: Duration = Duration::from_millis(10);
/// How long a call waits at most. A call that would wait longer is answered by 503.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

type Answer = Result<Response<String>, BoxError>;

fn answer(status: u16) -> Answer {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// A server that sheds what its queue has no room for.
fn shedding()
-> impl Service<Request<()>, Response = Response<String>, Error = BoxError, Future: Send> + Clone + Send
{
    let free_at = Arc::new(Mutex::new([Instant::now(); WORKERS as usize]));
    service_fn(move |_: Request<()>| {
        let now = Instant::now();
        let mut free_at = free_at.lock().unwrap();
        let first = free_at.iter_mut().min().unwrap();
        let (done, status) = match first.saturating_duration_since(now) < LONGEST_WAIT {
            true => {
                *first = now.max(*first) + WORK;
                (*first, 200)
            }
            false => (now + ms(1), 503),
        };
        drop(free_at);
        async move {
            sleep_until(done).await;
            answer(status)
        }
    })
}

/// How many calls are served in 5 s by a server with `load` times the load of its capacity.
async fn served(load: f64, breakers: Mode) -> u32 {
    let stack = ClientStack::builder("shed").retry(|retry| retry.jitter_seed(1));
    let stack = stack.breaker(|breaker| breaker.mode(breakers));
    let service = stack.build().unwrap().layer(shedding());
    let rate = load * f64::from(WORKERS) / WORK.as_secs_f64();
    let mut arrivals = interval(Duration::from_secs_f64(1.0 / rate));
    let (start, mut calls) = (Instant::now(), JoinSet::new());
    while start.elapsed() < secs(5) {
        arrivals.tick().await;
        let request = Request::get("http://shed.example/").body(()).unwrap();
        calls.spawn(service.clone().oneshot(request));
    }
    let outcomes = calls.join_all().await;
    let answered = |outcome: &Answer| matches!(outcome, Ok(answer) if answer.status() == 200);
    outcomes
        .iter()
        .map(|outcome| u32::from(answered(outcome)))
        .sum()
}

#[tokio::test(start_paused = true)]
async fn cb20_a_server_that_sheds_serves_as_much_as_without_a_breaker() {
    for load in [1.4, 1.8, 2.5, 4.0, 10.0] {
        let without = served(load, Mode::Off).await;
        let with = served(load, Mode::Enforce).await;
        // The server is busy all the time.
        assert!(without > 1_900, "{load}: {without}");
        assert!(with * 100 >= without * 95, "{load}: {with} of {without}");
    }
}

/// Two tenants call one host for 60 s. One is answered 429 and calls every 10 ms; the other calls every
/// `every`. Returns how many of its calls were not served, and how many calls it made.
async fn beside_a_throttled_tenant(every: Duration) -> (u32, u32) {
    let stack = ClientStack::builder("tenants").retry(|retry| retry.jitter_seed(1));
    let service = stack
        .build()
        .unwrap()
        .layer(service_fn(|request: Request<()>| {
            let mut response = answer(200);
            if request.headers()["tenant"] == "throttled" {
                response = answer(429);
                let headers = response.as_mut().unwrap().headers_mut();
                headers.insert("retry-after", "60".parse().unwrap());
            }
            async { response }
        }));
    let call = move |tenant: &str| {
        let request = Request::get("http://shared.example/").header("tenant", tenant);
        service.clone().oneshot(request.body(()).unwrap())
    };
    let throttled = call.clone();
    let throttled = tokio::spawn(async move {
        let mut ticks = interval(ms(10));
        loop {
            ticks.tick().await;
            let _ = throttled("throttled").await;
        }
    });
    let (start, mut ticks) = (Instant::now(), interval(every));
    let (mut failed, mut calls) = (0, 0);
    while start.elapsed() < secs(60) {
        ticks.tick().await;
        calls += 1;
        failed += u32::from(!matches!(call("other").await, Ok(answer) if answer.status() == 200));
    }
    throttled.abort();
    (failed, calls)
}

#[tokio::test(start_paused = true)]
async fn cb20_a_throttled_tenant_shuts_the_host_to_no_tenant_of_a_call_in_4_9_s() {
    for every in [ms(20), ms(200), ms(900), ms(4_900)] {
        let (failed, calls) = beside_a_throttled_tenant(every).await;
        assert_eq!(failed, 0, "of {calls}, {every:?}");
    }
}
