//! What failures of real hosts are known as, by status and by source chain.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use seawall::classify::{Direct, FailureKind, by_source, checked};
use seawall::rejection::Fault;
use seawall::{
    Backoff, CircuitBreaker, CircuitBreakerLayer, Classify, Error, Outcome, Pipeline, Reason,
    Rejection, RejectionKind, Retry,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{BoxError, ServiceBuilder, ServiceExt};

use crate::support::{Recorder, ms, secs};

/// How a breaker counts the one call.
async fn counted<T, E, Via, Seen>(call: impl Future<Output = Result<T, E>>) -> String
where
    E: Fault<Via>,
    Direct: Classify<T, E, Seen>,
{
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("counting").on_event(recorder.listener());
    let breaker = breaker.build().unwrap();
    drop(breaker.run(|| call).await);
    recorder.endings().join(",")
}

fn failure(kind: FailureKind, retry_after: Option<Duration>) -> Outcome {
    Outcome::Failure { kind, retry_after }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which nothing listens.
async fn closed() -> SocketAddr {
    listener().await.1
}

/// Serves each connection by `serve`, with the number of the connection.
async fn each<Fut>(serve: impl Fn(TcpStream, usize) -> Fut + Send + 'static) -> SocketAddr
where
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        for nth in 0.. {
            let Ok((socket, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(serve(socket, nth));
        }
    });
    address
}

struct Http {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Http {
    /// A server that answers with these responses, one for each connection, and then with the last.
    async fn answering(responses: &'static [&'static str]) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = requests.clone();
        let address = each(move |mut socket, nth| {
            let seen = seen.clone();
            async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await?);
                }
                seen.fetch_add(1, Ordering::SeqCst);
                let response = responses[nth.min(responses.len() - 1)];
                socket.write_all(response.as_bytes()).await?;
                socket.shutdown().await
            }
        });
        Self {
            url: format!("http://{}/", address.await),
            requests,
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const BUSY_FOR_TWO: &str =
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const TRUNCATED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":";
const USER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"name\":\"eve\"}";
const NO_USER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>";

#[derive(Debug, PartialEq, serde::Deserialize)]
struct User {
    name: String,
}

async fn user(url: &str) -> Result<User, reqwest::Error> {
    let response = reqwest::get(url).await?;
    response.error_for_status()?.json::<User>().await
}

// A raw server of HTTP/2: as much of it as these failures need.
mod h2c {
    use super::*;

    pub(super) const REFUSED_STREAM: u32 = 7;
    pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
    pub(super) const CANCEL: u32 = 8;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub(super) fn reset(code: u32) -> Vec<u8> {
        frame(3, 1, &code.to_be_bytes())
    }

    pub(super) fn last_stream(last: u32, code: u32) -> Vec<u8> {
        frame(7, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// Reads the head of the first request, answers it with `answer` and closes the connection.
    pub(super) async fn answering(answer: Vec<u8>) -> SocketAddr {
        let serve = move |mut socket: TcpStream, _| {
            let answer = answer.clone();
            async move {
                let mut preface = [0; 24];
                socket.read_exact(&mut preface).await?;
                socket.write_all(&frame(4, 0, &[])).await?;
                loop {
                    let mut head = [0; 9];
                    socket.read_exact(&mut head).await?;
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    let mut payload = vec![0; length as usize];
                    socket.read_exact(&mut payload).await?;
                    const HEADERS: u8 = 1;
                    if head[3] == HEADERS {
                        break;
                    }
                }
                socket.write_all(&answer).await?;
                socket.shutdown().await?;
                // What the client still sends must not reset the connection.
                let mut rest = Vec::new();
                socket.read_to_end(&mut rest).await.map(drop)
            }
        };
        each(serve).await
    }
}

/// A tonic client without generated code: messages are bytes.
mod grpc {
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::transport::Endpoint;
    use tonic::{Request, Response, Status};

    use super::*;

    #[derive(Default)]
    struct Bytes;

    impl Encoder for Bytes {
        type Item = ();
        type Error = Status;

        fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
            Ok(())
        }
    }

    impl Decoder for Bytes {
        type Item = ();
        type Error = Status;

        fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
            Ok(Some(()))
        }
    }

    impl Codec for Bytes {
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

    /// A host that answers has as long as it takes: on a busy machine that is longer than any
    /// short timeout.
    pub(super) async fn call(address: SocketAddr) -> Result<Response<()>, Status> {
        call_for(address, secs(60)).await
    }

    /// A call with this timeout.
    pub(super) async fn call_for(
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<Response<()>, Status> {
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        let mut client = tonic::client::Grpc::new(endpoint.timeout(timeout).connect_lazy());
        client
            .ready()
            .await
            .map_err(|e| Status::from_error(e.into()))?;
        let path = http::uri::PathAndQuery::from_static("/orders.Orders/Get");
        client.unary(Request::new(()), path, Bytes).await
    }

    /// A server that answers every call trailers-only.
    pub(super) async fn answering(
        status: &'static str,
        pushback: Option<&'static str>,
    ) -> SocketAddr {
        let (listener, address) = listener().await;
        let answer = move || async move {
            let response = http::Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status);
            let response = match pushback {
                Some(delay) => response.header("grpc-retry-pushback-ms", delay),
                None => response,
            };
            response.body(axum::body::Body::empty()).unwrap()
        };
        let app = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }
}

fn hyper_client() -> legacy::Client<legacy::connect::HttpConnector, Empty<&'static [u8]>> {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

// D8: the table of `seawall::classify`, by hosts that fail like this.
#[tokio::test]
async fn cb20_a_refused_connection_is_unsent() {
    let address = closed().await;
    assert_eq!(
        counted(TcpStream::connect(address)).await,
        "Failure(Unsent)"
    );
    let boxed = async { TcpStream::connect(address).await.map_err(BoxError::from) };
    assert_eq!(counted(boxed).await, "Failure(Unsent)");
    let local = async { Ok::<_, Box<dyn StdError>>(TcpStream::connect(address).await?) };
    assert_eq!(counted(local).await, "Failure(Unsent)");
    let report = async {
        let connected = TcpStream::connect(address).await;
        anyhow::Context::context(connected, "to the database").map(drop)
    };
    assert_eq!(counted(report).await, "Failure(Unsent)");
    let report = async {
        let connected = TcpStream::connect(address).await;
        eyre::WrapErr::wrap_err(connected, "to the database").map(drop)
    };
    assert_eq!(counted(report).await, "Failure(Unsent)");

    let url = format!("http://{address}/");
    assert_eq!(counted(reqwest::get(&url)).await, "Failure(Unsent)");
    let call = hyper_client().get(url.parse().unwrap());
    assert_eq!(counted(call).await, "Failure(Unsent)");
    assert_eq!(counted(grpc::call(address)).await, "Failure(Unsent)");

    // Under a layer.
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("layered").on_event(recorder.listener());
    let layer = CircuitBreakerLayer::new(breaker.build().unwrap());
    let request = || http::Request::get(&url).body(Empty::new()).unwrap();
    let stack = ServiceBuilder::new().layer(&layer).map_err(Error::service);
    drop(stack.service(hyper_client()).oneshot(request()).await);
    let boxed = ServiceBuilder::new().layer(&layer).map_err(BoxError::from);
    drop(boxed.service(hyper_client()).oneshot(request()).await);
    assert_eq!(recorder.endings(), ["Failure(Unsent)", "Failure(Unsent)"]);
}

#[tokio::test]
async fn cb20_a_connection_that_was_reset_or_timed_out_is_not_unsent() {
    let address = each(|mut socket, _| async move {
        socket.read_u8().await?;
        // With unread bytes, closing it resets the connection.
        Ok(())
    });
    let address = address.await;
    let reset = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        socket.read_u8().await
    };
    assert_eq!(counted(reset).await, "Failure(Error)");
    let url = format!("http://{address}/");
    assert_eq!(counted(reqwest::get(&url)).await, "Failure(Error)");
    let call = hyper_client().get(url.parse().unwrap());
    assert_eq!(counted(call).await, "Failure(Error)");

    let silent = each(|mut socket, _| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.map(drop)
    });
    let silent = silent.await;
    let client = reqwest::Client::builder().timeout(ms(50)).build().unwrap();
    let call = client.get(format!("http://{silent}/")).send();
    assert_eq!(counted(call).await, "Failure(Timeout)");
    let elapsed = tokio::time::timeout(ms(1), std::future::pending::<()>());
    assert_eq!(counted(elapsed).await, "Failure(Timeout)");
    assert_eq!(
        counted(grpc::call_for(silent, ms(200))).await,
        "Failure(Timeout)"
    );
    let timed_out = io::Error::from(io::ErrorKind::TimedOut);
    assert_eq!(by_source(&timed_out), failure(FailureKind::Timeout, None));
}

