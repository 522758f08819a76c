//! A real upstream on loopback, whose health is switched while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// How an upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// After one to four milliseconds, as a service with a cache does.
    Healthy,
    /// The same, but 30 of 100 answers are a 500.
    Failing,
    /// It takes the request and never answers it.
    Hanging,
}

/// The switch for all upstreams of a demonstration.
#[derive(Clone, Debug)]
pub(crate) struct Switch(Arc<AtomicU8>);

impl Switch {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Behaviour::Healthy as u8)))
    }

    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.0.store(behaviour as u8, Ordering::SeqCst);
    }

    fn get(&self) -> Behaviour {
        match self.0.load(Ordering::SeqCst) {
            0 => Behaviour::Healthy,
            1 => Behaviour::Failing,
            _ => Behaviour::Hanging,
        }
    }
}

/// The header in which a request of the load names its phase.
pub(crate) const PHASE: &str = "x-phase";

/// An upstream that runs.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    pub(crate) addr: SocketAddr,
    seen: Arc<[AtomicU64; 4]>,
}

impl Faulty {
    pub(crate) async fn start(switch: &Switch) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let seen = Arc::<[AtomicU64; 4]>::default();
        let state = (switch.clone(), Arc::clone(&seen));
        let app = Router::new().fallback(handle).with_state(state);
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { addr, seen })
    }

    /// How many requests of a phase have reached it.
    pub(crate) fn seen(&self, phase: usize) -> u64 {
        self.seen[phase].load(Ordering::SeqCst)
    }
}

async fn handle(
    State((switch, seen)): State<(Switch, Arc<[AtomicU64; 4]>)>,
    headers: HeaderMap,
) -> Response {
    let phase = headers
        .get(PHASE)
        .and_then(|phase| phase.to_str().ok()?.parse().ok());
    if let Some(seen) = phase.and_then(|phase: usize| seen.get(phase)) {
        seen.fetch_add(1, Ordering::SeqCst);
    }
    let behaviour = switch.get();
    if behaviour == Behaviour::Hanging {
        return std::future::pending().await;
    }
    tokio::time::sleep(Duration::from_micros(fastrand::u64(1_000..4_000))).await;
    if behaviour == Behaviour::Failing && fastrand::f64() < 0.3 {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    "served\n".into_response()
}
