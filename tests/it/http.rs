//! Rejections as responses, under real routers and clients, and the judging of requests and responses.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use seawall::attempts::{Idempotent, Resend};
use seawall::classify::{FailureKind, Judge};
use seawall::http::{Grpc, retry_after};
use seawall::{
    CircuitBreaker, CircuitBreakerLayer, Outcome, Quota, RateLimitLayer, RateLimiter, Reason,
    Rejection, RejectionKind, TimeoutLayer,
};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Recorder, ms, reason, secs};

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn shut(name: &str) -> CircuitBreaker {
    let breaker = CircuitBreaker::new(name);
    breaker.force_open();
    breaker
}

/// No token refills while a test runs.
fn spent(name: &str) -> RateLimiter {
    let limiter = RateLimiter::builder(Quota::per_day(1)).name(name);
    let limiter = limiter.build().unwrap();
    assert!(limiter.allow());
    limiter
}

/// Serves `app` on loopback, until the runtime ends.
async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Sends 30 requests on each of 50 connections, to two routes. Returns how many were admitted; all others
/// were rejected.
async fn volley(address: SocketAddr) -> usize {
    let connections = (0..50).map(|_| {
        tokio::spawn(async move {
            let client = reqwest::Client::new();
            let mut admitted = 0;
            for n in 0..30 {
                let path = ["a", "b"][n % 2];
                let response = client.get(format!("http://{address}/{path}")).send().await;
                match response.unwrap().status() {
                    StatusCode::OK => admitted += 1,
                    status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
                }
            }
            admitted
        })
    });
    let admitted = futures::future::join_all(connections).await;
    admitted.into_iter().map(Result::unwrap).sum()
}

fn two_routes(limiter: &RateLimiter) -> Router {
    let route = || get(async || "admitted");
    let app = Router::new().route("/a", route()).route("/b", route());
    app.layer(RateLimitLayer::new(limiter))
}

// CX2: five a day instead of five a second, so that all requests come at one instant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cx2_under_axum_two_routes_and_fifty_connections_share_one_limit() {
    let address = serve(two_routes(&RateLimiter::per_day(5))).await;
    assert_eq!(volley(address).await, 5);
}

// CX2: a hundred times as fast. The bound is that of the time that has passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cx2_under_axum_no_more_than_burst_and_rate_are_admitted() {
    let period = ms(100);
    let limiter = RateLimiter::builder(Quota::new(5, period)).build().unwrap();
    let address = serve(two_routes(&limiter)).await;
    let start = Instant::now();
    let mut admitted = 0;
    for _ in 0..2 {
        let before = admitted;
        admitted += volley(address).await;
        assert!(admitted >= before + 5, "a period fills the burst again");
        let most = 5.0 + 5.0 * start.elapsed().as_secs_f64() / period.as_secs_f64();
        assert!(admitted as f64 <= most, "{admitted} of {most}");
        tokio::time::sleep(period).await;
    }
}

