#![allow(clippy::disallowed_methods)] // Tests may box and spawn.

mod earned;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready as done};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::{Body, BodyLayer};
use crate::circuit_breaker::{State, Trip};
use crate::rejection::{Reason, RejectionKind};
use crate::testing::{Recorder, catching, ms, secs};
use crate::time::now;
use crate::{
    Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Deadline, Mode, Timeout,
    TimeoutLayer,
};

/// What a body does next.
#[derive(Clone, Debug)]
enum Do {
    Chunk(Bytes),
    Trailers(HeaderMap),
    Fail,
    Panic,
    Hang,
    /// Returns the time that is left of the deadline, as text.
    Deadline,
}

/// A body that does one thing after the other, each after a delay.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<(Duration, Do)>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Whether it says that it has ended before it is polled again.
    knows_its_end: bool,
}

fn script(steps: impl IntoIterator<Item = (Duration, Do)>) -> Script {
    Script {
        steps: steps.into_iter().collect(),
        ..Script::default()
    }
}

fn chunk(text: &'static str) -> Do {
    Do::Chunk(Bytes::from_static(text.as_bytes()))
}

fn grpc_status(code: &'static str) -> Do {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    Do::Trailers(trailers)
}

fn mark_grpc<B>(response: &mut Response<B>) {
    let kind = "application/grpc".parse().unwrap();
    response.headers_mut().insert("content-type", kind);
}

impl HttpBody for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let Some((delay, _)) = self.steps.front() else {
            return Poll::Ready(None);
        };
        let delay = *delay;
        if !delay.is_zero() {
            let sleep = || Box::pin(tokio::time::sleep(delay));
            done!(self.sleep.get_or_insert_with(sleep).as_mut().poll(cx));
        }
        if let Some((_, Do::Hang)) = self.steps.front() {
            return Poll::Pending;
        }
        self.sleep = None;
        let (_, step) = self.steps.pop_front().unwrap();
        Poll::Ready(Some(match step {
            Do::Chunk(data) => Ok(Frame::data(data)),
            Do::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Do::Fail => Err(std::io::ErrorKind::ConnectionReset.into()),
            Do::Panic => panic!("the body panics"),
            Do::Deadline => {
                let left = format!("{:?}", Deadline::remaining());
                Ok(Frame::data(Bytes::from(left)))
            }
            Do::Hang => unreachable!(),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let chunks = self.steps.iter().map(|(_, step)| match step {
            Do::Chunk(data) => data.len() as u64,
            _ => 0,
        });
        SizeHint::with_exact(chunks.sum())
    }
}

type Answers<L> = <L as Layer<Once>>::Service;
type Once = tower::util::BoxCloneService<Request<()>, Response<Script>, BoxError>;

/// A service under `layer` that answers its only call with `body`.
fn answering<L: Layer<Once>>(layer: &L, body: Script) -> Answers<L> {
    let grpc = |(_, step): &(Duration, Do)| matches!(step, Do::Trailers(_));
    let is_grpc = body.steps.iter().any(grpc);
    let mut response = Response::new(body);
    if is_grpc {
        mark_grpc(&mut response);
    }
    let response = crate::sync::Arc::new(crate::sync::Mutex::new(Some(response)));
    let answer = move |_: Request<()>| {
        let response = response.lock().take();
        ready(Ok::<_, BoxError>(response.unwrap()))
    };
    layer.layer(tower::util::BoxCloneService::new(service_fn(answer)))
}

/// The body that `layer` makes of `body`.
async fn read_through<L, B>(layer: &L, body: Script) -> Pin<Box<B>>
where
    L: Layer<Once>,
    L::Service: Service<Request<()>, Response = Response<B>, Error = BoxError>,
{
    let service = answering(layer, body);
    let call = service.oneshot(Request::new(()));
    Box::pin(call.await.unwrap().into_body())
}

/// Reads to the end: what arrived, the trailers' number, and the error.
async fn read(
    mut body: impl HttpBody<Data = Bytes, Error = BoxError> + Unpin,
) -> (String, usize, Option<BoxError>) {
    let (mut text, mut trailers) = (String::new(), 0);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
                Err(_) => trailers += 1,
            },
            Err(error) => return (text, trailers, Some(error)),
        }
    }
    (text, trailers, None)
}

