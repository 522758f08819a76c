//! One call to a server with one fault.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::contender::Client;
use crate::server::listen;

/// What the server does, by the number of the request.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub name: &'static str,
    pub post: bool,
    /// What follows the answer of the first request. None if it is answered so always.
    then: Option<&'static str>,
    /// None for no answer.
    first: Option<&'static str>,
    /// Whether anything listens.
    listens: bool,
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfound";
const ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfou";

const fn get(name: &'static str, first: &'static str, then: Option<&'static str>) -> Fault {
    Fault {
        name,
        post: false,
        then,
        first: Some(first),
        listens: true,
    }
}

pub const FAULTS: [Fault; 8] = [
    get("404", MISSING, None),
    get("500, then well", ERROR, Some(OK)),
    get("503 with Retry-After: 1, then well", BUSY, Some(OK)),
    Fault {
        first: None,
        ..get("hangs, then well", OK, Some(OK))
    },
    get("truncated body, then well", CUT, Some(OK)),
    Fault {
        listens: false,
        ..get("connection refused", OK, None)
    },
    Fault {
        post: true,
        ..get("POST, 500, then well", ERROR, Some(OK))
    },
    Fault {
        post: true,
        listens: false,
        ..get("POST, connection refused", OK, None)
    },
];

/// What a user saw of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub served: bool,
    /// Requests at the server. None if nothing listens.
    pub requests: Option<usize>,
    pub took: Duration,
}

/// The client was made before, which takes a while.
pub async fn call(fault: Fault, client: Client) -> Seen {
    let requests = Arc::new(AtomicUsize::new(0));
    let listener = listen(([127, 0, 0, 1], 0).into());
    let address: SocketAddr = listener.local_addr().expect("an address");
    let count = Arc::clone(&requests);
    let serving = tokio::spawn(async move {
        // Dropped at once, the port is closed.
        let listener = fault.listens.then_some(listener);
        while let Some(listener) = &listener {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, fault, Arc::clone(&count)));
            }
        }
    });
    if !fault.listens {
        tokio::task::yield_now().await;
        while TcpStream::connect(address).await.is_ok() {}
    }
    let send = if fault.post {
        &client.post
    } else {
        &client.get
    };
    let start = Instant::now();
    let answer = send(format!("http://{address}/")).await;
    let took = start.elapsed();
    serving.abort();
    Seen {
        served: matches!(answer, Ok(text) if text == "found"),
        requests: fault.listens.then(|| requests.load(Ordering::SeqCst)),
        took,
    }
}

/// One request of each connection: its head, and a body that comes with it.
async fn answer(mut stream: TcpStream, fault: Fault, requests: Arc<AtomicUsize>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(read) if read > 0) {
            return;
        }
    }
    let answer = match (requests.fetch_add(1, Ordering::SeqCst), fault.then) {
        (1.., Some(then)) => Some(then),
        _ => fault.first,
    };
    let Some(answer) = answer else {
        return std::future::pending().await;
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    // So that what the client has still to send does not reset the connection before it reads.
    let _ = stream.shutdown().await;
    while matches!(stream.read_buf(&mut request).await, Ok(read) if read > 0) {}
}
