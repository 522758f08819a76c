//! Request bodies that are sent again.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use seawall::attempts::Resend;
use seawall::http::{ReplayBody, ReplayLayer};
use seawall::{Backoff, ClientStack, Hedge, HedgeLayer, Retry, RetryLayer};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::support::{Seen, client, ms, serve, stream};

/// Answers every other request 500, and keeps what it received.
async fn failing_every_other(seen: Seen) -> String {
    let app = Router::new().fallback(any(async move |body: Bytes| match seen.add(body) % 2 {
        1 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    }));
    format!("http://{}/", serve(app).await)
}

fn put<B>(url: &str, body: B) -> Request<B> {
    Request::put(url).body(body).unwrap()
}

// HB7, RT6
#[tokio::test(flavor = "multi_thread")]
async fn hb7_any_body_of_up_to_64_kib_is_sent_again_whole() {
    let seen = Seen::default();
    let url = failing_every_other(seen.clone()).await;
    let stack = ClientStack::http("replay");
    let any_body = stack.layer(client::<Body>());
    for body in [
        Body::empty(),
        Body::from("in memory"),
        stream(["streamed ", "", "in ", "", "parts"], ms(1)),
        Body::from(vec![7; 64 * 1024]),
    ] {
        let response = any_body.clone().oneshot(put(&url, body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let full = stack.layer(client::<Full<Bytes>>());
    let response = full.oneshot(put(&url, Full::from("full"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let boxed = stack.layer(client());
    let body = Full::<Bytes>::from("boxed").boxed_unsync();
    let response = boxed.oneshot(put(&url, body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let sent = ["", "in memory", "streamed in parts"].map(Bytes::from);
    let sent = sent.into_iter().chain([Bytes::from(vec![7; 64 * 1024])]);
    let sent = sent.chain(["full", "boxed"].map(Bytes::from));
    let twice: Vec<_> = sent.flat_map(|body| [body.clone(), body]).collect();
    assert_eq!(seen.all(), twice);
}

// HB7
#[tokio::test(flavor = "multi_thread")]
async fn hb7_a_larger_body_is_sent_once_whole() {
    let seen = Seen::default();
    let url = failing_every_other(seen.clone()).await;
    let stack = ClientStack::http("once").replay(1_000);
    let client = stack.layer(client::<Body>());
    let known = Body::from(vec![7; 1_001]);
    let unknown = stream(std::iter::repeat_n("0123456789", 200), Duration::ZERO);
    for (body, size) in [(known, 1_001), (unknown, 2_000)] {
        let response = client.clone().oneshot(put(&url, body)).await.unwrap();
        let _ = seen.add(Bytes::new());
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let all = seen.all();
        assert_eq!(all[all.len() - 2].len(), size);
    }
    assert_eq!(seen.all().len(), 4);
}

// RT6
#[tokio::test(flavor = "multi_thread")]
async fn rt6_an_http_stack_takes_a_copier_and_its_bodies_are_still_sent_whole() {
    let seen = Seen::default();
    let url = failing_every_other(seen.clone()).await;
    let stack =
        ClientStack::http("copied")
            .replay(1_000)
            .resend(
                |request: &Request<ReplayBody<Body>>| match request.headers().get("x-once") {
                    Some(_) => None,
                    None => request.copy(),
                },
            );
    let client = stack.layer(client::<Body>());
    let send = async |request| client.clone().oneshot(request).await.unwrap().status();
    assert_eq!(send(put(&url, Body::from("order"))).await, StatusCode::OK);
    assert_eq!(seen.all(), ["order", "order"]);
    let mut once = put(&url, Body::from("once"));
    once.headers_mut().insert("x-once", 1.into());
    assert_eq!(send(once).await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(seen.all()[2..], ["once"]);
    // Its copy is used up when the attempt has failed: the answer is that of the server, not an
    // error of the body.
    let large = stream(std::iter::repeat_n("0123456789", 200), Duration::ZERO);
    let _ = seen.add(Bytes::new());
    assert_eq!(
        send(put(&url, large)).await,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(seen.all().len(), 5);
}

// HB7, HG2
#[tokio::test(start_paused = true)]
async fn hb7_attempts_in_parallel_share_one_body() {
    let seen = Seen::default();
    let hedge = Hedge::fixed(ms(10));
    let keep = seen.clone();
    let echo = service_fn(move |request: Request<ReplayBody<Body>>| {
        let seen = keep.clone();
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let first = seen.add(body.clone()) == 1;
            tokio::time::sleep(ms(if first { 50 } else { 100 })).await;
            Ok::<_, BoxError>(http::Response::new(body))
        }
    });
    let layer = (ReplayLayer::new(), HedgeLayer::new(&hedge));
    let service = layer.layer(echo);
    // In memory, so that two attempts can read it while it is read.
    let response = service.clone().oneshot(put("/", Body::from("both"))).await;
    assert_eq!(response.unwrap().into_body(), "both");
    assert_eq!(seen.all(), ["both", "both"]);
    assert_eq!(hedge.snapshot().made, 1);
    // Of unknown size and not sent yet: there is no second attempt beside it.
    let slow = stream(["slow ", "upload"], ms(30));
    let response = service.oneshot(put("/", slow)).await.unwrap();
    assert_eq!(response.into_body(), "slow upload");
    assert_eq!(hedge.snapshot().made, 1);
}

/// An attempt that reads some of the body and fails; its reader may live on and read all.
async fn read_some(
    request: Request<ReplayBody<Body>>,
    random: &mut fastrand::Rng,
) -> Result<http::Response<()>, BoxError> {
    let mut body = request.into_body();
    for _ in 0..random.usize(0..6) {
        if let Some(frame) = body.frame().await {
            frame?;
        }
    }
    match random.u8(0..3) {
        0 => Err("the connection broke off".into()),
        1 => {
            // As a connection that goes on with the upload of a call that was dropped.
            tokio::spawn(async move {
                tokio::time::sleep(ms(1)).await;
                let _ = body.collect().await;
            });
            Err("the connection broke off".into())
        }
        _ => Ok(http::Response::new(())),
    }
}

// HB7
#[tokio::test(start_paused = true)]
async fn hb7_no_attempt_sends_a_body_that_is_empty_or_cut_short() {
    let mut retried = 0;
    for seed in 0..2_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let parts = random.usize(0..8);
        let whole = "part ".repeat(parts);
        let limit = random.usize(0..40);
        let seen = Seen::default();
        let attempts = std::sync::Arc::new(std::sync::Mutex::new((random, 0)));
        let (keep, made) = (seen.clone(), attempts.clone());
        let service = service_fn(move |request: Request<ReplayBody<Body>>| {
            let (seen, made) = (keep.clone(), made.clone());
            async move {
                let mut random = {
                    let mut made = made.lock().unwrap();
                    made.1 += 1;
                    made.0.fork()
                };
                let last = random.bool();
                if !last {
                    return read_some(request, &mut random).await;
                }
                let body = request.into_body().collect().await?.to_bytes();
                seen.add(body);
                Err("the answer was lost".into())
            }
        });
        let retry = Retry::builder()
            .backoff(Backoff::constant(ms(2)))
            .no_budget();
        let retry = retry.max_attempts(5).build().unwrap();
        let layer = (ReplayLayer::new().limit(limit), RetryLayer::new(retry));
        let body = stream(
            std::iter::repeat_n("part ", parts),
            ms(u64::from(seed % 2 == 0)),
        );
        let _ = layer.layer(service).oneshot(put("/", body)).await;
        retried += usize::from(attempts.lock().unwrap().1 > 1);
        for body in seen.all() {
            assert_eq!(body, whole, "seed {seed}");
        }
    }
    assert!(retried > 500, "{retried} of 2,000 were sent again");
}

// RT7, HB7
#[tokio::test(flavor = "multi_thread")]
async fn rt7_a_post_is_sent_again_if_the_connection_was_refused_and_not_after_a_reset() {
    // A port without a listener.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let seen = Seen::default();
    let keep = seen.clone();
    tokio::spawn(async move {
        tokio::time::sleep(ms(30)).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let app = Router::new().fallback(any(async move |body: Bytes| {
            keep.add(body);
        }));
        axum::serve(listener, app).await
    });
    let stack = ClientStack::builder("orders")
        .retry(|retry| retry.backoff(Backoff::constant(ms(100)).jitter(seawall::Jitter::None)))
        .build()
        .unwrap()
        .until_body_end();
    let post = |url: String| {
        let body = stream(["an ", "order"], ms(1));
        Request::builder()
            .method(Method::POST)
            .uri(url)
            .body(body)
            .unwrap()
    };
    let service = stack.layer(client::<Body>());
    let response = service.clone().oneshot(post(format!("http://{address}/")));
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    assert_eq!(seen.all(), ["an order"]);
    // A server that reads the request and resets the connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut head = [0; 20];
            let _ = tokio::io::AsyncReadExt::read_exact(&mut socket, &mut head).await;
        }
    });
    let response = service.oneshot(post(format!("http://{address}/"))).await;
    assert!(response.is_err());
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}