// HB1
#[tokio::test(start_paused = true)]
async fn hb1_a_permit_is_held_until_the_body_ends_or_is_dropped() {
    let bulkhead = Bulkhead::builder(1).queue(5).build().unwrap();
    let in_flight = || bulkhead.snapshot().in_flight;
    let plain = BulkheadLayer::new(&bulkhead).until_body_end();
    let queued = BulkheadLayer::queued(&bulkhead).until_body_end();
    let two = || script([(ms(5), chunk("one")), (ms(5), chunk("two"))]);
    let layer = (plain.clone(), BodyLayer::new());
    let mut body = read_through(&layer, two()).await;
    assert_eq!(in_flight(), 1);
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 1);
    assert_eq!(read(body).await.0, "two");
    assert_eq!(in_flight(), 0);
    // Dropped half-way.
    let mut body = read_through(&layer, two()).await;
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 1);
    drop(body);
    assert_eq!(in_flight(), 0);
    // A failure ends it too, before the body is dropped.
    let mut body = read_through(&layer, script([(ms(1), Do::Fail)])).await;
    assert_eq!(in_flight(), 1);
    body.frame().await.unwrap().unwrap_err();
    assert_eq!(in_flight(), 0);
    // An empty body ends with its head.
    let mut empty = script([]);
    empty.knows_its_end = true;
    let body = read_through(&layer, empty).await;
    assert_eq!(in_flight(), 0);
    drop(body);
    // The last chunk of a body that knows its end is the end.
    let mut known = two();
    known.knows_its_end = true;
    let mut body = read_through(&layer, known).await;
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 1);
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 0);
    // By default a call still ends with its head.
    let layer = (BulkheadLayer::new(&bulkhead), BodyLayer::new());
    let body = read_through(&layer, two()).await;
    assert_eq!(in_flight(), 0);
    drop(body);
    drop(queued);
}

// HB1, BH4
#[tokio::test(start_paused = true)]
async fn hb1_a_queued_call_waits_for_the_end_of_the_body_before_it() {
    let bulkhead = Bulkhead::builder(1).queue(5).max_wait(secs(60));
    let bulkhead = bulkhead.build().unwrap();
    let answer = |_: Request<()>| {
        ready(Ok::<_, BoxError>(Response::new(script([(
            ms(30),
            chunk("x"),
        )]))))
    };
    let layer = (
        BulkheadLayer::queued(&bulkhead).until_body_end(),
        BodyLayer::new(),
    );
    let service = layer.layer(service_fn(answer));
    let start = now();
    let calls = (0..4).map(|_| async {
        let response = service.clone().oneshot(Request::new(())).await.unwrap();
        read(Box::pin(response.into_body())).await.0
    });
    assert_eq!(futures::future::join_all(calls).await, ["x"; 4]);
    assert_eq!(now().since(start), ms(120));
    assert_eq!(bulkhead.snapshot().in_flight, 0);
}

