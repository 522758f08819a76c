//! Which http requests a client's stack sends again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use seawall::ClientStack;
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn};

/// A POST or GET to a server that answers `first` once and then 200. Returns the status, how many
/// requests there were, and after how long.
async fn sent(method: Method, first: http::response::Builder) -> (StatusCode, u32, Duration) {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let first = first.body(String::new()).unwrap();
    let server = service_fn(move |request: Request<String>| {
        assert_eq!(request.body(), "order");
        let response = match count.fetch_add(1, Ordering::Relaxed) {
            0 => first.clone(),
            _ => Response::new(String::new()),
        };
        async { Ok::<_, BoxError>(response) }
    });
    let stack = ClientStack::builder("orders").retry(|retry| retry.jitter_seed(1));
    // D16: a copier says how to copy a request, never whether it may be sent again.
    let stack = stack.build().unwrap().resend(|request: &Request<String>| {
        let mut copy = Request::new(request.body().clone());
        *copy.method_mut() = request.method().clone();
        Some(copy)
    });
    let mut request = Request::new("order".to_owned());
    *request.method_mut() = method;
    let start = Instant::now();
    let response = stack.layer(server).oneshot(request).await.unwrap();
    let calls = calls.load(Ordering::Relaxed);
    (response.status(), calls, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn rt7_a_post_that_was_answered_500_is_sent_once_also_with_a_copier() {
    for status in [500, 502, 503, 504, 408, 429] {
        let failure = || Response::builder().status(status);
        let (answered, calls, _) = sent(Method::POST, failure()).await;
        assert_eq!((answered.as_u16(), calls), (status, 1));
        let (answered, calls, _) = sent(Method::GET, failure()).await;
        assert_eq!((answered.as_u16(), calls), (200, 2), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn rt7_a_post_that_the_server_put_off_is_sent_again_after_the_delay() {
    for status in [429, 503] {
        let busy = Response::builder().status(status);
        let (answered, calls, after) = sent(Method::POST, busy.header("retry-after", "2")).await;
        assert_eq!((answered.as_u16(), calls), (200, 2), "{status}");
        assert!(after >= Duration::from_secs(2), "{after:?}");
    }
    // A 500 with a delay may have had its effect.
    let failed = Response::builder().status(500).header("retry-after", "2");
    let (answered, calls, _) = sent(Method::POST, failed).await;
    assert_eq!((answered.as_u16(), calls), (500, 1));
}
