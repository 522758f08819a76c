//! The stack around a client of reqwest 0.12, as `seawall::reqwest` describes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use reqwest::Body;
use reqwest_012 as reqwest;
use seawall::classify::{self, ErrorsBy, FailureKind, Outcome};
use seawall::http::ReplayBody;
use seawall::{Backoff, CircuitBreaker, ClientStack, Error, Pipeline, RejectionKind, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{ServiceBuilder, ServiceExt};

/// Answers the first request by the first of these, and so on; the last one again and again.
async fn server(answers: &'static [&'static str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let answer = answers[number.min(answers.len() - 1)];
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                while matches!(stream.read(&mut request).await, Ok(1..)) {}
            });
        }
    });
    (address, calls)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfound";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfou";

#[tokio::test]
async fn rn5_a_stack_around_a_client_of_reqwest_0_12() {
    let stack = ClientStack::http("search");
    // On the page:
    let client = ServiceBuilder::new()
        .layer(stack.clone())
        .map_err(Error::service)
        .map_response(http::Response::<Body>::from)
        .map_request(|request: Request<ReplayBody<Body>>| {
            let request = request.map(Body::wrap);
            reqwest::Request::try_from(request).expect("a URL with a host")
        })
        .service(reqwest::Client::new());
    // To here.
    let send = async |method: &str, address: SocketAddr| {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}/"));
        client
            .clone()
            .oneshot(request.body(Body::from("text")).unwrap())
            .await
    };
    let retried = || stack.retry().snapshot().retried;

    let (address, calls) = server(&[MISSING]).await;
    assert_eq!(send("GET", address).await.unwrap().status(), 404);
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    let (address, calls) = server(&[BUSY, OK]).await;
    let start = Instant::now();
    let response = send("POST", address).await.unwrap();
    let text = reqwest::Response::from(response.map(Body::wrap))
        .text()
        .await;
    assert_eq!(text.unwrap(), "found");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert!(start.elapsed() >= Duration::from_secs(1));

    // A body that is cut short is a failure of its host.
    let (address, _) = server(&[CUT]).await;
    let response = send("GET", address).await.unwrap();
    let text = reqwest::Response::from(response.map(Body::wrap))
        .text()
        .await;
    assert!(text.is_err());
    let breaker = stack.breakers().get(&*address.to_string());
    assert_eq!(breaker.snapshot().rules[0].counts.consecutive, 1);

    // Nothing was sent: a POST too is sent again.
    let before = retried();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = send("POST", closed).await.unwrap_err().into_service();
    assert!(error.unwrap().is_connect());
    assert_eq!(retried() - before, 2);

    breaker.force_open();
    let Err(Error::Rejected(rejection)) = send("GET", address).await else {
        panic!("it is open");
    };
    assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
}

// On the page:
/// Classifies an error of reqwest 0.12: by its status if it has one, otherwise by its source chain.
fn by_reqwest(error: &reqwest::Error) -> Outcome {
    match error.status() {
        Some(status) if status.is_server_error() => Outcome::failure(FailureKind::Response),
        Some(status) if status == 429 => Outcome::failure(FailureKind::Throttled),
        Some(_) => Outcome::Success,
        None if error.is_timeout() => Outcome::failure(FailureKind::Timeout),
        None => classify::by_source(error),
    }
}
// To here.

#[tokio::test]
async fn rn4_plain_calls_of_reqwest_0_12() {
    let pages = CircuitBreaker::new("pages");
    let pipeline = Pipeline::new()
        .retry(Retry::new(Backoff::constant(Duration::from_millis(1))))
        .breaker(&pages)
        .classify(ErrorsBy(by_reqwest));
    let client = reqwest::Client::new();
    let page = async |address: SocketAddr| {
        let url = format!("http://{address}/");
        let page = |_| async {
            let response = client.get(&url).send().await?;
            response.error_for_status()?.text().await
        };
        pipeline.run(page).await
    };
    let (address, calls) = server(&[MISSING]).await;
    let error = page(address).await.unwrap_err().into_service().unwrap();
    assert_eq!(error.status().unwrap(), 404);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(pages.snapshot().rules[0].counts.consecutive, 0);
    let (address, calls) = server(&[CUT, OK]).await;
    assert_eq!(page(address).await.unwrap(), "found");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