#[tokio::test]
async fn cb20_streams_that_http_2_did_not_process_are_unsent() {
    for (answer, kind) in [
        (h2c::reset(h2c::REFUSED_STREAM), "Unsent"),
        (h2c::last_stream(0, 0), "Unsent"),
        (h2c::last_stream(0, h2c::ENHANCE_YOUR_CALM), "Unsent"),
        (h2c::reset(h2c::ENHANCE_YOUR_CALM), "Throttled"),
        (h2c::reset(h2c::CANCEL), "Error"),
        // The first stream is among those that the server processes.
        (h2c::last_stream(1, 0), "Error"),
        (h2c::last_stream(1, h2c::ENHANCE_YOUR_CALM), "Error"),
    ] {
        let expected = format!("Failure({kind})");
        let address = h2c::answering(answer.clone()).await;
        let url = format!("http://{address}/");
        let client = reqwest::Client::builder().http2_prior_knowledge();
        // Its own retries would hide the failure.
        let client = client.retry(reqwest::retry::never()).build().unwrap();
        let ending = counted(client.post(&url).send()).await;
        assert_eq!(ending, expected, "reqwest, {answer:?}");

        let mut builder = legacy::Client::builder(TokioExecutor::new());
        let client = builder.http2_only(true).build_http::<Empty<&[u8]>>();
        let ending = counted(client.get(url.parse().unwrap())).await;
        assert_eq!(ending, expected, "hyper, {answer:?}");

        let ending = counted(grpc::call(address)).await;
        assert_eq!(ending, expected, "tonic, {answer:?}");
    }
}