// HB1, HB4
#[tokio::test(start_paused = true)]
async fn hb1_the_total_timeout_and_the_deadline_reach_to_the_end_of_the_body() {
    let events = Recorder::default();
    let timeout = Timeout::builder(ms(100)).name("total");
    let timeout = timeout.on_event(events.listener()).build().unwrap();
    let layer = (
        TimeoutLayer::new(&timeout).until_body_end(),
        BodyLayer::new(),
    );
    let steps = [
        (ms(40), Do::Deadline),
        (ms(40), chunk(".")),
        (ms(40), chunk("!")),
    ];
    let start = now();
    let body = read_through(&layer, script(steps)).await;
    assert_eq!(Deadline::remaining(), None);
    let (text, _, error) = read(body).await;
    assert_eq!(text, "Some(60ms).");
    let error = error.unwrap();
    let reason = Reason::of(&*error).unwrap();
    assert_eq!(&**reason.policy(), "total");
    let (limit, elapsed) = (ms(100), ms(100));
    assert_eq!(reason.kind(), RejectionKind::TimedOut { limit, elapsed });
    assert_eq!(now().since(start), ms(100));
    assert_eq!(timeout.snapshot().timed_out, 1);
    assert_eq!(events.take().len(), 1);
    // In time, there is one terminal event as well, at the end of the body.
    let body = read_through(&layer, script([(ms(40), chunk("x"))])).await;
    assert_eq!(events.take(), [""; 0]);
    assert!(read(body).await.2.is_none());
    assert_eq!(events.take().len(), 1);
}

// HB2
#[tokio::test(start_paused = true)]
async fn hb2_each_limit_of_a_body_names_itself() {
    let named = |name: &str, limit| Timeout::builder(limit).name(name).build().unwrap();
    let layer = BodyLayer::new()
        .first_chunk(named("first", ms(50)))
        .idle(named("idle", ms(20)));
    let ended_by = async |steps: Vec<(Duration, Do)>| {
        let start = now();
        let (text, _, error) = read(read_through(&layer, script(steps)).await).await;
        let error = error.unwrap();
        let policy = Reason::of(&*error).unwrap().policy().to_string();
        (text, policy, now().since(start))
    };
    let first = ended_by(vec![(ms(51), chunk("late"))]).await;
    assert_eq!(first, (String::new(), "first".into(), ms(50)));
    let idle = ended_by(vec![(ms(50), chunk("ok")), (ms(21), chunk("late"))]).await;
    assert_eq!(idle, ("ok".into(), "idle".into(), ms(70)));
    // Ready at the same instant, the chunk wins.
    let steps = [
        (ms(50), chunk("a")),
        (ms(20), chunk("b")),
        (ms(20), chunk("c")),
    ];
    let (text, _, error) = read(read_through(&layer, script(steps)).await).await;
    assert!(error.is_none());
    assert_eq!(text, "abc");
}

// HB2
#[tokio::test(start_paused = true)]
async fn hb2_comments_that_keep_a_connection_alive_do_not_hide_a_stall() {
    let idle = Timeout::new(ms(100));
    let layer = BodyLayer::new()
        .idle(&idle)
        .progress(|chunk: &Bytes| !chunk.starts_with(b":"));
    let comments = (0..50).map(|_| (ms(15), chunk(":")));
    let steps = [(ms(60), chunk("a")), (ms(60), chunk("b"))]
        .into_iter()
        .chain(comments);
    let start = now();
    let (text, _, error) = read(read_through(&layer, script(steps)).await).await;
    assert_eq!(text, "ab::::::");
    assert!(Reason::of(&*error.unwrap()).is_some());
    assert_eq!(now().since(start), ms(220));
    // To the default every chunk is progress.
    let layer = BodyLayer::new().idle(&idle);
    let comments = (0..50).map(|_| (ms(15), chunk(":")));
    assert!(
        read(read_through(&layer, script(comments)).await)
            .await
            .2
            .is_none()
    );
}

// HB2, CX16
#[tokio::test(start_paused = true)]
async fn hb2_a_limit_that_only_records_or_is_off_cuts_nothing() {
    let idle = Timeout::builder(ms(10))
        .mode(Mode::RecordOnly)
        .build()
        .unwrap();
    let layer = BodyLayer::new().idle(&idle);
    let late = || {
        script([
            (ms(35), chunk("a")),
            (ms(1), chunk("b")),
            (ms(25), chunk("c")),
        ])
    };
    assert_eq!(read(read_through(&layer, late()).await).await.0, "abc");
    assert_eq!(idle.snapshot().would_reject, 2);
    idle.set_mode(Mode::Off);
    assert_eq!(read(read_through(&layer, late()).await).await.0, "abc");
    assert_eq!(idle.snapshot().would_reject, 2);
    idle.set_mode(Mode::Enforce);
    idle.set_limit(ms(36)).unwrap();
    assert_eq!(read(read_through(&layer, late()).await).await.0, "abc");
}

