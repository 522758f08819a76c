//! Fallbacks: as a layer, without a service, and in a pipeline.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use axum::body::Body;
use http::Response;
use seawall::classify::{ErrorsBy, FailureKind, Outcome};
use seawall::fallback::{Action, Fallback, FallbackLayer, Keep, call, service, value};
use seawall::{
    Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Deadline, Error, Mode,
    Pipeline, Quota, RateLimitLayer, RateLimiter, RejectionKind, Retry, Timeout, TimeoutLayer,
};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::support::{Do, Mock, Recorder, Strict, Task, catching, ms, reason};

fn fallback() -> Fallback {
    Fallback::builder().name("fallback").build().unwrap()
}

fn recorded(fallback: &Fallback) -> Recorder {
    let log = Recorder::new();
    fallback.on_event(log.listener()).forever();
    log
}

/// An action that counts its calls, and answers 9.
fn counting() -> (
    Arc<AtomicUsize>,
    impl Action<(), u32, BoxError> + Keep<Do, Kept = ()>,
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let action = call(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, BoxError>(9) }
    });
    (calls, action)
}

fn opened() -> CircuitBreaker {
    let breaker = CircuitBreaker::new("open");
    breaker.force_open();
    breaker
}

async fn falls_back<A>(fallback: &Fallback, action: A) -> [u32; 2]
where
    A: Keep<Do> + Action<<A as Keep<Do>>::Kept, u32, BoxError>,
{
    let layer = FallbackLayer::new(fallback, action);
    let failed = layer.layer(Mock::new()).oneshot(Do::Fail).await;
    let rejecting = CircuitBreakerLayer::new(opened()).layer(Mock::new());
    let rejected = layer.layer(rejecting).oneshot(Do::Answer).await;
    [failed.unwrap(), rejected.unwrap()]
}

// FB1, HB4: the head is out when the body breaks off.
#[tokio::test]
async fn fb1_a_body_that_breaks_off_is_answered_where_the_call_reads_it() {
    type Answer = Response<Body>;
    let broken = || {
        let chunks = [Ok("start"), Err(io::Error::other("reset"))];
        let body = Body::from_stream(futures::stream::iter(chunks));
        std::future::ready(Ok::<_, BoxError>(Answer::new(body)))
    };
    let read = async |response: Answer| {
        let body = axum::body::to_bytes(response.into_body(), 100).await;
        body.map_err(BoxError::from)
    };
    let layer = FallbackLayer::new(
        fallback(),
        call(|_| async { Ok(Answer::new(Body::empty())) }),
    );
    let head = layer
        .layer(service_fn(move |()| broken()))
        .oneshot(())
        .await;
    read(head.unwrap()).await.unwrap_err();
    let whole = || async { read(broken().await?).await.map(|bytes| bytes.to_vec()) };
    let answer = fallback().run(value(b"kept".to_vec()), whole).await;
    assert_eq!(answer.unwrap(), b"kept");
}

#[tokio::test]
async fn fb1_a_value_a_closure_and_a_service_answer_failures_and_rejections() {
    let fallback = fallback();
    let log = recorded(&fallback);
    assert_eq!(falls_back(&fallback, value(8)).await, [8, 8]);
    let closure = call(|cause| async move {
        assert_eq!(cause.failure.is_some(), cause.rejection.is_none());
        Ok::<_, BoxError>(9)
    });
    assert_eq!(falls_back(&fallback, closure).await, [9, 9]);
    let replica = service_fn(|_: Do| async { Ok::<_, BoxError>(10) });
    assert_eq!(falls_back(&fallback, service(replica)).await, [10, 10]);
    // FB5
    assert_eq!(log.take(), ["fallback", "FellBack"].repeat(6));
    assert_eq!(fallback.snapshot().answered, 6);
}

