use std::panic::Location;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use super::config::Config;
use super::server::Server;
use crate::config::{ConfigError, Name, Problems};
use crate::macros::{debug_fields, setters};
use crate::sync::Arc;

type Http = auto::Builder<TokioExecutor>;

/// Builds a [`Server`]; made by [`Server::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `.build()`"]
pub struct Builder {
    name: Name,
    config: Config,
    http: Http,
}

impl Server {
    /// A server with the [defaults](crate::serve#defaults).
    #[track_caller]
    pub fn new() -> Self {
        let server = Self::builder().build();
        server.expect("the defaults are valid")
    }

    /// Starts a server with options.
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(Name::at("server", Location::caller()))
    }
}

impl Default for Server {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    fn new(name: Name) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        // The server has its own timer for heads, which also covers the choice of the protocol.
        http.http1().header_read_timeout(None);
        // A peer that is gone without a word is noticed while its requests are in flight.
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            name,
            config: Config::DEFAULT,
            http,
        }
    }

    setters! {
        /// Sets the name, which is in log messages. The default is `server` and the call site.
        name(name: impl Into<Name>) => name = name.into();

        /// Sets the longest time from the acceptance of a connection to its first request's head, with
        /// the TLS handshake, and on HTTP/1 from the first byte of each later head to its end. The default
        /// is 10 s.
        header_timeout(limit: Duration) => config.header_timeout = limit;

        /// Sets the longest time between two requests of a connection. Pings are no requests. A response
        /// that is still being sent counts as idle for as long as its reader takes nothing, and is cut
        /// short when the connection is then not closed within the header timeout. The default is 75 s.
        idle_timeout(limit: Duration) => config.idle_timeout = limit;

        /// Sets the most connections at once. A connection above it is closed at once. The default is
        /// 10,000; keep it below the number of file descriptors that the process may have.
        max_connections(limit: u32) => config.max_connections = limit;

        /// Sets the most connections at once from one address, for IPv6 from one network of 64 bits. A
        /// connection above it is closed at once. The default is none: behind a proxy all connections have
        /// its address.
        max_connections_per_address(limit: impl Into<Option<u32>>) => config.max_per_address = limit.into();

        /// Sets the age at which a connection is closed gracefully: on HTTP/1 the next response says
        /// `Connection: close`, on HTTP/2 the client gets a GOAWAY. Requests in flight are finished. Each
        /// connection's age is up to a tenth shorter, at random, so that clients do not reconnect
        /// together. The default is none. Set it where a load balancer distributes connections, so that
        /// new servers get their share.
        max_age(age: impl Into<Option<Duration>>) => config.max_age = age.into();

        /// Sets how long a draining server goes on as before, except that it is not ready. Load balancers
        /// need this time to notice. The default is 5 s.
        settle(time: Duration) => config.settle = time;

        /// Sets how long requests in flight have to finish after the server has stopped accepting. The
        /// default is 20 s.
        drain(limit: Duration) => config.drain = limit;

        /// Whether the server drains on SIGTERM and Ctrl-C. The default is true. If false, call
        /// [`Server::drain`].
        signals(listen: bool) => config.signals = listen;
    }

    /// Changes what hyper has options for, such as
    /// `|http| { http.http2().max_concurrent_streams(50); }`.
    pub fn http(mut self, change: impl FnOnce(&mut Http)) -> Self {
        change(&mut self.http);
        self
    }

    /// Builds the server.
    ///
    /// # Errors
    /// All problems at once: a timeout or an age of 0, no connection at all.
    pub fn build(self) -> Result<Server, ConfigError> {
        Problems::found(&self.name, |problems| self.config.check(problems))?;
        Ok(Server::from_parts(
            self.name,
            self.config,
            Arc::new(self.http),
        ))
    }
}

debug_fields!(Builder, this: name = this.name, config = this.config);
