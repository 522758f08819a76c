//! What a bulkhead does beyond the contract of every layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use seawall::bulkhead::QueuedService;
use seawall::{Bulkhead, BulkheadLayer, RejectionKind};
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::support::{
    Do, Mock, Random, Recorder, Strict, Task, catching, poll_ready, reason, secs,
};

fn counts(bulkhead: &Bulkhead) -> (u32, u32) {
    let snapshot = bulkhead.snapshot();
    (snapshot.in_flight, snapshot.queued)
}

fn queued(limit: u32, queue: u32) -> (Bulkhead, Mock, QueuedService<Strict<Mock>>) {
    let bulkhead = Bulkhead::builder(limit).queue(queue).build().unwrap();
    let mock = Mock::new();
    let service = BulkheadLayer::queued(&bulkhead).layer(Strict::new(mock.clone()));
    (bulkhead, mock, service)
}

/// For a real clock: no wait ends before the test ends it.
fn patient(limit: u32, queue: u32) -> (Bulkhead, Mock, QueuedService<Strict<Mock>>) {
    let all = queued(limit, queue);
    all.0.change(|now| now.max_wait(secs(3_600))).unwrap();
    all
}

fn ready_call<S: Service<Do>>(service: &mut S, what: Do) -> Task<S::Future> {
    assert!(matches!(poll_ready(service), Poll::Ready(Ok(()))));
    Task::new(service.call(what))
}

#[track_caller]
fn why<T: std::fmt::Debug>(outcome: Poll<Result<T, BoxError>>) -> RejectionKind {
    match outcome {
        Poll::Ready(Err(error)) => reason(&error).kind(),
        other => panic!("{other:?} instead of a rejection"),
    }
}