#[tokio::test]
async fn fb1_a_success_and_an_ignored_outcome_are_returned_as_they_are() {
    let fallback = fallback();
    let log = recorded(&fallback);
    let (calls, action) = counting();
    let layer = FallbackLayer::new(&fallback, action);
    let layer = layer.classify(|outcome: Result<&u32, &BoxError>| match outcome {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Ignore,
    });
    let mut service = layer.layer(Mock::new());
    assert_eq!(
        service
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap(),
        7
    );
    service
        .ready()
        .await
        .unwrap()
        .call(Do::Fail)
        .await
        .unwrap_err();
    assert_eq!(log.take(), ["Success", "Ignored"]);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn fb2_only_the_configured_failures_and_rejections_are_answered() {
    let only = Fallback::builder()
        .failures([FailureKind::Timeout])
        .rejections(false);
    let only = only.build().unwrap();
    let timeout = TimeoutLayer::new(ms(10)).layer(Mock::new());
    let layer = FallbackLayer::new(&only, value(9));
    let mut service = layer.layer(timeout);
    assert_eq!(
        service.ready().await.unwrap().call(Do::Hang).await.unwrap(),
        9
    );
    let error = service
        .ready()
        .await
        .unwrap()
        .call(Do::Fail)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
    let rejecting = CircuitBreakerLayer::new(opened()).layer(Mock::new());
    let error = layer
        .layer(rejecting)
        .oneshot(Do::Answer)
        .await
        .unwrap_err();
    assert_eq!(reason(&error).kind(), RejectionKind::CircuitOpen);

    // Rejections only.
    only.change(|now| now.failures([]).rejections(true))
        .unwrap();
    let rejecting = BulkheadLayer::new(Bulkhead::builder(1).build().unwrap());
    let mut service = layer.layer(rejecting.layer(Mock::new()));
    let mut held = Task::new(service.ready().await.unwrap().call(Do::Hang));
    assert!(held.run().is_pending());
    assert_eq!(
        service
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap(),
        9
    );
    held.cancel();
    service
        .ready()
        .await
        .unwrap()
        .call(Do::Fail)
        .await
        .unwrap_err();

    // CX15
    let error = only.change(|now| now.rejections(false)).unwrap_err();
    assert!(error.to_string().contains("invalid `failures`"), "{error}");
}

#[tokio::test]
async fn fb2_a_rejection_that_shows_a_mistake_is_not_answered() {
    let fallback = fallback();
    let limiter = RateLimiter::builder(Quota::per_second(1).burst(1))
        .build()
        .unwrap();
    let costly = RateLimitLayer::new(&limiter).cost(|_: &Do| 2);
    let service = FallbackLayer::new(&fallback, value(9)).layer(costly.layer(Mock::new()));
    let error = service.oneshot(Do::Answer).await.unwrap_err();
    let kind = reason(&error).kind();
    assert!(
        matches!(kind, RejectionKind::CostAboveBurst { .. }),
        "{kind:?}"
    );
    // The limit itself is answered.
    limiter.try_acquire().unwrap();
    let limited = RateLimitLayer::new(&limiter).layer(Mock::new());
    let service = FallbackLayer::new(&fallback, value(9)).layer(limited);
    assert_eq!(service.oneshot(Do::Answer).await.unwrap(), 9);
}

// FB3, TO4
#[tokio::test(start_paused = true)]
async fn fb3_a_service_that_is_ready_in_a_poll_after_the_time_of_the_fallback_is_not_called() {
    let replica = Mock::stuck();
    let fallback = fallback();
    let layer = FallbackLayer::new(&fallback, service(replica.clone()));
    let mut call = Task::new(layer.layer(Mock::new()).oneshot(Do::Fail));
    assert!(call.run().is_pending());
    tokio::time::advance(ms(1_000)).await;
    replica.unstick();
    assert!(matches!(call.run(), Poll::Ready(Err(_))));
    assert_eq!(replica.calls(), 0);
    assert_eq!(fallback.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn fb3_nothing_is_called_after_a_drop_a_panic_or_the_deadline() {
    let fallback = fallback();
    let log = recorded(&fallback);
    let (calls, action) = counting();
    let mock = Mock::new();
    let mut service = FallbackLayer::new(&fallback, action).layer(mock.clone());
    drop(service.call(Do::Fail));
    let mut task = Task::new(service.call(Do::Hang));
    assert!(task.run().is_pending());
    task.cancel();
    catching(|| Task::new(service.call(Do::PanicInPoll)).run()).unwrap_err();
    assert_eq!(log.take(), ["Dropped", "Dropped", "Panicked"]);

    // A total timeout above, and a deadline without a timer.
    let mut above = TimeoutLayer::new(ms(10)).layer(&mut service);
    above
        .ready()
        .await
        .unwrap()
        .call(Do::Hang)
        .await
        .unwrap_err();
    assert_eq!(log.take(), ["Dropped"]);
    let failing = async {
        tokio::time::sleep(ms(20)).await;
        service.call(Do::Fail).await
    };
    Deadline::after(ms(10)).scope(failing).await.unwrap_err();
    assert_eq!(log.take(), ["no fallback", "Failure(Error)"]);
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    // The answer is dropped with the call.
    let hanging = FallbackLayer::new(&fallback, to(&mock, Do::Hang));
    let mut task = Task::new(hanging.layer(Mock::new()).oneshot(Do::Fail));
    assert!(task.run().is_pending());
    assert_eq!((mock.in_flight(), fallback.snapshot().in_flight), (1, 1));
    task.cancel();
    assert_eq!((mock.in_flight(), fallback.snapshot().in_flight), (0, 0));
    assert_eq!(log.take(), ["fallback", "Dropped"]);
}

/// An action that makes this call of the mock.
fn to(mock: &Mock, what: Do) -> impl Action<(), u32, BoxError> + Keep<Do, Kept = ()> + use<> {
    let mock = mock.clone();
    call(move |_| mock.clone().call(what))
}

// When everything fails, all calls come to the fallback at once.
#[tokio::test(start_paused = true)]
async fn fb4_a_slow_fallback_holds_its_limit_and_ends_after_its_time() {
    let mock = Mock::new();
    let slow = Fallback::builder()
        .limit(3)
        .timeout(ms(100))
        .build()
        .unwrap();
    let log = recorded(&slow);
    let service = FallbackLayer::new(&slow, to(&mock, Do::Hang)).layer(Mock::new());
    let start = Instant::now();
    let calls = (0..100).map(|_| async {
        let error = service.clone().oneshot(Do::Fail).await.unwrap_err();
        assert_eq!(error.to_string(), "the inner service failed");
        start.elapsed()
    });
    let took = futures::future::join_all(calls).await;
    assert_eq!(mock.calls(), 3);
    assert_eq!(took.iter().filter(|took| took.is_zero()).count(), 97);
    assert!(
        took.iter()
            .all(|took| took.is_zero() || (ms(100)..=ms(101)).contains(took))
    );
    let snapshot = slow.snapshot();
    assert_eq!(
        (snapshot.failed, snapshot.suppressed, snapshot.in_flight),
        (3, 97, 0)
    );
    assert_eq!(log.endings(), ["Failure(Error)"].repeat(100));
    // Each has its free permit back, and a value needs none.
    let mut task = Task::new(service.clone().oneshot(Do::Fail));
    assert!(task.run().is_pending());
    assert_eq!(slow.snapshot().in_flight, 1);
    slow.change(|now| now.limit(1)).unwrap();
    let service = FallbackLayer::new(&slow, value(9)).layer(Mock::new());
    assert_eq!(service.oneshot(Do::Fail).await.unwrap(), 9);
}

// The deadline of the fallback is its own time, or the deadline in force if that is earlier.
#[tokio::test(start_paused = true)]
async fn fb4_the_fallback_sees_the_deadline_of_its_time() {
    let fallback = Fallback::builder().timeout(ms(100)).build().unwrap();
    let left = || call(|_| async { Ok::<_, io::Error>(Deadline::remaining().unwrap()) });
    let fails = || async { Err(io::Error::other("down")) };
    assert_eq!(fallback.run(left(), fails).await.unwrap(), ms(100));
    let scoped = Deadline::after(ms(30)).scope(fallback.run(left(), fails));
    assert_eq!(scoped.await.unwrap(), ms(30));
}

#[tokio::test]
async fn fb5_if_the_fallback_fails_or_panics_the_call_ends_with_its_own_failure_or_panic() {
    let fallback = fallback();
    let log = recorded(&fallback);
    let mock = Mock::new();
    let fails = FallbackLayer::new(
        &fallback,
        call(|_| async { Err::<u32, BoxError>("too".into()) }),
    );
    let error = fails
        .layer(mock.clone())
        .oneshot(Do::Fail)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
    assert_eq!(log.take(), ["fallback", "Failure(Error)"]);
    // A rejection of the fallback's own policies is a failure of it.
    let rejected = call(|_| async {
        opened()
            .run(|| async { Ok::<u32, io::Error>(1) })
            .await
            .map_err(Into::into)
    });
    let service = FallbackLayer::new(&fallback, rejected).layer(mock.clone());
    let error = service.oneshot(Do::Fail).await.unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
    assert_eq!(log.take(), ["fallback", "Failure(Error)"]);
    for what in [Do::PanicInCall, Do::PanicInPoll] {
        let service = FallbackLayer::new(&fallback, to(&mock, what)).layer(Mock::new());
        catching(|| Task::new(service.oneshot(Do::Fail)).run()).unwrap_err();
        assert_eq!(log.take(), ["fallback", "Panicked"], "{what:?}");
    }
    assert_eq!(fallback.snapshot().in_flight, 0);
}

#[tokio::test]
async fn fb6_a_service_gets_a_copy_of_what_may_be_sent_again_once_it_is_ready() {
    #[derive(Clone)]
    struct Command {
        reads: bool,
        copies: bool,
    }
    let fallback = fallback();
    let log = recorded(&fallback);
    let replica = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&replica);
    let replica_service = service_fn(move |_: Command| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, io::Error>("replica") }
    });
    let replica_service = Strict::new(replica_service);
    let layer = FallbackLayer::new(
        &fallback,
        service(replica_service)
            .only(|command: &Command| command.reads)
            .resend(|command: &Command| command.copies.then(|| command.clone())),
    );
    let failing =
        |kind| service_fn(move |_: Command| async move { Err::<&str, _>(io::Error::from(kind)) });
    let read = Command {
        reads: true,
        copies: true,
    };
    let write = Command {
        reads: false,
        copies: true,
    };
    let uncopied = Command {
        reads: true,
        copies: false,
    };
    let reset = || layer.layer(failing(io::ErrorKind::ConnectionReset));
    let unsent = layer.layer(failing(io::ErrorKind::ConnectionRefused));
    assert_eq!(reset().oneshot(read).await.unwrap(), "replica");
    // It may have had its effect.
    reset().oneshot(write.clone()).await.unwrap_err();
    // It had none: nothing was sent.
    assert_eq!(unsent.oneshot(write).await.unwrap(), "replica");
    reset().oneshot(uncopied).await.unwrap_err();
    assert_eq!(replica.load(Ordering::SeqCst), 2);
    let answered = ["fallback", "FellBack"];
    let suppressed = ["no fallback", "Failure(Error)"];
    assert_eq!(
        log.take(),
        [answered, suppressed, answered, suppressed].concat()
    );
}

