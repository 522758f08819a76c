//! The contenders.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fastrand::Rng;
use http::{Request, Response, StatusCode, Uri, header};
use seawall::ClientStack;
use seawall::stack::ClientService;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::row::Row;
use crate::server::{Reply, Server};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// One attempt with the attempt's timeout.
    Plain,
    /// Three attempts with full jitter.
    Naive,
    /// The same, with tower's budget of 10 %.
    Budget,
    /// The client stack by its defaults, with the row's timeouts.
    Stack,
}

impl Contender {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Naive, Self::Budget, Self::Stack];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Naive => "naive",
            Self::Budget => "naive+budget",
            Self::Stack => "seawall",
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One client, with all that its calls share.
pub(crate) trait Client: Clone + Send + 'static {
    /// Makes a call; true if it was served. The caller may drop it.
    fn call(&self, host: usize, seed: u64) -> impl Future<Output = bool> + Send;
}

#[derive(Clone)]
pub(crate) struct Plain {
    server: Server,
    timeout: Duration,
}

impl Plain {
    pub(crate) fn new(row: &Row, server: &Server) -> Self {
        Self {
            server: server.clone(),
            timeout: Duration::from_secs_f64(row.limits.attempt),
        }
    }
}

impl Client for Plain {
    async fn call(&self, host: usize, _seed: u64) -> bool {
        let reply = tokio::time::timeout(self.timeout, self.server.attempt(host)).await;
        matches!(reply, Ok(Reply::Served))
    }
}

#[derive(Clone)]
pub(crate) struct Naive {
    one: Plain,
    budget: Option<Arc<TpsBudget>>,
}

impl Naive {
    pub(crate) fn new(row: &Row, server: &Server) -> Self {
        Self {
            one: Plain::new(row, server),
            budget: None,
        }
    }

    /// One retry per ten successes of the last 10 s, and one per second beyond.
    pub(crate) fn with_budget(row: &Row, server: &Server) -> Self {
        let budget = TpsBudget::new(Duration::from_secs(10), 1, 0.1);
        Self {
            budget: Some(Arc::new(budget)),
            ..Self::new(row, server)
        }
    }
}

impl Client for Naive {
    async fn call(&self, host: usize, seed: u64) -> bool {
        let mut rng = Rng::with_seed(seed);
        for backoff in [Some(0.05), Some(0.1), None] {
            if self.one.call(host, seed).await {
                if let Some(budget) = &self.budget {
                    budget.deposit();
                }
                return true;
            }
            let Some(backoff) = backoff else { break };
            if self
                .budget
                .as_ref()
                .is_some_and(|budget| !budget.withdraw())
            {
                break;
            }
            tokio::time::sleep(Duration::from_secs_f64(backoff * rng.f64())).await;
        }
        false
    }
}

#[derive(Clone)]
pub(crate) struct Stack {
    service: ClientService<Connection>,
    hosts: Arc<[Uri]>,
}

impl Stack {
    pub(crate) fn new(row: &Row, server: &Server, seed: u64) -> Self {
        let host = |host| format!("http://h{host}/").parse::<Uri>().expect("a uri");
        let connection = Connection(server.clone());
        Self {
            service: stack(row, seed).layer(connection),
            hosts: (0..row.load.hosts.count).map(host).collect(),
        }
    }
}

/// The stack by its defaults, but for the timeouts, and a seed for its jitter.
fn stack(row: &Row, seed: u64) -> ClientStack {
    let total = Duration::from_secs_f64(row.limits.total);
    let attempt = Duration::from_secs_f64(row.limits.attempt);
    let defaults = |attempt, probe: Option<Duration>| {
        ClientStack::builder("outages")
            .total_timeout(total)
            .attempt_timeout(attempt)
            .retry(|retry| retry.jitter_seed(seed))
            .breaker(|breaker| {
                let breaker = breaker.jitter_seed(seed);
                match probe {
                    Some(probe) => breaker.max_probe_time(probe),
                    None => breaker,
                }
            })
            .build()
    };
    defaults(attempt, None).unwrap_or_else(|_| {
        // A stack does not build with an attempt that is longer than the breaker's window. Its
        // other numbers are what is judged, so the timeout is changed by itself, and a probe may
        // take as long as it may by default: the timeout and a second.
        let probe = Some(attempt + Duration::from_secs(1));
        let stack = defaults(Duration::from_secs(10), probe).expect("shorter than the window");
        let timeout = stack.attempt_timeout();
        timeout.set_limit(attempt).expect("above zero");
        stack
    })
}

impl Client for Stack {
    async fn call(&self, host: usize, _seed: u64) -> bool {
        let mut request = Request::new(());
        *request.uri_mut() = self.hosts[host].clone();
        match self.service.clone().oneshot(request).await {
            Ok(response) => response.status() == StatusCode::OK,
            Err(_) => false,
        }
    }
}

/// The server as an HTTP client sees it.
#[derive(Clone)]
pub(crate) struct Connection(Server);

impl Service<Request<()>> for Connection {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move {
            let host = request.uri().host().and_then(|host| host.get(1..));
            let host = host.and_then(|host| host.parse().ok()).expect("a host");
            let mut response = Response::new(());
            match server.attempt(host).await {
                Reply::Served => {}
                Reply::Failed(answer) => {
                    *response.status_mut() = StatusCode::from_u16(answer.status)?;
                    if let Some(seconds) = answer.retry_after {
                        let headers = response.headers_mut();
                        headers.insert(header::RETRY_AFTER, seconds.into());
                    }
                }
                Reply::Refused => {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
                }
            }
            Ok(response)
        })
    }
}