// BH1
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn bh1_the_limit_holds_over_clones_and_threads() {
    const PEAK: usize = 4;
    let inside = Arc::new(AtomicUsize::new(0));
    let peak = Arc::new(AtomicUsize::new(0));
    let (now, most) = (Arc::clone(&inside), Arc::clone(&peak));
    let inner = service_fn(move |(): ()| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, BoxError>(())
        }
    });
    let bulkhead = Bulkhead::builder(PEAK as u32);
    let bulkhead = bulkhead.queue(1_000).max_wait(secs(600)).build().unwrap();
    let queued = BulkheadLayer::queued(&bulkhead).layer(inner.clone());
    let rejecting = BulkheadLayer::new(&bulkhead).layer(inner);
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let (queued, rejecting) = (queued.clone(), rejecting.clone());
            tokio::spawn(async move {
                for _ in 0..100 {
                    match n % 4 {
                        0 => drop(rejecting.clone().oneshot(()).await),
                        _ => queued.clone().oneshot(()).await.unwrap(),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(peak.load(Ordering::SeqCst), PEAK);
    assert_eq!(counts(&bulkhead), (0, 0));
}

// BH1: the permit is free before the caller sees the response.
#[tokio::test]
async fn bh1_the_permit_is_held_until_the_response() {
    let (bulkhead, mock, mut service) = patient(1, 0);
    let mut first = ready_call(&mut service, Do::Wait);
    assert!(first.run().is_pending());
    assert_eq!(counts(&bulkhead), (1, 0));
    mock.answer();
    assert!(first.run().is_ready());
    assert_eq!(counts(&bulkhead), (0, 0));
    let mut failing = ready_call(&mut service, Do::Fail);
    assert!(failing.run().is_ready());
    assert_eq!(counts(&bulkhead), (0, 0));
}

// BH2: a rejecting layer over a bulkhead with a queue, and a queueing layer over one without.
#[tokio::test]
async fn bh2_only_layer_and_bulkhead_together_queue() {
    let (bulkhead, mock, mut service) = patient(1, 1);
    let mut held = ready_call(&mut service, Do::Hang);
    assert!(held.run().is_pending());
    let mut rejecting = BulkheadLayer::new(&bulkhead).layer(Strict::new(mock.clone()));
    assert!(matches!(
        why(ready_call(&mut rejecting, Do::Answer).run()),
        RejectionKind::BulkheadFull { .. }
    ));
    let mut second = ready_call(&mut service, Do::Answer);
    assert!(second.run().is_pending());
    let full = RejectionKind::BulkheadFull {
        limit: 1,
        in_flight: 1,
        queued: 1,
    };
    assert_eq!(why(ready_call(&mut service, Do::Answer).run()), full);
    bulkhead.change(|now| now.queue(0)).unwrap();
    drop(second);
    assert!(matches!(
        why(ready_call(&mut service, Do::Answer).run()),
        RejectionKind::BulkheadFull { .. }
    ));
    bulkhead.change(|now| now.unbounded_queue()).unwrap();
    let mut many: Vec<_> = (0..1_000)
        .map(|_| ready_call(&mut service, Do::Answer))
        .collect();
    assert!(many.iter_mut().all(|task| task.run().is_pending()));
    assert_eq!(counts(&bulkhead), (1, 1_000));
    assert_eq!(mock.calls(), 1);
}

// BH4
#[tokio::test]
async fn bh4_waiters_are_admitted_in_fifo_order_and_a_cancelled_one_costs_nothing() {
    let (bulkhead, mock, mut service) = patient(1, 10);
    let mut held = ready_call(&mut service, Do::Hang);
    assert!(held.run().is_pending());
    let mut tasks: Vec<_> = (0..5).map(|_| ready_call(&mut service, Do::Wait)).collect();
    assert!(tasks.iter_mut().all(|task| task.run().is_pending()));
    // Cancelled while it waits, and after its permit was granted.
    tasks[0].cancel();
    held.cancel();
    assert_eq!((tasks[1].wakes(), tasks[2].wakes()), (1, 0));
    tasks[1].cancel();
    assert_eq!((tasks[2].wakes(), tasks[3].wakes()), (1, 0));
    assert!(tasks[2].run().is_pending());
    assert_eq!((mock.calls(), counts(&bulkhead)), (2, (1, 2)));
    mock.answer();
    for n in 2..5 {
        assert!(tasks[n].run().is_ready(), "{n}");
        assert!(tasks.get(n + 1).is_none_or(|next| next.wakes() == 1), "{n}");
    }
    assert_eq!((mock.calls(), counts(&bulkhead)), (4, (0, 0)));
}

// BH4
#[tokio::test]
async fn bh4_waiters_are_admitted_in_lifo_order_as_an_option() {
    let (bulkhead, _, mut service) = patient(1, 10);
    bulkhead
        .change(|now| now.order(seawall::bulkhead::Order::Lifo))
        .unwrap();
    let mut held = ready_call(&mut service, Do::Hang);
    assert!(held.run().is_pending());
    let mut tasks: Vec<_> = (0..3)
        .map(|_| ready_call(&mut service, Do::Answer))
        .collect();
    assert!(tasks.iter_mut().all(|task| task.run().is_pending()));
    held.cancel();
    for n in (0..3).rev() {
        assert_eq!(tasks[n].wakes(), 1);
        assert!(n == 0 || tasks[n - 1].wakes() == 0);
        assert!(tasks[n].run().is_ready());
    }
}

// BH5
#[tokio::test]
async fn bh5_the_limit_changes_while_calls_wait() {
    let (bulkhead, mock, mut service) = patient(1, 10);
    let mut tasks: Vec<_> = (0..5).map(|_| ready_call(&mut service, Do::Wait)).collect();
    assert!(tasks.iter_mut().all(|task| task.run().is_pending()));
    bulkhead.set_limit(3).unwrap();
    let wakes: Vec<_> = tasks.iter().map(Task::wakes).collect();
    assert_eq!(wakes, [0, 1, 1, 0, 0]);
    assert!(tasks.iter_mut().all(|task| task.run().is_pending()));
    assert_eq!((mock.calls(), counts(&bulkhead)), (3, (3, 2)));
    bulkhead.set_limit(0).unwrap();
    for task in &mut tasks[3..] {
        assert_eq!(task.wakes(), 1);
        assert!(matches!(
            why(task.run()),
            RejectionKind::BulkheadFull { limit: 0, .. }
        ));
    }
    mock.answer();
    assert!(tasks[..3].iter_mut().all(|task| task.run().is_ready()));
    assert_eq!(counts(&bulkhead), (0, 0));
}

// CX4, RL12: idle clones hold no permit; waiters hold no capacity of the inner service.
#[tokio::test]
async fn cx4_rl12_a_waiter_holds_no_capacity_of_the_inner_service() {
    let bulkhead = Bulkhead::builder(1).queue(10).max_wait(secs(3_600));
    let bulkhead = bulkhead.build().unwrap();
    let limited = ConcurrencyLimit::new(Mock::new(), 1);
    let mut service = BulkheadLayer::queued(&bulkhead).layer(limited.clone());
    let held = bulkhead.try_acquire().unwrap();
    let mut waiting = ready_call(&mut service, Do::Answer);
    assert!(waiting.run().is_pending());

    // The only permit of the inner service is free for another caller.
    let mut other = limited;
    assert!(matches!(poll_ready(&mut other), Poll::Ready(Ok(()))));
    held.release();
    // It has its permit, and waits for the inner service.
    assert!(waiting.run().is_pending());
    assert_eq!(counts(&bulkhead), (1, 0));
    drop(other);
    assert!(waiting.run().is_ready());
    assert_eq!(counts(&bulkhead), (0, 0));
}

// BH3: to a breaker above, a rejection is no failure.
#[tokio::test]
async fn bh3_a_rejection_opens_no_breaker_above() {
    use seawall::circuit_breaker::{State, Trip};
    use seawall::{CircuitBreaker, CircuitBreakerLayer};

    let (bulkhead, _, service) = patient(0, 1);
    let breaker = CircuitBreaker::builder("above").trip_on(Trip::consecutive_failures(1));
    let breaker = breaker.build().unwrap();
    let mut service = CircuitBreakerLayer::new(&breaker).layer(service);
    let closed = why(ready_call(&mut service, Do::Answer).run());
    assert!(matches!(
        closed,
        RejectionKind::BulkheadFull { limit: 0, .. }
    ));
    assert_eq!(breaker.state(), State::Closed);
    bulkhead.set_limit(1).unwrap();
    assert!(ready_call(&mut service, Do::Fail).run().is_ready());
    assert_eq!(breaker.state(), State::Open);
}

// BH3
#[cfg(feature = "http")]
#[test]
fn bh3_full_and_queue_timeout_are_503_over_http() {
    use std::time::Duration;

    let (limit, in_flight, queued) = (1, 1, 1);
    let waited = Duration::from_secs(1);
    for why in [
        RejectionKind::BulkheadFull {
            limit,
            in_flight,
            queued,
        },
        RejectionKind::QueueTimeout {
            limit,
            in_flight,
            queued,
            waited,
        },
    ] {
        let response = seawall::Rejection::new(why, "reports").into_http_response::<()>();
        assert_eq!(response.status(), 503);
    }
}

// CX7: with waiters too.
#[tokio::test]
async fn cx7_ten_thousand_random_drops_end_at_the_starting_balance() {
    let (bulkhead, mock, service) = patient(3, 8);
    let mut random = Random::new(11);
    let mut running = Vec::new();
    let mut waited = 0;
    for _ in 0..10_000 {
        let what = match random.below(4) {
            0 => Do::Hang,
            1 => Do::Answer,
            _ => Do::Yield(2),
        };
        running.push(ready_call(&mut service.clone(), what));
        waited += counts(&bulkhead).1;
        for _ in 0..random.below(6) {
            let at = usize::try_from(random.below(running.len() as u64)).unwrap();
            if running[at].poll().is_ready() {
                running.swap_remove(at);
                break;
            }
        }
        while running.len() as u64 > 4 + random.below(10) {
            let at = usize::try_from(random.below(running.len() as u64)).unwrap();
            running.swap_remove(at);
        }
        let (in_flight, queued) = counts(&bulkhead);
        assert!(in_flight <= 3 && queued <= 8);
        assert!(mock.in_flight() <= 3);
    }
    assert!(waited > 10_000, "the queue was hardly used: {waited}");
    drop(running);
    assert_eq!((counts(&bulkhead), mock.in_flight()), ((0, 0), 0));
}

// CX8, CX14: a waiter with a permit panics in `poll_ready`, in `call` or in a poll.
#[tokio::test]
async fn cx8_after_a_panic_of_an_admitted_waiter_the_permit_goes_to_the_next() {
    #[derive(Clone)]
    struct Unready(Mock);
    impl Service<Do> for Unready {
        type Response = u32;
        type Error = BoxError;
        type Future = <Mock as Service<Do>>::Future;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
            panic!("panic in the inner readiness")
        }

        fn call(&mut self, what: Do) -> Self::Future {
            self.0.call(what)
        }
    }

    for what in [Do::PanicInCall, Do::PanicInPoll] {
        let (bulkhead, _, mut service) = patient(1, 10);
        let recorder = Recorder::new();
        let held = bulkhead.try_acquire().unwrap();
        let mut panicking = ready_call(&mut service, what);
        let mut next = ready_call(&mut service, Do::Answer);
        assert!(panicking.run().is_pending() && next.run().is_pending());
        held.release();
        let _on = bulkhead.on_event(recorder.listener());
        catching(|| panicking.run()).unwrap_err();
        assert_eq!(recorder.take(), ["Panicked"]);
        assert_eq!(next.wakes(), 1);
        assert!(next.run().is_ready());
        assert_eq!(counts(&bulkhead), (0, 0));
    }

    let bulkhead = Bulkhead::builder(1).queue(1).max_wait(secs(3_600));
    let bulkhead = bulkhead.build().unwrap();
    let mut service = BulkheadLayer::queued(&bulkhead).layer(Unready(Mock::new()));
    let held = bulkhead.try_acquire().unwrap();
    let mut panicking = Task::new(service.call(Do::Answer));
    assert!(panicking.run().is_pending());
    held.release();
    let recorder = Recorder::new();
    let _on = bulkhead.on_event(recorder.listener());
    catching(|| panicking.run()).unwrap_err();
    // The future still exists, and holds nothing.
    assert_eq!(
        (recorder.take(), counts(&bulkhead)),
        (vec!["Panicked".to_owned()], (0, 0))
    );
}

// CX9: a waiter is polled when it arrives, and when it has its permit.
#[tokio::test]
async fn cx9_a_waiter_is_polled_twice() {
    let (bulkhead, _, mut service) = patient(1, 10);
    let held = bulkhead.try_acquire().unwrap();
    let mut task = ready_call(&mut service, Do::Answer);
    assert!(task.run().is_pending());
    assert_eq!((task.polls(), task.wakes()), (1, 0));
    held.release();
    assert!(task.run().is_ready());
    assert_eq!((task.polls(), task.wakes()), (2, 1));
}

// CX14: also a waiter.
#[tokio::test]
async fn cx14_a_waiter_ends_in_one_event() {
    let (bulkhead, _, mut service) = patient(1, 10);
    let recorder = Recorder::new();
    let held = bulkhead.try_acquire().unwrap();
    let _on = bulkhead.on_event(recorder.listener());
    let mut task = ready_call(&mut service, Do::Answer);
    assert!(task.run().is_pending());
    task.cancel();
    assert_eq!(recorder.take(), ["Dropped"]);
    let mut task = ready_call(&mut service, Do::Answer);
    assert!(task.run().is_pending());
    held.release();
    assert_eq!(recorder.take(), ["Completed"]);
    // A permit was granted, and the waiter was not polled again.
    task.cancel();
    assert_eq!(recorder.take(), ["Dropped"]);
    assert_eq!(counts(&bulkhead), (0, 0));
}

// RN1, CX7
#[tokio::test]
async fn rn1_run_queued_waits_for_a_permit() {
    let bulkhead = Bulkhead::builder(1).queue(1).max_wait(secs(3_600));
    let bulkhead = bulkhead.build().unwrap();
    let held = bulkhead.try_acquire().unwrap();
    let run = || bulkhead.run_queued(|| async { Ok::<_, BoxError>(7) });
    let mut dropped = Task::new(run());
    assert!(dropped.run().is_pending());
    dropped.cancel();
    assert_eq!(counts(&bulkhead), (1, 0));
    let mut waiting = Task::new(run());
    assert!(waiting.run().is_pending());
    assert!(matches!(
        Task::new(run()).run(),
        Poll::Ready(Err(seawall::Error::Rejected(_)))
    ));
    held.release();
    assert!(matches!(waiting.run(), Poll::Ready(Ok(7))));
}

#[cfg(feature = "test-util")]
mod timed {
    use std::future::Future;
    use std::time::Duration;

    use seawall::{Deadline, Timeout, TimeoutLayer};
    use tokio::time::{Instant, advance};

    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
        let start = Instant::now();
        let output = future.await;
        (output, start.elapsed())
    }

    // BH2, BH3, CX17
    #[tokio::test(start_paused = true)]
    async fn bh3_a_waiter_is_rejected_at_the_end_of_its_wait() {
        let (bulkhead, _, service) = queued(1, 10);
        let held = bulkhead.try_acquire().unwrap();
        let (outcome, took) = timed(service.clone().oneshot(Do::Answer)).await;
        let why = reason(&outcome.unwrap_err()).kind();
        let expected = RejectionKind::QueueTimeout {
            limit: 1,
            in_flight: 1,
            queued: 1,
            waited: took,
        };
        assert_eq!((why, took), (expected, ms(100)));
        assert_eq!(counts(&bulkhead), (1, 0));

        // A change is for later waiters.
        bulkhead.change(|now| now.max_wait(ms(30))).unwrap();
        let (outcome, took) = timed(service.clone().oneshot(Do::Answer)).await;
        assert!(outcome.is_err());
        assert_eq!(took, ms(30));
        let (outcome, took) = timed(bulkhead.acquire()).await;
        assert!(outcome.is_err());
        assert_eq!(took, ms(30));
        let (outcome, took) = timed(bulkhead.acquire().max_wait(ms(5))).await;
        assert!(outcome.is_err());
        assert_eq!(took, ms(5));

        // With a wait of zero there is no queue.
        bulkhead.change(|now| now.max_wait(ms(0))).unwrap();
        let outcome = service.clone().oneshot(Do::Answer).await;
        let why = reason(&outcome.unwrap_err()).kind();
        assert!(matches!(why, RejectionKind::BulkheadFull { .. }));

        // The layer's own wait has precedence over the bulkhead's.
        let layer = BulkheadLayer::queued(&bulkhead).max_wait(ms(7));
        let (outcome, took) = timed(layer.layer(Mock::new()).oneshot(Do::Answer)).await;
        assert!(outcome.is_err());
        assert_eq!(took, ms(7));
        held.release();
        assert_eq!(service.oneshot(Do::Answer).await.unwrap(), 7);
        assert_eq!(counts(&bulkhead), (0, 0));
    }

    // BH4: a permit that is granted at the last moment is used.
    #[tokio::test(start_paused = true)]
    async fn bh4_a_permit_at_the_last_moment_is_used() {
        let (bulkhead, _, mut service) = queued(1, 10);
        let held = bulkhead.try_acquire().unwrap();
        let mut task = ready_call(&mut service, Do::Answer);
        assert!(task.run().is_pending());
        advance(ms(200)).await;
        held.release();
        assert!(matches!(task.run(), Poll::Ready(Ok(7))));
        assert_eq!(counts(&bulkhead), (0, 0));
    }

    // TO2
    #[tokio::test(start_paused = true)]
    async fn to2_a_total_timeout_around_a_longer_queue_ends_it() {
        let bulkhead = Bulkhead::builder(1)
            .queue(10)
            .max_wait(secs(10))
            .build()
            .unwrap();
        let held = bulkhead.try_acquire().unwrap();
        let queued = BulkheadLayer::queued(&bulkhead).layer(Mock::new());
        let service = TimeoutLayer::new(secs(1)).layer(queued);
        let (outcome, took) = timed(service.clone().oneshot(Do::Answer)).await;
        reason(&outcome.unwrap_err());
        assert_eq!(took, secs(1));
        assert_eq!(counts(&bulkhead), (1, 0));

        // The deadline covers the call as well.
        let answers = tokio::spawn(service.oneshot(Do::Hang));
        tokio::time::sleep(ms(600)).await;
        held.release();
        let (outcome, took) = timed(answers).await;
        let why = reason(&outcome.unwrap().unwrap_err()).kind();
        assert!(matches!(why, RejectionKind::TimedOut { .. }), "{why:?}");
        assert_eq!(took, ms(400));
        assert_eq!(counts(&bulkhead), (0, 0));
    }

    // TO4: when a permit frees is not known, so the queue position is held until the deadline.
    #[tokio::test(start_paused = true)]
    async fn to4_a_queue_position_is_held_until_the_deadline() {
        let (bulkhead, _, service) = queued(1, 10);
        let held = bulkhead.try_acquire().unwrap();
        let call = Deadline::after(ms(40)).scope(service.clone().oneshot(Do::Answer));
        let (outcome, took) = timed(call).await;
        let why = reason(&outcome.unwrap_err()).kind();
        assert!(matches!(why, RejectionKind::QueueTimeout { waited, .. } if waited == ms(40)));
        assert_eq!(took, ms(40));

        let call = Deadline::after(ms(40)).scope(service.clone().oneshot(Do::Answer));
        let call = tokio::spawn(call);
        tokio::time::sleep(ms(39)).await;
        held.release();
        assert_eq!(call.await.unwrap().unwrap(), 7);

        // After the deadline it is rejected at once, without a queue position.
        let _held = bulkhead.try_acquire().unwrap();
        let past = Deadline::after(ms(0));
        let error = past.scope(service.oneshot(Do::Answer)).await.unwrap_err();
        assert_eq!(reason(&error).kind(), RejectionKind::Expired);
        let error = past.scope(bulkhead.acquire()).await.unwrap_err();
        assert_eq!(error.kind(), RejectionKind::Expired);
        assert_eq!(counts(&bulkhead), (1, 0));
    }

    // Cases 12, 13.
    #[tokio::test(start_paused = true)]
    async fn to3_a_wait_polled_by_reference_under_a_shorter_timeout_goes_on() {
        let (bulkhead, mock, mut service) = queued(1, 10);
        let held = bulkhead.try_acquire().unwrap();
        let start = Instant::now();
        let mut call = Box::pin(service.ready().await.unwrap().call(Do::Answer));
        let error = Timeout::new(ms(50)).run(|| &mut call).await.unwrap_err();
        assert!(matches!(
            error.rejection().unwrap().kind(),
            RejectionKind::TimedOut { .. }
        ));
        held.release();
        assert_eq!(call.await.unwrap(), 7);
        assert_eq!(start.elapsed(), ms(50));

        // TO4: nothing starts in a poll after that deadline either, and the permit is not passed
        // on.
        let held = bulkhead.try_acquire().unwrap();
        let mut call = Box::pin(service.ready().await.unwrap().call(Do::Answer));
        let mut next = ready_call(&mut service, Do::Answer);
        let timeout = Timeout::new(ms(50));
        let mut other = Task::new(timeout.run(|| &mut call));
        assert!(other.run().is_pending() && next.run().is_pending());
        held.release();
        advance(ms(60)).await;
        assert!(matches!(other.run(), Poll::Ready(Err(_))));
        drop(other);
        assert_eq!(mock.calls(), 1);
        assert_eq!(call.await.unwrap(), 7);
        assert!(matches!(next.run(), Poll::Ready(Ok(7))));
        assert_eq!(counts(&bulkhead), (0, 0));
    }

    // TO7: behind a buffer the call has no deadline, and the first poll has one.
    #[tokio::test(start_paused = true)]
    async fn to7_the_deadline_is_read_again_when_the_wait_starts() {
        let (bulkhead, _, mut service) = queued(1, 10);
        let held = bulkhead.try_acquire().unwrap();
        let call = service.ready().await.unwrap().call(Do::Answer);
        let (outcome, took) = timed(Deadline::after(ms(20)).scope(call)).await;
        assert!(matches!(
            reason(&outcome.unwrap_err()).kind(),
            RejectionKind::QueueTimeout { .. }
        ));
        assert_eq!(took, ms(20));

        // The deadline has passed meanwhile: the granted permit goes to the next waiter.
        let call = service.ready().await.unwrap().call(Do::Answer);
        let mut next = ready_call(&mut service, Do::Answer);
        assert!(next.run().is_pending());
        held.release();
        assert_eq!(counts(&bulkhead), (1, 1));
        let error = Deadline::after(ms(0)).scope(call).await.unwrap_err();
        assert_eq!(reason(&error).kind(), RejectionKind::Expired);
        assert!(matches!(next.run(), Poll::Ready(Ok(7))));
        assert_eq!(counts(&bulkhead), (0, 0));
    }
}