// CX12: one line of axum, on a router and on one route, without `HandleErrorLayer`.
#[tokio::test]
async fn cx12_one_line_of_axum_on_a_router_a_route_and_a_handler() {
    let breaker = shut("payments");
    let ok = async || "ok";
    let hang = async || std::future::pending::<()>().await;
    let app = Router::new()
        .route(
            "/handler",
            get(ok.layer(RateLimitLayer::new(spent("handler")))),
        )
        .route("/route", get(ok).layer(CircuitBreakerLayer::new(&breaker)))
        .route("/hang", get(hang).layer(TimeoutLayer::new(ms(5))))
        .route("/free", get(ok));
    let everywhere = RateLimiter::per_day(100);
    let app = app
        .layer(CircuitBreakerLayer::new(CircuitBreaker::new("all")))
        .layer(RateLimitLayer::waiting(&everywhere))
        .layer(TimeoutLayer::new(secs(60)))
        .route_layer(RateLimitLayer::new(&everywhere));
    for (path, status, policy) in [
        ("/handler", 429, Some("handler")),
        ("/route", 503, Some("payments")),
        ("/hang", 504, None),
        ("/free", 200, None),
    ] {
        let response = app.clone().oneshot(get_request(path)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let ours = response.extensions().get::<Reason>();
        assert_eq!(ours.is_some(), status != 200);
        if let Some(policy) = policy {
            assert_eq!(ours.unwrap().policy().as_str(), policy);
        }
        if status == 429 {
            let seconds = response.headers()[RETRY_AFTER].to_str().unwrap();
            assert!(
                (86_000..=86_400).contains(&seconds.parse().unwrap()),
                "{seconds}"
            );
        }
    }
    // The router itself is rejected in the same way.
    let app = Router::new()
        .route("/", get(ok))
        .layer(RateLimitLayer::new(spent("router")));
    let response = app.oneshot(get_request("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[tokio::test]
async fn cx12_a_service_that_never_fails_carries_it_in_its_response() {
    let breaker = shut("below");
    let expected = breaker.try_acquire().unwrap_err().into_reason();
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
    let rejecting = CircuitBreakerLayer::new(&breaker).layer(inner);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(5)))
        .layer(RateLimitLayer::waiting(RateLimiter::per_day(9)))
        .map_response(|response| response)
        .service(BoxCloneService::new(rejecting));
    let response = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.extensions().get(), Some(&expected));
    let response = service.buffered().oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&expected));
}

/// Puts a service behind tower's buffer, which boxes its error.
trait Buffered<Req: Send + 'static>: Service<Req> + Sized {
    fn buffered(self) -> tower::buffer::Buffer<Req, Self::Future>
    where
        Self: Send + 'static,
        Self::Error: Into<BoxError> + Send + Sync,
        Self::Future: Send,
    {
        tower::buffer::Buffer::new(self, 4)
    }
}

impl<Req: Send + 'static, S: Service<Req>> Buffered<Req> for S {}

// CX12
#[tokio::test]
async fn cx12_a_json_body_without_default_is_made_by_respond() {
    /// A body that cannot be empty.
    struct Json(String);
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Json("{}".into()))));
    let respond = |rejection: Rejection| {
        let body = format!(r#"{{"policy":"{}"}}"#, rejection.policy());
        let response = Response::builder().status(rejection.status());
        Ok(response.body(Json(body)).unwrap_or_else(|_| unreachable!()))
    };
    let limiter = spent("json");
    let service = RateLimitLayer::new(&limiter).respond(respond).layer(inner);
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.body().0, r#"{"policy":"json"}"#);
    // Any response for a rejection has the mark.
    assert_eq!(
        response.extensions().get::<Reason>().unwrap().kind(),
        RejectionKind::RateLimited
    );

    #[derive(serde::Serialize)]
    struct Rejected {
        policy: String,
    }
    let json = |rejection: Rejection| {
        let policy = rejection.policy().to_string();
        Ok((rejection.status(), axum::Json(Rejected { policy })).into_response())
    };
    let app = Router::new().route("/", get(async || "ok"));
    let app = app.layer(CircuitBreakerLayer::new(shut("axum")).respond(json));
    let response = app.oneshot(get_request("/")).await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], br#"{"policy":"axum"}"#);
}

