//! A real upstream on loopback. Its behaviour is switched while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How many requests an upstream works on at once. The others wait in its unbounded queue.
pub(crate) const WORKERS: u32 = 5;
/// How long each keeps a worker while the upstream is [`Behaviour::Busy`].
pub(crate) const BUSY: Duration = Duration::from_millis(50);

/// How an upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// After one to four milliseconds, as a service with a cache does.
    Healthy,
    /// The same, but every 100th answer takes 100 to 120 ms.
    Straggling,
    /// The same, but 30 of 100 answers are a 500.
    Failing,
    /// Each answer takes [`BUSY`], as if a cache was lost.
    Busy,
    /// It accepts requests and never answers.
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
            1 => Behaviour::Straggling,
            2 => Behaviour::Failing,
            3 => Behaviour::Busy,
            _ => Behaviour::Hanging,
        }
    }
}

/// The header in which a request of the load names its phase.
pub(crate) const PHASE: &str = "x-phase";

/// How many phases there are.
pub(crate) const PHASES: usize = 6;

/// A running upstream.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    switch: Switch,
    seen: [AtomicU64; PHASES],
    answers: AtomicU64,
    workers: Arc<Semaphore>,
}

impl Faulty {
    pub(crate) async fn start(switch: &Switch) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            switch: switch.clone(),
            seen: Default::default(),
            answers: AtomicU64::new(0),
            workers: Arc::new(Semaphore::new(WORKERS as usize)),
        });
        let app = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { addr, shared })
    }

    /// How many requests of a phase have reached it.
    pub(crate) fn seen(&self, phase: usize) -> u64 {
        self.shared.seen[phase].load(Ordering::SeqCst)
    }
}

async fn handle(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let phase = headers
        .get(PHASE)
        .and_then(|phase| phase.to_str().ok()?.parse().ok());
    if let Some(seen) = phase.and_then(|phase: usize| shared.seen.get(phase)) {
        seen.fetch_add(1, Ordering::SeqCst);
    }
    let behaviour = shared.switch.get();
    // By count, not by chance: a short demonstration may have too few requests for one.
    let hundredth = shared.answers.fetch_add(1, Ordering::SeqCst) % 100 == 50;
    let takes = match behaviour {
        Behaviour::Hanging => return std::future::pending().await,
        Behaviour::Busy => BUSY,
        Behaviour::Straggling if hundredth => {
            Duration::from_micros(fastrand::u64(100_000..120_000))
        }
        _ => Duration::from_micros(fastrand::u64(1_000..4_000)),
    };
    let workers = Arc::clone(&shared.workers);
    // In a task, because few services notice that a caller has left: the request keeps its queue
    // position and its worker.
    let work = tokio::spawn(async move {
        let _worker = workers.acquire().await;
        sleep(takes).await;
    });
    let _ = work.await;
    if behaviour == Behaviour::Failing && fastrand::f64() < 0.3 {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    "served\n".into_response()
}
