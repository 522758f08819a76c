//! The client's stack: a hundred authorities, real clients, and what it returns.

use seawall::stack::ClientService;
use seawall::{ClientStack, RejectionKind};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{Do, Mock, Strict, reason};

/// The client in a user's struct: its type has a name.
#[derive(Clone, Debug)]
struct Client {
    stack: ClientStack,
    service: ClientService<Strict<Mock>>,
}

impl Client {
    fn new(stack: &ClientStack, mock: &Mock) -> Self {
        let stack = stack.clone();
        let service = stack.layer(Strict::new(mock.clone()));
        Self { stack, service }
    }
}

// CX10, CX12: that it compiles quickly is half of the test.
#[tokio::test]
async fn cx12_three_nested_client_stacks_compile_and_change_no_type() {
    let mock = Mock::new();
    let named = |name: &str| ClientStack::new(name);
    let service = ServiceBuilder::new()
        .layer(named("outer"))
        .layer(named("middle"))
        .layer(named("inner"))
        .service(Strict::new(mock.clone()));
    assert_eq!(service.clone().oneshot(Do::Answer).await.unwrap(), 7);
    let failed = tokio::spawn(async move { service.oneshot(Do::Fail).await });
    let error = failed.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
    // RT10: three attempts of the innermost and two more of each around it, not 27.
    assert_eq!(mock.calls() - 1, 3 + 2 + 2);
}

// CX1
#[tokio::test]
async fn cx1_a_client_and_its_clones_share_the_stack() {
    let stack = ClientStack::new("shared").default_authority("one");
    let mock = Mock::new();
    let (one, two) = (Client::new(&stack, &mock), Client::new(&stack, &mock));
    one.stack.breakers().get("one").force_open();
    for client in [two.clone(), one, two] {
        let error = client.service.oneshot(Do::Answer).await.unwrap_err();
        assert_eq!(reason(&error).kind(), RejectionKind::CircuitOpen);
    }
    assert_eq!(mock.calls(), 0);
}

// Case 37: one stack over two channels, which add the authority below it.
#[tokio::test]
async fn ky6_requests_without_an_authority_have_a_breaker_per_service() {
    let stack = ClientStack::builder("channels");
    let trip = seawall::circuit_breaker::Trip::consecutive_failures(5);
    let wait = seawall::Backoff::constant(std::time::Duration::from_secs(60));
    let stack = stack.breaker(|breaker| breaker.trip_on(trip).open_for(wait));
    let stack = stack.build().unwrap();
    let (a, b) = (stack.layer(Mock::new()), stack.layer(Mock::new()));
    for _ in 0..20 {
        a.clone().oneshot(Do::Fail).await.unwrap_err();
    }
    let error = a.clone().oneshot(Do::Answer).await.unwrap_err();
    assert_eq!(reason(&error).kind(), RejectionKind::CircuitOpen);
    for _ in 0..200 {
        assert_eq!(b.clone().oneshot(Do::Answer).await.unwrap(), 7);
    }
    let mut keys: Vec<_> = stack.breakers().entries().into_iter().collect();
    keys.sort_by(|(one, _), (other, _)| one.cmp(other));
    let keys: Vec<_> = keys.iter().map(|(key, _)| &**key).collect();
    assert_eq!(keys, ["service 1", "service 2"]);
    assert_eq!(stack.breakers().keyless(), 0);
}

// CX4, CX5
#[test]
fn cx5_readiness_reserves_nothing_and_waits_for_the_client() {
    let stack = ClientStack::builder("idle").bulkhead(|bulkhead| bulkhead.limit(1));
    let stack = stack.build().unwrap().default_authority("idle");
    let mock = Mock::stuck();
    let service = stack.layer(Strict::new(mock.clone()));
    let mut many = vec![service; 50];
    for service in &mut many {
        assert!(crate::support::poll_ready(service).is_pending());
    }
    mock.unstick();
    for service in &mut many {
        assert!(crate::support::poll_ready(service).is_ready());
    }
    let call = many[7].call(Do::Hang);
    assert_eq!(stack.bulkheads().get("idle").snapshot().in_flight, 1);
    drop(call);
    assert_eq!(stack.bulkheads().get("idle").snapshot().in_flight, 0);
}

#[cfg(feature = "test-util")]
mod timed {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use seawall::circuit_breaker::{State, Trip};
    use seawall::{Backoff, Deadline, Timeout};
    use tokio::task::JoinSet;
    use tokio::time::{Instant, interval, sleep};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::support::{Random, ms, secs};

