//! Serves a gateway on a socket, and ends within a bound.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout_at};
use tower::ServiceExt;

use crate::counts::Counted;
use crate::proxy::Gateway;

/// Serves until `stop`, then for at most `drain` longer. Returns how many requests were cut off.
///
/// While it drains it still accepts connections, so that `/readyz` can say so. New requests are
/// rejected.
pub(crate) async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> usize {
    let counts = &gateway.health.counts;
    let mut server = Server {
        builder: auto::Builder::new(TokioExecutor::new()),
        graceful: GracefulShutdown::new(),
        connections: JoinSet::new(),
        gateway: &gateway,
    };
    // With a timer hyper gives a connection 30 s for the head of its next request.
    server.builder.http1().timer(TokioTimer::new());
    server.builder.http2().timer(TokioTimer::new());

    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => server.accepted(accepted).await,
        }
    }

    gateway.health.drain();
    let bound = Instant::now() + drain;
    let mut look = interval(Duration::from_millis(10));
    let mut over = std::pin::pin!(sleep_until(bound));
    loop {
        tokio::select! {
            () = &mut over => break,
            _ = look.tick() => if counts.requests() == 0 { break },
            accepted = listener.accept() => server.accepted(accepted).await,
        }
    }
    drop(listener);

    let Server {
        graceful,
        mut connections,
        ..
    } = server;
    // Without requests, half a second more than the bound: answers that are already sent arrive, and
    // idle connections close.
    let flushed = bound + Duration::from_millis(500);
    let at_most = if counts.requests() == 0 {
        flushed
    } else {
        bound
    };
    let _ = timeout_at(at_most, graceful.shutdown()).await;
    let cut = counts.requests();
    connections.shutdown().await;
    cut
}

struct Server<'a> {
    builder: auto::Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    connections: JoinSet<()>,
    gateway: &'a Gateway,
}

impl Server<'_> {
    async fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        while self.connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // This connection was closed before it was accepted. Without file descriptors, however,
            // the next accept would fail at once, again and again.
            Err(error) if is_of_the_connection(&error) => return,
            Err(_) => return tokio::time::sleep(Duration::from_millis(50)).await,
        };
        let _ = stream.set_nodelay(true);
        let router = self.gateway.router.clone();
        let service = service_fn(move |request| answer(router.clone(), request, peer));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection.into_owned());
        let counted = Counted::connection(&self.gateway.health.counts);
        self.connections.spawn(async move {
            let _counted = counted;
            // An error means that the caller has closed the connection.
            let _ = connection.await;
        });
    }
}

async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
) -> Result<axum::response::Response, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