#[tokio::test]
async fn cb20_a_truncated_body_is_transient_and_a_wrong_one_is_permanent() {
    let server = Http::answering(&[TRUNCATED]).await;
    assert_eq!(counted(user(&server.url)).await, "Failure(Error)");
    let body = async {
        let response = hyper_client().get(server.url.parse().unwrap()).await?;
        Ok::<_, BoxError>(response.into_body().collect().await?.to_bytes())
    };
    assert_eq!(counted(body).await, "Failure(Error)");
    let server = Http::answering(&[NO_USER]).await;
    assert_eq!(counted(user(&server.url)).await, "Failure(Permanent)");
}

#[tokio::test]
async fn cb20_an_error_of_a_status_is_judged_by_the_status() {
    for (response, ending) in [
        (NOT_FOUND, "Success"),
        (BUSY, "Failure(Throttled)"),
        (BUSY_FOR_TWO, "Failure(Throttled)"),
        (BROKEN, "Failure(Response)"),
        (USER, "Success"),
    ] {
        let server = Http::answering(Vec::leak(vec![response])).await;
        assert_eq!(counted(user(&server.url)).await, ending, "{response}");
        let status = async { Ok::<_, BoxError>(user(&server.url).await?) };
        assert_eq!(counted(status).await, ending, "{response}");
    }
    // It is the caller's mistake, and nothing was sent.
    assert_eq!(counted(user("no url")).await, "Ignored");
    // A status is not a success by silence.
    let server = Http::answering(&[BROKEN]).await;
    let response = || reqwest::get(&server.url);
    assert_eq!(counted(response()).await, "Failure(Response)");
}

#[tokio::test]
async fn rt3_checked_keeps_the_delay_that_error_for_status_loses() {
    let get = async |response: &'static str| {
        let server = Http::answering(Vec::leak(vec![response])).await;
        reqwest::get(&server.url).await.unwrap()
    };
    let outcome = |delay| failure(FailureKind::Throttled, Some(delay));
    let lost = get(BUSY_FOR_TWO).await.error_for_status().unwrap_err();
    // A second, which the service may not have said (RT7).
    let Outcome::Failure { kind, retry_after } = by_source(&lost) else {
        panic!("a 503 is a failure");
    };
    assert_eq!(kind, FailureKind::Throttled);
    assert!(retry_after >= Some(secs(1)) && retry_after < Some(secs(2)));
    let kept = checked(get(BUSY_FOR_TWO).await).unwrap_err();
    assert_eq!(by_source(&kept), outcome(secs(2)));
    let boxed = BoxError::from(kept);
    assert_eq!(by_source(&*boxed), outcome(secs(2)));
    assert_eq!(
        by_source(&checked(get(NOT_FOUND).await).unwrap_err()),
        Outcome::Success
    );
    assert_eq!(checked(get(USER).await).unwrap().status(), 200);
}