// CX12: the mark is in the response, not in the layer that finds it.
#[tokio::test]
async fn cx12_a_breaker_with_a_responder_of_its_own_ignores_rejections_from_below() {
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("above").on_event(recorder.listener());
    let breaker = breaker.build().unwrap();
    let teapot = |_| Ok(Response::builder().status(418).body(String::new()).unwrap());
    let inner = |status: u16| {
        service_fn(move |_: Request<()>| {
            let response = Response::builder().status(status).body(String::new());
            ready(Ok::<_, Infallible>(response.unwrap()))
        })
    };
    let mine = CircuitBreakerLayer::new(&breaker).respond(teapot);
    let limited = mine.layer(RateLimitLayer::new(spent("below")).layer(inner(200)));
    assert_eq!(
        limited.oneshot(Request::new(())).await.unwrap().status(),
        429
    );
    assert_eq!(recorder.endings(), ["Ignored"]);
    // Also one that a layer below made in its own way.
    let bare = RateLimitLayer::new(spent("below")).respond(|_| Ok(Response::new(String::new())));
    let limited = mine.layer(bare.layer(inner(200)));
    assert_eq!(
        limited.oneshot(Request::new(())).await.unwrap().status(),
        200
    );
    assert_eq!(recorder.endings(), ["Ignored"]);
    // And one for a gRPC caller, with any classifier.
    let throttled = |_: Result<&Response<String>, &Infallible>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    let grpc = || Request::post("/").header("content-type", "application/grpc");
    for request in [grpc().body(()).unwrap(), Request::new(())] {
        let limited = RateLimitLayer::new(spent("below")).layer(inner(200));
        let judged = mine.clone().classify(throttled).layer(limited.clone());
        judged.oneshot(request.clone()).await.unwrap();
        mine.layer(limited).oneshot(request).await.unwrap();
        assert_eq!(recorder.endings(), ["Ignored", "Ignored"]);
    }
    // The same status from the service itself is a failure, and so is our own 504.
    let failing = mine.layer(inner(429));
    failing.oneshot(Request::new(())).await.unwrap();
    assert_eq!(recorder.endings(), ["Failure(Throttled)"]);
    let hang =
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<String>, Infallible>>());
    let cut = mine.layer(TimeoutLayer::new(ms(5)).layer(hang));
    assert_eq!(cut.oneshot(Request::new(())).await.unwrap().status(), 504);
    assert_eq!(recorder.endings(), ["Failure(Timeout)"]);
    breaker.force_open();
    let rejected = mine
        .layer(inner(200))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(rejected.status(), 418);
}

// CX12, RL8
#[test]
fn cx12_rl8_a_user_turns_a_rejection_into_a_response() {
    let rejection = |why| Rejection::new(why, "100 % ü");
    let (limit, elapsed) = (Duration::from_micros(5), secs(1));
    for (why, status, grpc) in [
        (RejectionKind::RateLimited, 429, "8"),
        (
            RejectionKind::CostAboveBurst { cost: 9, burst: 5 },
            413,
            "3",
        ),
        (RejectionKind::CircuitOpen, 503, "14"),
        (RejectionKind::HalfOpenFull, 503, "14"),
        (RejectionKind::Recovering, 503, "14"),
        (RejectionKind::Expired, 504, "4"),
        (RejectionKind::TimedOut { limit, elapsed }, 504, "4"),
    ] {
        let response: Response<String> = rejection(why).into_http_response();
        assert_eq!(response.status(), status);
        // BH3: where no policy knows a delay.
        let throttled = matches!(status, 429 | 503);
        assert_eq!(response.headers().contains_key(RETRY_AFTER), throttled);
        assert_eq!(response.extensions().get::<Reason>().unwrap().kind(), why);
        let response: Response<String> = rejection(why).into_grpc_response();
        assert_eq!(
            (response.status(), &response.headers()["grpc-status"]),
            (StatusCode::OK, &grpc.parse().unwrap())
        );
        let message = response.headers()["grpc-message"].to_str().unwrap();
        // CX20: neither the policy nor a number leaves the process.
        assert_eq!(message, why.public_text());
        assert!(!message.contains(|c: char| c.is_ascii_digit()), "{message}");
    }
    for (wait, seconds, millis) in [
        (Duration::from_nanos(1), "1", "1"),
        (secs(1), "1", "1000"),
        (ms(1_001), "2", "1001"),
        (
            Duration::MAX,
            "18446744073709551615",
            "18446744073709551615",
        ),
    ] {
        let rejection = rejection(RejectionKind::RateLimited).with_retry_after(wait);
        let response: Response<()> = rejection.clone().into_http_response();
        assert_eq!(response.headers()[RETRY_AFTER], seconds);
        let response: Response<()> = rejection.into_grpc_response();
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], millis);
    }
}

