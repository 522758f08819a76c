//! The timeout, by its layer and by `run`, beyond the contract of every layer. What it sets for the code
//! inside is in `deadline`.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::stream::{self, FuturesUnordered, StreamExt};
use seawall::event::EventKind;
use seawall::{Deadline, Error, Mode, RejectionKind, Retry, RetryLayer, Timeout, TimeoutLayer};
use tokio::task::LocalSet;
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Do, Mock, Recorder, Task, catching, locked, ms, reason, secs};

fn named(name: &str, millis: u64) -> Timeout {
    Timeout::builder(ms(millis)).name(name).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn to1_the_clock_starts_at_call() {
    let mut service = TimeoutLayer::new(secs(5)).layer(Mock::new());
    service.ready().await.unwrap();
    // Readiness does not count; the time until the first poll does.
    advance(secs(60)).await;
    let mut task = Task::new(service.call(Do::Hang));
    advance(secs(3)).await;
    assert!(task.run().is_pending());
    advance(ms(1_999)).await;
    assert!(task.run().is_pending());
    advance(ms(1)).await;
    let Poll::Ready(Err(error)) = task.run() else {
        panic!("five seconds have passed");
    };
    let (limit, elapsed) = (secs(5), secs(5));
    assert_eq!(
        reason(&error).kind(),
        RejectionKind::TimedOut { limit, elapsed }
    );

    // The clock of `run` starts at its first poll.
    let timeout = Timeout::new(secs(5));
    let mut task = Task::new(timeout.run(std::future::pending::<Result<(), ()>>));
    advance(secs(60)).await;
    assert!(task.run().is_pending());
    advance(secs(5)).await;
    assert!(task.run().is_ready());
}

/// Advances the paused clock at once, like code that works before it returns.
fn work(millis: u64) {
    let mut advance = std::pin::pin!(advance(ms(millis)));
    let mut cx = Context::from_waker(Waker::noop());
    while advance.as_mut().poll(&mut cx).is_pending() {}
}

/// Works for 50 ms before it calls the inner service.
#[derive(Clone)]
struct Slow<S>(S);

impl<S: Service<Do>> Service<Do> for Slow<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, what: Do) -> S::Future {
        work(50);
        self.0.call(what)
    }
}

/// The time from the call of a service that never answers to its end, and the time in its rejection.
async fn passed<S>(mut service: S) -> (Duration, Duration)
where
    S: Service<Do, Response = u32, Error = BoxError>,
{
    service.ready().await.unwrap();
    let start = Instant::now();
    let error = service.call(Do::Hang).await.unwrap_err();
    let RejectionKind::TimedOut { elapsed, .. } = reason(&error).kind() else {
        panic!("{error}");
    };
    (start.elapsed(), elapsed)
}

#[tokio::test(start_paused = true)]
async fn to1_below_a_service_that_works_first_the_clock_starts_again() {
    let outer = || TimeoutLayer::new(secs(5));
    let inner = TimeoutLayer::new(ms(100));
    let service = outer().layer(Slow(inner.layer(Mock::new())));
    assert_eq!(passed(service).await, (ms(150), ms(100)));
    let retry = Retry::builder().max_attempts(1).build().unwrap();
    let service = RetryLayer::new(&retry).layer(Slow(inner.layer(Mock::new())));
    let service = outer().layer(service);
    assert_eq!(passed(service).await, (ms(150), ms(100)));

    // Timeouts directly above one another share one clock reading: it is older by the time that the closures
    // between them take.
    let slow = outer().duration_from(|_: &Do| {
        work(50);
        None
    });
    let service = outer().layer(slow.layer(inner.layer(Mock::new())));
    assert_eq!(passed(service).await, (ms(100), ms(100)));
}