#[tokio::test]
async fn gr1_a_status_of_tonic_is_judged_by_its_code() {
    for (code, pushback, ending) in [
        ("1", None, "Success"),
        ("2", None, "Failure(Response)"),
        ("3", None, "Success"),
        ("4", None, "Failure(Timeout)"),
        ("5", None, "Success"),
        ("8", None, "Failure(Throttled)"),
        ("12", None, "Failure(Permanent)"),
        ("13", None, "Failure(Response)"),
        ("14", None, "Failure(Response)"),
        ("14", Some("700"), "Failure(Throttled)"),
    ] {
        let address = grpc::answering(code, pushback).await;
        assert_eq!(counted(grpc::call(address)).await, ending, "{code}");
    }
    let address = grpc::answering("8", Some("700")).await;
    let status = grpc::call(address).await.unwrap_err();
    let pushback = failure(FailureKind::Throttled, Some(ms(700)));
    assert_eq!(by_source(&status), pushback);
}

// CX12: a call that was rejected by a policy below was not made, whatever its error was wrapped in.
#[tokio::test]
async fn cx12_a_rejection_is_found_anywhere_in_a_source_chain() {
    let rejection = || Rejection::new(RejectionKind::CircuitOpen, "below");
    let status = || tonic::Status::from_error(Box::new(rejection()));
    let report = || {
        anyhow::Error::new(rejection())
            .context("the first")
            .context("the second")
    };
    let other = || eyre::Report::new(status()).wrap_err("the call");
    assert_eq!(counted(async { Err::<(), _>(status()) }).await, "Ignored");
    assert_eq!(counted(async { Err::<(), _>(report()) }).await, "Ignored");
    assert_eq!(counted(async { Err::<(), _>(other()) }).await, "Ignored");
    let nested = || io::Error::other(io::Error::other(report()));
    assert_eq!(counted(async { Err::<(), _>(nested()) }).await, "Ignored");
    assert_eq!(
        Reason::find(&nested()).unwrap().kind(),
        RejectionKind::CircuitOpen
    );

    // Not retried.
    let calls = AtomicUsize::new(0);
    let retry = Retry::new(Backoff::constant(ms(1)));
    let failed = retry.run(|_| {
        calls.fetch_add(1, Ordering::SeqCst);
        async { Err::<(), _>(status()) }
    });
    assert!(failed.await.is_err());
    assert_eq!(calls.into_inner(), 1);
}

// RN4: the first line that a user writes, without a macro and without a classifier.
#[tokio::test]
async fn rn4_error_for_status_and_json_are_right_at_the_first_try() {
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("users").on_event(recorder.listener());
    let breaker = breaker.build().unwrap();
    let pipeline = Pipeline::new()
        .retry(Retry::new(Backoff::constant(ms(1))))
        .breaker(&breaker);
    let http = reqwest::Client::new();
    let fetch = async |server: &Http| {
        let start = Instant::now();
        let url = &server.url;
        let user = pipeline.run(|_| async {
            http.get(url)
                .send()
                .await?
                .error_for_status()?
                .json::<User>()
                .await
        });
        let user = user.await.map(|user| user.name);
        (user, server.requests(), start.elapsed())
    };

    let server = Http::answering(&[NOT_FOUND, USER]).await;
    let (user, requests, _) = fetch(&server).await;
    let status = user.unwrap_err().into_service().unwrap().status();
    assert_eq!((status.unwrap().as_u16(), requests), (404, 1));
    assert_eq!(recorder.endings(), ["Success"]);

    let server = Http::answering(&[BUSY, USER]).await;
    let (user, requests, elapsed) = fetch(&server).await;
    assert_eq!((user.unwrap().as_str(), requests), ("eve", 2));
    assert!(elapsed >= secs(1), "{elapsed:?}");
    assert_eq!(recorder.endings(), ["Failure(Throttled)", "Success"]);

    let server = Http::answering(&[TRUNCATED, USER]).await;
    let (user, requests, _) = fetch(&server).await;
    assert_eq!((user.unwrap().as_str(), requests), ("eve", 2));
    assert_eq!(recorder.endings(), ["Failure(Error)", "Success"]);
}

// Nothing is a success by silence; what is data is one without a macro.
#[tokio::test]
async fn rn4_data_is_a_success_and_a_response_is_not_by_silence() {
    #[derive(Clone)]
    struct Row;
    assert_eq!(counted(async { Ok::<_, io::Error>(Row) }).await, "Success");
    assert_eq!(
        counted(async { Ok::<_, io::Error>(vec![Some((Row, false))]) }).await,
        "Success"
    );
    assert_eq!(counted(async { Ok::<_, io::Error>(()) }).await, "Success");
    assert_eq!(counted(async { Ok::<_, io::Error>(1) }).await, "Success");
    let response = http::Response::builder().status(500).body(Row).unwrap();
    assert_eq!(
        counted(async { Ok::<_, io::Error>(response) }).await,
        "Failure(Response)"
    );
}