#[tokio::test]
async fn cx12_a_grpc_request_is_answered_trailers_only() {
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
    let mut service = CircuitBreakerLayer::new(shut("grpc")).layer(inner);
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc; charset=utf-8", true),
        ("Application/GRPC", true),
        ("application/grpc-web", false),
        ("application/grpc-web+proto", false),
        ("application/json", false),
    ] {
        let request = Request::post("/").header(CONTENT_TYPE, kind);
        let request = request.body(()).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        let headers = response.headers();
        match grpc {
            true => {
                assert_eq!(response.status(), StatusCode::OK, "{kind}");
                assert_eq!(headers["grpc-status"], "14");
                assert_eq!(headers[CONTENT_TYPE], "application/grpc");
                assert_eq!(
                    headers["grpc-message"],
                    "service is temporarily unavailable"
                );
            }
            false => assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind}"),
        }
    }
}

/// A codec of empty messages.
#[derive(Default)]
struct Empty;

impl tonic::codec::Codec for Empty {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Empty {
    type Item = ();
    type Error = tonic::Status;

    fn encode(&mut self, (): (), _: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        Ok(())
    }
}

impl tonic::codec::Decoder for Empty {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        Ok(Some(()))
    }
}

async fn tonic_call<S>(service: S) -> tonic::Status
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>>,
    S::Error: Into<BoxError>,
{
    let mut client = tonic::client::Grpc::new(service);
    client
        .ready()
        .await
        .unwrap_or_else(|_| panic!("it is always ready"));
    let path = http::uri::PathAndQuery::from_static("/seawall.Test/Call");
    let outcome = client.unary(tonic::Request::new(()), path, Empty).await;
    outcome.map(|_| ()).unwrap_err()
}

// CX12: seen by a tonic client.
#[tokio::test]
async fn cx12_a_tonic_client_gets_a_rejection_as_a_status() {
    type Body = tonic::body::Body;
    let never =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let status = tonic_call(CircuitBreakerLayer::new(shut("grpc")).layer(never)).await;
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "service is temporarily unavailable");
    let status = tonic_call(RateLimitLayer::new(spent("grpc")).layer(never)).await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert!(pushback.to_str().unwrap().parse::<u64>().unwrap() > 86_000_000);
    let status = tonic_call(TimeoutLayer::new(ms(5)).layer(never)).await;
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);

    // The error of a client stack is its own type; a responder makes the status.
    let channel =
        service_fn(async |_: Request<Body>| Err::<Response<Body>, _>(BoxError::from("down")));
    let layer = RateLimitLayer::new(spent("client"));
    let status = tonic_call(layer.clone().respond_as(Grpc).layer(channel)).await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    // Without it the rejection is an error, and is found in the status that tonic makes of it.
    let error: BoxError = tonic_call(layer.layer(channel)).await.into();
    assert_eq!(Reason::find(&*error).unwrap().policy().as_str(), "client");
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn judged(status: u16, headers: &[(&'static str, &'static str)]) -> Outcome {
    let mut response = Response::builder().status(status);
    for &(name, value) in headers {
        response = response.header(name, value);
    }
    response.body(()).unwrap().judge()
}

#[test]
fn statuses_are_judged() {
    for status in [
        100, 200, 204, 301, 304, 400, 401, 403, 404, 409, 410, 418, 422,
    ] {
        assert_eq!(judged(status, &[]), Outcome::Success, "{status}");
    }
    for (status, kind) in [
        (500, FailureKind::Response),
        (502, FailureKind::Response),
        (503, FailureKind::Throttled),
        (599, FailureKind::Response),
        (408, FailureKind::RequestTimeout),
        (504, FailureKind::Timeout),
        (429, FailureKind::Throttled),
        (501, FailureKind::Permanent),
        (505, FailureKind::Permanent),
    ] {
        assert_eq!(
            judged(status, &[]),
            Outcome::Failure {
                kind,
                retry_after: None
            },
            "{status}"
        );
    }
}