    /// A call of one of many hosts.
    #[derive(Clone, Copy, Debug)]
    struct To(&'static str, Do);

    seawall::resend!(To);
    seawall::authority!(To, |to| Some(to.0));

    const HOSTS: usize = 100;

    fn hosts() -> Vec<&'static str> {
        let name = |n| String::leak(format!("host-{n}:80")) as &'static str;
        (0..HOSTS).map(name).collect()
    }

    /// How the calls of one host ended.
    #[derive(Clone, Copy, Debug, Default)]
    struct Seen {
        answered: usize,
        failed: usize,
        /// Rejected by its own breaker.
        shut: usize,
        /// Rejected by another policy.
        other: usize,
    }

    /// Calls each host every 100 ms for 30 s. The first is dead, as `dead` says. Returns how the calls of each
    /// ended, and how many reached it.
    async fn thirty_seconds(stack: &ClientStack, dead: Do) -> Vec<(Seen, usize)> {
        let hosts = hosts();
        let mock = Mock::new();
        let reached: Arc<Vec<AtomicUsize>> = Arc::new(hosts.iter().map(|_| 0.into()).collect());
        let names = hosts.clone();
        let service = {
            let reached = Arc::clone(&reached);
            stack.layer(service_fn(move |To(host, what): To| {
                let number = names.iter().position(|name| *name == host).unwrap();
                reached[number].fetch_add(1, Ordering::Relaxed);
                let answer = mock.clone().oneshot(what);
                async move {
                    sleep(ms(5)).await;
                    answer.await
                }
            }))
        };
        let mut calls = JoinSet::new();
        let mut ticks = interval(ms(100));
        for _ in 0..300 {
            ticks.tick().await;
            for (number, host) in hosts.iter().enumerate() {
                let what = if number == 0 { dead } else { Do::Answer };
                let call = service.clone().oneshot(To(host, what));
                calls.spawn(async move { (number, call.await) });
            }
        }
        let mut seen = vec![Seen::default(); HOSTS];
        while let Some(call) = calls.join_next().await {
            let (number, outcome) = call.unwrap();
            let seen = &mut seen[number];
            match outcome {
                Ok(_) => seen.answered += 1,
                Err(error) => match seawall::Reason::of(&*error) {
                    None => seen.failed += 1,
                    Some(reason) if matches!(reason.kind(), RejectionKind::TimedOut { .. }) => {
                        seen.failed += 1;
                    }
                    Some(reason) => {
                        let own = format!("hundred.breaker@{}", hosts[number]);
                        match *reason.policy().as_str() == *own {
                            true => seen.shut += 1,
                            false => seen.other += 1,
                        }
                    }
                },
            }
        }
        let reached = reached.iter().map(|count| count.load(Ordering::Relaxed));
        seen.into_iter().zip(reached).collect()
    }

    async fn one_dead(dead: Do, reached_at_most: usize) {
        let stack = ClientStack::new("hundred");
        let seen = thirty_seconds(&stack, dead).await;
        let ((first, reached), others) = (seen[0], &seen[1..]);
        assert_eq!(first.answered + first.other, 0, "{first:?}");
        assert_eq!(first.failed + first.shut, 300, "{first:?}");
        assert!(first.shut >= 200, "{first:?}");
        assert!(reached <= reached_at_most, "{reached} reached it");
        for (seen, reached) in others {
            assert_eq!((seen.answered, *reached), (300, 300), "{seen:?}");
        }
        let state = stack.breakers().get("host-0:80").state();
        assert_ne!(state, State::Closed);
        let open = stack.breakers().entries().into_iter();
        let open = open.filter(|(_, breaker)| breaker.state() != State::Closed);
        assert_eq!(open.count(), 1);
        assert_eq!(stack.breakers().len(), HOSTS);
        assert_eq!(stack.breakers().overflowed(), 0);
        for (host, bulkhead) in stack.bulkheads().entries() {
            assert_eq!(bulkhead.snapshot().in_flight, 0, "{host}");
        }
    }

    // KY2
    #[tokio::test(start_paused = true)]
    async fn ky2_of_a_hundred_authorities_only_the_failing_one_is_rejected() {
        // It opens after a second, and probes every half to whole second.
        one_dead(Do::Fail, 85).await;
    }

    // KY2
    #[tokio::test(start_paused = true)]
    async fn ky2_of_a_hundred_authorities_only_the_hanging_one_is_rejected() {
        // The first attempts time out after 3 s, with 30 calls a second.
        one_dead(Do::Hang, 90).await;
    }

