//! How long an upload may take.

use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, StatusCode};
use seawall::circuit_breaker::{State, Trip};
use seawall::http::HttpClientStack;
use seawall::{ClientStack, Reason, ServerStack};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

use crate::support::{client, ms, serve, stream};

type Stack = HttpClientStack;

fn stack() -> Stack {
    ClientStack::builder("uploads")
        .total_timeout(ms(5_000))
        .attempt_timeout(ms(300))
        .retry(|retry| retry.max_attempts(1))
        .breaker(|breaker| breaker.trips([Trip::consecutive_failures(1)]))
        .build()
        .unwrap()
        .until_body_end()
}

fn post(url: String, body: Body) -> Request<Body> {
    Request::post(url).body(body).unwrap()
}

async fn ends_by_the_attempts_timeout(stack: &Stack, request: Request<Body>, host: SocketAddr) {
    let client = stack.layer(client::<Body>());
    let error = client.oneshot(request).await.unwrap_err();
    let reason = Reason::find(&error).unwrap();
    assert_eq!(&**reason.policy(), "uploads.attempt_timeout");
    let breaker = stack.breakers().get(&host.to_string());
    assert_eq!(breaker.state(), State::Open);
}

// HB5
#[tokio::test(flavor = "multi_thread")]
async fn hb5_a_callers_slow_upload_is_not_the_servers_failure() {
    let app = Router::new().fallback(any(async |body: Bytes| body));
    let address = serve(app).await;
    let stack = stack();
    let body = stream(std::iter::repeat_n("slow ", 5), ms(200));
    let request = post(format!("http://{address}/"), body);
    let response = stack.layer(client::<Body>()).oneshot(request);
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    let breaker = stack.breakers().get(&address.to_string());
    assert_eq!(breaker.state(), State::Closed);
}

// HB5
#[tokio::test(flavor = "multi_thread")]
async fn hb5_the_attempts_clock_starts_when_the_body_has_been_sent() {
    let app = Router::new().fallback(any(async |_: Bytes| {
        std::future::pending::<()>().await;
    }));
    let address = serve(app).await;
    let stack = stack();
    let body = stream(std::iter::repeat_n("slow ", 5), ms(100));
    let start = Instant::now();
    let request = post(format!("http://{address}/"), body);
    ends_by_the_attempts_timeout(&stack, request, address).await;
    let elapsed = start.elapsed();
    assert!((ms(800)..ms(1_100)).contains(&elapsed), "{elapsed:?}");
}

// HB5
#[tokio::test(flavor = "multi_thread")]
async fn hb5_a_server_that_reads_no_more_of_an_upload_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stack = stack();
    // More than the sockets hold.
    let request = post(
        format!("http://{address}/"),
        Body::from(vec![7; 50_000_000]),
    );
    let start = Instant::now();
    ends_by_the_attempts_timeout(&stack, request, address).await;
    let elapsed = start.elapsed();
    assert!((ms(300)..ms(1_000)).contains(&elapsed), "{elapsed:?}");
    drop(listener);
}

// HB5: a server of this crate answers 408, and another one may: in a call of an extra attempt too.
#[tokio::test(flavor = "multi_thread")]
async fn hb5_a_request_that_the_server_waited_too_long_for_is_not_the_servers_failure() {
    let limited = ServerStack::http("uploads", 4).request_body(|body| body.idle(ms(100)));
    let app = Router::new().fallback(any(async |body: Bytes| body));
    let of_this_crate = serve(app.layer(limited)).await;
    let foreign = any(async || StatusCode::REQUEST_TIMEOUT);
    let foreign = serve(Router::new().fallback(foreign)).await;
    let stack = stack();
    stack
        .change(|now| now.retry(|retry| retry.max_attempts(2)))
        .unwrap();
    for (address, body) in [
        (
            of_this_crate,
            stream(std::iter::repeat_n("slow ", 3), ms(250)),
        ),
        (foreign, Body::empty()),
    ] {
        let request = Request::put(format!("http://{address}/"));
        let call = stack
            .layer(client::<Body>())
            .oneshot(request.body(body).unwrap());
        assert_eq!(call.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
        let breaker = stack.breakers().get(&address.to_string());
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!(breaker.snapshot().rules[0].counts.consecutive, 0);
    }
    // Both requests were sent again.
    assert_eq!(stack.retry().snapshot().retried, 2);
}

// HB5, CB8
#[tokio::test(flavor = "multi_thread")]
async fn hb5_a_total_that_ends_during_the_callers_upload_is_not_the_servers_failure() {
    let app = Router::new().fallback(any(async |body: Bytes| body));
    let address = serve(app).await;
    let stack = stack();
    stack.change(|now| now.total_timeout(ms(500))).unwrap();
    let body = stream(std::iter::repeat_n("slow ", 50), ms(100));
    let request = post(format!("http://{address}/"), body);
    let error = stack
        .layer(client::<Body>())
        .oneshot(request)
        .await
        .unwrap_err();
    assert_eq!(
        &**Reason::find(&error).unwrap().policy(),
        "uploads.total_timeout"
    );
    let breaker = stack.breakers().get(&address.to_string());
    assert_eq!(breaker.state(), State::Closed);
}

// HB5
#[tokio::test(flavor = "multi_thread")]
async fn hb5_a_callers_upload_that_fails_is_not_the_servers_failure_and_is_sent_once() {
    let app = Router::new().fallback(any(async |body: Bytes| body));
    let address = serve(app).await;
    let stack = ClientStack::builder("uploads")
        .breaker(|breaker| breaker.trips([Trip::consecutive_failures(1)]))
        .build()
        .unwrap()
        .until_body_end();
    let broken = futures::stream::iter([
        Ok(Bytes::from("half")),
        Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
    ]);
    let request = Request::put(format!("http://{address}/"));
    let request = request.body(Body::from_stream(broken)).unwrap();
    let error = stack
        .layer(client::<Body>())
        .oneshot(request)
        .await
        .unwrap_err();
    assert!(
        format!("{error:?}").contains("request body failed")
            || format!("{error:?}").contains("RequestBodyError"),
        "{error:?}"
    );
    let breaker = stack.breakers().get(&address.to_string());
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(stack.retry().snapshot().retried, 0);
}
