//! The admitted path allocates nothing. A binary of its own, because its allocator counts.

// Clippy's bans are for `src`.
#![allow(clippy::disallowed_types)]

use std::future::{Future, Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall::circuit_breaker::{Trip, Window};
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack,
    Event, Fallback, FallbackLayer, Hedge, HedgeLayer, Keyed, Pipeline, Quota, RateLimitLayer,
    RateLimiter, Rejection, Retry, RetryLayer, ServerStack, Timeout, TimeoutLayer,
};
use tower::{Layer, Service, ServiceBuilder};

/// A service that is ready, or pending once and then ready.
#[derive(Clone)]
struct Echo {
    pending_once: bool,
}

impl Service<u32> for Echo {
    type Response = u32;
    type Error = Rejection;
    type Future = EchoFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> EchoFuture {
        EchoFuture {
            pending: self.pending_once,
            answer: ready(Ok(request)),
        }
    }
}

struct EchoFuture {
    pending: bool,
    answer: Ready<Result<u32, Rejection>>,
}

impl Future for EchoFuture {
    type Output = Result<u32, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.pending) {
            return Poll::Pending;
        }
        Pin::new(&mut self.answer).poll(cx)
    }
}

/// Polls until ready; a pending future here is ready at the next poll.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Allocations of this thread in a hundred calls, after a first one: a thread's first use of a breaker's
/// rules registers it, once for all breakers.
fn allocations<S>(service: &mut S) -> u64
where
    S: Service<u32, Response = u32, Error = Rejection>,
{
    let mut call = || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!(finish(service.call(7)), Ok(7));
    };
    call();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    counted.count_total
}

/// A request with an authority, for which a stack has a breaker and a bulkhead.
struct Named(u32);

seawall::authority!(Named, |_| Some("a.example:80"));

impl seawall::attempts::Idempotent for Named {
    fn is_idempotent(&self) -> bool {
        true
    }
}

impl seawall::attempts::Resend for Named {
    fn copy(&self) -> Option<Self> {
        Some(Self(self.0))
    }
}

// CX13, KY4
fn stacks_allocate_nothing(pending_once: bool) {
    let echo = || Echo { pending_once };
    let server = ServerStack::new("server", 8);
    assert_eq!(allocations(&mut server.layer(echo())), 0, "server stack");
    let queued = ServerStack::builder("server", 8)
        .rate_limit(Quota::per_second(1_000_000))
        .bulkhead(|bulkhead| bulkhead.queue(8));
    let queued = queued.build().unwrap();
    assert_eq!(
        allocations(&mut queued.layer(echo())),
        0,
        "server stack, all of it"
    );
    let client = ClientStack::new("client");
    assert_eq!(allocations(&mut client.layer(echo())), 0, "client stack");
    let all = ClientStack::builder("client")
        .rate_limit(Quota::per_second(1_000_000))
        .hedge(|hedge| hedge.delay(Duration::from_secs(2)))
        .bulkhead(|bulkhead| bulkhead.queue(8));
    let all = all.build().unwrap();
    let mut named = ServiceBuilder::new()
        .map_request(Named)
        .layer(all)
        .map_request(|Named(n)| n)
        .service(echo());
    assert_eq!(
        allocations(&mut named),
        0,
        "client stack, all of it, per authority"
    );
}