#[test]
fn rt3_retry_after_is_read_in_seconds_milliseconds_and_as_a_date() {
    let waits = |headers: &[_]| match judged(503, headers) {
        Outcome::Failure {
            kind: FailureKind::Throttled,
            retry_after: wait,
        } => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(waits(&[("retry-after", "120")]), Some(secs(120)));
    assert_eq!(waits(&[("retry-after", " 7 ")]), Some(secs(7)));
    assert_eq!(waits(&[("retry-after", "0")]), Some(secs(0)));
    let longest = Some(Duration::from_secs(u64::MAX));
    assert_eq!(
        waits(&[("retry-after", "99999999999999999999999")]),
        longest
    );
    assert_eq!(waits(&[("retry-after", "2.5")]), Some(ms(2_500)));
    assert_eq!(waits(&[("retry-after", "0.0")]), Some(secs(0)));
    // A hint that cannot be read is not "no hint": no call may be sent again.
    let never = Some(Duration::MAX);
    for garbage in ["", "soon", "-1", "+3", "1e3", "inf", ".5", "2.", "1.2.3"] {
        assert_eq!(waits(&[("retry-after", garbage)]), never, "{garbage}");
    }
    assert_eq!(waits(&[]), None);
    // Milliseconds are more exact than the header in seconds beside it.
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        assert_eq!(waits(&[(name, "700")]), Some(ms(700)));
        assert_eq!(waits(&[(name, "0.5")]), Some(Duration::from_micros(500)));
        assert_eq!(waits(&[("retry-after", "1"), (name, "700")]), Some(ms(700)));
        assert_eq!(waits(&[("retry-after", "1"), (name, "?")]), Some(secs(1)));
        assert_eq!(waits(&[(name, "-1")]), never);
    }
    // Relative to the response's own date, whatever the local clock says.
    let date = ("date", "Wed, 21 Oct 2015 07:27:00 GMT");
    let until = |at| waits(&[date, ("retry-after", at)]);
    assert_eq!(until("Wed, 21 Oct 2015 07:28:00 GMT"), Some(secs(60)));
    assert_eq!(until("Wed, 21 Oct 2015 07:26:00 GMT"), Some(secs(0)));
    assert_eq!(
        judged(429, &[("retry-after", "3")]),
        Outcome::Failure {
            kind: FailureKind::Throttled,
            retry_after: Some(secs(3))
        }
    );
    // Ignored on a success.
    assert_eq!(judged(200, &[("retry-after", "3")]), Outcome::Success);

    // Without a date in the response, relative to the given time.
    let mut headers = HeaderMap::new();
    headers.insert(
        RETRY_AFTER,
        HeaderValue::from_static("Thu, 01 Jan 1970 00:01:00 GMT"),
    );
    let at = SystemTime::UNIX_EPOCH + secs(20);
    assert_eq!(retry_after(&headers, at), Some(secs(40)));
    headers.insert(
        DATE,
        HeaderValue::from_static("Thu, 01 Jan 1970 00:00:50 GMT"),
    );
    assert_eq!(retry_after(&headers, at), Some(secs(10)));
    headers.remove(RETRY_AFTER);
    assert_eq!(retry_after(&headers, at), None);
}

