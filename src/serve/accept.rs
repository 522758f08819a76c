//! The accept loop and the order of a drain.

use std::error::Error as StdError;
use std::future::{Future, pending, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_service::Service;

use super::connection;
use super::drained::Drained;
use super::server::{Phase, Server, Shared};
use super::signals::{Signal, Signals};
use crate::event::notice;
use crate::sync::{Arc, Ordering::Relaxed};
use crate::time::{self, Sleep};

/// Without file descriptors the next accept would fail at once, again and again.
const AFTER_ERROR: Duration = Duration::from_millis(50);

impl Server {
    /// Serves `app` until the server has drained. The app is an axum `Router`, or any tower service of
    /// HTTP requests; it is cloned for each request.
    ///
    /// Each request has the extension [`Peer`](crate::http::Peer), and with the feature `axum` also
    /// `ConnectInfo<SocketAddr>`. Several listeners may be served at once, by one call each: they
    /// share the caps and the drain.
    ///
    /// # Errors
    /// If the signals cannot be received. Errors of connections end these connections. If the system
    /// has no file descriptor for another connection, it is logged, and tried again.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and all its connections at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn serve<S, B>(&self, listener: TcpListener, app: S) -> io::Result<Drained>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.serve_tls(listener, |stream| ready(Ok(stream)), app)
            .await
    }

    /// Serves `app` over TLS, or over whatever else `handshake` makes of an accepted connection. The
    /// [header timeout](super::Builder::header_timeout) covers the handshake. Offer `h2` and
    /// `http/1.1` by ALPN; the protocol is recognized by its first bytes.
    ///
    /// With `tokio-rustls`: `server.serve_tls(listener, |stream| acceptor.accept(stream), app)`.
    ///
    /// # Errors, cancel safety, panics
    /// Those of [`serve`](Self::serve). An error of the handshake ends the connection.
    pub async fn serve_tls<T, S, B, F>(
        &self,
        listener: TcpListener,
        handshake: impl Fn(TcpStream) -> F,
        app: S,
    ) -> io::Result<Drained>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let shared = &self.0;
        let mut signals = Received::take(shared)?;
        let mut listener = Some(listener);
        let mut closing = pin!(shared.reached(Phase::Closing));
        let mut drained = pin!(drain(shared));
        let mut tasks = JoinSet::new();
        // One clone for each stream of this listener.
        let streams = Arc::new(());
        loop {
            tokio::select! {
                biased;
                () = &mut drained => break,
                () = &mut closing, if listener.is_some() => listener = None,
                signal = next(&mut signals) => shared.receive(signal),
                Some(_) = tasks.join_next() => {}
                (stream, peer) = accept(listener.as_ref(), shared), if listener.is_some() => {
                    let Some(permit) = shared.caps.admit(peer.ip()) else { continue };
                    // An error means that the peer has gone: its connection will fail too.
                    let _ = stream.set_nodelay(true);
                    let kept = (permit, Arc::clone(&streams));
                    let (shared, handshake, app) = (Arc::clone(shared), handshake(stream), app.clone());
                    // No policy: a server has a task for each connection.
                    #[allow(clippy::disallowed_methods)]
                    tasks.spawn(connection::run(shared, handshake, app, peer, kept));
                }
            }
        }
        // Each of them sees that the server has ended.
        while tasks.join_next().await.is_some() {}
        // What is left was upgraded, and belongs to a handler.
        let upgraded = Arc::strong_count(&streams) - 1;
        let requests = shared.cut.load(Relaxed) + upgraded as u64;
        let drained = match shared.was_cut.load(Relaxed) {
            _ if requests == 0 => Drained::Complete,
            true => Drained::Cut { requests },
            false => Drained::TimedOut { requests },
        };
        shared.log_end(drained);
        Ok(drained)
    }
}

/// Not ready, settle, stop accepting, finish within a bound.
async fn drain(shared: &Shared) {
    shared.reached(Phase::Draining).await;
    tokio::select! {
        () = shared.reached(Phase::Closing) => {}
        () = sleep(shared.config.settle) => {}
    }
    shared.advance(Phase::Closing);
    tokio::select! {
        () = shared.caps.none_open() => {}
        () = shared.reached(Phase::Ended) => {}
        () = sleep(shared.config.drain) => {}
    }
    shared.advance(Phase::Ended);
}

async fn accept(listener: Option<&TcpListener>, shared: &Shared) -> (TcpStream, SocketAddr) {
    let Some(listener) = listener else {
        return pending().await;
    };
    let mut is_first = true;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Closed before it was accepted.
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if std::mem::take(&mut is_first) {
                    notice::warn(&shared.name, &format!("cannot accept: {error}"));
                }
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let kind = error.kind();
    matches!(
        kind,
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn sleep(time: Duration) {
    let mut timer = pin!(Sleep::until(time::now().after(time)));
    std::future::poll_fn(|cx| timer.as_mut().poll_elapsed(cx)).await;
}

/// The signals, for one call of `serve` at a time: with two, one signal would count twice.
struct Received<'a> {
    signals: Signals,
    shared: &'a Shared,
}

impl<'a> Received<'a> {
    fn take(shared: &'a Shared) -> io::Result<Option<Self>> {
        if !shared.config.signals || shared.has_signals.swap(true, Relaxed) {
            return Ok(None);
        }
        let signals = Signals::new();
        if signals.is_err() {
            shared.has_signals.store(false, Relaxed);
        }
        Ok(Some(Self {
            signals: signals?,
            shared,
        }))
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.shared.has_signals.store(false, Relaxed);
    }
}

async fn next(signals: &mut Option<Received<'_>>) -> Signal {
    match signals {
        Some(received) => received.signals.next().await,
        None => pending().await,
    }
}
