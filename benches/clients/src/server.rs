//! A server on a real socket, which is in trouble at times.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::row::{Effect, Plan, Row};

/// How long a call takes.
const WORK: Duration = Duration::from_millis(10);

pub struct Server {
    row: &'static Row,
    plan: Plan,
    start: Instant,
    /// Attempts in the trouble.
    pub attempts: AtomicU64,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    /// When each worker is free.
    free: Vec<Instant>,
    /// When the calls that wait are begun.
    begins: VecDeque<Instant>,
}

enum Answer {
    After(Instant),
    Error(u16, Option<u64>),
    Never,
}

impl Server {
    pub fn new(row: &'static Row, plan: Plan, start: Instant) -> Arc<Self> {
        let workers = row.workers.map_or(0, |workers| workers.count);
        Arc::new(Self {
            row,
            plan,
            start,
            attempts: AtomicU64::new(0),
            state: Mutex::new(State {
                rng: Rng::with_seed(7),
                free: vec![start; workers],
                begins: VecDeque::new(),
            }),
        })
    }

    /// Serves until the task is dropped. Where connections are refused, nothing listens.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, address: SocketAddr) {
        let Effect::Refuse { lasts } = self.row.effect else {
            return self.accept(listener).await;
        };
        let trouble = self.start + self.plan.before;
        tokio::select! {
            () = Arc::clone(&self).accept(listener) => {}
            () = sleep_until(trouble) => {}
        }
        sleep_until(trouble + lasts.unwrap_or(self.plan.trouble)).await;
        self.accept(listen(address)).await;
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let server = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&server).answer(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                let _ = connection.await;
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn answer(
        self: Arc<Self>,
        _: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let response = Response::builder();
        let response = match self.decide() {
            Answer::After(at) => {
                sleep_until(at).await;
                response
            }
            Answer::Error(status, None) => response.status(status),
            Answer::Error(status, Some(seconds)) => {
                response.status(status).header("retry-after", seconds)
            }
            Answer::Never => std::future::pending().await,
        };
        // An error takes a moment too.
        sleep(Duration::from_millis(1)).await;
        Ok(response.body(Full::from("found")).expect("a response"))
    }

    fn decide(&self) -> Answer {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.start + self.plan.before);
        let in_trouble = now >= self.start + self.plan.before && since < self.plan.trouble;
        if in_trouble {
            self.attempts.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.state.lock().expect("no panic");
        match self.row.effect {
            Effect::Errors {
                share,
                status,
                retry_after,
            } if in_trouble && state.rng.f64() < share => Answer::Error(status, retry_after),
            Effect::Hang { share } if in_trouble && state.rng.f64() < share => Answer::Never,
            Effect::Flap { half }
                if in_trouble && (since.as_nanos() / half.as_nanos()).is_multiple_of(2) =>
            {
                Answer::Error(500, None)
            }
            Effect::Slow { take } if in_trouble => Answer::After(now + take),
            _ => state.work(self.row, now),
        }
    }
}

impl State {
    fn work(&mut self, row: &Row, now: Instant) -> Answer {
        let Some(workers) = row.workers else {
            return Answer::After(now + WORK);
        };
        while self.begins.front().is_some_and(|begins| *begins <= now) {
            self.begins.pop_front();
        }
        if workers
            .queue
            .is_some_and(|queue| self.begins.len() >= queue)
        {
            return Answer::Error(503, None);
        }
        let free = self.free.iter_mut().min().expect("a worker");
        let begins = now.max(*free);
        *free = begins + workers.take;
        if begins > now {
            self.begins.push_back(begins);
        }
        // The work is done also for a caller that has left.
        Answer::After(*free)
    }
}

/// On `address`, which may have been in use.
pub fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket.listen(1_024).expect("a listener")
}
