//! Deadlines and attempts over HTTP, between processes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use futures::StreamExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::rt::TokioExecutor;
use seawall::circuit_breaker::{State, Trip};
use seawall::http::{CallHeaders, ReplayBody, SendCallHeaders, TrustCallHeaders};
use seawall::{
    Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack, Deadline,
    Error, Jitter, Mode, Retry, RetryLayer, ServerStack, Timeout, TimeoutLayer,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{full_budget, ms, secs};

const TIMEOUT: &str = "x-request-timeout-ms";
const ATTEMPT: &str = "x-request-attempt";

async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn get_with(headers: &[(&'static str, &[u8])]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

/// A stack with a timeout of two seconds that trusts its callers, and how much time its handler had at each
/// call.
type Seen = Arc<Mutex<Vec<(Option<Duration>, Option<u32>)>>>;

fn trusting() -> (
    impl Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone,
    Seen,
) {
    let stack = ServerStack::builder("api", 10).timeout(secs(2));
    let stack = stack
        .build()
        .unwrap()
        .trust_call_headers(CallHeaders::new());
    let seen = Seen::default();
    let handler = Arc::clone(&seen);
    let service = stack.layer(service_fn(move |_: Request<()>| {
        let here = (Deadline::remaining(), seawall::attempt());
        handler.lock().unwrap().push(here);
        async { Ok(Response::new(String::new())) }
    }));
    (service, seen)
}

// TO10
#[tokio::test(start_paused = true)]
async fn to10_an_expired_request_is_rejected_before_the_handler_runs() {
    let (service, seen) = trusting();
    for value in ["0", "-5", " 0 "] {
        let request = get_with(&[(TIMEOUT, value.as_bytes())]);
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "{value}");
        assert_eq!(response.headers()["x-not-processed"], "1");
    }
    assert!(seen.lock().unwrap().is_empty());
}

// TO10
#[tokio::test(start_paused = true)]
async fn to10_a_caller_shortens_its_time_and_never_extends_it() {
    let (service, seen) = trusting();
    let own = Some(secs(2));
    for (values, time) in [
        (&[&b"700"[..]][..], Some(ms(700))),
        (&[b" 1500 "], Some(ms(1_500))),
        (&[b"9000", b"800", b"?"], Some(ms(800))),
        (&[b"2001"], own),
        (&[b"18446744073709551615"], own),
        (&[b"99999999999999999999999999"], own),
        // Not a whole number.
        (&[b""], own),
        (&[b"soon"], own),
        (&[b"1.5"], own),
        (&[b"1 2"], own),
        (&[b"1e3"], own),
        (&[b"+5"], own),
        (&[b"--5"], own),
        (&[b"-"], own),
        (&[b"\xff\xfe"], own),
        (&[], own),
    ] {
        let headers: Vec<_> = values.iter().map(|value| (TIMEOUT, *value)).collect();
        let response = service.clone().oneshot(get_with(&headers)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{headers:?}");
        assert_eq!(seen.lock().unwrap().pop().unwrap().0, time, "{headers:?}");
    }
}

// TO10: only a stack that trusts its callers reads the header.
#[tokio::test(start_paused = true)]
async fn to10_trust_is_explicit_and_the_names_are_configurable() {
    let left = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(format!("{:?}", Deadline::remaining())))
    });
    let request = || get_with(&[(TIMEOUT, b"100"), ("x-left", b"200")]);
    let stack = || {
        ServerStack::builder("api", 10)
            .timeout(secs(2))
            .build()
            .unwrap()
    };
    let response = stack().layer(left).oneshot(request()).await.unwrap();
    assert_eq!(response.into_body(), "Some(2s)");
    let names = CallHeaders::new().timeout(HeaderName::from_static("x-left"));
    let stack = stack().trust_call_headers(names);
    let response = stack.layer(left).oneshot(request()).await.unwrap();
    assert_eq!(response.into_body(), "Some(200ms)");
    // Single layers.
    let service = ServiceBuilder::new()
        .layer(TrustCallHeaders::new(CallHeaders::new()))
        .layer(TimeoutLayer::new(secs(1)))
        .service(left);
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.into_body(), "Some(100ms)");
}