fn layers_allocate_nothing(pending_once: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    // A pending call arms its timer.
    let _entered = runtime.enter();
    stacks_allocate_nothing(pending_once);
    let echo = || Echo { pending_once };
    let secs = Duration::from_secs;

    let timeout = TimeoutLayer::new(secs(60));
    assert_eq!(allocations(&mut timeout.layer(echo())), 0, "timeout");
    let per_request = timeout.clone().duration_from(|_: &u32| Some(secs(9)));
    assert_eq!(
        allocations(&mut per_request.layer(echo())),
        0,
        "timeout per request"
    );

    let rejecting = RateLimitLayer::new(RateLimiter::per_second(1_000_000));
    assert_eq!(allocations(&mut rejecting.layer(echo())), 0, "rate limit");
    let waiting = RateLimitLayer::waiting(RateLimiter::per_second(1_000_000));
    assert_eq!(
        allocations(&mut waiting.layer(echo())),
        0,
        "rate limit, waiting"
    );

    let bulkhead = Bulkhead::builder(8).queue(8).build().unwrap();
    let full = BulkheadLayer::new(&bulkhead);
    assert_eq!(allocations(&mut full.layer(echo())), 0, "bulkhead");
    let queued = BulkheadLayer::queued(&bulkhead);
    assert_eq!(
        allocations(&mut queued.layer(echo())),
        0,
        "bulkhead, queued"
    );
    let limits = [
        RateLimiter::per_second(1_000_000),
        RateLimiter::per_hour(1_000_000),
    ];
    let joint = RateLimiter::all_of("plan", limits).unwrap();
    let rejecting_all = RateLimitLayer::new(&joint);
    assert_eq!(
        allocations(&mut rejecting_all.layer(echo())),
        0,
        "several limits as one"
    );
    let waiting_for_all = RateLimitLayer::waiting(&joint);
    assert_eq!(
        allocations(&mut waiting_for_all.layer(echo())),
        0,
        "several limits as one, waiting"
    );
    let acquired = allocation_counter::measure(|| finish(joint.acquire()).unwrap());
    assert_eq!(acquired.count_total, 0, "several limits as one, acquired");

    let default = CircuitBreaker::new("default");
    let breaker = CircuitBreakerLayer::new(&default);
    assert_eq!(
        allocations(&mut breaker.layer(echo())),
        0,
        "circuit breaker"
    );
    let busy = CircuitBreaker::builder("all rules")
        .trip_on(Trip::consecutive_failures(5))
        .trip_on(Trip::failures(5))
        .trip_on(Trip::failure_rate(0.5).over(Window::count(100)))
        .trip_on(Trip::failure_rate(0.5))
        .trip_on(Trip::slow_rate(0.5, secs(9)));
    let busy = CircuitBreakerLayer::new(busy.build().unwrap());
    assert_eq!(
        allocations(&mut busy.layer(echo())),
        0,
        "circuit breaker, all rules"
    );
    let gated = CircuitBreakerLayer::gated(&default);
    assert_eq!(
        allocations(&mut gated.layer(echo())),
        0,
        "circuit breaker, gated"
    );

    let budget = Budget::percent(10);
    let own = Retry::new(Backoff::exponential(secs(1)));
    let own = RetryLayer::new(own);
    assert_eq!(allocations(&mut own.layer(echo())), 0, "retry");
    let shared = Retry::builder().backoff(Backoff::exponential(secs(1)));
    let shared = shared.budget(&budget).build().unwrap();
    let retry = RetryLayer::new(shared);
    assert_eq!(allocations(&mut retry.layer(echo())), 0, "retry, a budget");

    let fixed = HedgeLayer::new(Hedge::fixed(secs(60)));
    assert_eq!(allocations(&mut fixed.layer(echo())), 0, "hedge, fixed");
    let hedge = Hedge::builder().quantile(0.95).min_samples(10);
    // Long enough not to be hedged, also on a slow machine.
    let hedge = hedge.min_delay(secs(9)).budget(&budget).build().unwrap();
    let hedge = HedgeLayer::new(hedge);
    assert_eq!(allocations(&mut hedge.layer(echo())), 0, "hedge, quantile");

    let value = FallbackLayer::new(Fallback::new(), seawall::fallback::value(7));
    assert_eq!(
        allocations(&mut value.layer(echo())),
        0,
        "fallback, a value"
    );
    let service = seawall::fallback::service(echo());
    let service = FallbackLayer::new(Fallback::new(), service);
    assert_eq!(
        allocations(&mut service.layer(echo())),
        0,
        "fallback, a service"
    );

    let stack = || {
        ServiceBuilder::new()
            .layer(timeout.clone())
            .layer(retry.clone())
            .layer(hedge.clone())
            .layer(breaker.clone())
            .layer(queued.clone())
    };
    let attempt = TimeoutLayer::new(secs(3));
    let rejecting = stack().layer(rejecting).layer(attempt.clone());
    let mut rejecting = rejecting.service(echo());
    assert_eq!(allocations(&mut rejecting), 0, "the full stack");
    let waited = stack().layer(waiting).layer(attempt);
    let mut waited = waited.service(echo());
    assert_eq!(allocations(&mut waited), 0, "the full stack, waiting");
}

