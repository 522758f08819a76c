//! `ClientStack::http` over each client: every policy of it, and its rejection where the caller of
//! that client reads it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::circuit_breaker::Trip;
use seawall::http::HttpClientStack;
use seawall::stack::ClientConfig;
use seawall::{Backoff, ClientStack, Error, Quota, Rejection, RejectionKind};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{answer, chunk, in_time, listen, until};
use crate::support::ms;

type Stack = HttpClientStack;
type Outcome = Result<Response<Body>, Error<BoxError>>;
type Call = Arc<dyn Fn(String) -> BoxFuture<'static, Outcome> + Send + Sync>;
type Connect = fn(Stack) -> Call;

fn over_hyper(http2: bool, stack: Stack) -> Call {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build_http();
    let client = ServiceBuilder::new()
        .layer(stack)
        .map_err(Error::service)
        .service(client);
    Arc::new(move |url| {
        let request = Request::get(url).body(Empty::<Bytes>::new()).unwrap();
        let call = client.clone().oneshot(request);
        Box::pin(async move { call.await.map(|r| r.map(Body::new)).map_err(boxed) })
    })
}

/// reqwest as a service; its response becomes one of `http`.
#[cfg(feature = "reqwest")]
fn over_reqwest(http2: bool, stack: Stack) -> Call {
    let client = reqwest::Client::builder();
    let client = match http2 {
        true => client.http2_prior_knowledge(),
        false => client,
    };
    let client = ServiceBuilder::new()
        .layer(stack)
        .map_err(Error::service)
        .map_response(Response::<reqwest::Body>::from)
        .service(client.build().unwrap());
    Arc::new(move |url| {
        let request = reqwest::Request::new(http::Method::GET, url.parse().unwrap());
        let call = client.clone().oneshot(request);
        Box::pin(async move { call.await.map(|r| r.map(Body::new)).map_err(boxed) })
    })
}

fn boxed<E: Into<BoxError>>(error: Error<E>) -> Error<BoxError> {
    match error.into_service() {
        Ok(error) => Error::service(error.into()),
        Err(rejection) => rejection.into(),
    }
}

const CLIENTS: &[(&str, Connect)] = &[
    ("hyper, HTTP/1", |stack| over_hyper(false, stack)),
    ("hyper, HTTP/2", |stack| over_hyper(true, stack)),
    #[cfg(feature = "reqwest")]
    ("reqwest, HTTP/1", |stack| over_reqwest(false, stack)),
    #[cfg(feature = "reqwest")]
    ("reqwest, HTTP/2", |stack| over_reqwest(true, stack)),
];

/// `/fail` is answered 500, `/flaky` too at first; `/late` is not answered at first. The rest is
/// that of [`answer`].
async fn origin() -> (SocketAddr, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let app = service_fn(move |request: Request<Body>| {
        let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            match request.uri().path() {
                "/late" if is_first => std::future::pending().await,
                "/fail" => {}
                "/flaky" if is_first => {}
                _ => return answer(request).await,
            }
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        }
    });
    let (listener, address) = listen().await;
    let app = Router::new().fallback_service(app);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, calls)
}

/// A client under test, in front of an origin of its own.
struct Caller {
    name: &'static str,
    call: Call,
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    stack: Stack,
}

