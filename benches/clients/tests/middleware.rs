//! A pipeline as a middleware of reqwest-middleware, as `seawall::reqwest` describes it.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, Error, Middleware, Next, Result};
use seawall::attempts::Idempotent;
use seawall::{Backoff, CircuitBreaker, Pipeline, Reason, RejectionKind, Retry};

// On the page:
struct Resilience {
    once: Pipeline,
    retried: Pipeline,
}

impl Resilience {
    fn new(breaker: &CircuitBreaker, retry: &Retry) -> Self {
        let once = Pipeline::new()
            .timeout(Duration::from_secs(3))
            .breaker(breaker)
            .attempt_timeout(Duration::from_secs(1));
        let retried = once.clone().retry(retry);
        Self { once, retried }
    }
}

#[async_trait]
impl Middleware for Resilience {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let again = request.is_idempotent() && request.try_clone().is_some();
        let pipeline = if again { &self.retried } else { &self.once };
        let request = Mutex::new(Some(request));
        let call = |_| {
            let mut request = request.lock().expect("no panic");
            // A copy for each attempt. A request without one is sent once.
            let copy = request.as_ref().and_then(Request::try_clone);
            let request = copy.or_else(|| request.take()).expect("sent once");
            let (next, mut extensions) = (next.clone(), extensions.clone());
            async move { next.run(request, &mut extensions).await }
        };
        let outcome = pipeline.run(call).await;
        outcome.map_err(|error| error.into_service().unwrap_or_else(Error::middleware))
    }
}
// To here.

async fn server(status: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn rn1_a_pipeline_is_a_middleware_of_reqwest_middleware() {
    let breaker = CircuitBreaker::new("search");
    let retry = Retry::new(Backoff::constant(Duration::from_millis(1)));
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(Resilience::new(&breaker, &retry))
        .build();
    let retried = || retry.snapshot().retried;

    let url = server("200 OK").await;
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    let url = server("500 Internal Server Error").await;
    assert_eq!(client.get(&url).send().await.unwrap().status(), 500);
    assert_eq!(retried(), 2);
    let order = client.post(&url).body("order").send().await;
    assert_eq!(order.unwrap().status(), 500);
    let stream = futures::stream::iter([Ok::<_, std::io::Error>("streamed")]);
    let put = client
        .put(&url)
        .body(reqwest::Body::wrap_stream(stream))
        .send()
        .await;
    assert_eq!(put.unwrap().status(), 500);
    assert_eq!(retried(), 2);

    breaker.force_open();
    let error = client.get(&url).send().await.unwrap_err();
    let reason = Reason::find(&error).expect("a reason");
    assert_eq!(reason.kind(), RejectionKind::CircuitOpen);
}
