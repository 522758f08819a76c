//! `ClientStack::http(..).reqwest(client)` and `.hyper(client)` as a user writes them, on real
//! sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use futures::StreamExt;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use seawall::classify::{FailureKind, Outcome, by_source, checked_with_body};
use seawall::reqwest::Client;
use seawall::stack::{ClientConfig, Overrides};
use seawall::{ClientStack, Error, Rejection, RejectionKind, Trip};
use serde::{Deserialize, Serialize};

use crate::hosts::{in_time, listen, until};
use crate::support::{ms, secs};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct User {
    name: String,
}

fn ann() -> User {
    User { name: "Ann".into() }
}

struct Server {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Server {
    /// Answers by the path, see [`answer`].
    async fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let app = Router::new().fallback(move |request: Request| {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            answer(call, request)
        });
        let (listener, address) = listen().await;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, calls }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    #[track_caller]
    fn saw(&self, calls: usize) {
        assert_eq!(self.calls.load(Ordering::SeqCst), calls);
    }
}

async fn answer(call: usize, request: Request) -> Response<Body> {
    let status = |status: u16| Response::builder().status(status);
    let path = request.uri().path().to_owned();
    let response = match &*path {
        "/user" => status(200).body(r#"{"name":"Ann"}"#.into()),
        "/missing" => status(404).body("no such user".into()),
        "/large" => status(400).body("x".repeat(100_000).into()),
        // Busy once.
        "/busy" if call == 0 => status(503).header("retry-after-ms", "300").body("".into()),
        "/busy" => status(200).body(r#"{"name":"Ann"}"#.into()),
        "/always_busy" => status(503).header("retry-after", "7").body("busy".into()),
        "/fail" => status(500).body("broken".into()),
        "/moved" => status(302).header("location", "/user").body("".into()),
        "/hang" => std::future::pending().await,
        // The connection is closed in the middle of the body.
        "/cut" => {
            let part = Ok(http_body::Frame::data(Bytes::from(r#"{"name":"#)));
            let cut = Err(std::io::Error::other("cut"));
            // The part is written first.
            let cut = futures::stream::once(async {
                tokio::task::yield_now().await;
                cut
            });
            let frames = futures::stream::iter([part]).chain(cut);
            status(200).body(Body::new(StreamBody::new(frames)))
        }
        "/held" => {
            let first = Ok::<_, axum::Error>(http_body::Frame::data(Bytes::from("first")));
            let frames = futures::stream::iter([first]).chain(futures::stream::pending());
            status(200).body(Body::new(StreamBody::new(frames)))
        }
        // Method, URL, three headers and the body.
        _ => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let text = |name| header(&head.headers, name);
            let text = format!(
                "{} {} {}|{}|{} {}",
                head.method,
                head.uri,
                text("x-id"),
                text("authorization"),
                text("content-type"),
                String::from_utf8_lossy(&body),
            );
            status(200).body(text.into())
        }
    };
    response.unwrap()
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or("-").to_owned()
}

fn client(change: impl FnOnce(ClientConfig) -> ClientConfig) -> (Client, Stack) {
    let stack = ClientStack::builder("users");
    let stack = change(stack).build().unwrap();
    let client = stack
        .clone()
        .until_body_end()
        .reqwest(reqwest::Client::new());
    (client, stack)
}

type Stack = ClientStack;

#[track_caller]
fn rejection<T: std::fmt::Debug>(outcome: Result<T, Error<reqwest::Error>>) -> Rejection {
    outcome.unwrap_err().into_service().unwrap_err()
}

#[tokio::test]
async fn rn5_a_reqwest_client_of_one_line_has_the_methods_of_its_own() {
    let server = Server::start().await;
    let client = ClientStack::http("users").reqwest(reqwest::Client::new());
    let text = async |request: seawall::reqwest::RequestBuilder| {
        in_time(request.send()).await.unwrap().text().await.unwrap()
    };

    let url = server.url("/echo");
    let request = client.get(&url).query(&[("q", "a b")]).header("x-id", "7");
    assert_eq!(
        text(request.bearer_auth("t")).await,
        "GET /echo?q=a+b 7|Bearer t|- "
    );
    let json = r#"{"name":"Ann"}"#;
    let request = client.post(&url).json(&ann()).basic_auth("u", Some("p"));
    let expected = format!("POST /echo -|Basic dTpw|application/json {json}");
    assert_eq!(text(request).await, expected);
    let form = client.put(&url).form(&ann());
    let expected = "PUT /echo -|-|application/x-www-form-urlencoded name=Ann";
    assert_eq!(text(form).await, expected);
    let mut headers = HeaderMap::new();
    headers.insert("x-id", 8.into());
    let request = client.patch(&url).headers(headers).body("text");
    assert_eq!(text(request).await, "PATCH /echo 8|-|- text");
    assert_eq!(text(client.delete(&url)).await, "DELETE /echo -|-|- ");
    let head = in_time(client.head(&url).send()).await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let options = client.request(http::Method::OPTIONS, &url);
    let options = options
        .with(|inner| inner.header("x-id", "9"))
        .build()
        .unwrap();
    let response = in_time(client.execute(options)).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "OPTIONS /echo 9|-|- ");

    // A call may be a task.
    let task = tokio::spawn(client.get(&url).send());
    assert!(in_time(task).await.unwrap().is_ok());

    // The URL of the response is that after redirects.
    let response = in_time(client.get(server.url("/moved")).send())
        .await
        .unwrap();
    assert_eq!(response.url().as_str(), server.url("/user"));
    assert!(response.remote_addr().is_some());
    assert_eq!(response.json::<User>().await.unwrap(), ann());

    let invalid = in_time(client.get("no url").send()).await.unwrap_err();
    assert!(invalid.into_service().unwrap().is_builder());
}

// RN4
#[tokio::test]
async fn rn5_the_question_mark_takes_errors_of_reqwest_beside_those_of_the_stack() {
    async fn user(client: &Client, url: String) -> Result<User, Error<reqwest::Error>> {
        let response = client.get(url).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }
    let server = Server::start().await;
    let (client, _) = client(|stack| stack);
    assert_eq!(user(&client, server.url("/user")).await.unwrap(), ann());
    let missing = user(&client, server.url("/missing")).await.unwrap_err();
    let status = missing.into_service().unwrap().status();
    assert_eq!(status, Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn cb11_a_breaker_of_reqwest_says_why_no_connection_was_made() {
    let address = listen().await.1; // The listener is dropped.
    let rule = Trip::consecutive_failures(1).lasting(Duration::ZERO);
    let (client, stack) = client(|stack| stack.breaker(|breaker| breaker.trips([rule])));
    let get = client.get(format!("http://{address}/user"));
    get.send().await.unwrap_err();
    let (_, breaker) = stack.breakers().entries().pop().unwrap();
    let error = breaker.snapshot().last_trip.unwrap().tripped.error.unwrap();
    assert!(error.starts_with("error sending request"), "{error}");
    let causes = error.to_lowercase();
    assert_eq!(causes.matches("connection refused").count(), 1, "{error}");
}

#[tokio::test]
async fn rn5_a_404_over_reqwest_is_sent_once_and_opens_nothing() {
    let server = Server::start().await;
    let (client, stack) = client(|now| now);
    for _ in 0..20 {
        let response = in_time(client.get(server.url("/missing")).send())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
    server.saw(20);
    let breaker = stack.breakers().get(&*server.address.to_string());
    assert_eq!(breaker.state(), seawall::circuit_breaker::State::Closed);
}

// RN4, RT3
#[tokio::test]
async fn rn5_a_503_over_reqwest_is_sent_again_after_its_delay() {
    let server = Server::start().await;
    let (client, _) = client(|now| now);
    let start = Instant::now();
    let response = in_time(client.get(server.url("/busy")).send())
        .await
        .unwrap();
    assert_eq!(response.json::<User>().await.unwrap(), ann());
    assert!(start.elapsed() >= ms(300));
    server.saw(2);
}

#[tokio::test]
async fn rt7_a_post_over_reqwest_is_sent_again_if_the_connection_was_refused() {
    let closed = {
        let (_listener, address) = listen().await;
        format!("http://{address}/")
    };
    let (client, stack) = client(|now| now);
    let sent = in_time(client.post(&closed).json(&ann()).send()).await;
    assert!(sent.unwrap_err().into_service().unwrap().is_connect());
    assert_eq!(stack.retry().snapshot().retried, 2);

    // One that was answered is not.
    let server = Server::start().await;
    let sent = in_time(client.post(server.url("/fail")).json(&ann()).send()).await;
    assert_eq!(sent.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    server.saw(1);
    // A GET and a PUT are, with their bodies.
    let sent = in_time(client.put(server.url("/fail")).json(&ann()).send()).await;
    assert_eq!(sent.unwrap().text().await.unwrap(), "broken");
    server.saw(4);
}

#[tokio::test]
async fn to2_a_hang_over_reqwest_ends_at_the_attempts_timeout_and_a_body_at_the_total() {
    let server = Server::start().await;
    let (client, _) = client(|now| {
        let single = now.retry(|retry| retry.max_attempts(1));
        single.attempt_timeout(ms(200)).total_timeout(ms(600))
    });
    let rejected = rejection(in_time(client.get(server.url("/hang")).send()).await);
    assert!(matches!(rejected.kind(), RejectionKind::TimedOut { .. }));
    assert_eq!(&**rejected.policy(), "users.attempt_timeout");

    let response = in_time(client.get(server.url("/held")).send())
        .await
        .unwrap();
    let error = in_time(response.text()).await.unwrap_err();
    let reason = seawall::Reason::find(&error).expect("a reason");
    assert_eq!(&**reason.policy(), "users.total_timeout");
}

// RN4
#[tokio::test]
async fn hb3_a_body_over_reqwest_that_is_cut_short_is_a_failure_of_its_host() {
    use seawall::circuit_breaker::Trip;
    let server = Server::start().await;
    let trip = || Trip::consecutive_failures(2);
    let (client, _) = client(|now| now.breaker(|breaker| breaker.trip_on(trip())));
    for _ in 0..2 {
        let response = in_time(client.get(server.url("/cut")).send())
            .await
            .unwrap();
        let error = response.json::<User>().await.unwrap_err();
        let transient = Outcome::Failure {
            kind: FailureKind::Error,
            retry_after: None,
        };
        assert_eq!(by_source(&error), transient, "{error:?}");
    }
    let rejected = rejection(in_time(client.get(server.url("/user")).send()).await);
    assert_eq!(rejected.kind(), RejectionKind::CircuitOpen);
    server.saw(2);
}

#[tokio::test]
async fn hb1_a_call_over_reqwest_holds_its_permit_until_the_body_is_read() {
    let server = Server::start().await;
    let (client, _) = client(|now| now.bulkhead(|bulkhead| bulkhead.limit(1)));
    let mut held = in_time(client.get(server.url("/held")).send())
        .await
        .unwrap();
    assert_eq!(in_time(held.chunk()).await.unwrap().unwrap(), "first");
    let rejected = rejection(in_time(client.get(server.url("/user")).send()).await);
    assert!(matches!(
        rejected.kind(),
        RejectionKind::BulkheadFull { .. }
    ));
    drop(held);
    until(|| async { client.get(server.url("/user")).send().await.is_ok() }).await;
}

#[tokio::test]
async fn to9_a_call_over_reqwest_has_a_total_an_attempt_timeout_and_once_of_its_own() {
    let server = Server::start().await;
    let (client, stack) = client(|now| now);
    let start = Instant::now();
    let hang = || client.get(server.url("/hang"));
    // As in reqwest, with the retries and the body.
    let rejected = rejection(in_time(hang().timeout(ms(200)).send()).await);
    assert_eq!(&**rejected.policy(), "users.total_timeout");
    let held = client.get(server.url("/held")).timeout(ms(200));
    let error = in_time(held.send())
        .await
        .unwrap()
        .text()
        .await
        .unwrap_err();
    let reason = seawall::Reason::find(&error).expect("a reason");
    assert_eq!(&**reason.policy(), "users.total_timeout");
    // The shorter one.
    let both = hang()
        .timeout(ms(200))
        .overrides(Overrides::new().total_timeout(secs(9)));
    let rejected = rejection(in_time(both.send()).await);
    assert_eq!(&**rejected.policy(), "users.total_timeout");

    let once = Overrides::new().attempt_timeout(ms(200)).once();
    let rejected = rejection(in_time(hang().overrides(once).send()).await);
    assert_eq!(&**rejected.policy(), "users.attempt_timeout");
    assert!(start.elapsed() < secs(3));
    server.saw(4);
    assert_eq!(stack.retry().snapshot().retried, 0);
}

// RN4, RT3
#[tokio::test]
async fn rn6_a_failing_status_has_its_delay_and_the_start_of_its_body() {
    let server = Server::start().await;
    let (client, _) = client(|now| now.retry(|retry| retry.max_attempts(1)));
    let get = async |path| in_time(client.get(server.url(path)).send()).await.unwrap();

    let failed = checked_with_body(get("/missing").await).await.unwrap_err();
    assert_eq!(failed.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(
        (failed.retry_after(), &*failed.text()),
        (None, "no such user")
    );
    assert_eq!(by_source(&failed), Outcome::Success);

    let failed = checked_with_body(get("/always_busy").await)
        .await
        .unwrap_err();
    assert_eq!(
        (failed.retry_after(), &*failed.text()),
        (Some(secs(7)), "busy")
    );
    let throttled = Outcome::Failure {
        kind: FailureKind::Throttled,
        retry_after: Some(secs(7)),
    };
    assert_eq!(by_source(&failed), throttled);

    let failed = checked_with_body(get("/large").await).await.unwrap_err();
    assert_eq!(failed.body().len(), 16 * 1024);

    let user = checked_with_body(get("/user").await).await.unwrap();
    assert_eq!(user.json::<User>().await.unwrap(), ann());
}

#[tokio::test]
async fn rn5_a_client_of_hyper_of_one_line_has_its_errors_mapped() {
    use http_body_util::Full;
    use hyper_util::client::legacy;
    use hyper_util::rt::TokioExecutor;
    use tower::ServiceExt;

    let stack = ClientStack::http("users");
    let hyper = legacy::Client::builder(TokioExecutor::new()).build_http();
    let client = stack.hyper(hyper);
    let post = |url| {
        http::Request::post(url)
            .body(Full::<Bytes>::from("text"))
            .unwrap()
    };

    let server = Server::start().await;
    let answered = client.clone().oneshot(post(server.url("/echo")));
    let body = in_time(answered).await.unwrap().into_body().collect().await;
    assert_eq!(body.unwrap().to_bytes(), "POST /echo -|-|- text");

    let closed = {
        let (_listener, address) = listen().await;
        format!("http://{address}/")
    };
    let error = in_time(client.oneshot(post(closed))).await.unwrap_err();
    let error: legacy::Error = error.into_service().unwrap();
    assert!(error.is_connect());
    assert_eq!(stack.retry().snapshot().retried, 2);
}