#[tokio::test(start_paused = true)]
async fn to1_a_response_ready_in_the_same_poll_wins() {
    let mock = Mock::new();
    let mut service = TimeoutLayer::new(secs(5)).layer(mock.clone());
    let mut task = Task::new(service.call(Do::Wait));
    assert!(task.run().is_pending());
    advance(secs(6)).await;
    mock.answer();
    assert!(matches!(task.run(), Poll::Ready(Ok(7))));

    let timeout = Timeout::new(secs(5));
    let call = timeout.run(async || {
        sleep(secs(5)).await;
        Ok::<_, BoxError>(7)
    });
    assert_eq!(call.await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn to2_a_total_timeout_covers_queue_backoff_and_attempts() {
    let gate = Arc::new(tokio::sync::Semaphore::new(1));
    let queue = service_fn(move |what: Do| {
        let gate = Arc::clone(&gate);
        async move {
            let _permit = gate.acquire_owned().await.unwrap();
            if what == Do::Hang {
                sleep(secs(10)).await;
            }
            Ok::<_, BoxError>(())
        }
    });
    let first = tokio::spawn(queue.clone().oneshot(Do::Hang));
    tokio::task::yield_now().await;
    let start = Instant::now();
    let service = TimeoutLayer::new(secs(1)).layer(queue);
    let error = service.oneshot(Do::Answer).await.unwrap_err();
    assert_eq!(start.elapsed(), secs(1));
    assert!(matches!(
        reason(&error).kind(),
        RejectionKind::TimedOut { .. }
    ));
    first.await.unwrap().unwrap();

    // Attempts of 300 ms, with a backoff of 200 ms: the fourth would start at 1.5 s.
    let (total, attempt) = (named("total", 1_100), named("attempt", 300));
    let made = AtomicUsize::new(0);
    let start = Instant::now();
    let outcome = total.run(async || {
        loop {
            made.fetch_add(1, Ordering::SeqCst);
            let hang = attempt.run(std::future::pending::<io::Result<()>>);
            match hang.await {
                Err(Error::Rejected(cut)) => assert_eq!(&**cut.policy(), "attempt"),
                other => return other,
            }
            sleep(ms(200)).await;
        }
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(&**error.rejection().unwrap().policy(), "total");
    assert_eq!((start.elapsed(), made.into_inner()), (ms(1_100), 3));
}

#[tokio::test(start_paused = true)]
async fn to4_an_attempt_gets_at_most_what_remains() {
    let (total, attempt) = (named("total", 1_000), named("attempt", 800));
    let start = Instant::now();
    let outcome = total.run(async || {
        sleep(ms(900)).await;
        let hang = attempt.run(async || {
            assert_eq!(Deadline::remaining(), Some(ms(100)));
            std::future::pending::<io::Result<()>>().await
        });
        hang.await
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(&**error.rejection().unwrap().policy(), "total");
    assert_eq!(start.elapsed(), ms(1_000));

    // Nothing remains: no attempt is made.
    let mock = Mock::new();
    let mut service = TimeoutLayer::new(&attempt).layer(mock.clone());
    let call = Deadline::after(secs(0)).enter(|| service.call(Do::Answer));
    let error = call.await.unwrap_err();
    assert_eq!(reason(&error).kind(), RejectionKind::Expired);
    assert_eq!(mock.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn to5_the_duration_may_come_from_the_request() {
    let timeout = named("per request", 60_000);
    let layer = TimeoutLayer::new(&timeout).duration_from(|millis: &u64| match millis {
        0 => None,
        &millis => Some(ms(millis)),
    });
    let mut service = layer.layer(service_fn(|_: u64| std::future::pending()));
    for (requested, given) in [(20, ms(20)), (0, secs(60)), (120_000, secs(120))] {
        let start = Instant::now();
        let outcome: Result<(), BoxError> = service.call(requested).await;
        let error = outcome.unwrap_err();
        assert_eq!(start.elapsed(), given);
        let (limit, elapsed) = (given, given);
        assert_eq!(
            reason(&error).kind(),
            RejectionKind::TimedOut { limit, elapsed }
        );
        assert_eq!(&**reason(&error).policy(), "per request");
    }
}

#[tokio::test(start_paused = true)]
async fn to5_the_rejection_names_the_timeout_with_the_earliest_deadline() {
    for (outer, inner, names) in [(1_000, 300, "inner"), (300, 1_000, "outer")] {
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(named("outer", outer)))
            .layer(TimeoutLayer::new(named("inner", inner)))
            .service(Mock::new());
        let start = Instant::now();
        let error = service.oneshot(Do::Hang).await.unwrap_err();
        assert_eq!(start.elapsed(), ms(300));
        assert_eq!(&**reason(&error).policy(), names);
        let (limit, elapsed) = (ms(300), ms(300));
        assert_eq!(
            reason(&error).kind(),
            RejectionKind::TimedOut { limit, elapsed }
        );
        let text = error.to_string();
        assert_eq!(
            text,
            format!("{names}: timed out after 300ms (limit 300ms)")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn to5_every_pending_call_has_a_timer_for_its_own_limit() {
    let layer = |limit| TimeoutLayer::new(secs(limit));
    // The inner calls end at 5 s too, but that deadline belongs to the outer timeout.
    let service = layer(5).layer(layer(8).layer(layer(9).layer(Mock::new())));
    let mut task = Task::new({ service }.call(Do::Hang));
    assert!(task.run().is_pending());
    advance(secs(5)).await;
    assert_eq!(task.wakes(), 1);
    assert!(matches!(task.run(), Poll::Ready(Err(_))));

    let service = layer(6).layer(layer(5).layer(Mock::new()));
    let mut task = Task::new({ service }.call(Do::Hang));
    assert!(task.run().is_pending());
    advance(secs(6)).await;
    assert_eq!(task.wakes(), 2);
}

#[tokio::test(start_paused = true)]
async fn to5_a_future_that_leaves_an_earlier_deadline_keeps_it() {
    let mut service = TimeoutLayer::new(named("inner", 10_000)).layer(Mock::new());
    let outer = Timeout::new(secs(2));
    let moved = outer.run(async || {
        let mut call = Box::pin(service.call(Do::Hang));
        assert!(futures::poll!(&mut call).is_pending());
        Ok::<_, BoxError>(call)
    });
    let start = Instant::now();
    let error = moved.await.unwrap().await.unwrap_err();
    assert_eq!(start.elapsed(), secs(2));
    assert_eq!(&**reason(&error).policy(), "inner");
    let (limit, elapsed) = (secs(2), secs(2));
    assert_eq!(
        reason(&error).kind(),
        RejectionKind::TimedOut { limit, elapsed }
    );
}

/// Runs `next` under a timeout of 1 s, which ends it, and then without one.
async fn cut_then_resumed<T>(mut next: impl AsyncFnMut() -> T) -> T {
    let cut = Timeout::new(secs(1));
    let cut = cut.run(async || Ok::<_, BoxError>(next().await)).await;
    assert!(matches!(cut, Err(Error::Rejected(_))));
    next().await
}

// TO5: these poll a future again only if it is woken.
#[tokio::test(start_paused = true)]
async fn to5_a_call_in_a_set_ends_after_the_timeout_that_polled_it_first() {
    let start = Instant::now();
    let service = TimeoutLayer::new(secs(2)).layer(Mock::new());
    let hang = |_| service.clone().call(Do::Hang);
    let mut set: FuturesUnordered<_> = (0..3).map(hang).collect();
    let mut ended = cut_then_resumed(async || set.next().await).await;
    for _ in 0..3 {
        let error = ended.unwrap().unwrap_err();
        assert_eq!(start.elapsed(), secs(2));
        let (limit, elapsed) = (secs(2), secs(2));
        assert_eq!(
            reason(&error).kind(),
            RejectionKind::TimedOut { limit, elapsed }
        );
        ended = set.next().await;
    }
    assert!(ended.is_none());
}

// TO5: here the call is made under the deadline of 1 s, too.
#[tokio::test(start_paused = true)]
async fn to5_a_call_of_a_buffered_stream_ends_after_the_timeout_that_made_it() {
    let start = Instant::now();
    let service = TimeoutLayer::new(secs(2)).layer(Mock::new());
    let calls = stream::iter(0..3).map(|_| service.clone().call(Do::Hang));
    let mut calls = calls.buffer_unordered(3);
    let ended = cut_then_resumed(async || calls.next().await).await;
    assert!(ended.unwrap().is_err());
    assert_eq!(start.elapsed(), secs(2));
}

#[tokio::test(start_paused = true)]
async fn to5_a_call_of_a_local_task_ends_after_the_timeout_that_ran_its_set() {
    let start = Instant::now();
    let mut service = TimeoutLayer::new(secs(2)).layer(Mock::new());
    let mut local = LocalSet::new();
    let task = local.spawn_local(async move { service.call(Do::Hang).await });
    cut_then_resumed(async || (&mut local).await).await;
    assert!(task.await.unwrap().is_err());
    assert_eq!(start.elapsed(), secs(2));
}

// TO3, TO5: the deadline of a call is neither its own limit nor that of the timeout around it.
#[tokio::test(start_paused = true)]
async fn to5_a_call_in_a_set_keeps_an_inherited_deadline() {
    let start = Instant::now();
    let mut service = TimeoutLayer::new(secs(9)).layer(Mock::new());
    let call = Deadline::after(secs(2)).enter(|| service.call(Do::Hang));
    let mut set: FuturesUnordered<_> = [call].into_iter().collect();
    let ended = cut_then_resumed(async || set.next().await).await;
    assert!(ended.unwrap().is_err());
    assert_eq!(start.elapsed(), secs(2));
}

// TO3
#[tokio::test(start_paused = true)]
async fn to3_a_call_polled_by_reference_under_a_shorter_timeout_goes_on() {
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = |seen: &Mutex<Vec<_>>| locked(seen).push(Deadline::remaining().unwrap());
    let looked = Arc::clone(&seen);
    let mut service = TimeoutLayer::new(secs(10)).layer(service_fn(move |()| {
        let seen = Arc::clone(&looked);
        async move {
            look(&seen);
            sleep(ms(500)).await;
            look(&seen);
            std::future::pending::<Result<(), BoxError>>().await
        }
    }));
    let mut call = Box::pin(service.call(()));
    let error = Timeout::new(ms(100)).run(|| &mut call).await.unwrap_err();
    assert!(error.rejection().is_some());
    assert_eq!(start.elapsed(), ms(100));

    let error = call.await.unwrap_err();
    assert_eq!(start.elapsed(), secs(10));
    let (limit, elapsed) = (secs(10), secs(10));
    assert_eq!(
        reason(&error).kind(),
        RejectionKind::TimedOut { limit, elapsed }
    );
    assert_eq!(*locked(&seen), [ms(100), ms(9_500)]);
}

#[tokio::test(start_paused = true)]
async fn to6_the_inner_future_is_dropped_before_the_rejection_is_returned() {
    let mock = Mock::new();
    let timeout = named("cut", 1_000);
    let (seen, inner) = (Arc::new(AtomicUsize::new(99)), mock.clone());
    let saw = Arc::clone(&seen);
    let _on = timeout.on_event(move |event| {
        if matches!(event.kind, EventKind::Rejected(_)) {
            saw.store(inner.in_flight(), Ordering::SeqCst);
        }
    });
    let mut task = Task::new(
        TimeoutLayer::new(&timeout)
            .layer(mock.clone())
            .call(Do::Hang),
    );
    assert!(task.run().is_pending());
    assert_eq!(mock.in_flight(), 1);
    advance(secs(1)).await;
    assert!(task.run().is_ready());
    // The layer's own future still exists.
    assert_eq!((mock.in_flight(), seen.load(Ordering::SeqCst)), (0, 0));

    seen.store(99, Ordering::SeqCst);
    let mut task = Task::new(timeout.run(|| mock.clone().call(Do::Hang)));
    assert!(task.run().is_pending());
    advance(secs(1)).await;
    assert!(task.run().is_ready());
    assert_eq!((mock.in_flight(), seen.load(Ordering::SeqCst)), (0, 0));
}

// OB1, CX8: the drop at the end of the time may panic.
#[tokio::test(start_paused = true)]
async fn ob1_cx8_a_call_that_panics_in_its_drop_has_an_end() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let timeout = Timeout::new(secs(1));
    let mut task = Task::new(timeout.run(async || {
        let _held = Panics;
        std::future::pending::<Result<(), BoxError>>().await
    }));
    assert!(task.run().is_pending());
    advance(secs(1)).await;
    assert!(catching(|| task.run()).is_err());
    let totals = timeout.snapshot().totals;
    assert_eq!((totals.admitted(), totals.in_flight()), (1, 0));
    assert_eq!(totals.times().count(), 1);
}

// OB1, CX8: also if it is polled once more.
#[tokio::test(start_paused = true)]
async fn ob1_cx8_a_call_that_has_panicked_ends_once() {
    let timeout = Timeout::new(secs(1));
    let service = service_fn(|()| {
        let mut panicked = false;
        std::future::poll_fn(move |_| {
            assert!(std::mem::replace(&mut panicked, true), "in the poll");
            Poll::<Result<(), BoxError>>::Pending
        })
    });
    let mut task = Task::new(TimeoutLayer::new(&timeout).layer(service).call(()));
    assert!(catching(|| task.run()).is_err());
    assert!(task.run().is_pending());
    advance(secs(1)).await;
    assert!(task.run().is_ready());
    let totals = timeout.snapshot().totals;
    assert_eq!((totals.admitted(), totals.ended()), (1, 1));
}

// TO1: a timer in the cooperative budget would never be polled.
#[tokio::test(start_paused = true)]
async fn to1_a_service_that_spends_the_whole_coop_budget_still_times_out() {
    let timeout = Timeout::new(secs(1));
    let mut task = Task::new(timeout.run(async || {
        loop {
            tokio::task::consume_budget().await;
        }
        #[allow(unreachable_code)]
        Ok::<(), BoxError>(())
    }));
    assert!(task.poll().is_pending());
    tokio::task::yield_now().await;
    assert!(task.poll().is_pending());
    advance(secs(1)).await;
    assert!(task.poll().is_ready());
}

// CX17
#[tokio::test(start_paused = true)]
async fn cx17_a_timeout_follows_advance() {
    let mut task = Task::new(
        TimeoutLayer::new(secs(3_600))
            .layer(Mock::new())
            .call(Do::Hang),
    );
    assert!(task.run().is_pending());
    advance(secs(3_600)).await;
    assert!(task.run().is_ready());
}

// CX15
#[test]
fn cx15_a_timeout_of_zero_is_rejected_at_build() {
    let error = Timeout::builder(secs(0)).name("zero").build().unwrap_err();
    assert_eq!(&**error.policy(), "zero");
    let problem = &error.problems()[0];
    let said = (&*problem.field, &*problem.value, &*problem.allowed);
    assert_eq!(said, ("limit", "0ns", "more than zero"));
    assert!(catching(|| Timeout::new(secs(0))).is_err());
    assert!(catching(|| TimeoutLayer::new(secs(0))).is_err());
}

// CX16
#[tokio::test(start_paused = true)]
async fn cx16_record_only_emits_once_and_the_call_goes_on() {
    let recorder = Recorder::new();
    let timeout = Timeout::builder(secs(1)).mode(Mode::RecordOnly);
    let timeout = timeout.on_event(recorder.listener()).build().unwrap();
    let slow = timeout.run(async || {
        assert_eq!(Deadline::remaining(), None);
        for _ in 0..10 {
            sleep(secs(1)).await;
        }
        Ok::<_, BoxError>(7)
    });
    let start = Instant::now();
    assert_eq!(slow.await.unwrap(), 7);
    assert_eq!(start.elapsed(), secs(10));
    assert_eq!(recorder.take(), ["would reject", "Completed"]);
    let snapshot = timeout.snapshot();
    assert_eq!((snapshot.would_reject, snapshot.timed_out), (1, 0));

    // Also if the deadline has passed before the call.
    let late = timeout.run(async || {
        sleep(secs(5)).await;
        Ok::<_, BoxError>(7)
    });
    assert_eq!(Deadline::after(secs(0)).scope(late).await.unwrap(), 7);
    assert_eq!(recorder.take(), ["would reject", "Completed"]);
}

// CX18
#[tokio::test(start_paused = true)]
async fn cx18_the_default_name_is_kind_and_call_site() {
    let timeout = Timeout::new(secs(1));
    assert!(timeout.name().starts_with("timeout@tests/it/timeout.rs:"));
    let mut service = TimeoutLayer::new(secs(1)).layer(Mock::new());
    let error = service.call(Do::Hang).await.unwrap_err();
    let name = reason(&error).policy().to_string();
    assert!(name.starts_with("timeout@tests/it/timeout.rs:"), "{name}");
}

// CX18: a call names its timeout also when all its handles are dropped.
#[tokio::test(start_paused = true)]
async fn cx18_a_call_outlives_its_timeout_and_names_it() {
    let long = "a name too long to be kept, ".repeat(20);
    for name in ["outlived", &long] {
        let recorder = Recorder::new();
        for listener in [None, Some(recorder.listener())] {
            let mut timeout = Timeout::builder(secs(1)).name(name);
            let listens = listener.is_some();
            if let Some(listener) = listener {
                timeout = timeout.on_event(listener);
            }
            let call = {
                let layer = TimeoutLayer::new(timeout.build().unwrap());
                layer.layer(Mock::new()).call(Do::Hang)
            };
            let error = call.await.unwrap_err();
            assert_eq!(&**reason(&error).policy(), name);
            let expected = if listens { vec!["rejected"] } else { vec![] };
            assert_eq!(recorder.take(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cx14_a_listener_sees_the_end_of_calls_that_started_before_it() {
    let recorder = Recorder::new();
    let timeout = Timeout::new(secs(1));
    let mut service = TimeoutLayer::new(&timeout).layer(Mock::new());
    let (answered, hung) = (service.call(Do::Answer), service.call(Do::Hang));
    timeout.on_event(recorder.listener()).forever();
    answered.await.unwrap();
    assert_eq!(recorder.take(), ["Completed"]);
    hung.await.unwrap_err();
    assert_eq!(recorder.take(), ["rejected"]);
    assert_eq!(timeout.snapshot().timed_out, 1);
}

// CX19
#[tokio::test(start_paused = true)]
async fn cx19_a_running_call_keeps_the_limit_it_started_with() {
    let timeout = Timeout::new(secs(10));
    let mut service = TimeoutLayer::new(&timeout).layer(Mock::new());
    let start = Instant::now();
    let (before, after) = (service.call(Do::Hang), {
        timeout.set_limit(secs(1)).unwrap();
        service.call(Do::Hang)
    });
    timeout.set_limit(secs(0)).unwrap_err();
    assert_eq!(timeout.limit(), secs(1));
    timeout.set_mode(Mode::Off);
    after.await.unwrap_err();
    assert_eq!(start.elapsed(), secs(1));
    before.await.unwrap_err();
    assert_eq!(start.elapsed(), secs(10));
    assert_eq!(timeout.snapshot().timed_out, 2);

    // A timeout that is off ends nothing and sets no deadline.
    let answer = timeout.run(async || {
        sleep(secs(100)).await;
        Ok::<_, BoxError>(Deadline::remaining())
    });
    assert_eq!(answer.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn rn1_run_returns_the_error_of_the_call_or_a_rejection() {
    let timeout = named("run", 1_000);
    let answer: Result<u32, Error<String>> = timeout.run(async || Ok(7)).await;
    assert_eq!(answer, Ok(7));
    let failed = timeout.run(async || Err::<u32, _>("no".to_owned())).await;
    assert_eq!(failed, Err(Error::Service("no".to_owned())));
    let hung: Result<u32, Error<String>> = timeout.run(std::future::pending).await;
    let rejection = hung.unwrap_err().into_service().unwrap_err();
    assert_eq!(&**rejection.policy(), "run");

    // Neither `Send` nor `'static` is required.
    let mut text = String::from("borrowed");
    let local = std::rc::Rc::new(());
    let call = timeout.run(async || {
        text.push_str(" and not Send");
        drop(local);
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    call.await.unwrap();
    assert_eq!(text, "borrowed and not Send");
}

#[tokio::test(start_paused = true)]
async fn rn2_a_question_mark_a_drop_and_a_panic_each_end_the_call() {
    let recorder = Recorder::new();
    let timeout = Timeout::builder(secs(1)).on_event(recorder.listener());
    let timeout = timeout.build().unwrap();
    let outcome = timeout.run(async || {
        "x".parse::<u32>()?;
        Ok::<_, BoxError>(())
    });
    assert!(matches!(outcome.await, Err(Error::Service(_))));
    assert_eq!(recorder.take(), ["Completed"]);

    let mut task = Task::new(timeout.run(std::future::pending::<Result<(), ()>>));
    assert!(task.run().is_pending());
    task.cancel();
    assert_eq!(recorder.take(), ["Dropped"]);

    let mut task = Task::new(timeout.run(async || -> Result<(), ()> { panic!("in the closure") }));
    assert!(catching(|| task.run()).is_err());
    drop(task);
    assert_eq!(recorder.take(), ["Panicked"]);
}

// CX14
#[tokio::test]
async fn cx14_a_timeout_around_a_rejected_call_says_rejected() {
    use crate::testing::{Recorder, short};
    use seawall::{CircuitBreaker, CircuitBreakerLayer, Pipeline, Timeout, TimeoutLayer};
    use tower::{BoxError, Layer, ServiceExt, service_fn};

    let breaker = CircuitBreaker::new("below");
    let timeout = Timeout::new(std::time::Duration::from_secs(1));
    let events = Recorder::new();
    timeout.on_event(events.listener_with(short)).forever();
    let answer = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let service = CircuitBreakerLayer::new(&breaker).layer(answer);
    let service = TimeoutLayer::new(&timeout).layer(service);
    let pipeline = Pipeline::new().timeout(&timeout).breaker(&breaker);
    let call = |n: u32| async move { Ok::<_, std::io::Error>(n) };
    for expected in ["Completed", "Rejected"] {
        let _ = service.clone().oneshot(7).await;
        let _ = pipeline.run(call).await;
        assert_eq!(events.take(), [expected, expected]);
        breaker.force_open();
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn cx14_a_timeout_around_a_call_that_was_answered_503_says_rejected() {
    use std::convert::Infallible;

    use crate::testing::{Recorder, short};
    use http::{Request, Response};
    use seawall::{Bulkhead, BulkheadLayer, Timeout, TimeoutLayer};
    use tower::{Layer, ServiceExt, service_fn};

    let timeout = Timeout::new(std::time::Duration::from_secs(1));
    let events = Recorder::new();
    timeout.on_event(events.listener_with(short)).forever();
    let handler = |_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) };
    let service = BulkheadLayer::new(Bulkhead::new(0)).layer(service_fn(handler));
    let service = TimeoutLayer::new(&timeout).layer(service);
    let answer = service.oneshot(Request::new(String::new())).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), events.take()),
        (503, vec!["Rejected".to_owned()])
    );
}

// HB1: the deadline of a server's head is not that of a body which its handler passes on.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn hb1_a_body_outlives_the_deadline_of_a_call_that_ended_with_its_head() {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use seawall::http::BodyLayer;

    let chunks = || {
        let later = |text| async move {
            tokio::time::sleep(secs(2)).await;
            Ok::<_, BoxError>(text)
        };
        stream::iter(["one", "two", "three"]).then(later)
    };
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(60)).until_body_end())
        .layer(BodyLayer::new())
        .service(service_fn(move |_: http::Request<()>| {
            let response = http::Response::new(Body::from_stream(chunks()));
            std::future::ready(Ok::<_, BoxError>(response))
        }));
    let server = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(1)))
        .service(client.clone());
    let response = server.oneshot(http::Request::new(())).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "onetwothree");

    // A deadline that the reader itself has is in force.
    let second = Timeout::new(secs(1));
    let bounded = second.run(|| async {
        let response = client.oneshot(http::Request::new(())).await?;
        response.into_body().collect().await
    });
    assert!(bounded.await.unwrap_err().rejection().is_some());
}
