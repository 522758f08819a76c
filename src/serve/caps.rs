//! How many connections there are, in all and of each address.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::sync::Notify;

use crate::http::network;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering::Relaxed};

#[derive(Debug)]
pub(super) struct Caps {
    max: u32,
    max_per_address: Option<u32>,
    open: Mutex<Open>,
    /// Publishes nothing: relaxed.
    rejected: AtomicU64,
    last_closed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    count: u32,
    /// Empty without a cap per address.
    of: HashMap<IpAddr, u32>,
}

/// The permit of one connection.
#[derive(Debug)]
#[must_use]
pub(super) struct ConnectionPermit {
    caps: Arc<Caps>,
    address: IpAddr,
}

impl Caps {
    pub(super) fn new(max: u32, max_per_address: Option<u32>) -> Self {
        Self {
            max,
            max_per_address,
            open: Mutex::new(Open::default()),
            rejected: AtomicU64::new(0),
            last_closed: Notify::new(),
        }
    }

    /// None if a cap is reached.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionPermit> {
        let address = network(peer, 64);
        if !self
            .open
            .lock()
            .add(address, self.max, self.max_per_address)
        {
            self.rejected.fetch_add(1, Relaxed);
            return None;
        }
        Some(ConnectionPermit {
            caps: Arc::clone(self),
            address,
        })
    }

    pub(super) fn open(&self) -> u32 {
        self.open.lock().count
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Ready when there is no connection.
    pub(super) async fn none_open(&self) {
        loop {
            // Made before the count is read, so that no close is missed.
            let closed = self.last_closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

impl Open {
    fn add(&mut self, address: IpAddr, max: u32, max_per_address: Option<u32>) -> bool {
        if self.count >= max {
            return false;
        }
        if let Some(max) = max_per_address {
            let count = self.of.entry(address).or_default();
            // An entry is never 0 between two calls, so one that is full was there before.
            if *count >= max {
                return false;
            }
            *count += 1;
        }
        self.count += 1;
        true
    }

    fn remove(&mut self, address: IpAddr) {
        self.count -= 1;
        if let Some(count) = self.of.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&address);
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let count = {
            let mut open = self.caps.open.lock();
            open.remove(self.address);
            open.count
        };
        if count == 0 {
            self.caps.last_closed.notify_waiters();
        }
    }
}