#[test]
fn cb20_a_503_and_unavailable_with_pushback_are_throttled() {
    let kind = |status, headers: &[_]| match judged(status, headers) {
        Outcome::Failure { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(503, &[]), FailureKind::Throttled);
    assert_eq!(kind(503, &[("retry-after", "1")]), FailureKind::Throttled);
    let unavailable = [GRPC, ("grpc-status", "14")];
    assert_eq!(kind(200, &unavailable), FailureKind::Response);
    for pushback in ["250", "-1"] {
        let pushback = ("grpc-retry-pushback-ms", pushback);
        let [grpc, status] = unavailable;
        assert_eq!(kind(200, &[grpc, status, pushback]), FailureKind::Throttled);
    }
}

// GR1: a header that a server passes on is no status of its own.
#[test]
fn gr1_a_grpc_status_counts_only_with_a_content_type_of_grpc() {
    let unavailable = ("grpc-status", "14");
    let kinds = [
        "application/grpc",
        "application/grpc+proto",
        "Application/gRPC; charset=utf-8",
        "application/grpc-web+proto",
    ];
    for kind in kinds {
        let outcome = judged(200, &[("content-type", kind), unavailable]);
        assert_eq!(outcome, Outcome::failure(FailureKind::Response), "{kind}");
    }
    assert_eq!(judged(200, &[unavailable]), Outcome::Success);
    for kind in ["text/html", "application/json", "application/grp", ""] {
        let kind = ("content-type", kind);
        assert_eq!(judged(200, &[kind, unavailable]), Outcome::Success);
        // Nor does it hide a failure.
        let outcome = judged(502, &[kind, ("grpc-status", "0")]);
        assert_eq!(outcome, judged(502, &[]));
    }
}

#[test]
fn gr1_grpc_statuses_are_judged() {
    for (code, outcome) in [
        ("0", Outcome::Success),
        ("1", Outcome::Success),
        ("3", Outcome::Success),
        ("5", Outcome::Success),
        ("16", Outcome::Success),
        ("10", Outcome::failure(FailureKind::Response)),
        ("x", Outcome::failure(FailureKind::Response)),
        ("", Outcome::failure(FailureKind::Response)),
        (
            "2",
            Outcome::Failure {
                kind: FailureKind::Response,
                retry_after: None,
            },
        ),
        (
            "13",
            Outcome::Failure {
                kind: FailureKind::Response,
                retry_after: None,
            },
        ),
        (
            "14",
            Outcome::Failure {
                kind: FailureKind::Response,
                retry_after: None,
            },
        ),
        (
            "15",
            Outcome::Failure {
                kind: FailureKind::Response,
                retry_after: None,
            },
        ),
        (
            "4",
            Outcome::Failure {
                kind: FailureKind::Timeout,
                retry_after: None,
            },
        ),
        (
            "8",
            Outcome::Failure {
                kind: FailureKind::Throttled,
                retry_after: None,
            },
        ),
        (
            "12",
            Outcome::Failure {
                kind: FailureKind::Permanent,
                retry_after: None,
            },
        ),
        (
            "17",
            Outcome::Failure {
                kind: FailureKind::Response,
                retry_after: None,
            },
        ),
        (
            "999",
            Outcome::Failure {
                kind: FailureKind::Response,
                retry_after: None,
            },
        ),
    ] {
        assert_eq!(
            judged(200, &[GRPC, ("grpc-status", code)]),
            outcome,
            "{code}"
        );
    }
    let pushed = |by| {
        judged(
            200,
            &[GRPC, ("grpc-status", "14"), ("grpc-retry-pushback-ms", by)],
        )
    };
    assert_eq!(
        pushed("250"),
        Outcome::Failure {
            kind: FailureKind::Throttled,
            retry_after: Some(ms(250))
        }
    );
    // Any other value than a whole number of milliseconds stops the client.
    let stop = Outcome::Failure {
        kind: FailureKind::Throttled,
        retry_after: Some(Duration::MAX),
    };
    for unreadable in ["-1", "soon", "1.5", "+5", "", "99999999999999999999"] {
        assert_eq!(pushed(unreadable), stop, "{unreadable}");
    }
}

#[test]
fn requests_may_be_sent_again_by_their_method_or_their_key() {
    for (method, may) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::TRACE, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
        (Method::CONNECT, false),
    ] {
        let request = Request::builder()
            .method(&method)
            .uri("/a")
            .body("body")
            .unwrap();
        assert_eq!(request.is_idempotent(), may, "{method}");
        let copy = request.copy().unwrap();
        assert_eq!(
            (copy.method(), copy.uri().path(), *copy.body()),
            (&method, "/a", "body")
        );
    }
    let keyed = Request::post("/")
        .header("Idempotency-Key", "1")
        .body(())
        .unwrap();
    assert!(keyed.is_idempotent());
    assert!(keyed.copy().unwrap().is_idempotent());
}

// CX12
#[tokio::test]
async fn cx12_an_error_of_a_router_under_buffer_is_found() {
    let limiter = spent("boxed");
    let inner = service_fn(async |_: Request<()>| Err::<Response<()>, BoxError>("down".into()));
    let service = RateLimitLayer::new(&limiter).layer(inner).buffered();
    let error = service.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(reason(&error).policy().as_str(), "boxed");
}

/// Retry and hedge around a hyper client, as in a user's code.
mod again {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper_util::client::legacy::{self, Client};
    use hyper_util::rt::TokioExecutor;
    use seawall::{Backoff, Hedge, HedgeLayer, Retry, RetryLayer};
    use tokio::io::AsyncReadExt;
    use tokio::sync::Notify;

    use super::*;
    use crate::support::{full_budget, locked};