    // CB14
    #[tokio::test(start_paused = true)]
    async fn cb14_callers_with_little_time_left_do_not_open_a_shared_breaker() {
        let stack = ClientStack::builder("fair").attempt_timeout(secs(1));
        let stack = stack.build().unwrap().default_authority("fair");
        let service = stack.layer(Mock::new());
        let breaker = stack.breakers().get("fair");
        let hurried = Timeout::new(ms(499));
        for _ in 0..60 {
            let call = hurried.run(|| service.clone().oneshot(Do::Hang));
            call.await.unwrap_err();
        }
        assert_eq!(breaker.state(), State::Closed);
        let fair = Timeout::new(ms(501));
        for _ in 0..60 {
            let call = fair.run(|| service.clone().oneshot(Do::Hang));
            call.await.unwrap_err();
        }
        assert_eq!(breaker.state(), State::Open);
    }

    // TO2, TO4
    #[tokio::test(start_paused = true)]
    async fn to2_the_total_covers_attempts_and_backoffs_and_is_inherited() {
        let stack = ClientStack::builder("total")
            .total_timeout(ms(2_500))
            .attempt_timeout(secs(1))
            .retry(|retry| retry.max_attempts(9).backoff(Backoff::constant(ms(100))));
        let stack = stack.build().unwrap();
        let (start, left) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&left);
        let service = stack.layer(service_fn(move |_: Do| {
            let left = Deadline::remaining().unwrap();
            seen.store(
                usize::try_from(left.as_millis()).unwrap(),
                Ordering::Relaxed,
            );
            std::future::pending::<Result<u32, BoxError>>()
        }));
        let error = service.oneshot(Do::Hang).await.unwrap_err();
        assert_eq!(start.elapsed(), ms(2_500));
        assert_eq!(reason(&error).policy().as_str(), "total.total_timeout");
        // The last attempt has the rest of the total.
        assert!((1..1_000).contains(&left.load(Ordering::Relaxed)));
    }

    // CX19
    #[tokio::test(start_paused = true)]
    async fn cx19_a_running_call_keeps_the_timeouts_it_started_with() {
        let stack = ClientStack::new("running");
        let service = stack.layer(Mock::new());
        let start = Instant::now();
        let before = tokio::spawn(service.clone().oneshot(Do::Hang));
        sleep(secs(1)).await;
        let change = stack.change(|now| now.total_timeout(secs(2)).attempt_timeout(ms(500)));
        change.unwrap();
        let after = tokio::spawn(service.oneshot(Do::Hang));
        after.await.unwrap().unwrap_err();
        assert!(start.elapsed() <= secs(3), "{:?}", start.elapsed());
        before.await.unwrap().unwrap_err();
        // Its second and third attempts have the new timeout.
        let passed = start.elapsed();
        assert!(passed >= secs(3) && passed < secs(10), "{passed:?}");
    }

    // CX7: at every point of the call.
    #[tokio::test(start_paused = true)]
    async fn cx7_two_thousand_random_drops_return_everything() {
        let stack = ClientStack::builder("dropped")
            .total_timeout(secs(2))
            .attempt_timeout(ms(200))
            .retry(|retry| retry.backoff(Backoff::constant(ms(50))).no_budget())
            .hedge(|hedge| hedge.delay(ms(30)))
            .breaker(|breaker| breaker.trip_on(Trip::consecutive_failures(20)))
            .bulkhead(|bulkhead| bulkhead.limit(20).queue(20))
            .build()
            .unwrap();
        let mock = Mock::new();
        let inner = mock.clone();
        let service = stack.layer(service_fn(move |To(_, what): To| {
            inner.clone().oneshot(what)
        }));
        let (mut random, mut calls) = (Random::new(1), JoinSet::new());
        for _ in 0..2_000 {
            let host = ["a", "b", "c"][random.below(3) as usize];
            let what = [Do::Answer, Do::Fail, Do::Hang, Do::Yield(2)][random.below(4) as usize];
            let patience = Duration::from_micros(random.below(400_000));
            let call = service.clone().oneshot(To(host, what));
            calls.spawn(async move {
                let _ = tokio::time::timeout(patience, call).await;
            });
            sleep(ms(random.below(4))).await;
        }
        while calls.join_next().await.is_some() {}
        assert_eq!(mock.in_flight(), 0);
        for (host, bulkhead) in stack.bulkheads().entries() {
            let bulkhead = bulkhead.snapshot();
            assert_eq!((bulkhead.in_flight, bulkhead.queued), (0, 0), "{host}");
        }
        for (host, breaker) in stack.breakers().entries() {
            let probes = breaker.snapshot().probes;
            assert_eq!(probes.map_or(0, |probes| probes.in_flight), 0, "{host}");
        }
        // No map entry is held.
        assert!(stack.bulkheads().len() == 3 && stack.breakers().len() == 3);
    }
}

#[cfg(feature = "http")]
mod http_clients {
    use std::future::Future;
    use std::net::SocketAddr;

