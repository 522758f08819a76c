//! What a client sees of a rejection: status, body, fields.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use seawall::http::{Rejections, ReplayBody, RequestBody};
use seawall::service::Respond;
use seawall::{
    Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack, Error, Quota,
    RateLimitLayer, RateLimiter, Reason, Rejection, RejectionKind, ServerStack, TimeoutLayer,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{ms, secs};

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

pub(crate) async fn fetch(address: SocketAddr) -> reqwest::Response {
    reqwest::get(format!("http://{address}/")).await.unwrap()
}

fn full(text: &'static str) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(text.as_bytes())))
}

/// Answers at once.
pub(crate) fn answering()
-> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone
{
    service_fn(async |_: Request<()>| Ok(full("hello")))
}

async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn seconds(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?;
    Some(value.to_str().unwrap().parse().unwrap())
}

const KINDS: [RejectionKind; 10] = [
    RejectionKind::RateLimited,
    RejectionKind::CostAboveBurst {
        cost: 4711,
        burst: 4712,
    },
    RejectionKind::CircuitOpen,
    RejectionKind::HalfOpenFull,
    RejectionKind::Recovering,
    RejectionKind::TimedOut {
        limit: Duration::from_millis(4713),
        elapsed: Duration::from_millis(4714),
    },
    RejectionKind::Expired,
    RejectionKind::NoKey,
    RejectionKind::BulkheadFull {
        limit: 4715,
        in_flight: 4716,
        queued: 4717,
    },
    RejectionKind::QueueTimeout {
        limit: 4718,
        in_flight: 4719,
        queued: 4720,
        waited: Duration::from_millis(4721),
    },
];

/// The answer of `responder` to a call that is rejected for this reason.
async fn answered<R>(
    responder: &R,
    kind: RejectionKind,
    content_type: &str,
) -> Response<Full<Bytes>>
where
    R: Respond<Request<()>, Response<Full<Bytes>>, Infallible>,
{
    use seawall::service::Format;
    let request = Request::post("/").header(CONTENT_TYPE, content_type);
    let format = responder.format(&request.body(()).unwrap());
    let rejection = Rejection::new(kind, "secret-policy");
    format
        .reject(rejection)
        .unwrap_or_else(|never| match never {})
}

// HB9. A cache in between would keep a 200 without a body for its other clients.
#[tokio::test]
async fn cx12_a_get_is_not_answered_as_grpc_whatever_its_content_type() {
    let spent = RateLimiter::per_minute(1);
    spent.try_acquire().unwrap();
    let layer = RateLimitLayer::new(&spent);
    let app = Router::new()
        .route("/native", get(|| async { "hello" }).layer(layer.clone()))
        .route(
            "/body",
            get(|| async { "hello" }).layer(layer.respond_as(Rejections::text())),
        );
    let address = serve(app).await;
    let client = reqwest::Client::new();
    for path in ["native", "body"] {
        let request = client.get(format!("http://{address}/{path}"));
        let request = request.header(CONTENT_TYPE, "application/grpc");
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 429, "{path}");
        assert!(response.headers().contains_key(RETRY_AFTER), "{path}");
        assert!(!response.headers().contains_key("grpc-status"), "{path}");
    }
}

// HB9
#[tokio::test]
async fn hb9_a_rejection_has_the_configured_body() {
    let bodies = [
        (Rejections::empty(), None, ""),
        (
            Rejections::text(),
            Some("text/plain; charset=utf-8"),
            "rate limit exceeded",
        ),
        (
            Rejections::problem_json(),
            Some("application/problem+json"),
            r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"rate limit exceeded"}"#,
        ),
    ];
    for (rejections, content_type, body) in bodies {
        let response = answered(&rejections, RejectionKind::RateLimited, "text/html").await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let found = response.headers().get(CONTENT_TYPE);
        assert_eq!(found.map(|value| value.to_str().unwrap()), content_type);
        assert!(response.extensions().get::<Reason>().is_some());
        assert_eq!(text(response).await, body);
        // A gRPC client reads no body.
        let response = answered(&rejections, RejectionKind::RateLimited, "application/grpc").await;
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(text(response).await, "");
    }
}

