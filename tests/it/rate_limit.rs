//! The limiter's layers and `run`, beyond the contract of every layer. The bucket and the handle are tested
//! beside their code.

use std::io;
use std::task::Poll;

use seawall::{Error, Keyed, Quota, RateLimitLayer, RateLimiter, RejectionKind};
use tower::{Layer, Service};

use crate::support::{Do, Mock, Recorder, Task, catching, ms, reason, secs};

/// No token refills while a test runs.
fn a_day(tokens: u32) -> RateLimiter {
    RateLimiter::builder(Quota::per_day(tokens))
        .name("limit")
        .build()
        .unwrap()
}

#[test]
fn cx1_a_token_taken_by_one_service_is_gone_for_all() {
    let mock = Mock::new();
    let limiter = a_day(4);
    let rejecting = RateLimitLayer::new(&limiter);
    let mut services = [rejecting.layer(mock.clone()), rejecting.layer(mock.clone())];
    let mut waiting = RateLimitLayer::waiting(&limiter).layer(mock.clone());
    for service in &mut services {
        assert!(matches!(
            Task::new(service.call(Do::Answer)).run(),
            Poll::Ready(Ok(7))
        ));
        assert!(matches!(
            Task::new(waiting.call(Do::Answer)).run(),
            Poll::Ready(Ok(7))
        ));
    }
    for service in &mut services {
        assert!(matches!(
            Task::new(service.call(Do::Answer)).run(),
            Poll::Ready(Err(_))
        ));
    }
    assert!(matches!(
        Task::new(waiting.call(Do::Answer)).run(),
        Poll::Ready(Err(_))
    ));
    assert_eq!(mock.calls(), 4);
}

// RL6: a layer that reads the cost from the request only forwards readiness.
#[test]
fn rl6_the_cost_of_a_call_may_come_from_its_request() {
    let limiter = a_day(5);
    let rows = tower::service_fn(|rows: u32| std::future::ready(Ok::<_, tower::BoxError>(rows)));
    let layer = RateLimitLayer::new(&limiter).cost(|rows: &u32| *rows);
    let mut service = layer.layer(rows);
    let mut call = |rows| match Task::new(service.call(rows)).run() {
        Poll::Ready(outcome) => outcome.map_err(|error| reason(&error)),
        Poll::Pending => panic!("a rejecting layer never waits"),
    };
    assert_eq!(call(3), Ok(3));
    let impossible = call(6).unwrap_err();
    assert_eq!(
        impossible.kind(),
        RejectionKind::CostAboveBurst { cost: 6, burst: 5 }
    );
    assert_eq!(impossible.retry_after(), None);
    assert_eq!(call(3).unwrap_err().kind(), RejectionKind::RateLimited);
    assert_eq!((call(0), call(2)), (Ok(0), Ok(2)));
    assert_eq!(limiter.available(), 0);
    limiter.pause_for(secs(60));
    let mut stuck = RateLimitLayer::new(&limiter)
        .cost(|_: &Do| 1)
        .layer(Mock::stuck());
    assert!(crate::support::poll_ready(&mut stuck).is_pending());
}

#[tokio::test]
async fn rn1_rn2_run_makes_the_call_if_a_token_is_available() {
    let limiter = a_day(3);
    let answer: Result<u32, Error<io::Error>> = limiter.run(async || Ok(7)).await;
    assert_eq!(answer.unwrap(), 7);
    // Failures, drops and panics of the call change nothing: the token is spent.
    let failed = limiter
        .run(async || Err::<(), _>(io::Error::other("no")))
        .await;
    assert!(failed.unwrap_err().into_service().is_ok());
    let mut task = Task::new(limiter.run(async || -> Result<(), io::Error> { panic!("in it") }));
    assert!(catching(|| task.run()).is_err());
    assert_eq!(limiter.available(), 0);
    let made = std::cell::Cell::new(false);
    let rejected = limiter.run(async || {
        made.set(true);
        Ok::<_, io::Error>(())
    });
    let rejection = rejected.await.unwrap_err().into_service().unwrap_err();
    assert_eq!(
        (rejection.kind(), made.get()),
        (RejectionKind::RateLimited, false)
    );
    let unpolled = a_day(1);
    drop(unpolled.run(async || Ok::<_, io::Error>(())));
    assert_eq!(unpolled.available(), 1);
}