    use axum::Router;
    use axum::routing::get;
    use http::{Method, Request, StatusCode};
    use http_body_util::Empty;
    use hyper::body::Bytes;
    use hyper_util::client::legacy::Client as Hyper;
    use hyper_util::rt::TokioExecutor;
    use seawall::Backoff;
    use seawall::circuit_breaker::{State, Trip};

    use super::*;
    use crate::support::{Recorder, ms};

    async fn serve() -> SocketAddr {
        let app = Router::new().route("/", get(async || "here"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    /// An address without a listener.
    fn closed() -> SocketAddr {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    }

    fn stack() -> ClientStack {
        let stack = ClientStack::builder("http")
            .retry(|retry| retry.max_attempts(2).backoff(Backoff::constant(ms(1))))
            .breaker(|breaker| breaker.trip_on(Trip::consecutive_failures(4)));
        stack.build().unwrap()
    }

    /// Calls a server, and an address without one.
    async fn one_is_dead<Fut, T>(
        stack: &ClientStack,
        call: impl Fn(Method, SocketAddr) -> Fut,
        status: impl Fn(&T) -> StatusCode,
    ) where
        Fut: Future<Output = Result<T, (Option<RejectionKind>, String)>>,
    {
        let (here, dead) = (serve().await, closed());
        for _ in 0..2 {
            let (why, text) = call(Method::GET, dead).await.err().unwrap();
            assert_eq!(why, None, "{text}");
        }
        // Two attempts each.
        let breaker = stack.breakers().get(&dead.to_string());
        assert_eq!(breaker.state(), State::Open);
        let (why, _) = call(Method::GET, dead).await.err().unwrap();
        assert_eq!(why, Some(RejectionKind::CircuitOpen));
        for _ in 0..20 {
            let answer = call(Method::GET, here).await;
            assert_eq!(status(&answer.ok().unwrap()), StatusCode::OK);
        }
        assert_eq!(stack.breakers().len(), 2);
        assert_eq!(stack.retry().snapshot().retried, 2);
    }

    // CX12, KY2
    #[tokio::test]
    async fn ky2_one_dead_authority_over_a_hyper_client() {
        let stack = stack();
        let client = ServiceBuilder::new()
            .layer(stack.clone())
            .map_err(seawall::Error::service)
            .service(Hyper::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
        let call = |method, address| {
            let request = Request::builder().uri(format!("http://{address}/"));
            let request = request.method(method).body(Empty::new()).unwrap();
            let call = client.clone().oneshot(request);
            async move {
                call.await.map_err(|error| {
                    let why = error.rejection().map(|rejection| rejection.kind());
                    (why, error.to_string())
                })
            }
        };
        one_is_dead(&stack, call, |response| response.status()).await;
    }

    // CX12, KY2
    #[cfg(feature = "reqwest")]
    #[tokio::test]
    async fn ky2_one_dead_authority_over_a_reqwest_client() {
        let stack = stack();
        let client = ServiceBuilder::new()
            .layer(stack.clone())
            .map_err(seawall::Error::service)
            .service(reqwest::Client::new());
        let call = |method, address: SocketAddr| {
            let url = format!("http://user:secret@{address}/").parse().unwrap();
            let call = client.clone().oneshot(reqwest::Request::new(method, url));
            async move {
                call.await.map_err(|error| {
                    let why = error.rejection().map(|rejection| rejection.kind());
                    (why, error.to_string())
                })
            }
        };
        one_is_dead(&stack, call, reqwest::Response::status).await;
    }

    // Case 30: the server's limiter never admits such a request, and the client is not to repeat it.
    #[tokio::test]
    async fn rl6_a_cost_above_the_burst_is_a_413_that_our_client_sends_once() {
        use axum::body::Body;
        use seawall::{Quota, RateLimitLayer, RateLimiter};

        let limiter = RateLimiter::builder(Quota::per_day(10)).build().unwrap();
        let rejected = Recorder::new();
        limiter.on_event(rejected.listener()).forever();
        let limit = RateLimitLayer::new(&limiter).cost(|_: &Request<Body>| 20);
        let app = Router::new().route("/", get(async || "here")).layer(limit);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });

        let stack = stack();
        let client = ServiceBuilder::new()
            .layer(stack.clone())
            .map_err(seawall::Error::service)
            .service(Hyper::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
        let request = Request::get(format!("http://{address}/"));
        let response = client.oneshot(request.body(Empty::new()).unwrap());
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.headers().get("retry-after"), None);
        assert_eq!(rejected.take().len(), 1);
        assert_eq!(stack.retry().snapshot().retried, 0);
        assert_eq!(limiter.available(), 10);
    }
}