/// What a reader sees of a script, computed without wake-ups: the text, and when and by which
/// limit it was cut short.
fn naive(
    steps: &[(u64, bool)],
    first: Option<u64>,
    idle: Option<u64>,
    total: Option<u64>,
) -> (usize, Option<(u64, &'static str)>) {
    let (mut time, mut since, mut began, mut read) = (0, 0, false, 0);
    for &(delay, progress) in steps {
        let arrives = time + delay;
        let wait = match began {
            false => first.map(|limit| (since + limit, "first")),
            true => None,
        };
        let wait = wait.or(idle.map(|limit| (since + limit, "idle")));
        // In the same instant the total comes first.
        let by_total = total.map(|limit| (limit, "total"));
        let cut = [by_total, wait]
            .into_iter()
            .flatten()
            .min_by_key(|cut| cut.0);
        if let Some(cut) = cut.filter(|cut| arrives > cut.0) {
            return (read, Some(cut));
        }
        (time, read) = (arrives, read + 1);
        if progress {
            (since, began) = (time, true);
        }
    }
    (read, None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    // HB2
    #[test]
    fn hb2_a_body_is_cut_when_and_by_what_a_naive_clock_says(
        steps in prop::collection::vec((0_u64..40, any::<bool>()), 0..12),
        first in prop::option::of(1_u64..60),
        idle in prop::option::of(1_u64..60),
        total in prop::option::of(1_u64..200),
    ) {
        let named = |name: &str, limit| Timeout::builder(ms(limit)).name(name).build().unwrap();
        let mut layer = BodyLayer::new();
        if let Some(limit) = first {
            layer = layer.first_chunk(named("first", limit));
        }
        if let Some(limit) = idle {
            layer = layer.idle(named("idle", limit));
        }
        let layer = layer.progress(|chunk: &Bytes| chunk[0] == b'+');
        let total_limit = TimeoutLayer::new(named("total", total.unwrap_or(1_000_000)));
        let layer = (total_limit.until_body_end(), layer);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        let seen = runtime.block_on(async {
            let body = steps.iter().map(|&(delay, progress)| {
                (ms(delay), chunk(if progress { "+" } else { "-" }))
            });
            let body = read_through(&layer, script(body)).await;
            let start = now();
            let (text, _, error) = read(body).await;
            let passed = now().since(start).as_millis() as u64;
            let cut = error.map(|error| (passed, Reason::of(&*error).unwrap().policy().to_string()));
            (text.len(), cut)
        });
        let (read, cut) = naive(&steps, first, idle, total);
        prop_assert_eq!(seen, (read, cut.map(|(at, by)| (at, by.to_owned()))));
    }
}

/// A breaker that opens at the first failure.
fn touchy() -> CircuitBreaker {
    CircuitBreaker::builder("touchy")
        .trips([Trip::consecutive_failures(1)])
        .build()
        .unwrap()
}

/// The state of a breaker after a call whose body is `body`, and how it is read.
async fn judged<F: Future>(
    grpc: bool,
    body: Script,
    read: impl FnOnce(Pin<Box<Body<Script>>>) -> F,
) -> State {
    let breaker = touchy();
    let idle = BodyLayer::new().idle(ms(100));
    let layer = (CircuitBreakerLayer::new(&breaker).until_body_end(), idle);
    let mut response = Response::new(body);
    if grpc {
        mark_grpc(&mut response);
    }
    let mut response = Some(response);
    let answer = move |_: Request<()>| ready(Ok::<_, BoxError>(response.take().unwrap()));
    let service = layer.layer(tower::util::BoxService::new(service_fn(answer)));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
    read(Box::pin(response.into_body())).await;
    breaker.state()
}

// HB3
#[tokio::test(start_paused = true)]
async fn hb3_a_call_is_judged_at_the_end_of_its_body() {
    let one = || (ms(5), chunk("one"));
    let ends = [
        (false, vec![one()], State::Closed),
        (false, vec![one(), (ms(5), Do::Fail)], State::Open),
        (false, vec![one(), (ms(101), chunk("late"))], State::Open),
        (true, vec![one(), (ms(5), grpc_status("0"))], State::Closed),
        // The caller's own affair.
        (true, vec![one(), (ms(5), grpc_status("5"))], State::Closed),
        (true, vec![one(), (ms(5), grpc_status("13"))], State::Open),
        // No status at all.
        (true, vec![one()], State::Open),
        (
            true,
            vec![one(), (ms(5), Do::Trailers(HeaderMap::new()))],
            State::Open,
        ),
    ];
    for (grpc, steps, state) in ends {
        let name = format!("{grpc} {steps:?}");
        assert_eq!(judged(grpc, script(steps), read).await, state, "{name}");
    }
}

// HB3
#[tokio::test(start_paused = true)]
async fn hb3_a_body_that_is_dropped_early_or_lasts_long_counts_as_its_head() {
    let fails = || script([(ms(5), chunk("one")), (ms(5), Do::Fail)]);
    let dropped = judged(false, fails(), async |mut body| {
        body.frame().await.unwrap().unwrap();
    });
    assert_eq!(dropped.await, State::Closed);
    assert_eq!(
        judged(true, fails(), async |body| drop(body)).await,
        State::Closed
    );
    let lasts = |chunks: usize| {
        let chunks = (0..chunks).map(|_| (ms(50), chunk(".")));
        script(chunks.chain([(ms(50), Do::Fail)]))
    };
    assert_eq!(judged(false, lasts(198), read).await, State::Open);
    assert_eq!(judged(false, lasts(199), read).await, State::Closed);
}

// HB3, CB6
#[tokio::test(start_paused = true)]
async fn hb3_the_probe_of_a_long_stream_is_free_after_judge_within() {
    let breaker = touchy();
    breaker.try_acquire().unwrap().failure();
    tokio::time::advance(secs(60)).await;
    let layer = BodyLayer::new().judge_within(ms(300));
    let layer = (CircuitBreakerLayer::new(&breaker).until_body_end(), layer);
    let body = read_through(&layer, script([(secs(3_600), Do::Hang)])).await;
    assert_eq!(breaker.state(), State::HalfOpen);
    let reading = tokio::spawn(read(body));
    tokio::time::sleep(ms(299)).await;
    assert_eq!(breaker.state(), State::HalfOpen);
    tokio::time::sleep(ms(2)).await;
    // One success closes it, or is one of several that do.
    assert_ne!(breaker.state(), State::Open);
    assert!(breaker.try_acquire().is_ok());
    reading.abort();
}

// HB3: a failed head stands at once.
#[tokio::test(start_paused = true)]
async fn hb3_a_head_that_is_a_failure_is_judged_at_once() {
    let breaker = touchy();
    let layer = (
        CircuitBreakerLayer::new(&breaker).until_body_end(),
        BodyLayer::new(),
    );
    let answer = |_: Request<()>| {
        let mut response = Response::new(script([(ms(5), chunk("sorry"))]));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        ready(Ok::<_, BoxError>(response))
    };
    let service = layer.layer(service_fn(answer));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(read(Box::pin(response.into_body())).await.0, "sorry");
}

// HB6
#[tokio::test(start_paused = true)]
async fn hb6_a_wrapped_body_keeps_hints_trailers_and_the_bytes_themselves() {
    let data = Bytes::from(vec![7_u8; 1000]);
    let steps = [(ms(0), Do::Chunk(data.clone())), (ms(0), grpc_status("0"))];
    let mut source = script(steps);
    source.knows_its_end = true;
    let mut body = read_through(&BodyLayer::new(), source).await;
    assert_eq!(body.size_hint().exact(), Some(1000));
    assert!(!body.is_end_stream());
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.data_ref().unwrap().as_ptr(), data.as_ptr());
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "0");
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
    assert!(body.frame().await.is_none());
}