impl Caller {
    async fn start(
        (name, connect): &(&'static str, Connect),
        change: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Self {
        let single = ClientStack::builder("hosts")
            .retry(|retry| retry.max_attempts(1).backoff(Backoff::constant(ms(1))));
        let stack = change(single).build().unwrap().until_body_end();
        let (address, calls) = origin().await;
        Self {
            name,
            call: connect(stack.clone()),
            address,
            calls,
            stack,
        }
    }

    fn send(&self, path: &str) -> BoxFuture<'static, Outcome> {
        (self.call)(format!("http://{}{path}", self.address))
    }

    #[track_caller]
    fn calls(&self, expected: usize) {
        let calls = self.calls.load(Ordering::SeqCst);
        assert_eq!(calls, expected, "{}", self.name);
    }

    async fn get(&self, path: &str) -> Response<Body> {
        let outcome = in_time(self.send(path)).await;
        outcome.unwrap_or_else(|error| panic!("{}: {error:?}", self.name))
    }

    async fn text(&self, path: &str) -> Bytes {
        let body = self.get(path).await.into_body();
        body.collect().await.unwrap().to_bytes()
    }

    async fn rejection(&self, path: &str) -> Rejection {
        match in_time(self.send(path)).await {
            Err(Error::Rejected(rejection)) => rejection,
            other => panic!("{}: {other:?}", self.name),
        }
    }
}

// CB1
#[tokio::test]
async fn hb3_each_client_has_a_breaker_of_its_host() {
    for client in CLIENTS {
        let trip = || Trip::consecutive_failures(3);
        let caller = Caller::start(client, |now| now.breaker(|b| b.trip_on(trip()))).await;
        for _ in 0..3 {
            assert_eq!(
                caller.get("/fail").await.status(),
                StatusCode::INTERNAL_SERVER_ERROR
            );
        }
        let rejection = caller.rejection("/").await;
        assert_eq!(
            rejection.kind(),
            RejectionKind::CircuitOpen,
            "{}",
            caller.name
        );
        assert!(rejection.retry_after().is_some());
        let policy = format!("hosts.breaker@{}", caller.address);
        assert_eq!(&**rejection.policy(), policy);
        caller.calls(3);
    }
}

// RL3
#[tokio::test]
async fn rl3_each_client_is_limited() {
    for client in CLIENTS {
        let caller = Caller::start(client, |now| now.rate_limit(Quota::per_minute(2))).await;
        for _ in 0..2 {
            assert_eq!(caller.text("/").await, "hello");
        }
        let rejection = caller.rejection("/").await;
        assert_eq!(
            rejection.kind(),
            RejectionKind::RateLimited,
            "{}",
            caller.name
        );
        assert!(rejection.retry_after().is_some());
        caller.calls(2);
    }
}

// BH1
#[tokio::test]
async fn hb1_each_client_holds_a_permit_of_its_host_for_the_body() {
    for client in CLIENTS {
        let caller = Caller::start(client, |now| now.bulkhead(|b| b.limit(1))).await;
        let mut held = caller.get("/held").await.into_body();
        assert_eq!(chunk(&mut held).await.unwrap(), "first");
        let rejection = caller.rejection("/").await;
        let kind = rejection.kind();
        assert!(
            matches!(kind, RejectionKind::BulkheadFull { .. }),
            "{}: {kind:?}",
            caller.name
        );
        caller.calls(1);
        drop(held);
        until(|| async { caller.send("/").await.is_ok() }).await;
    }
}

// TO2
#[tokio::test]
async fn hb4_each_client_ends_a_call_at_the_attempts_timeout_and_a_body_at_the_total() {
    for client in CLIENTS {
        let short = |now: ClientConfig| now.attempt_timeout(ms(400)).total_timeout(ms(800));
        let caller = Caller::start(client, short).await;
        let start = Instant::now();
        let rejection = caller.rejection("/hang").await;
        let kind = rejection.kind();
        assert!(
            matches!(kind, RejectionKind::TimedOut { .. }),
            "{}: {kind:?}",
            caller.name
        );
        assert_eq!(&**rejection.policy(), "hosts.attempt_timeout");
        assert!(start.elapsed() >= ms(400));

        let start = Instant::now();
        let mut held = caller.get("/held").await.into_body();
        assert_eq!(chunk(&mut held).await.unwrap(), "first");
        let error = chunk(&mut held).await.unwrap_err();
        let reason = seawall::Reason::find(&error).expect("a reason");
        assert_eq!(&**reason.policy(), "hosts.total_timeout", "{}", caller.name);
        assert!(start.elapsed() >= ms(800));
    }
}

// RT1
#[tokio::test]
async fn rt1_each_client_sends_a_failed_call_again() {
    for client in CLIENTS {
        let caller = Caller::start(client, |now| now.retry(|r| r.max_attempts(3))).await;
        assert_eq!(caller.text("/flaky").await, "hello", "{}", caller.name);
        caller.calls(2);
        assert_eq!(caller.stack.retry().snapshot().retried, 1);
    }
}

// HG1
#[tokio::test]
async fn hg1_each_client_sends_a_slow_call_a_second_time() {
    for client in CLIENTS {
        let hedged = |now: ClientConfig| now.hedge(|hedge| hedge.delay(ms(50)));
        let caller = Caller::start(client, hedged).await;
        assert_eq!(caller.text("/late").await, "hello", "{}", caller.name);
        caller.calls(2);
        let hedge = caller.stack.hedge().snapshot();
        assert_eq!((hedge.made, hedge.won), (1, 1), "{}", caller.name);
    }
}