// CX20
#[tokio::test]
async fn cx20_no_form_of_a_rejection_names_a_policy_or_a_number_of_it() {
    let forms = [
        (Rejections::empty(), "text/html"),
        (Rejections::text(), "text/html"),
        (Rejections::problem_json(), "text/html"),
        (Rejections::problem_json(), "application/grpc"),
    ];
    for kind in KINDS {
        let mut seen = Vec::new();
        for (form, content_type) in forms {
            let response = answered(&form, kind, content_type).await;
            let head = format!("{} {:?}", response.status(), response.headers());
            seen.push(format!("{head} {}", text(response).await));
        }
        let rejection = Rejection::new(kind, "secret-policy");
        let response = axum::response::IntoResponse::into_response(rejection);
        let head = format!("{} {:?}", response.status(), response.headers());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        seen.push(format!("{head} {}", String::from_utf8_lossy(&body)));
        for seen in seen {
            let number = (4_711..=4_721).any(|number| seen.contains(&number.to_string()));
            assert!(!number && !seen.contains("secret"), "{seen}");
        }
    }
}

#[derive(serde::Deserialize)]
struct Problem {
    title: String,
    status: u16,
    detail: String,
}

// HB9: one call on the stack, over real sockets.
#[tokio::test]
async fn hb9_a_stack_answers_with_problem_json_by_one_call() {
    let stack = ServerStack::http("api", 0).respond_as(Rejections::problem_json());
    let app = Router::new().route("/", get(async || "hello"));
    let response = fetch(serve(app.clone().layer(stack)).await).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert!(matches!(seconds(response.headers()), Some(1 | 2)));
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.title, "Service Unavailable");
    assert_eq!(problem.status, 503);
    assert_eq!(problem.detail, "service is temporarily unavailable");
    // A stack without bodies of its own, and a layer.
    let stack = ServerStack::new("api", 0).respond_as(Rejections::text());
    let response = fetch(serve(app.clone().layer(stack)).await).await;
    assert_eq!(
        response.text().await.unwrap(),
        "service is temporarily unavailable"
    );
    let layer = TimeoutLayer::new(ms(5)).respond_as(Rejections::text());
    let app = Router::new().route("/", get(async || pending::<()>().await));
    let response = fetch(serve(app.layer(layer)).await).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.text().await.unwrap(), "deadline exceeded");
}

// BH3
#[tokio::test]
async fn bh3_a_503_has_a_retry_after_with_jitter() {
    let full = BulkheadLayer::new(Bulkhead::new(0));
    let delays = async |service: Router| {
        let mut seen = [0; 8];
        for _ in 0..200 {
            let request = Request::new(Body::empty());
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            seen[usize::try_from(seconds(response.headers()).unwrap_or(0)).unwrap()] += 1;
        }
        seen
    };
    let app = || Router::new().route("/", get(async || "hello"));
    let default = delays(app().layer(full.clone())).await;
    assert!(default[1] > 50 && default[2] > 50, "{default:?}");
    let longer = Rejections::empty().retry_after(ms(3_500));
    let longer = delays(app().layer(full.clone().respond_as(longer))).await;
    assert_eq!(longer[4], 200, "{longer:?}");
    let none = Rejections::text().retry_after(None);
    assert_eq!(delays(app().layer(full.respond_as(none))).await[0], 200);
    // A delay that the policy knows is not changed, and a 504 has none.
    let known = Rejection::new(RejectionKind::CircuitOpen, "it").with_retry_after(secs(7));
    assert_eq!(seconds(known.into_http_response::<()>().headers()), Some(7));
    let expired = Rejection::new(RejectionKind::Expired, "it");
    assert_eq!(seconds(expired.into_http_response::<()>().headers()), None);
}

// BH3, CB20: over gRPC it is what makes UNAVAILABLE throttling.
#[test]
fn bh3_unavailable_has_a_pushback_with_jitter() {
    for kind in KINDS {
        let response: Response<()> = Rejection::new(kind, "it").into_grpc_response();
        let headers = response.headers();
        let pushback = headers.get("grpc-retry-pushback-ms");
        let pushback = pushback.map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        match headers["grpc-status"].to_str().unwrap() {
            "8" | "14" => assert!((1_000..=2_000).contains(&pushback.unwrap()), "{kind:?}"),
            _ => assert_eq!(pushback, None, "{kind:?}"),
        }
    }
}

/// Counts its copies.
struct Copies(Arc<AtomicUsize>);