// HB6, CX10: a response moves through every layer.
#[test]
fn hb6_a_body_is_a_few_words_larger_and_moves_as_the_services_body_does() {
    fn is_unpin<B: Unpin>() {}
    is_unpin::<Body<Script>>();
    assert!(size_of::<Body<u64>>() <= size_of::<u64>() + 48);
    assert!(size_of::<Body<[u64; 8]>>() <= size_of::<[u64; 8]>() + 24);
}

// HB1, HB3: the state of a call is used again by the next one on its thread.
#[tokio::test(start_paused = true)]
async fn hb3_a_call_knows_nothing_of_the_body_before_it() {
    let large = Do::Chunk(Bytes::from(vec![7; 100_000]));
    let first = [
        // A status is missing, a part of a chunk is left.
        (true, script([(ms(1), large)])),
        // Judged by its head, because it took long.
        (false, script([(ms(60), chunk("late")), (ms(1), Do::Fail)])),
        (
            false,
            script([(ms(1), chunk("one")), (ms(200), chunk("late"))]),
        ),
    ];
    for (grpc, body) in first {
        let limits = BodyLayer::new().idle(ms(100)).judge_within(ms(50));
        let timeout = TimeoutLayer::new(ms(150)).until_body_end();
        let (breaker, total) = (touchy(), timeout);
        let verdict = CircuitBreakerLayer::new(&breaker).until_body_end();
        let layer = (total, (verdict, limits));
        let mut response = Response::new(body);
        if grpc {
            mark_grpc(&mut response);
        }
        let mut response = Some(response);
        let answer = move |_: Request<()>| ready(Ok::<_, BoxError>(response.take().unwrap()));
        let service = layer.layer(tower::util::BoxService::new(service_fn(answer)));
        let response = service.oneshot(Request::new(())).await.unwrap();
        let mut body = Box::pin(response.into_body());
        body.frame().await.unwrap().unwrap();
        drop(body);
        // The next one fails at once, after longer than any limit above, and without a status.
        let steps = || [(ms(300), chunk("x")), (ms(1), chunk("y"))];
        assert_eq!(judged_without_limits(script(steps())).await, State::Closed);
        let fails = script(steps().into_iter().chain([(ms(1), Do::Fail)]));
        assert_eq!(judged_without_limits(fails).await, State::Open);
    }
}