#[test]
fn cx13_an_admitted_call_over_a_ready_service_allocates_nothing() {
    layers_allocate_nothing(false);
}

#[test]
fn cx13_an_admitted_call_over_a_service_that_is_pending_once_allocates_nothing() {
    layers_allocate_nothing(true);
}

// CX13, KY4
#[test]
fn ky4_an_existing_key_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let _entered = runtime.enter();
    let echo = || Echo {
        pending_once: false,
    };
    let secs = Duration::from_secs;
    fn host(_: &u32) -> Option<&str> {
        Some("a.example")
    }

    let limits = Keyed::limit(100, Quota::per_second(1_000_000)).unwrap();
    let rejecting = RateLimitLayer::new(limits.by(host));
    assert_eq!(allocations(&mut rejecting.layer(echo())), 0, "rate limit");
    let waiting = RateLimitLayer::waiting(limits.by(host));
    assert_eq!(
        allocations(&mut waiting.layer(echo())),
        0,
        "rate limit, waiting"
    );
    let breakers = Keyed::new(100, |host: &str| CircuitBreaker::builder(host).build()).unwrap();
    let breaker = CircuitBreakerLayer::new(breakers.by(host));
    assert_eq!(
        allocations(&mut breaker.layer(echo())),
        0,
        "circuit breaker"
    );
    let bulkheads = Keyed::new(100, |_: &str| Bulkhead::builder(8).queue(8).build()).unwrap();
    let full = BulkheadLayer::new(bulkheads.by(host));
    assert_eq!(allocations(&mut full.layer(echo())), 0, "bulkhead");
    let queued = BulkheadLayer::queued(bulkheads.by(host));
    assert_eq!(
        allocations(&mut queued.layer(echo())),
        0,
        "bulkhead, queued"
    );
    let hedges = Keyed::new(100, move |_: &str| Ok(Hedge::fixed(secs(60)))).unwrap();
    let hedge = HedgeLayer::new(hedges.by(host));
    assert_eq!(allocations(&mut hedge.layer(echo())), 0, "hedge");
    let budgets = Keyed::new(100, |_: &str| Ok(Budget::percent(10))).unwrap();
    budgets.get("a.example").on_call();
    let counted = allocation_counter::measure(|| budgets.get("a.example").on_call());
    assert_eq!(counted.count_total, 0, "budget");
}

// CX13, RN1
#[test]
fn cx13_run_allocates_nothing() {
    let (limiter, breaker) = (
        RateLimiter::per_second(1_000_000),
        CircuitBreaker::new("run"),
    );
    let timeout = Timeout::new(Duration::from_secs(60));
    let bulkhead = Bulkhead::builder(1).queue(1).build().unwrap();
    let call = || {
        let inner = || timeout.run(|| ready(Ok::<_, Rejection>(7)));
        let inner = || bulkhead.run_queued(inner);
        let outcome = finish(limiter.run(|| breaker.run(inner)));
        assert!(outcome.is_ok());
    };
    call();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    assert_eq!(counted.count_total, 0);

    let (retry, hedge) = (
        Retry::new(Backoff::exponential(Duration::from_secs(1))),
        Hedge::fixed(Duration::from_secs(60)),
    );
    let pipeline = Pipeline::new()
        .timeout(&timeout)
        .retry(&retry)
        .hedge(&hedge)
        .breaker(&breaker)
        .bulkhead(&bulkhead)
        .limiter(&limiter)
        .attempt_timeout(&timeout)
        .fallback(Fallback::new(), seawall::fallback::value(7));
    let call = || {
        let retried = retry.run(|_| hedge.run(|_| ready(Ok::<_, Rejection>(7))));
        assert!(finish(retried).is_ok());
        let all = pipeline.run(|_| ready(Ok::<_, Rejection>(7)));
        assert!(finish(all).is_ok());
    };
    call();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    assert_eq!(counted.count_total, 0);
}