// TO10: the deadline of the caller is enforced while the call runs.
#[tokio::test(start_paused = true)]
async fn to10_the_callers_deadline_ends_a_call() {
    let stack = ServerStack::new("api", 10).trust_call_headers(CallHeaders::new());
    let hanging = service_fn(|_: Request<()>| pending::<Result<Response<String>, Infallible>>());
    let start = tokio::time::Instant::now();
    let call = stack.layer(hanging).oneshot(get_with(&[(TIMEOUT, b"250")]));
    let response = call.await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(start.elapsed(), ms(250));
    // It was made, so it is a failure.
    assert_eq!(response.headers().get("x-not-processed"), None);
}

/// What the service at the end of a client was sent.
type Sent = Arc<Mutex<Vec<(Option<String>, Option<String>)>>>;

/// Notes the headers of its requests, and answers with this status after this time.
fn noting(
    sent: &Sent,
    status: u16,
    after: Duration,
) -> impl Service<Request<()>, Response = Response<String>, Error = Error<Infallible>, Future: Send>
+ Clone
+ use<> {
    let sent = Arc::clone(sent);
    service_fn(move |request: Request<()>| {
        let value = |name| {
            let value: &HeaderValue = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        sent.lock().unwrap().push((value(TIMEOUT), value(ATTEMPT)));
        async move {
            tokio::time::sleep(after).await;
            let response = Response::builder().status(status);
            Ok(response.body(String::new()).unwrap())
        }
    })
}

fn sent_values(sent: &Sent) -> Vec<(Option<String>, Option<String>)> {
    std::mem::take(&mut *sent.lock().unwrap())
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

// TO10, RT10
#[tokio::test(start_paused = true)]
async fn to10_each_attempt_sends_its_own_time_and_number() {
    let sent = Sent::default();
    let stack = ClientStack::builder("search")
        .total_timeout(secs(2))
        .attempt_timeout(secs(1))
        .budget(full_budget())
        .retry(|retry| retry.backoff(Backoff::constant(ms(100)).jitter(Jitter::None)))
        .build()
        .unwrap();
    let stack = stack.send_call_headers(CallHeaders::new().slack(ms(10)));
    let service = stack.layer(noting(&sent, 500, ms(700)));
    // The last one has no time to fail.
    service.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(
        sent_values(&sent),
        [
            (some("990"), None),
            (some("990"), some("2")),
            (some("390"), some("3")),
        ]
    );
}

// TO10
#[tokio::test(start_paused = true)]
async fn to10_a_forwarded_header_is_replaced_or_removed() {
    let sent = Sent::default();
    let layer = SendCallHeaders::new(CallHeaders::new());
    let service = layer.layer(noting(&sent, 200, ms(0)));
    let forwarded = || get_with(&[(TIMEOUT, b"60000"), (ATTEMPT, b"7")]);
    service.clone().oneshot(forwarded()).await.unwrap();
    assert_eq!(sent_values(&sent), [(None, None)]);
    let within = Deadline::after(ms(500));
    within
        .scope(service.clone().oneshot(forwarded()))
        .await
        .unwrap();
    assert_eq!(sent_values(&sent), [(some("495"), None)]);
    // Less than the slack is left.
    let within = Deadline::after(ms(3));
    within.scope(service.oneshot(forwarded())).await.unwrap();
    assert_eq!(sent_values(&sent), [(some("0"), None)]);
}

/// The status of a call of `client`.
type Client = BoxCloneSyncService<
    Request<Body>,
    Response<seawall::http::Body<hyper::body::Incoming>>,
    Error<hyper_util::client::legacy::Error>,
>;

fn client(stack: ClientStack, headers: Option<CallHeaders>) -> Client {
    let http = Legacy::builder(TokioExecutor::new()).build_http::<ReplayBody<Body>>();
    let http = ServiceBuilder::new()
        .map_request(|mut request: Request<ReplayBody<Body>>| {
            stamp(&mut request);
            request
        })
        .map_err(Error::service)
        .service(http);
    let stack = stack.until_body_end();
    match headers {
        Some(headers) => BoxCloneSyncService::new(stack.send_call_headers(headers).layer(http)),
        None => BoxCloneSyncService::new(stack.layer(http)),
    }
}

async fn call(client: &Client, address: SocketAddr, path: &str) -> Option<StatusCode> {
    let request = Request::get(format!("http://{address}/{path}")).body(Body::empty());
    let response = client.clone().oneshot(request.unwrap()).await.ok()?;
    Some(response.status())
}

/// Retries three times whatever fails, at once.
fn eager(name: &str) -> ClientStack {
    ClientStack::builder(name)
        .budget(full_budget())
        .retry(|retry| retry.backoff(Backoff::constant(ms(1))))
        .breaker(|breaker| breaker.mode(Mode::Off))
        .build()
        .unwrap()
}

/// A service in front of one that fails. Returns the attempts that one call makes at the latter.
async fn attempts_at_the_end(headers: Option<CallHeaders>) -> (usize, Vec<Option<u32>>) {
    let counts = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::clone(&counts);
    let broken = move || {
        count.lock().unwrap().push(seawall::attempt());
        async { StatusCode::INTERNAL_SERVER_ERROR }
    };
    let trust = |name| {
        let stack = ServerStack::http(name, 100);
        stack.trust_call_headers(CallHeaders::new())
    };
    let last = Router::new().route("/", get(broken)).layer(trust("last"));
    let last = serve(last).await;
    let next = client(eager("middle"), headers.clone());
    let forward = move || {
        let next = next.clone();
        async move {
            call(&next, last, "")
                .await
                .unwrap_or(StatusCode::BAD_GATEWAY)
        }
    };
    let middle = Router::new()
        .route("/", get(forward))
        .layer(trust("middle"));
    let middle = serve(middle).await;
    let status = call(&client(eager("edge"), headers), middle, "").await;
    assert_eq!(status, Some(StatusCode::INTERNAL_SERVER_ERROR));
    let numbers = counts.lock().unwrap().clone();
    (numbers.len(), numbers)
}

// RT10, over real sockets: three attempts, and one each inside the second and the third.
#[tokio::test]
async fn rt10_retries_of_two_processes_do_not_multiply() {
    assert_eq!(attempts_at_the_end(None).await.0, 9);
    let (attempts, numbers) = attempts_at_the_end(Some(CallHeaders::new())).await;
    assert_eq!(attempts, 5);
    let extra = Some(2);
    assert_eq!(numbers, [None, extra, Some(3), extra, extra]);
}

/// A breaker that opens at the first failure, above a client of `address`.
async fn judged_by_breaker(address: SocketAddr, calls: usize) -> (Vec<u16>, State) {
    let breaker = CircuitBreaker::builder("it").trip_on(Trip::consecutive_failures(1));
    let breaker = breaker.build().unwrap();
    let http = Legacy::builder(TokioExecutor::new()).build_http::<Body>();
    let service = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(&breaker))
        .layer(SendCallHeaders::new(CallHeaders::new()))
        .map_err(Error::service)
        .service(http);
    let mut statuses = Vec::new();
    for _ in 0..calls {
        let request = Request::get(format!("http://{address}/")).body(Body::empty());
        if let Ok(response) = service.clone().oneshot(request.unwrap()).await {
            statuses.push(response.status().as_u16());
        }
    }
    (statuses, breaker.state())
}

// CB20: what our server rejects is no outage to our client.
#[tokio::test]
async fn cb20_a_call_that_came_too_late_to_our_server_opens_no_breaker() {
    let stack = ServerStack::http("api", 10).trust_call_headers(CallHeaders::new());
    let address = serve(Router::new().route("/", get(async || "hello")).layer(stack)).await;
    let late = Deadline::after(ms(1)).scope(async {
        tokio::time::sleep(ms(5)).await;
        judged_by_breaker(address, 5).await
    });
    assert_eq!(late.await, (vec![504; 5], State::Closed));
    // A 504 of another server is a failure.
    let status = async || StatusCode::GATEWAY_TIMEOUT;
    let address = serve(Router::new().route("/", get(status))).await;
    assert_eq!(
        judged_by_breaker(address, 5).await,
        (vec![504], State::Open)
    );
}

// CB20, RL16: a server that cannot know its clients is broken, and a retry does not mend it.
#[test]
fn cb20_rejections_of_our_server_are_judged_by_what_they_say() {
    use seawall::classify::Judge;
    use seawall::{Outcome, Rejection, RejectionKind};
    let judged = |kind| {
        let response: Response<()> = Rejection::new(kind, "it").into_http_response();
        let grpc: Response<()> = Rejection::new(kind, "it").into_grpc_response();
        // As the client gets it, without extensions.
        [response, grpc].map(|response| {
            let (parts, ()) = response.into_parts();
            let mut received = Response::new(());
            *received.status_mut() = parts.status;
            *received.headers_mut() = parts.headers;
            match received.judge() {
                Outcome::Failure { kind, .. } => format!("{kind:?}"),
                outcome => format!("{outcome:?}"),
            }
        })
    };
    let (limit, in_flight, queued) = (1, 1, 0);
    let full = RejectionKind::BulkheadFull {
        limit,
        in_flight,
        queued,
    };
    let elapsed = secs(1);
    let timed_out = RejectionKind::TimedOut {
        limit: elapsed,
        elapsed,
    };
    let above = RejectionKind::CostAboveBurst { cost: 2, burst: 1 };
    for (kind, outcome) in [
        (RejectionKind::RateLimited, "Throttled"),
        (full, "Throttled"),
        (RejectionKind::CircuitOpen, "Throttled"),
        (RejectionKind::HalfOpenFull, "Throttled"),
        (RejectionKind::Recovering, "Throttled"),
        (RejectionKind::Expired, "Ignore"),
        (timed_out, "Timeout"),
        (RejectionKind::NoPeerAddress, "Permanent"),
        (RejectionKind::NoKey, "Success"),
        (above, "Success"),
    ] {
        assert_eq!(judged(kind), [outcome, outcome], "{kind:?}");
    }
}

// CB14: the server ends a call a little before the deadline that it was sent.
#[tokio::test(start_paused = true)]
async fn cb14_a_504_of_a_call_with_little_time_opens_no_breaker() {
    for (given, state) in [(ms(50), State::Closed), (secs(2), State::Open)] {
        let breaker = CircuitBreaker::builder("it")
            .trip_on(Trip::consecutive_failures(1))
            .fair_time(secs(1));
        let breaker = breaker.build().unwrap();
        let service = CircuitBreakerLayer::new(&breaker);
        let service = service.layer(noting(&Sent::default(), 504, given - ms(5)));
        let call = Deadline::after(given).scope(service.oneshot(Request::new(())));
        assert_eq!(call.await.unwrap().status(), 504);
        assert_eq!(breaker.state(), state);
    }
}

// RT11: an extra attempt of a caller does not wait in the queue of a server.
#[tokio::test(start_paused = true)]
async fn rt11_an_extra_attempt_of_another_process_does_not_queue() {
    let bulkhead = Bulkhead::builder(1)
        .queue(10)
        .max_wait(secs(1))
        .build()
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(TrustCallHeaders::new(CallHeaders::new()))
        .layer(BulkheadLayer::queued(&bulkhead))
        .service(service_fn(async |_: Request<()>| {
            tokio::time::sleep(ms(100)).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let call = |headers: &[(&'static str, &[u8])]| {
        let call = service.clone().oneshot(get_with(headers));
        async { call.await.unwrap().status().as_u16() }
    };
    let (first, waits, extra, garbage) = tokio::join!(
        call(&[]),
        call(&[(ATTEMPT, b"1")]),
        call(&[(ATTEMPT, b"2")]),
        call(&[(ATTEMPT, b"-2")]),
    );
    assert_eq!([first, waits, extra, garbage], [200, 200, 503, 200]);
}

/// One call of the edge begins at one hop.
struct Began {
    hop: usize,
    id: String,
    /// The time that is left there.
    left: Duration,
    at: Instant,
    /// For how long the request was on its way.
    on_its_way: Duration,
}

#[derive(Default)]
struct Log {
    began: Mutex<Vec<Began>>,
    answered: Mutex<HashMap<String, Instant>>,
}

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Writes when a request was sent into it.
fn stamp<B>(request: &mut Request<B>) {
    let now = u64::try_from(START.elapsed().as_nanos()).unwrap();
    request.headers_mut().insert("x-sent", now.into());
}

impl Log {
    fn begin(&self, hop: usize, id: &str, headers: &HeaderMap) {
        let sent = headers
            .get("x-sent")
            .map(|sent| sent.to_str().unwrap().parse().unwrap());
        let sent = sent.map(Duration::from_nanos);
        let began = Began {
            hop,
            id: id.to_owned(),
            left: Deadline::remaining().expect("every hop has a deadline"),
            at: Instant::now(),
            on_its_way: sent.map_or(Duration::ZERO, |sent| START.elapsed() - sent),
        };
        self.began.lock().unwrap().push(began);
    }
}

const SLACK: Duration = Duration::from_millis(50);

fn headers() -> CallHeaders {
    CallHeaders::new().slack(SLACK)
}

/// The middle of three hops and the last, each with a bulkhead in which calls wait.
async fn two_hops(log: &Arc<Log>) -> SocketAddr {
    let stack = |name, limit| {
        let stack = ServerStack::builder(name, limit);
        let stack = stack.bulkhead(|bulkhead| bulkhead.queue(1_000).max_wait(secs(30)));
        let stack = stack.build().unwrap().until_body_end();
        stack.trust_call_headers(headers())
    };
    let here = Arc::clone(log);
    let work = async move |Path(id): Path<String>, sent: HeaderMap| {
        here.begin(2, &id, &sent);
        // From 0 to 600 ms.
        let number: u64 = id.parse().unwrap();
        tokio::time::sleep(ms(number * 7 % 601)).await;
        "done"
    };
    let last = Router::new()
        .route("/{id}", get(work))
        .layer(stack("last", 10));
    let last = serve(last).await;
    let (next, here) = (client(eager("middle"), Some(headers())), Arc::clone(log));
    let forward = async move |Path(id): Path<String>, sent: HeaderMap| {
        here.begin(1, &id, &sent);
        let status = call(&next, last, &id).await;
        status.unwrap_or(StatusCode::BAD_GATEWAY)
    };
    let middle = Router::new().route("/{id}", get(forward));
    serve(middle.layer(stack("middle", 20))).await
}

// TO10, over real sockets: edge, service, service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to10_of_three_hops_each_sees_less_and_none_works_after_the_edge_has_answered() {
    let log = Arc::new(Log::default());
    let middle = two_hops(&log).await;
    let stack = ServerStack::builder("edge", 1_000).timeout(secs(1));
    let stack = stack.build().unwrap().until_body_end();
    let (next, here) = (client(eager("edge"), Some(headers())), Arc::clone(&log));
    let forward = async move |Path(id): Path<String>, sent: HeaderMap| {
        here.begin(0, &id, &sent);
        let status = call(&next, middle, &id).await;
        status.unwrap_or(StatusCode::BAD_GATEWAY)
    };
    let here = Arc::clone(&log);
    let answer = move |request: axum::extract::Request, next: axum::middleware::Next| {
        let here = Arc::clone(&here);
        async move {
            let id = request.uri().path()[1..].to_owned();
            let response = next.run(request).await;
            here.answered.lock().unwrap().insert(id, Instant::now());
            response
        }
    };
    let edge = Router::new().route("/{id}", get(forward)).layer(stack);
    let edge = serve(edge.layer(axum::middleware::from_fn(answer))).await;
    let client = reqwest::Client::new();
    let calls = (0..60).map(|id| {
        let call = client.get(format!("http://{edge}/{id}")).send();
        async { call.await.unwrap().status().as_u16() }
    });
    let statuses = futures::future::join_all(calls).await;
    let served = statuses.iter().filter(|status| **status == 200).count();
    // Some are served, and some have no time left.
    assert!(served > 0 && served < 60, "{statuses:?}");
    // What might still begin has the time for it.
    tokio::time::sleep(secs(2)).await;
    let (began, answered) = (log.began.lock().unwrap(), log.answered.lock().unwrap());
    let mut left = HashMap::<&str, [Option<Duration>; 3]>::new();
    for Began {
        hop,
        id,
        left: time,
        at,
        on_its_way,
    } in &*began
    {
        let late = at.saturating_duration_since(answered[id]);
        // The slack is for the way. A busy machine may take longer.
        assert!(
            late.is_zero() || *on_its_way > SLACK,
            "call {id} began at hop {hop} after {late:?}, {on_its_way:?} on its way"
        );
        let seen = &mut left.entry(id).or_default()[*hop];
        *seen = Some(seen.map_or(*time, |seen| seen.max(*time)));
    }
    let mut three = 0;
    for (id, left) in left {
        let left: Vec<_> = left.into_iter().flatten().collect();
        assert!(left[0] <= secs(1), "call {id}: {left:?}");
        assert!(
            left.is_sorted_by(|more, less| more > less),
            "call {id}: {left:?}"
        );
        three += usize::from(left.len() == 3);
    }
    assert!(three >= 5, "{three} calls came to the last hop");
}

/// A client stack with the defaults, without a breaker: the budget alone bounds its attempts.
fn without_breaker(name: &str) -> ClientStack {
    let stack = ClientStack::builder(name).breaker(|breaker| breaker.mode(Mode::Off));
    let stack = stack.bulkhead(|bulkhead| bulkhead.limit(1_000));
    let stack = stack.retry(|retry| retry.backoff(Backoff::constant(ms(1))));
    stack.build().unwrap()
}

// RT4, RT10: over real sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rt4_ten_thousand_calls_over_three_hops_make_at_most_11_000_attempts_at_a_dead_one() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let dead = get(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::INTERNAL_SERVER_ERROR }
    });
    let last = serve(Router::new().route("/", dead)).await;
    let next = client(without_breaker("middle"), Some(CallHeaders::new()));
    let forward = get(move || async move {
        call(&next, last, "")
            .await
            .unwrap_or(StatusCode::BAD_GATEWAY)
    });
    let stack = ServerStack::http("middle", 1_000).trust_call_headers(CallHeaders::new());
    let middle = serve(Router::new().route("/", forward).layer(stack)).await;
    let edge = client(without_breaker("edge"), Some(CallHeaders::new()));
    let calls = futures::stream::iter(0..10_000).map(|_| call(&edge, middle, ""));
    let failed = calls.buffer_unordered(64).filter(|status| {
        let failed = *status == Some(StatusCode::INTERNAL_SERVER_ERROR);
        async move { failed }
    });
    assert_eq!(failed.count().await, 10_000);
    let attempts = attempts.load(Ordering::Relaxed);
    assert!((10_000..=11_000).contains(&attempts), "{attempts}");
}

// TO10: a request of reqwest.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn to10_a_client_of_reqwest_sends_what_is_left() {
    let echo = async |headers: HeaderMap| {
        let left = headers
            .get(TIMEOUT)
            .map(|left| left.to_str().unwrap().to_owned());
        left.unwrap_or_default()
    };
    let address = serve(Router::new().route("/", get(echo))).await;
    let stack = ClientStack::new("search").send_call_headers(CallHeaders::new());
    let http = reqwest::Client::new();
    let request = http.get(format!("http://{address}/")).build().unwrap();
    let service = ServiceBuilder::new().layer(stack).map_err(Error::service);
    let response = service.service(http).oneshot(request).await.unwrap();
    let left: u64 = response.text().await.unwrap().parse().unwrap();
    assert!((2_900..3_000).contains(&left), "{left}");
}