impl Clone for Copies {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

/// How often the head of a request is copied on its way through `layer`.
async fn copies<S>(layer: impl Layer<BoxedInner, Service = S>) -> usize
where
    S: Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    let copies = Arc::new(AtomicUsize::new(0));
    let mut request = Request::new(());
    request.extensions_mut().insert(Copies(Arc::clone(&copies)));
    let service = layer.layer(BoxedInner::new(answering()));
    service.oneshot(request).await.unwrap();
    copies.load(Ordering::Relaxed)
}

type BoxedInner = tower::util::BoxCloneService<Request<()>, Response<Full<Bytes>>, Infallible>;

// CX13
#[tokio::test]
async fn cx13_the_head_is_copied_only_for_a_responder_that_sees_it() {
    let answer = |head: &Parts, rejection: Rejection| {
        let path = head.uri.path().to_owned();
        Ok(rejection
            .into_http_response::<()>()
            .map(|()| Full::from(path)))
    };
    let shut = CircuitBreaker::new("shut");
    shut.force_open();
    let timeout = TimeoutLayer::new(secs(1));
    let bulkhead = BulkheadLayer::new(Bulkhead::new(1));
    let breaker = CircuitBreakerLayer::new(&shut);
    let stack = ServerStack::new("it", 1);
    assert_eq!(copies(timeout.clone()).await, 0);
    assert_eq!(copies(bulkhead.clone()).await, 0);
    assert_eq!(copies(breaker.clone()).await, 0);
    assert_eq!(copies(stack.clone()).await, 0);
    assert_eq!(copies(stack.respond_as(Rejections::text())).await, 0);
    // After the call is made, the request is gone.
    assert_eq!(copies(timeout.respond_to(answer)).await, 1);
    assert_eq!(copies(bulkhead.respond_to(answer)).await, 0);
    assert_eq!(copies(breaker.respond_to(answer)).await, 1);
}

// CX12
#[tokio::test]
async fn cx12_a_responder_may_hold_an_arc_and_see_the_head() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&seen);
    let holding = move |rejection: Rejection| {
        counts.fetch_add(1, Ordering::Relaxed);
        Ok(rejection
            .into_http_response::<()>()
            .map(|()| Body::from("held")))
    };
    let page = Arc::<str>::from("busy: ");
    let seeing = move |head: &Parts, rejection: Rejection| {
        let text = format!(
            "{page}{} {}",
            head.method,
            head.headers["x-from"].to_str().unwrap()
        );
        Ok(rejection
            .into_http_response::<()>()
            .map(|()| Body::from(text)))
    };
    let spent = RateLimiter::builder(Quota::per_day(1)).build().unwrap();
    assert!(spent.allow());
    let hang = || Router::new().route("/", get(async || pending::<()>().await));
    let full = || Bulkhead::new(0);
    let shut = CircuitBreaker::new("shut");
    shut.force_open();
    let apps = [
        (
            hang().layer(TimeoutLayer::new(ms(5)).respond_to(seeing.clone())),
            504,
        ),
        (
            hang().layer(RateLimitLayer::new(&spent).respond_to(seeing.clone())),
            429,
        ),
        (
            hang().layer(RateLimitLayer::waiting(&spent).respond_to(seeing.clone())),
            429,
        ),
        (
            hang().layer(BulkheadLayer::new(full()).respond_to(seeing.clone())),
            503,
        ),
        (
            hang().layer(BulkheadLayer::queued(full()).respond_to(seeing.clone())),
            503,
        ),
        (
            hang().layer(CircuitBreakerLayer::new(&shut).respond_to(seeing.clone())),
            503,
        ),
        (
            hang().layer(ServerStack::new("it", 0).respond_to(seeing)),
            503,
        ),
    ];
    for (app, status) in apps {
        let request = Request::get("/")
            .header("x-from", "home")
            .body(Body::empty());
        let response = app.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<Reason>().is_some());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "busy: GET home");
    }
    let app = hang().layer(TimeoutLayer::new(ms(5)).respond(holding.clone()));
    let app = app.layer(BulkheadLayer::new(full()).respond(holding));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