    type Call = Request<Full<Bytes>>;
    type Counts = Arc<Mutex<HashMap<String, usize>>>;

    /// One more than three attempts: a hedge beside the first.
    struct Sender {
        retry: Retry,
        hedge: Hedge,
    }

    impl Sender {
        fn new() -> Self {
            let budget = full_budget();
            let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
            let hedge = Hedge::builder().delay(ms(10)).budget(&budget);
            Self {
                retry: retry.budget(&budget).build().unwrap(),
                hedge: hedge.build().unwrap(),
            }
        }

        async fn send(&self, call: Call) -> Result<StatusCode, seawall::Error<legacy::Error>> {
            let service = ServiceBuilder::new()
                .layer(RetryLayer::new(&self.retry))
                .layer(HedgeLayer::new(&self.hedge))
                .map_err(seawall::Error::service)
                .service(Client::builder(TokioExecutor::new()).build_http());
            let response = service.oneshot(call).await?;
            Ok(response.status())
        }

        fn made_again(&self) -> (u64, u64) {
            (self.retry.snapshot().retried, self.hedge.snapshot().made)
        }
    }

    fn call(method: &Method, address: SocketAddr, path: &str, key: bool) -> Call {
        let mut call = Request::builder()
            .method(method)
            .uri(format!("http://{address}/{path}"));
        if key {
            call = call.header("idempotency-key", "1");
        }
        call.body(Full::from("an order")).unwrap()
    }

    /// Counts the requests for a path; the number of this one, from 1.
    fn count(counts: &Counts, what: &str) -> usize {
        let mut counts = locked(counts);
        let count = counts.entry(what.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// `/busy/..` answers from the third request on; `/slow/..` answers the first request when there is a
    /// second one, or after a while.
    fn upstream(counts: &Counts) -> Router {
        let busy = Arc::clone(counts);
        let busy = async move |request: Request<Body>| match count(&busy, request.uri().path()) {
            3.. => StatusCode::OK,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let (slow, second) = (Arc::clone(counts), Arc::new(Notify::new()));
        let slow = async move |request: Request<Body>| {
            match count(&slow, request.uri().path()) {
                1 if request.method() == Method::POST => tokio::time::sleep(ms(200)).await,
                // A hedge that wins drops it.
                1 => second.notified().await,
                _ => {}
            }
        };
        let app = Router::new().route("/busy/{client}", axum::routing::any(busy));
        app.route("/slow/{client}", axum::routing::any(slow))
    }

    // RT7, HG6
    #[tokio::test]
    async fn rt7_hg6_a_post_is_sent_once_and_a_get_again_through_retry_and_hedge() {
        let counts = Counts::default();
        let address = serve(upstream(&counts)).await;
        let sent = |what: &str| locked(&counts)[what];

        let sender = Sender::new();
        let send = |method, path, key| sender.send(call(&method, address, path, key));
        let busy = StatusCode::INTERNAL_SERVER_ERROR;
        assert_eq!(send(Method::POST, "busy/post", false).await.unwrap(), busy);
        assert_eq!(send(Method::POST, "slow/post", false).await.unwrap(), 200);
        assert_eq!((sent("/busy/post"), sent("/slow/post")), (1, 1));
        assert_eq!(sender.made_again(), (0, 0));

        // A failure starts the hedge, and the third attempt is the retry's.
        assert_eq!(send(Method::GET, "busy/get", false).await.unwrap(), 200);
        assert_eq!((sent("/busy/get"), sender.made_again()), (3, (1, 1)));
        assert_eq!(send(Method::POST, "busy/key", true).await.unwrap(), 200);
        assert_eq!((sent("/busy/key"), sender.made_again()), (3, (2, 2)));
        assert_eq!(send(Method::GET, "slow/get", false).await.unwrap(), 200);
        assert_eq!((sent("/slow/get"), sender.made_again()), (2, (2, 3)));
    }

    // RT7: the worst failure, because what the server did is unknown.
    #[tokio::test]
    async fn rt7_a_post_whose_connection_breaks_before_the_answer_is_sent_once() {
        let counts = Counts::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::clone(&counts);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4];
                if stream.read_exact(&mut head).await.is_ok() {
                    count(&seen, String::from_utf8_lossy(&head).trim());
                }
            }
        });
        let sender = Sender::new();
        for method in [Method::POST, Method::GET] {
            sender
                .send(call(&method, address, "", false))
                .await
                .unwrap_err();
        }
        let counts = locked(&counts);
        assert_eq!((counts["POST"], counts["GET"]), (1, 4));
    }
}

