//! The fields that show how much of a rate limit is left.

use std::convert::Infallible;
use std::future::pending;
use std::task::Poll;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{HeaderMap, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use seawall::http::RateLimitFields;
use seawall::{Deadline, Keyed, Mode, Quota, RateLimitLayer, RateLimiter, ServerStack};
use tokio::time::advance;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::answers::{answering, fetch, serve};
use crate::support::{Task, secs};

/// The values of the fields of the draft, and of the older ones.
fn fields(headers: &HeaderMap) -> [Option<&str>; 5] {
    [
        "ratelimit-policy",
        "ratelimit",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ]
    .map(|name| headers.get(name).map(|value| value.to_str().unwrap()))
}

// RL14: over real sockets, admitted and rejected.
#[tokio::test]
async fn rl14_every_response_says_what_is_left() {
    let limiter = RateLimiter::per_minute(3);
    let stack = ServerStack::http("api", 10)
        .rate_limit(&limiter)
        .rate_limit_fields(RateLimitFields::new());
    let app = Router::new().route("/", get(async || "hello")).layer(stack);
    let address = serve(app).await;
    for left in [2, 1, 0] {
        let response = fetch(address).await;
        assert_eq!(response.status(), StatusCode::OK);
        let limit = format!("\"default\";r={left};t=20");
        let draft = [Some("\"default\";q=3;w=60"), Some(&*limit)];
        assert_eq!(fields(response.headers())[..2], draft);
        assert_eq!(fields(response.headers())[2..], [None; 3]);
    }
    let response = fetch(address).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    // As long as `Retry-After`.
    assert_eq!(response.headers()[RETRY_AFTER], "20");
    assert_eq!(fields(response.headers())[1], Some("\"default\";r=0;t=20"));
}

/// The fields of one response through `layer`.
async fn shown<S, B>(service: &S, request: Request<()>) -> (u16, Vec<String>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let fields = fields(response.headers()).into_iter().flatten();
    (
        response.status().as_u16(),
        fields.map(str::to_owned).collect(),
    )
}

// RL14
#[tokio::test(start_paused = true)]
async fn rl14_the_older_fields_are_sent_on_request() {
    let fields = RateLimitFields::new()
        .name("per \"client\"\n")
        .x_rate_limit();
    let layer = RateLimitLayer::new(RateLimiter::per_minute(3)).rate_limit_fields(fields);
    let service = layer.layer(answering());
    let all = |r: u32, reset: u32| {
        let limit = format!("\"per client\";r={r};t=20");
        let older = ["3".to_owned(), r.to_string(), reset.to_string()];
        let mut all = vec!["\"per client\";q=3;w=60".to_owned(), limit];
        all.extend(older);
        all
    };
    let call = || shown(&service, Request::new(()));
    assert_eq!(call().await, (200, all(2, 20)));
    assert_eq!(call().await, (200, all(1, 40)));
    assert_eq!(call().await, (200, all(0, 60)));
    assert_eq!(call().await, (429, all(0, 60)));
    // A period that a token does not divide.
    let fields = RateLimitFields::new().x_rate_limit();
    let limiter = RateLimiter::builder(Quota::new(3, secs(10)))
        .build()
        .unwrap();
    let layer = RateLimitLayer::new(&limiter).rate_limit_fields(fields);
    assert!(limiter.allow_n(2));
    let (_, shown) = shown(&layer.layer(answering()), Request::new(())).await;
    assert_eq!((&*shown[0], &*shown[4]), ("\"default\";q=3;w=10", "10"));
}

fn limit_of((status, fields): (u16, Vec<String>)) -> (u16, Option<String>) {
    (status, fields.into_iter().nth(1))
}

// RL14, KY1, RL13
#[tokio::test(start_paused = true)]
async fn rl14_it_is_the_limit_of_the_requests_key_and_the_tightest_of_several() {
    let in_all = RateLimiter::builder(Quota::per_minute(4)).build().unwrap();
    let per_client = Keyed::<str, _>::limit(100, Quota::per_minute(3)).unwrap();
    let limit = per_client.with_limits([in_all]).unwrap();
    let by = limit.by(|request: &Request<()>| request.headers().get("x-key")?.to_str().ok());
    let layer = RateLimitLayer::new(by).rate_limit_fields(RateLimitFields::new());
    let service = layer.layer(answering());
    let call = async |client| {
        let request = Request::builder().header("x-key", client).body(()).unwrap();
        limit_of(shown(&service, request).await)
    };
    let shows = |status, r, t| (status, Some(format!("\"default\";r={r};t={t}")));
    assert_eq!(call("a").await, shows(200, 2, 20));
    assert_eq!(call("b").await, shows(200, 2, 20));
    assert_eq!(call("b").await, shows(200, 1, 20));
    // Now the limit in all is the tightest.
    assert_eq!(call("a").await, shows(200, 0, 15));
    assert_eq!(call("c").await, shows(429, 0, 15));
}

// RL14: of two calls at one time each shows its own decision.
#[test]
fn rl14_each_of_many_threads_shows_its_own_decision() {
    let limiter = RateLimiter::builder(Quota::per_day(400))
        .striped(false)
        .build()
        .unwrap();
    let layer = RateLimitLayer::new(&limiter).rate_limit_fields(RateLimitFields::new());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let service = layer.layer(answering());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let mut seen = Vec::new();
                    for _ in 0..100 {
                        let (status, limit) = limit_of(shown(&service, Request::new(())).await);
                        assert_eq!(status, 200);
                        let limit = limit.unwrap();
                        let left = limit.split([';', '=']).nth(2).unwrap();
                        seen.push(left.parse::<u32>().unwrap());
                    }
                    seen
                })
            })
        })
        .collect();
    let mut seen: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
}

