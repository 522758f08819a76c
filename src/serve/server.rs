use std::future::Future;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use super::caps::Caps;
use super::config::Config;
use super::drained::Drained;
use super::health::Health;
use super::signals::Signal;
use crate::config::Name;
use crate::macros::debug_fields;
use crate::rng::Jitter;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering::Relaxed};

/// Serves HTTP/1 and HTTP/2 on sockets, with bounded connections, and drains in order.
///
/// A handle: clones are the same server. The [module](crate::serve) has the defaults and an example.
#[derive(Clone)]
pub struct Server(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) name: Name,
    pub(super) config: Config,
    pub(super) http: Arc<auto::Builder<TokioExecutor>>,
    phase: watch::Sender<Phase>,
    pub(super) health: Health,
    pub(super) caps: Arc<Caps>,
    /// In flight. Publishes nothing: relaxed.
    pub(super) requests: AtomicU64,
    /// Cut off at the end. Read when the tasks that write it have been joined: relaxed.
    pub(super) cut: AtomicU64,
    /// Whether the server was ended by a cut, not by its bound. Set before the phase is
    /// [`Ended`](Phase::Ended), which publishes it: relaxed.
    pub(super) was_cut: AtomicBool,
    /// Whether a call of `serve` receives the signals. Publishes nothing: relaxed.
    pub(super) has_signals: AtomicBool,
    pub(super) jitter: Jitter,
}

/// What a [`Server`] is doing. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// It accepts connections and is ready.
    Serving,
    /// It accepts connections and is not ready, until the settle time is over.
    Draining,
    /// It accepts nothing, and finishes what is in flight.
    Closing,
    /// What was still in flight has been cut off.
    Ended,
}

impl Phase {
    /// A short text that never changes: `serving`, `draining`, `closing`, `ended`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Ended => "ended",
        }
    }
}

/// The state of a [`Server`] at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it is doing.
    pub phase: Phase,
    /// The open connections, with those that were upgraded.
    pub connections: u32,
    /// The requests in flight, until the end of their response bodies.
    pub requests: u64,
    /// How many connections were closed at once because a cap was reached.
    pub rejected: u64,
}

impl Server {
    pub(super) fn from_parts(
        name: Name,
        config: Config,
        http: Arc<auto::Builder<TokioExecutor>>,
    ) -> Self {
        let caps = Caps::new(config.max_connections, config.max_per_address);
        Self(Arc::new(Shared {
            name,
            config,
            http,
            phase: watch::Sender::new(Phase::Serving),
            health: Health::new(),
            caps: Arc::new(caps),
            requests: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            was_cut: AtomicBool::new(false),
            has_signals: AtomicBool::new(false),
            jitter: Jitter::from_entropy(),
        }))
    }

    /// The health of this server: it is not ready once the server is draining.
    pub fn health(&self) -> Health {
        self.0.health.clone()
    }

    /// Starts to drain, like SIGTERM. Nothing happens if it drains already.
    pub fn drain(&self) {
        self.0.advance(Phase::Draining);
    }

    /// Cuts off what is in flight, and ends. [`serve`](Self::serve) returns.
    pub fn cut(&self) {
        self.0.cut_off();
    }

    /// Ready when the server drains: for handlers of connections that would not end by themselves,
    /// such as server-sent events and WebSockets.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move { shared.reached(Phase::Draining).await }
    }

    /// What it is doing, with its counts.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            phase: *self.0.phase.borrow(),
            connections: self.0.caps.open(),
            requests: self.0.requests.load(Relaxed),
            rejected: self.0.caps.rejected(),
        }
    }
}

impl Shared {
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) async fn reached(&self, phase: Phase) {
        // The sender is not dropped before `self` is.
        let _ = self.phase().wait_for(|now| *now >= phase).await;
    }

    pub(super) fn advance(&self, to: Phase) {
        self.health.drain();
        let advanced = self.phase.send_if_modified(|now| {
            let advances = *now < to;
            *now = to.max(*now);
            advances
        });
        #[cfg(feature = "tracing")]
        if advanced {
            let (connections, requests) = (self.caps.open(), self.requests.load(Relaxed));
            tracing::info!(target: "seawall", { resilience.server = %self.name, resilience.phase = to.label(), resilience.connections = connections, resilience.requests = requests }, "server drains");
        }
        let _ = advanced;
    }

    /// Reports how serving a listener ended.
    pub(super) fn log_end(&self, drained: Drained) {
        #[cfg(feature = "tracing")]
        match drained {
            Drained::Complete => {
                tracing::info!(target: "seawall", { resilience.server = %self.name }, "server has answered every request");
            }
            Drained::TimedOut { requests } | Drained::Cut { requests } => {
                tracing::warn!(target: "seawall", { resilience.server = %self.name, resilience.cut = requests }, "server has cut requests off");
            }
        }
        let _ = drained;
    }

    pub(super) fn cut_off(&self) {
        // Nothing is in flight after the end: a later cut cuts nothing.
        if *self.phase.borrow() < Phase::Ended {
            self.was_cut.store(true, Relaxed);
        }
        self.advance(Phase::Ended);
    }

    /// The first signal starts to drain, a second one cuts.
    pub(super) fn receive(&self, signal: Signal) {
        let drains = *self.phase.borrow() >= Phase::Draining;
        match signal {
            _ if drains => self.cut_off(),
            Signal::Terminate => self.advance(Phase::Draining),
            // No load balancer waits for a terminal.
            Signal::Interrupt => self.advance(Phase::Closing),
        }
    }
}

debug_fields!(Server, this: name = this.0.name, config = this.0.config, state = this.snapshot());
