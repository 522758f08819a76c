//! The cache over a real Redis server, which is killed and started again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use seawall::circuit_breaker::{State, Trip};
use seawall::{Backoff, CircuitBreaker, Jitter, RejectionKind};
use seawall_databases::cache::Cache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Below the ports that the system gives to clients: none of them takes it while the server is down.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server of the test's own, which dies with it.
struct Server {
    port: u16,
    process: Option<Child>,
}

impl Server {
    async fn start() -> Self {
        let port = free_port();
        let mut server = Self {
            port,
            process: None,
        };
        server.start_again().await;
        server
    }

    async fn start_again(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server is installed: `.ci/run` does it"));
        let start = Instant::now();
        while self.ping().await.is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not start"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ping(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"+PONG");
        Ok(())
    }

    /// SIGKILL.
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder("cache")
        .trip_on(Trip::consecutive_failures(3))
        .open_for(Backoff::constant(Duration::from_millis(50)).jitter(Jitter::None))
        .build()
        .unwrap()
}

// CB1, CB7
#[tokio::test]
async fn cb1_a_server_that_is_killed_opens_the_breaker_and_closes_it_once_it_is_back() {
    let mut server = Server::start().await;
    let breaker = breaker();
    let cache = Cache::connect(&server.url(), &breaker).await.unwrap();
    cache.set("tea", "3.20").await.unwrap();
    assert_eq!(cache.get("tea").await.unwrap().as_deref(), Some("3.20"));
    assert_eq!(cache.get("milk").await.unwrap(), None);

    server.kill();
    let mut failures = 0;
    while breaker.state() == State::Closed {
        cache.get("tea").await.unwrap_err();
        failures += 1;
    }
    assert_eq!(failures, 3);
    // Rejected at once, and answered by the fallback.
    let start = Instant::now();
    let error = cache.get("tea").await.unwrap_err();
    assert_eq!(
        error.rejection().map(|it| it.kind()),
        Some(RejectionKind::CircuitOpen)
    );
    for _ in 0..1_000 {
        assert_eq!(cache.get_if_up("tea").await, None);
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(cache.fallback.snapshot().answered, 1_000);

    server.start_again().await;
    let start = Instant::now();
    while cache.set("tea", "3.30").await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it does not recover"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(cache.get_if_up("tea").await.as_deref(), Some("3.30"));
}

// CB20
#[tokio::test]
async fn cb20_a_connection_that_cannot_be_made_is_known_as_unsent_through_the_errors_of_redis() {
    let mut server = Server::start().await;
    let url = server.url();
    server.kill();
    let client = redis::Client::open(url).unwrap();
    let error = client
        .get_multiplexed_async_connection()
        .await
        .map(drop)
        .unwrap_err();
    let unsent = seawall::Outcome::failure(seawall::classify::FailureKind::Unsent);
    assert_eq!(seawall_databases::cache::by_redis(&error), unsent);
}
