//! The accept loop, over real sockets.

mod drain;
mod limits;
mod peers;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use seawall::serve::{Builder, Drained, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{ms, secs};

/// A server under test. The tests run in one process, which has one set of signals.
fn quiet() -> Builder {
    Server::builder().name("test").signals(false).settle(ms(0))
}

struct Running {
    server: Server,
    address: SocketAddr,
    task: JoinHandle<io::Result<Drained>>,
}

impl Running {
    async fn new(builder: Builder, app: Router) -> Self {
        let server = builder.build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = server.clone();
        let task = tokio::spawn(async move { serving.serve(listener, app).await });
        Self {
            server,
            address,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn drained(self) -> Drained {
        in_time(self.task).await.unwrap().unwrap()
    }
}

/// Fails instead of hanging.
async fn in_time<F: Future>(future: F) -> F::Output {
    let result = tokio::time::timeout(secs(20), future).await;
    result.expect("it hangs")
}

/// `/` answers at once, `/slow/n` after n milliseconds, `/never` never.
fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/slow/{millis}",
            get(|millis: axum::extract::Path<u64>| async move {
                tokio::time::sleep(ms(millis.0)).await;
                "slow"
            }),
        )
        .route("/never", get(std::future::pending::<&'static str>))
}

async fn send(stream: &mut TcpStream, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
}

/// One response: all text until its body ends with `end`.
async fn response(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    in_time(async {
        let mut bytes = [0; 1_024];
        while !text.ends_with(end) {
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    })
    .await;
    text
}

async fn get_on(stream: &mut TcpStream, path: &str, end: &str) -> String {
    send(stream, path).await;
    response(stream, end).await
}

/// Everything until the server closes the connection.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    bytes
}

async fn until(mut holds: impl FnMut() -> bool) {
    in_time(async {
        while !holds() {
            tokio::time::sleep(ms(2)).await;
        }
    })
    .await;
}

/// An HTTP/2 client on a connection of its own, and the end of that connection.
async fn http2(address: SocketAddr) -> (SendRequest<Body>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let io = TokioIo::new(stream);
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let task = tokio::spawn(async move {
        let _ = connection.await;
    });
    (client, task)
}

fn request(path: &str) -> Request<Body> {
    let uri = format!("http://test{path}");
    Request::get(uri).body(Body::empty()).unwrap()
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    use http_body_util::BodyExt;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn elapsed(since: std::time::Instant) -> Duration {
    since.elapsed()
}