// TO10, RN5: a client of one line, of reqwest and of hyper-util.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn to10_a_client_of_one_line_sends_what_is_left_and_its_attempts() {
    let calls = Arc::new(AtomicUsize::new(0));
    let echo = async move |headers: HeaderMap| {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap());
        let left: u64 = text(TIMEOUT).unwrap().parse().unwrap();
        let attempt = text(ATTEMPT).unwrap_or("1");
        match calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
            _ => (StatusCode::OK, format!("{left} {attempt}")),
        }
    };
    let address = serve(Router::new().route("/", get(echo))).await;
    let check = |text: &str| {
        let (left, attempt) = text.split_once(' ').unwrap();
        let left: u64 = left.parse().unwrap();
        assert!((2_800..3_000).contains(&left), "{left}");
        assert_eq!(attempt, "2");
    };
    let stack = ClientStack::http("search").send_call_headers(CallHeaders::new());

    let client = stack.reqwest(reqwest::Client::new());
    let response = client.get(format!("http://{address}/")).send().await;
    check(&response.unwrap().text().await.unwrap());

    let hyper = Legacy::builder(TokioExecutor::new()).build_http();
    let client = stack.hyper(hyper);
    let request = Request::get(format!("http://{address}/")).body(Body::empty());
    let response = client.oneshot(request.unwrap()).await.unwrap();
    let body = Body::new(response.into_body());
    let body = axum::body::to_bytes(body, 100).await.unwrap();
    check(std::str::from_utf8(&body).unwrap());
}

// RT10: `nested` is the way out, as in one process.
#[tokio::test(start_paused = true)]
async fn rt10_a_nested_retry_retries_inside_of_an_extra_attempt() {
    for (nested, attempts) in [(false, 1), (true, 3)] {
        let sent = Sent::default();
        let retry = Retry::builder().budget(full_budget()).nested(nested);
        let retry = RetryLayer::new(retry.build().unwrap());
        let service = ServiceBuilder::new()
            .layer(TrustCallHeaders::new(CallHeaders::new()))
            .layer(TimeoutLayer::new(Timeout::new(secs(60))))
            .layer(retry)
            .layer(SendCallHeaders::new(CallHeaders::new()))
            .service(noting(&sent, 500, ms(1)));
        let request = get_with(&[(ATTEMPT, b"2")]);
        service.oneshot(request).await.unwrap();
        let sent = sent_values(&sent);
        assert_eq!(sent.len(), attempts);
        // What this process sends is an extra attempt too.
        assert!(
            sent.iter().all(|(_, attempt)| attempt.is_some()),
            "{sent:?}"
        );
    }
}