// RL14: also where a layer below or above the limit answers.
#[tokio::test(start_paused = true)]
async fn rl14_a_response_that_another_layer_makes_has_the_fields() {
    let stack = ServerStack::builder("api", 1)
        .timeout(secs(2))
        .build()
        .unwrap();
    let stack = stack.rate_limit(RateLimiter::per_minute(60));
    let hanging =
        service_fn(|_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let service = stack
        .rate_limit_fields(RateLimitFields::new())
        .layer(hanging);
    let call = || shown(&service, Request::new(()));
    let (timed_out, full) = tokio::join!(call(), call());
    assert_eq!(
        limit_of(timed_out),
        (504, Some("\"default\";r=59;t=1".to_owned()))
    );
    assert_eq!(
        limit_of(full),
        (503, Some("\"default\";r=58;t=1".to_owned()))
    );
}

// RL14: a limiter that the handler uses for its own calls is not shown.
#[tokio::test(start_paused = true)]
async fn rl14_a_limit_of_outgoing_calls_is_not_shown() {
    let outgoing = RateLimitLayer::new(RateLimiter::per_second(7)).layer(answering());
    let handler = service_fn(move |request: Request<()>| outgoing.clone().oneshot(request));
    let limiter = RateLimiter::per_minute(60);
    let layer = RateLimitLayer::new(&limiter).rate_limit_fields(RateLimitFields::new());
    let service = layer.layer(handler);
    let call = || shown(&service, Request::new(()));
    let shown = "\"default\";r=59;t=1".to_owned();
    assert_eq!(limit_of(call().await), (200, Some(shown)));
    for mode in [Mode::Off, Mode::RecordOnly] {
        limiter.set_mode(mode);
        assert_eq!(call().await, (200, Vec::new()));
    }
    limiter.set_mode(Mode::Enforce);
    limiter.set_quota(Quota::unlimited()).unwrap();
    assert_eq!(call().await, (200, Vec::new()));
}

// RL14, RL4
#[tokio::test(start_paused = true)]
async fn rl14_a_call_that_has_waited_shows_what_it_left() {
    let limiter = RateLimiter::builder(Quota::per_minute(2)).max_wait(secs(40));
    let layer = RateLimitLayer::waiting(limiter.build().unwrap());
    let layer = layer.rate_limit_fields(RateLimitFields::new());
    let service = layer.layer(answering());
    let call = || async { limit_of(shown(&service, Request::new(())).await) };
    let shows = |status, r| (status, Some(format!("\"default\";r={r};t=30")));
    assert_eq!(call().await, shows(200, 1));
    assert_eq!(call().await, shows(200, 0));
    let (waited, rejected) = tokio::join!(call(), call());
    assert_eq!(waited, shows(200, 0));
    assert_eq!(rejected, shows(429, 0));
}

// RL14, TO4: during the wait, and while the service was not ready.
#[tokio::test(start_paused = true)]
async fn rl14_a_call_that_has_expired_shows_what_is_left() {
    for waits in [true, false] {
        let limiter = RateLimiter::builder(Quota::per_minute(2)).max_wait(secs(40));
        let limiter = limiter.build().unwrap();
        let layer = RateLimitLayer::waiting(&limiter);
        let layer = layer.rate_limit_fields(RateLimitFields::new());
        let mut busy = ConcurrencyLimit::new(answering(), 1);
        let mut service = layer.layer(busy.clone());
        assert!(limiter.allow_n(2));
        let deadline = Deadline::after(secs(35));
        let call = deadline.enter(|| service.call(Request::new(())));
        let mut call = Task::new(call);
        assert!(call.run().is_pending());
        if !waits {
            busy.ready().await.unwrap();
            advance(secs(30)).await;
            assert!(call.run().is_pending());
            drop(busy);
        }
        advance(secs(35)).await;
        let Poll::Ready(Ok(response)) = call.run() else {
            panic!("its deadline has passed");
        };
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        let left = if waits { "1" } else { "2" };
        let limit = fields(response.headers())[1].unwrap_or_default();
        assert!(limit.contains(&format!("r={left}")), "{limit:?}");
    }
}
