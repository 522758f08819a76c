//! The clocks of a response: to its head, to its first chunk, between chunks, in total.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use seawall::circuit_breaker::{State, Trip};
use seawall::{ClientStack, Reason, ServerStack, Timeout};
use tokio::io::AsyncReadExt;
use tower::{Layer, ServiceExt};

use crate::support::{client, ms, serve, stream};

fn named(name: &str, limit: Duration) -> Timeout {
    Timeout::builder(limit)
        .name(name.to_owned())
        .build()
        .unwrap()
}

// HB2, HB3, HB4
#[tokio::test(flavor = "multi_thread")]
async fn hb2_each_clock_ends_where_it_says_and_is_seen_by_breaker_and_retry() {
    let stalls = || futures::stream::pending::<std::io::Result<Bytes>>();
    let once = || futures::stream::iter([Ok(Bytes::from_static(b"."))]);
    let app = Router::new()
        .route("/head", get(async || std::future::pending::<()>().await))
        .route("/first", get(async move || Body::from_stream(stalls())))
        .route(
            "/idle",
            get(async move || Body::from_stream(once().chain(stalls()))),
        )
        .route(
            "/total",
            get(async || stream(std::iter::repeat_n(".", 1_000), ms(50))),
        );
    let address = serve(app).await;
    for (path, policy, from, to, retries) in [
        ("head", "clocks.attempt_timeout", 700, 1_100, 1),
        ("first", "first chunk", 200, 400, 0),
        ("idle", "idle", 300, 500, 0),
        ("total", "clocks.total_timeout", 1_500, 1_800, 0),
    ] {
        let stack = ClientStack::builder("clocks")
            .total_timeout(ms(1_500))
            .attempt_timeout(ms(350))
            .retry(|retry| retry.max_attempts(2))
            .breaker(|breaker| breaker.trips([Trip::consecutive_failures(1 + retries)]))
            .build()
            .unwrap()
            .until_body_end()
            .body(|body| {
                let body = body.first_chunk(named("first chunk", ms(200)));
                body.idle(named("idle", ms(300)))
            });
        let service = stack.layer(client::<Body>());
        let start = Instant::now();
        let request = Request::get(format!("http://{address}/{path}"));
        let request = request.body(Body::empty()).unwrap();
        let breaker = stack.breakers().get(&address.to_string());
        let error = match service.oneshot(request).await {
            Ok(response) => {
                assert_eq!(breaker.state(), State::Closed, "{path}");
                response.into_body().collect().await.unwrap_err()
            }
            Err(error) => error.into(),
        };
        let elapsed = start.elapsed();
        assert!((ms(from)..ms(to)).contains(&elapsed), "{path}: {elapsed:?}");
        let reason = Reason::find(&*error).unwrap();
        assert_eq!(&**reason.policy(), policy, "{path}");
        assert_eq!(breaker.state(), State::Open, "{path}");
        assert_eq!(
            stack.retry().snapshot().retried,
            u64::from(retries),
            "{path}"
        );
    }
}

// HB2, HB4. The best of some runs: a busy machine is late.
#[tokio::test(flavor = "multi_thread")]
async fn hb2_events_behind_comments_are_cut_within_idle_and_50_ms() {
    let stack = ServerStack::http("events", 4).body(|body| {
        let body = body.idle(ms(300));
        body.progress(|chunk: &Bytes| !chunk.starts_with(b":"))
    });
    let events = get(async || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from("data: 1\n\n"))]);
        let comments = futures::stream::repeat(Bytes::from(":\n")).then(async |comment| {
            tokio::time::sleep(ms(20)).await;
            Ok(comment)
        });
        Body::from_stream(first.chain(comments))
    });
    let address = serve(Router::new().route("/", events).layer(stack)).await;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let start = Instant::now();
        let request = b"GET / HTTP/1.1\r\nhost: it\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request)
            .await
            .unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert!(start.elapsed() >= ms(300));
        best = best.min(start.elapsed());
        let all = String::from_utf8(all).unwrap();
        assert!(all.contains("data: 1"), "{all}");
        // The last chunk of a complete body is an empty one.
        assert!(!all.contains("\r\n0\r\n\r\n"), "{all}");
    }
    assert!(best <= ms(350), "{best:?}");
}