/// The state of a breaker after a call whose body has no limit. All of it is read.
async fn judged_without_limits(body: Script) -> State {
    let breaker = touchy();
    let layer = CircuitBreakerLayer::new(&breaker).until_body_end();
    let body = read_through(&(layer, BodyLayer::new()), body).await;
    let text = read(body).await.0;
    assert!(text == "xy", "of the body before: {} bytes", text.len());
    breaker.state()
}

// CX8
#[tokio::test(start_paused = true)]
async fn cx8_a_body_that_panics_releases_its_permit_and_is_a_failure() {
    let (bulkhead, breaker) = (Bulkhead::new(1), touchy());
    let layer = (
        CircuitBreakerLayer::new(&breaker).until_body_end(),
        BulkheadLayer::new(&bulkhead).until_body_end(),
        BodyLayer::new(),
    );
    let mut body = read_through(&layer, script([(ms(0), Do::Panic)])).await;
    assert_eq!(bulkhead.snapshot().in_flight, 1);
    let waker = std::task::Waker::noop();
    let poll = || {
        Pin::new(&mut body)
            .poll_frame(&mut Context::from_waker(waker))
            .is_ready()
    };
    catching(poll).unwrap_err();
    assert_eq!(bulkhead.snapshot().in_flight, 0);
    assert_eq!(breaker.state(), State::Open);
}