#[cfg(feature = "reqwest")]
mod client {
    use super::*;

    async fn upstream() -> SocketAddr {
        let busy = async || (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "3")]);
        serve(
            Router::new()
                .route("/ok", get(async || "ok"))
                .route("/busy", get(busy)),
        )
        .await
    }

    #[tokio::test]
    async fn a_reqwest_response_is_judged() {
        let address = upstream().await;
        let fetch = |path| reqwest::get(format!("http://{address}/{path}"));
        assert_eq!(fetch("ok").await.unwrap().judge(), Outcome::Success);
        let busy = fetch("busy").await.unwrap();
        let failure = Outcome::Failure {
            kind: FailureKind::Throttled,
            retry_after: Some(secs(3)),
        };
        assert_eq!(busy.judge(), failure);
        assert_eq!(fetch("none").await.unwrap().judge(), Outcome::Success);

        let mut marked = fetch("ok").await.unwrap();
        assert_eq!(marked.reason(), None);
        marked.mark(Rejection::new(RejectionKind::RateLimited, "mark").into_reason());
        assert_eq!(marked.reason().unwrap().policy().as_str(), "mark");
    }

    // RN1
    #[tokio::test]
    async fn rn1_reqwest_calls_run_under_a_breaker() {
        let address = upstream().await;
        let recorder = Recorder::new();
        let breaker = CircuitBreaker::builder("reqwest").on_event(recorder.listener());
        let breaker = breaker.build().unwrap();
        for (path, ending) in [("ok", "Success"), ("busy", "Failure(Throttled)")] {
            let call = breaker.run(|| reqwest::get(format!("http://{address}/{path}")));
            call.await.unwrap();
            assert_eq!(recorder.endings(), [ending]);
        }
        // A port without a listener.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap();
        drop(free);
        let call = breaker.run(|| reqwest::get(format!("http://{closed}/")));
        assert!(call.await.unwrap_err().into_service().unwrap().is_connect());
        assert_eq!(recorder.endings(), ["Failure(Unsent)"]);
    }

    // CX12: `reqwest::Error` cannot carry a rejection, so it is wrapped once at the bottom.
    #[tokio::test]
    async fn cx12_a_stack_over_a_reqwest_client() {
        let address = upstream().await;
        let breaker = CircuitBreaker::new("reqwest");
        let mut service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(secs(60)))
            .layer(CircuitBreakerLayer::new(&breaker))
            .map_err(seawall::Error::service)
            .service(reqwest::Client::new());
        let request = || {
            let url = format!("http://{address}/ok").parse().unwrap();
            reqwest::Request::new(Method::GET, url)
        };
        let response = service
            .ready()
            .await
            .unwrap()
            .call(request())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        breaker.force_open();
        let error = service
            .ready()
            .await
            .unwrap()
            .call(request())
            .await
            .unwrap_err();
        assert_eq!(
            error.rejection().unwrap().kind(),
            RejectionKind::CircuitOpen
        );
    }

    #[test]
    fn a_reqwest_request_may_be_sent_again() {
        let request = |method| reqwest::Request::new(method, "http://localhost/".parse().unwrap());
        assert!(request(Method::GET).is_idempotent());
        assert!(!request(Method::POST).is_idempotent());
        let mut keyed = request(Method::POST);
        keyed
            .headers_mut()
            .insert("idempotency-key", HeaderValue::from_static("1"));
        *keyed.body_mut() = Some("body".into());
        assert!(keyed.is_idempotent());
        let copy = keyed.copy().unwrap();
        assert_eq!(copy.body().unwrap().as_bytes(), Some(&b"body"[..]));
        assert_eq!(copy.headers()["idempotency-key"], "1");
    }
}