// CX13: the counter itself counts.
// OB1, CX14
#[test]
fn ob1_an_event_allocates_nothing_for_its_listeners() {
    let seen = Arc::new(AtomicU64::new(0));
    let listener = || {
        let seen = Arc::clone(&seen);
        move |_: &Event<'_>| {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    };
    let bulkhead = Bulkhead::builder(1)
        .on_event(listener())
        .on_event(listener())
        .build()
        .unwrap();
    let breaker = CircuitBreaker::builder("observed")
        .on_event(listener())
        .build()
        .unwrap();
    let call = || {
        bulkhead.try_acquire().unwrap().release();
        breaker.try_acquire().unwrap().success();
    };
    call();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    assert_eq!(
        (counted.count_total, seen.load(Ordering::Relaxed)),
        (0, 303)
    );
}

#[test]
fn cx13_the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}

// HB6, CX13
#[test]
fn hb6_a_body_that_holds_its_call_allocates_nothing_for_a_frame() {
    use bytes::Bytes;
    use http_body::Body as _;
    use seawall::http::BodyLayer;

    let (bulkhead, breaker) = (Bulkhead::new(8), CircuitBreaker::new("bodies"));
    let answer = |_: u32| {
        let chunks = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let frames = chunks.map(|chunk| Ok::<_, Rejection>(http_body::Frame::data(chunk)));
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
        ready(Ok::<_, Rejection>(http::Response::new(body)))
    };
    let mut service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)).until_body_end())
        .layer(CircuitBreakerLayer::new(&breaker).until_body_end())
        .layer(BulkheadLayer::new(&bulkhead).until_body_end())
        .layer(BodyLayer::new().idle(Duration::from_secs(10)))
        .service_fn(answer);
    let mut call = || {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = Service::<u32>::poll_ready(&mut service, &mut cx);
        assert!(ready.is_ready());
        let response = finish(service.call(7)).unwrap();
        assert_eq!(bulkhead.snapshot().in_flight, 1);
        let mut body = pin!(response.into_body());
        let mut chunks = 0;
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            chunks += frame.unwrap().is_data() as u32;
        }
        assert_eq!((chunks, bulkhead.snapshot().in_flight), (2, 0));
    };
    call();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| call()));
    assert_eq!(counted.count_total, 0);
}

// HB6, CX13
#[test]
fn hb6_the_http_stacks_allocate_nothing_for_a_chunk() {
    use bytes::Bytes;

    /// Reads the request and answers with a body.
    #[derive(Clone)]
    struct Answers<F>(F);

    impl<A: http_body::Body, B, F: Fn() -> B> Service<http::Request<A>> for Answers<F> {
        type Response = http::Response<B>;
        type Error = Rejection;
        type Future = Ready<Result<http::Response<B>, Rejection>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<A>) -> Self::Future {
            let mut cx = Context::from_waker(Waker::noop());
            let mut sent = pin!(request.into_body());
            while let Poll::Ready(Some(frame)) = sent.as_mut().poll_frame(&mut cx) {
                assert!(frame.is_ok_and(|frame| frame.is_data()));
            }
            ready(Ok(http::Response::new((self.0)())))
        }
    }

    fn chunks_of_call<S, A, B>(service: &mut S, request: http::Request<A>) -> usize
    where
        S: Service<http::Request<A>, Response = http::Response<B>, Error: std::fmt::Debug>,
        B: http_body::Body<Error: std::fmt::Debug>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let response = finish(service.call(request)).unwrap();
        let mut body = pin!(response.into_body());
        let mut read = 0;
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            read += usize::from(frame.unwrap().is_data());
        }
        read
    }

    // A request and a response with this number of chunks.
    let allocations = |chunks: usize| {
        let body = move || {
            let chunk = Bytes::from_static(b"chunk");
            let frames =
                (0..chunks).map(move |_| Ok::<_, Rejection>(http_body::Frame::data(chunk.clone())));
            http_body_util::StreamBody::new(futures::stream::iter(frames))
        };
        let mut service = ServiceBuilder::new()
            .layer(ServerStack::http("server", 8))
            .layer(ClientStack::http("client").replay(0))
            .service(Answers(body));
        let mut call = || {
            let request = http::Request::post("http://host.example/").body(body());
            let read = chunks_of_call(&mut service, request.unwrap());
            assert_eq!(read, chunks);
        };
        call();
        allocation_counter::measure(|| (0..100).for_each(|_| call())).count_total
    };
    assert_eq!(allocations(2), allocations(50));
}