#[tokio::test]
async fn fb7_record_only_returns_the_failure_and_off_emits_nothing() {
    // CX16
    let fallback = fallback();
    let log = recorded(&fallback);
    let (calls, action) = counting();
    let mut service = FallbackLayer::new(&fallback, action).layer(Mock::new());
    fallback.set_mode(Mode::RecordOnly);
    service.call(Do::Fail).await.unwrap_err();
    assert_eq!(log.take(), ["would fall back", "Failure(Error)"]);
    fallback.set_mode(Mode::Off);
    service.call(Do::Fail).await.unwrap_err();
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(
        (
            calls.load(Ordering::SeqCst),
            fallback.snapshot().would_answer
        ),
        (0, 1)
    );
    fallback.change(|now| now.mode(Mode::Enforce)).unwrap();
    assert_eq!(service.call(Do::Fail).await.unwrap(), 9);
}

#[tokio::test(start_paused = true)]
async fn fb8_in_a_pipeline_the_fallback_answers_the_end_of_the_whole_call() {
    // RN1
    let breaker = CircuitBreaker::new("pipeline");
    let retry = Retry::new(Backoff::constant(ms(1)));
    let fallback = fallback();
    let log = recorded(&fallback);
    let pipeline = Pipeline::new()
        .timeout(Timeout::new(ms(100)))
        .retry(&retry)
        .breaker(&breaker)
        .fallback(&fallback, value(9));
    let attempts = AtomicUsize::new(0);
    let fails = |_| async {
        attempts.fetch_add(1, Ordering::SeqCst);
        Err::<u32, _>(io::Error::other("down"))
    };
    assert_eq!(pipeline.run(fails).await.unwrap(), 9);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    // The total timeout, and the breaker.
    let hangs = |_| std::future::pending::<io::Result<u32>>();
    assert_eq!(pipeline.run(hangs).await.unwrap(), 9);
    breaker.force_open();
    assert_eq!(
        pipeline
            .run(|_| async { Ok::<_, io::Error>(1) })
            .await
            .unwrap(),
        9
    );
    assert_eq!(log.take(), ["fallback", "FellBack"].repeat(3));

    // A closure, the classifier of the pipeline, and a failure of both.
    let pipeline = Pipeline::new()
        .fallback(
            &fallback,
            call(|_| async { Err::<u32, _>(io::Error::other("cache")) }),
        )
        .classify(ErrorsBy(|error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => Outcome::Success,
            _ => Outcome::failure(FailureKind::Error),
        }));
    let error = pipeline
        .run(|_| async { Err(io::Error::other("first")) })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Service(error) if error.to_string() == "first"));
    let absent = pipeline.run(|_| async { Err(io::Error::from(io::ErrorKind::NotFound)) });
    absent.await.unwrap_err();
    assert_eq!(log.take(), ["fallback", "Failure(Error)", "Success"]);
}

// RN1: `run` inside `run`, with an error of one level.
#[tokio::test]
async fn fb1_run_answers_a_rejection_of_a_policy_inside_it() {
    let fallback = fallback();
    let breaker = opened();
    let cached = || call(|_| async { Ok::<_, Error<io::Error>>("cached") });
    let fresh = || breaker.run(|| async { Ok::<_, io::Error>("fresh") });
    assert_eq!(fallback.run(cached(), fresh).await.unwrap(), "cached");
    breaker.release();
    assert_eq!(fallback.run(cached(), fresh).await.unwrap(), "fresh");
    let mut dropped = Task::new(fallback.run(cached(), || {
        breaker.run(std::future::pending::<io::Result<&str>>)
    }));
    assert!(matches!(dropped.poll(), Poll::Pending));
}
