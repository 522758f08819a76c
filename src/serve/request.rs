//! A request in flight.

use std::net::SocketAddr;

use super::activity::Activity;
use super::server::Shared;
use crate::sync::{Arc, Ordering::Relaxed};
use crate::time;

/// What all requests of a connection share.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) server: Arc<Shared>,
}

/// A request that is counted as in flight until this is dropped.
pub(super) struct InFlight(Arc<Connection>);

impl InFlight {
    pub(super) fn start(connection: &Arc<Connection>, is_http2: bool) -> Self {
        connection.activity.start_request(is_http2);
        connection.server.requests.fetch_add(1, Relaxed);
        Self(Arc::clone(connection))
    }

    /// Whether the server drains.
    pub(super) fn is_draining(&self) -> bool {
        self.0.server.health.is_draining()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.server.requests.fetch_sub(1, Relaxed);
        self.0.activity.end_request(time::now());
    }
}