// CX12, D15: the stacks with bodies take the same responders.
#[tokio::test]
async fn cx12_the_http_stacks_take_responders() {
    type Answer = Response<seawall::http::Body<Full<Bytes>>>;
    let say = |text: String, rejection: Rejection| {
        let response = rejection.into_http_response::<()>();
        response.map(|()| seawall::http::Body::from(Bytes::from(text)))
    };
    let held = Arc::<str>::from("held");
    let holding = move |rejection| Ok(say(held.to_string(), rejection));
    let seeing = move |head: &Parts, rejection| Ok(say(head.uri.path().to_owned(), rejection));
    let read = async |response: Answer| {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let answers = || {
        ServiceBuilder::new()
            .map_request(|request: Request<RequestBody<Full<Bytes>>>| request.map(drop))
            .service(answering())
    };
    let server = || ServerStack::http("it", 0);
    let service = server().respond(holding).layer(answers());
    let response = service
        .oneshot(Request::new(Full::default()))
        .await
        .unwrap();
    assert_eq!(read(response).await, "held");
    let service = server().respond_to(seeing).layer(answers());
    let response = service
        .oneshot(Request::new(Full::default()))
        .await
        .unwrap();
    assert_eq!(read(response).await, "/");
    // A client whose rejections are responses, above a service that fails.
    let failing = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
        Err::<Response<Full<Bytes>>, _>(Error::service(std::io::Error::other("down")))
    });
    let client = ClientStack::http("it").respond_as(Rejections::text());
    client.breakers().get("api").force_open();
    let request = Request::get("http://api/").body(Full::default()).unwrap();
    let response = client.layer(failing).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(read(response).await, "service is temporarily unavailable");
}

// CX12: the rejections of policies that a handler uses, over real sockets.
#[tokio::test]
async fn cx12_a_handler_returns_a_rejection_by_question_mark() {
    async fn limited(State(mails): State<RateLimiter>) -> Result<&'static str, Rejection> {
        mails.try_acquire()?;
        Ok("sent")
    }
    async fn run() -> Result<&'static str, Error<StatusCode>> {
        let full = Bulkhead::new(0);
        full.run(async || Err::<&str, _>(StatusCode::IM_A_TEAPOT))
            .await
    }
    async fn failed() -> Result<&'static str, Error<StatusCode>> {
        let free = Bulkhead::new(1);
        free.run(async || Err::<&str, _>(StatusCode::IM_A_TEAPOT))
            .await
    }
    let app = Router::new()
        .route("/limited", get(limited))
        .route("/run", get(run))
        .route("/failed", get(failed))
        .with_state(RateLimiter::per_minute(1));
    let address = serve(app).await;
    let fetch = async |path| {
        reqwest::get(format!("http://{address}/{path}"))
            .await
            .unwrap()
    };
    assert_eq!(fetch("limited").await.text().await.unwrap(), "sent");
    let response = fetch("limited").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(seconds(response.headers()), Some(60));
    assert_eq!(response.headers().get("x-not-processed"), None);
    assert_eq!(response.text().await.unwrap(), "rate limit exceeded");
    let response = fetch("run").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        seconds(response.headers()),
        None,
        "the handler may have worked"
    );
    assert_eq!(fetch("failed").await.status(), StatusCode::IM_A_TEAPOT);
}

// RL6, case 30
#[tokio::test]
async fn rl6_an_upload_that_costs_more_than_the_burst_is_413_over_the_wire_and_not_sent_again() {
    let served = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&served);
    let limit =
        RateLimitLayer::new(RateLimiter::per_second(1_000)).cost(|request: &Request<Body>| {
            let length = request.headers().get(CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            length.unwrap_or(0)
        });
    let app = Router::new()
        .route("/", post(async || "taken"))
        .layer(limit);
    let app = app.layer(axum::middleware::from_fn(
        move |request, next: axum::middleware::Next| {
            counts.fetch_add(1, Ordering::Relaxed);
            next.run(request)
        },
    ));
    let address = serve(app).await;
    let stack = ClientStack::new("upload");
    let client = ServiceBuilder::new()
        .layer(stack.clone())
        .map_err(Error::service)
        .service(reqwest::Client::new());
    let upload = |size| {
        let request = reqwest::Client::new().post(format!("http://{address}/"));
        let request = request.header("idempotency-key", "1").body(vec![0; size]);
        client.clone().oneshot(request.build().unwrap())
    };
    assert_eq!(upload(1_000).await.unwrap().status(), StatusCode::OK);
    let response = upload(1_001).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers().get(RETRY_AFTER), None);
    assert_eq!(served.load(Ordering::Relaxed), 2);
}