// HB1
#[tokio::test(start_paused = true)]
async fn hb1_two_bulkheads_hold_one_body() {
    let (outer, inner) = (Bulkhead::new(5), Bulkhead::new(5));
    let layer = (
        BulkheadLayer::new(&outer).until_body_end(),
        BulkheadLayer::new(&inner).until_body_end(),
        BodyLayer::new(),
    );
    let body = read_through(&layer, script([(ms(5), chunk("x"))])).await;
    let in_flight = || [&outer, &inner].map(|bulkhead| bulkhead.snapshot().in_flight);
    assert_eq!(in_flight(), [1, 1]);
    drop(body);
    assert_eq!(in_flight(), [0, 0]);
}

// HB1: a host drops a body when it has taken the last chunk, and one chunk may be the whole body.
#[tokio::test(start_paused = true)]
async fn hb1_a_large_chunk_is_handed_out_in_parts_while_the_permit_is_held() {
    let bulkhead = Bulkhead::new(1);
    let layer = (
        BulkheadLayer::new(&bulkhead).until_body_end(),
        BodyLayer::new(),
    );
    let data: Bytes = (0..200_000_u32).map(|n| n as u8).collect::<Vec<_>>().into();
    let mut source = script([(ms(0), Do::Chunk(data.clone()))]);
    source.knows_its_end = true;
    let mut body = read_through(&layer, source).await;
    let mut all = Vec::new();
    while !body.is_end_stream() {
        assert_eq!(bulkhead.snapshot().in_flight, 1);
        assert_eq!(
            body.size_hint().exact(),
            Some((data.len() - all.len()) as u64)
        );
        let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(chunk.len() <= 64 * 1024);
        assert_eq!(chunk.as_ptr(), data[all.len()..].as_ptr());
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all, data);
    assert_eq!(bulkhead.snapshot().in_flight, 0);
    assert!(body.frame().await.is_none());
}

// HB1
#[tokio::test(start_paused = true)]
async fn hb1_the_total_ends_a_body_that_is_always_ready_and_read_slowly() {
    let layer = (
        TimeoutLayer::new(ms(100)).until_body_end(),
        BodyLayer::new(),
    );
    let chunks = (0..10).map(|_| (ms(0), chunk(".")));
    let mut body = read_through(&layer, script(chunks)).await;
    for _ in 0..3 {
        body.frame().await.unwrap().unwrap();
        tokio::time::advance(ms(50)).await;
    }
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(Reason::of(&*error).is_some());
    assert!(body.frame().await.is_none());
}

// HB9
#[tokio::test]
async fn hb9_a_rejection_needs_no_default_of_the_services_body() {
    let layer = (BulkheadLayer::new(Bulkhead::new(0)), BodyLayer::new());
    let answer = |_: Request<()>| ready(Ok::<_, Infallible>(Response::new(script([]))));
    let service = layer.layer(service_fn(answer));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.body().is_end_stream());
    assert_eq!(read(Box::pin(response.into_body())).await.0, "");
}

// CX7
#[tokio::test(start_paused = true)]
async fn cx7_a_body_that_is_dropped_anywhere_gives_everything_back() {
    let bulkhead = Bulkhead::new(100);
    let breaker = CircuitBreaker::new("calls");
    let timeout = Timeout::new(ms(100));
    let layer = (
        TimeoutLayer::new(&timeout).until_body_end(),
        CircuitBreakerLayer::new(&breaker).until_body_end(),
        BulkheadLayer::new(&bulkhead).until_body_end(),
        BodyLayer::new().idle(ms(30)),
    );
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let steps: Vec<_> = (0..random.u32(0..6))
            .map(|_| (ms(random.u64(0..40)), chunk(".")))
            .collect();
        let body = read_through(&layer, script(steps)).await;
        let reading = tokio::time::timeout(ms(random.u64(0..120)), read(body));
        drop(reading.await);
        assert_eq!(bulkhead.snapshot().in_flight, 0);
    }
}