#[test]
fn rn3_a_blocking_caller_waits_for_its_token_without_a_runtime() {
    let limiter = RateLimiter::builder(Quota::new(1, ms(5))).build().unwrap();
    for _ in 0..5 {
        limiter.acquire_blocking().unwrap();
    }
    let never = a_day(1);
    never.acquire_blocking().unwrap();
    assert_eq!(
        never.acquire_blocking().unwrap_err().kind(),
        RejectionKind::RateLimited
    );
}

// Case 31, CX14: a limit per client and one for all, as one.
#[test]
fn rl13_each_member_of_a_joint_limit_emits_its_own_events() {
    let (ours, theirs) = (Recorder::new(), Recorder::new());
    let per_client = RateLimiter::builder(Quota::per_day(10));
    let per_client: Keyed<str, _> = per_client.on_event(ours.listener()).per_key(100).unwrap();
    let in_all = RateLimiter::builder(Quota::per_day(30));
    let in_all = in_all.on_event(theirs.listener()).build().unwrap();
    let both = per_client.with_limits([in_all]).unwrap();
    let inner =
        tower::service_fn(|_: &'static str| std::future::ready(Ok::<_, tower::BoxError>(())));
    let by = both.by(|client: &&'static str| Some(*client));
    let mut service = RateLimitLayer::new(by).layer(inner);
    let mut admitted = 0;
    for (client, calls) in [("a", 11), ("b", 10), ("c", 10), ("d", 9)] {
        for _ in 0..calls {
            admitted += u32::from(matches!(
                Task::new(service.call(client)).run(),
                Poll::Ready(Ok(()))
            ));
        }
    }
    assert_eq!(admitted, 30);
    let count = |recorder: &Recorder| {
        let endings = recorder.endings();
        let rejected = endings.iter().filter(|ending| *ending == "rejected");
        (endings.len(), rejected.count())
    };
    // The limit per client rejects one call, and the limit for all the last nine.
    assert_eq!((count(&ours), count(&theirs)), ((31, 1), (39, 9)));
}

#[cfg(feature = "test-util")]
mod waiting {
    use super::*;

    use futures::stream::FuturesUnordered;
    use futures::{FutureExt, StreamExt};
    use seawall::{Bulkhead, Deadline, Timeout, TimeoutLayer};
    use tokio::time::{Instant, advance};
    use tower::ServiceExt;
    use tower::limit::ConcurrencyLimit;

    use crate::support::poll_ready;

    /// Ten a second, one at once.
    fn tenth() -> RateLimiter {
        let quota = Quota::per_second(10).burst(1);
        let builder = RateLimiter::builder(quota).name("limit").max_wait(secs(60));
        builder.build().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn rl4_waiters_are_admitted_in_fifo_order_each_with_one_wake_up() {
        let mock = Mock::new();
        let service = RateLimitLayer::waiting(tenth()).layer(mock.clone());
        let mut tasks: Vec<_> = (0..10)
            .map(|_| Task::new(service.clone().call(Do::Answer)))
            .collect();
        for (n, task) in tasks.iter_mut().enumerate() {
            assert_eq!(task.run().is_ready(), n == 0);
        }
        for n in 1..10 {
            advance(ms(100)).await;
            for (m, task) in tasks.iter_mut().enumerate().skip(n) {
                assert_eq!(task.wakes(), usize::from(m == n), "{m} at {n}");
            }
            assert!(matches!(tasks[n].run(), Poll::Ready(Ok(7))));
            assert_eq!((tasks[n].polls(), mock.calls()), (2, n + 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rl4_a_wait_longer_than_its_bound_is_rejected_at_once_and_takes_nothing() {
        let limiter = tenth();
        let mut service = RateLimitLayer::waiting(&limiter)
            .max_wait(ms(100))
            .layer(Mock::new());
        let (first, second, third) = (
            service.call(Do::Answer),
            service.call(Do::Answer),
            service.call(Do::Answer),
        );
        first.await.unwrap();
        let start = Instant::now();
        assert_eq!(
            reason(&third.await.unwrap_err()).kind(),
            RejectionKind::RateLimited
        );
        assert_eq!(start.elapsed(), secs(0));
        second.await.unwrap();
        assert_eq!(start.elapsed(), ms(100));
        // The rejected call has delayed no waiter.
        service.call(Do::Answer).await.unwrap();
        assert_eq!(start.elapsed(), ms(200));
    }

    // TO4, RL4: the end of the wait is known.
    #[tokio::test(start_paused = true)]
    async fn to4_a_wait_that_would_end_after_the_deadline_fails_at_once() {
        let limiter = tenth();
        limiter.try_acquire().unwrap();
        let mut service =
            TimeoutLayer::new(ms(99)).layer(RateLimitLayer::waiting(&limiter).layer(Mock::new()));
        let start = Instant::now();
        let error = service
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap_err();
        assert_eq!(reason(&error).policy().as_str(), "limit");
        assert_eq!(start.elapsed(), secs(0));

        // Behind a buffer the call of the worker has no deadline; the wait starts in a poll, which has one.
        let waiting = RateLimitLayer::waiting(&limiter).layer(Mock::new());
        let buffered = tower::buffer::Buffer::new(waiting, 4);
        let call = Deadline::after(ms(99)).scope(buffered.clone().oneshot(Do::Answer));
        let error = call.await.unwrap_err();
        assert_eq!(reason(&error).policy().as_str(), "limit");
        assert_eq!(start.elapsed(), secs(0));

        // Neither took a token. A wait that ends in time is waited for.
        let call = Deadline::after(ms(100)).enter(|| service.call(Do::Answer));
        drop(call);
        let enough =
            TimeoutLayer::new(ms(101)).layer(RateLimitLayer::waiting(&limiter).layer(Mock::new()));
        enough.oneshot(Do::Answer).await.unwrap();
        assert_eq!(start.elapsed(), ms(100));

        // TO3: behind a buffer a timeout ends the wait itself. It may be that of another caller.
        let timeout = TimeoutLayer::new(ms(99)).layer(buffered.clone());
        let error = timeout.oneshot(Do::Answer).await.unwrap_err();
        assert!(matches!(
            reason(&error).kind(),
            RejectionKind::TimedOut { .. }
        ));
        assert_eq!(start.elapsed(), ms(199));
        buffered.oneshot(Do::Answer).await.unwrap();
        assert_eq!(start.elapsed(), ms(200));
    }

    // RL4: behind a buffer only the first poll has the deadline, and bounds how long it is in the way.
    #[tokio::test(start_paused = true)]
    async fn rl4_a_call_that_is_not_polled_is_in_the_way_until_the_deadline_of_its_first_poll() {
        let limiter = tenth();
        let mut service = RateLimitLayer::waiting(&limiter).layer(Mock::new());
        assert!(limiter.allow());
        let mut stuck = Task::new(service.call(Do::Answer));
        let deadline = Deadline::after(ms(150));
        assert!(deadline.enter(|| stuck.run()).is_pending());
        let mut next = Task::new(service.call(Do::Answer));
        assert!(next.run().is_pending());
        advance(ms(151)).await;
        assert!(next.run().is_pending());
        advance(ms(1)).await;
        assert!(matches!(next.run(), Poll::Ready(Ok(7))));
    }

    // TO3: in a set of futures, which polls only those that were woken.
    #[tokio::test(start_paused = true)]
    async fn to3_a_wait_in_a_set_goes_on_after_a_late_poll_of_another_caller() {
        let limiter = tenth();
        let bulkhead = Bulkhead::builder(1).queue(1).build().unwrap();
        for waits_for_token in [true, false] {
            let held = bulkhead.try_acquire().unwrap();
            assert!(!waits_for_token || limiter.allow());
            let mut set = FuturesUnordered::new();
            set.push(async {
                match waits_for_token {
                    true => limiter.acquire().await,
                    false => bulkhead.acquire().await.map(drop),
                }
            });
            assert!(set.next().now_or_never().is_none());
            let timeout = Timeout::new(ms(50));
            let next = set.next().map(Ok::<_, io::Error>);
            let mut other = Task::new(timeout.run(|| next));
            assert!(other.run().is_pending());
            advance(ms(60)).await;
            held.release();
            advance(ms(60)).await;
            assert!(matches!(other.run(), Poll::Ready(Err(_))));
            drop(other);
            let woken = tokio::time::timeout(secs(1), set.next()).await;
            woken.expect("it is polled again").unwrap().unwrap();
        }
    }

    // Cases 12, 13.
    #[tokio::test(start_paused = true)]
    async fn to3_a_wait_polled_by_reference_under_a_shorter_timeout_goes_on() {
        let (limiter, mock) = (tenth(), Mock::new());
        assert!(limiter.allow());
        let mut service = RateLimitLayer::waiting(&limiter).layer(mock.clone());
        let start = Instant::now();
        let mut call = Box::pin(service.call(Do::Answer));
        let error = Timeout::new(ms(50)).run(|| &mut call).await.unwrap_err();
        assert!(error.rejection().is_some());
        assert_eq!(start.elapsed(), ms(50));
        call.await.unwrap();
        assert_eq!(start.elapsed(), ms(100));

        // TO4: nothing starts in a poll after that deadline either.
        let mut call = Box::pin(service.call(Do::Answer));
        let timeout = Timeout::new(ms(50));
        let mut other = Task::new(timeout.run(|| &mut call));
        assert!(other.run().is_pending());
        advance(ms(100)).await;
        assert!(matches!(other.run(), Poll::Ready(Err(_))));
        drop(other);
        assert_eq!(mock.calls(), 1);
        call.await.unwrap();
        assert_eq!(start.elapsed(), ms(200));
    }

    // TO7, CX14: behind a buffer only the first poll has the deadline, and it bounds the wait.
    #[tokio::test(start_paused = true)]
    async fn to7_a_deadline_in_the_first_poll_ends_the_wait_and_is_in_the_rejection() {
        let recorder = Recorder::new();
        let limiter = tenth();
        let _on = limiter.on_event(recorder.listener());
        let mut service = RateLimitLayer::waiting(&limiter).layer(Mock::new());
        assert!(limiter.allow());
        recorder.take();
        let deadline = Deadline::after(ms(50));
        let mut early = Task::new(deadline.scope(service.call(Do::Answer)));
        assert!(matches!(early.run(), Poll::Ready(Err(_))));
        assert_eq!(recorder.endings(), ["rejected"]);

        let deadline = Deadline::after(ms(150));
        let mut waits = Task::new(deadline.scope(service.call(Do::Answer)));
        assert!(waits.run().is_pending());
        advance(ms(90)).await;
        limiter.pause_for(secs(1));
        advance(ms(10)).await;
        let outcome = waits.run();
        assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
        assert_eq!(recorder.endings(), ["rejected"]);
    }

    // CX5: after its deadline a call is rejected, with or without a token, and no request is needed for that.
    #[tokio::test(start_paused = true)]
    async fn cx5_a_waiting_layer_rejects_after_its_deadline_over_a_stuck_service() {
        let recorder = Recorder::new();
        let limiter = tenth();
        let _on = limiter.on_event(recorder.listener());
        let mut service = RateLimitLayer::waiting(&limiter).layer(Mock::stuck());
        let passed = Deadline::after(secs(0));
        let outcome = passed.enter(|| {
            assert!(poll_ready::<Do, _>(&mut service).is_ready());
            Task::new(service.call(Do::Answer)).run()
        });
        let Poll::Ready(Err(error)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(reason(&error).kind(), RejectionKind::Expired);
        assert_eq!(limiter.available(), 1);
        assert_eq!(recorder.endings(), ["rejected"]);
        let rejected = passed.enter(|| limiter.reserve()).unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::Expired);
        assert_eq!(recorder.endings(), ["rejected"]);

        // So is a wait that would end after the deadline.
        assert!(limiter.allow());
        let soon = Deadline::after(ms(50));
        assert!(soon.enter(|| poll_ready::<Do, _>(&mut service)).is_ready());
        let late = Deadline::after(ms(150));
        let mut other = RateLimitLayer::waiting(&limiter).layer(Mock::stuck());
        assert!(late.enter(|| poll_ready::<Do, _>(&mut other)).is_pending());
    }

    // CX7, RL5
    #[tokio::test(start_paused = true)]
    async fn cx7_rl5_a_call_dropped_while_it_waits_returns_its_token() {
        let limiter = tenth();
        let recorder = Recorder::new();
        let _on = limiter.on_event(recorder.listener());
        let mock = Mock::new();
        let mut service = RateLimitLayer::waiting(&limiter).layer(mock.clone());
        service.call(Do::Answer).await.unwrap();
        recorder.take();
        // The next token is due in 100 ms, however many calls came and left: before the first poll, while
        // they slept, and when the token was due but the service was not ready.
        for sleeps in 0..3_000 {
            let mut task = Task::new(service.call(Do::Answer));
            for _ in 0..sleeps % 3 {
                assert!(task.run().is_pending());
            }
            task.cancel();
            assert_eq!(recorder.endings(), ["Dropped"]);
        }
        let start = Instant::now();
        service.call(Do::Answer).await.unwrap();
        assert_eq!((start.elapsed(), mock.calls()), (ms(100), 2));

        let stuck = Mock::stuck();
        let mut service = RateLimitLayer::waiting(&limiter).layer(stuck.clone());
        let mut task = Task::new(service.call(Do::Answer));
        assert!(task.run().is_pending());
        advance(ms(100)).await;
        assert!(task.run().is_pending());
        assert_eq!(limiter.available(), 0);
        task.cancel();
        assert_eq!((limiter.available(), stuck.calls()), (1, 0));

        // The token of a call that was made is spent.
        let mut hanging = Task::new(RateLimitLayer::waiting(&limiter).layer(mock).call(Do::Hang));
        assert!(hanging.run().is_pending());
        hanging.cancel();
        assert_eq!(limiter.available(), 0);
    }

    // RL12
    #[tokio::test(start_paused = true)]
    async fn rl12_a_waiter_holds_no_capacity_of_the_inner_service() {
        let limiter = tenth();
        let inner = ConcurrencyLimit::new(Mock::new(), 1);
        let mut service = RateLimitLayer::waiting(&limiter).layer(inner.clone());
        let mut other = inner;
        service
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap();
        // It was ready, so it held the only permit until its wait started.
        let waiting = service.ready().await.unwrap().call(Do::Answer);
        let mut waiting = Task::new(waiting);
        assert!(waiting.run().is_pending());
        let start = Instant::now();
        assert!(crate::support::poll_ready(&mut other).is_ready());
        let answer = other.call(Do::Answer).await;
        assert_eq!((answer.unwrap(), start.elapsed()), (7, secs(0)));
        advance(ms(100)).await;
        assert!(matches!(waiting.run(), Poll::Ready(Ok(7))));
    }

    // CX17
    #[tokio::test(start_paused = true)]
    async fn cx17_a_limiter_follows_advance() {
        let limiter = a_day(1);
        assert!(limiter.allow());
        advance(secs(86_399)).await;
        assert!(!limiter.allow());
        advance(secs(1)).await;
        assert!(limiter.allow());
    }
}
