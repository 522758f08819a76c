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

/// Over real connections.
#[cfg(feature = "hyper")]
mod unsent {
    use http::{Request, StatusCode};
    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use seawall::{ClientStack, Error};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tower::{Layer, ServiceExt};

    fn post(address: &str) -> Request<Full<Bytes>> {
        let request = Request::post(format!("http://{address}/"));
        request.body(Full::from("order")).unwrap()
    }

    /// A port that nothing listens on.
    fn closed() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn rt7_a_post_whose_connection_never_reached_the_server_is_sent_again() {
        let stack = ClientStack::new("orders");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let service = stack.layer(client.map_err(Error::service));
        assert!(service.oneshot(post(&closed())).await.is_err());
        assert_eq!(stack.retry().snapshot().retried, 2);
    }

    #[cfg(feature = "reqwest")]
    #[tokio::test]
    async fn rt7_a_post_of_reqwest_whose_connection_never_reached_the_server_is_sent_again() {
        let stack = ClientStack::new("orders");
        let client = reqwest::Client::new();
        let request = client.post(format!("http://{}/", closed())).body("order");
        let request = request.build().unwrap();
        let service = tower::service_fn(move |request| client.execute(request));
        let service = stack.layer(service.map_err(Error::service));
        assert!(service.oneshot(request).await.is_err());
        assert_eq!(stack.retry().snapshot().retried, 2);
    }

    // `error_for_status` keeps no headers, so it is not known whether the server has put it off.
    #[cfg(feature = "reqwest")]
    #[tokio::test(start_paused = true)]
    async fn rt7_a_post_of_reqwest_whose_failed_status_is_an_error_is_sent_once() {
        for (method, sent_again) in [("POST", 0), ("GET", 2)] {
            let stack = ClientStack::new("orders");
            let client = reqwest::Client::new();
            let request = client.request(method.parse().unwrap(), "http://orders/");
            let service = tower::service_fn(|_: reqwest::Request| async {
                let busy = http::Response::builder().status(503).body("").unwrap();
                reqwest::Response::from(busy).error_for_status()
            });
            let service = stack.layer(service.map_err(Error::service));
            let start = tokio::time::Instant::now();
            assert!(service.oneshot(request.build().unwrap()).await.is_err());
            assert_eq!(stack.retry().snapshot().retried, sent_again, "{method}");
            // RT3, RN4: each after a second at least.
            let least = std::time::Duration::from_secs(sent_again);
            assert!(start.elapsed() >= least);
        }
    }

    /// A frame of HTTP/2, of type `kind`.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Resets the first stream as not processed, answers the next one 200, and returns how many it had.
    async fn reset_the_first_stream(listener: TcpListener) -> u32 {
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const SETTINGS: u8 = 4;
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        let mut streams = 0;
        while streams < 2 {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            socket.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let answer = match (head[3], head[4]) {
                (SETTINGS, 0) => frame(SETTINGS, 1, 0, &[]),
                (HEADERS, _) => {
                    streams += 1;
                    match streams {
                        // REFUSED_STREAM
                        1 => frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]),
                        // END_STREAM and END_HEADERS; `:status: 200`.
                        _ => frame(HEADERS, 5, stream, &[0x88]),
                    }
                }
                _ => continue,
            };
            socket.write_all(&answer).await.unwrap();
        }
        // Until the client closes.
        let _ = socket.read_to_end(&mut Vec::new()).await;
        streams
    }

    #[tokio::test]
    async fn rt7_a_post_whose_stream_never_reached_the_server_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(reset_the_first_stream(listener));
        let mut client = Client::builder(TokioExecutor::new());
        let client = client.http2_only(true).build_http();
        let stack = ClientStack::new("orders");
        let service = stack.layer(client.map_err(Error::service));
        let answer = service.oneshot(post(&address)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(stack.retry().snapshot().retried, 1);
        drop(answer);
        assert_eq!(server.await.unwrap(), 2);
    }
}
