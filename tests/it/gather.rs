//! Scatter-gather: the first success, a quorum, and all with what is missing.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use seawall::circuit_breaker::{State, Trip};
use seawall::classify::{ErrorsBy, Outcome};
use seawall::{
    Backoff, Budget, Bulkhead, CircuitBreaker, CircuitBreakerLayer, Deadline, Error, Hedge,
    RejectionKind, Retry, Timeout, gather,
};
use tokio::time::Instant;
use tower::buffer::Buffer;
use tower::{BoxError, Layer, ServiceExt};

use crate::support::{Do, Mock, Recorder, Task, ms, secs, spend_to};

type Call = BoxFuture<'static, io::Result<u32>>;

fn answers(after: Duration, answer: u32) -> Call {
    async move {
        tokio::time::sleep(after).await;
        Ok(answer)
    }
    .boxed()
}

fn fails(after: Duration) -> Call {
    async move {
        tokio::time::sleep(after).await;
        Err(io::Error::other("down"))
    }
    .boxed()
}

/// Counts the calls that are under way.
#[derive(Clone, Default)]
struct Held(Arc<AtomicUsize>);

impl Held {
    fn call(&self, call: Call) -> Call {
        struct Guard(Held);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        let guard = Guard(self.clone());
        async move {
            let _guard = guard;
            call.await
        }
        .boxed()
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (future.await, start.elapsed())
}

fn hedge(extra: u32) -> Hedge {
    let hedge = Hedge::builder().delay(ms(50)).max_extra(extra);
    hedge.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn sg1_the_next_call_starts_after_the_delay_or_at_once_after_a_failure() {
    let others = || [answers(ms(10), 2), answers(ms(10), 3)];
    let two = hedge(2);
    let slow = gather::first(&two, answers(ms(500), 1), others());
    assert_eq!(timed(async { slow.await.unwrap() }).await, (2, ms(60)));
    let failing = gather::first(&two, fails(ms(5)), others());
    assert_eq!(timed(async { failing.await.unwrap() }).await, (2, ms(15)));
    let fast = gather::first(&two, answers(ms(40), 1), others());
    assert_eq!(timed(async { fast.await.unwrap() }).await, (1, ms(40)));
    // Without a success, the error of the first; the calls end before the extras do.
    let log = Recorder::new();
    let hedge = hedge(9);
    hedge.on_event(log.listener()).forever();
    let none = gather::first(&hedge, fails(ms(5)), [fails(ms(1)), fails(ms(1))]);
    let (error, took) = timed(none).await;
    assert!(matches!(error.unwrap_err(), Error::Service(_)));
    assert_eq!(took, ms(7));
    // The calls have run out, and nothing more is said of it.
    assert_eq!(
        log.take(),
        ["extra attempt", "extra attempt", "Failure(Error)"]
    );
}

#[tokio::test(start_paused = true)]
async fn sg1_calls_beyond_the_first_draw_on_the_budget_in_force() {
    let outer = Budget::builder()
        .burst(10)
        .floor(0)
        .ratio(0.0)
        .build()
        .unwrap();
    spend_to(&outer, 1);
    let retry = Retry::builder().budget(&outer).max_attempts(2);
    let retry = retry.backoff(Backoff::constant(ms(1))).build().unwrap();
    let hedge = hedge(2);
    let first = || gather::first(&hedge, answers(ms(500), 1), [answers(ms(10), 2)]);
    // The retry's budget has one extra attempt.
    let inside = || timed(async { retry.run(|_| first()).await.unwrap() });
    assert_eq!(inside().await, (2, ms(60)));
    assert_eq!(inside().await, (1, ms(500)));
    assert_eq!((hedge.snapshot().made, hedge.snapshot().suppressed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn sg2_a_quorum_is_the_first_k_successes_in_the_order_of_the_calls() {
    let held = Held::default();
    let calls = [
        answers(ms(30), 1),
        fails(ms(5)),
        answers(ms(10), 3),
        answers(secs(60), 4),
    ];
    let calls = calls.map(|call| held.call(call));
    let (quorum, took) = timed(gather::quorum(2, calls)).await;
    assert_eq!((quorum.unwrap(), took), (vec![1, 3], ms(30)));
    // SG4
    assert_eq!(held.count(), 0);
    let none = gather::quorum(0, [fails(ms(1))]).await;
    assert!(none.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sg2_it_ends_when_too_few_calls_are_left_and_keeps_what_came() {
    let calls = [
        fails(ms(20)),
        answers(ms(10), 2),
        fails(ms(5)),
        answers(secs(60), 4),
    ];
    let (quorum, took) = timed(gather::quorum(3, calls)).await;
    let error = quorum.unwrap_err();
    assert_eq!(took, ms(20));
    assert_eq!(
        error.to_string(),
        "no quorum: 1 of 3 needed calls succeeded (4 calls, 2 failed, 1 did not end)"
    );
    assert_eq!(error.gathered().responses().collect::<Vec<_>>(), [&2]);
    assert_eq!(
        (
            error.gathered().errors().count(),
            error.gathered().missing()
        ),
        (2, 1)
    );
    // More than there are calls: none is made.
    let error = gather::quorum(2, [async { panic!("called") as io::Result<u32> }]).await;
    assert_eq!(error.unwrap_err().gathered().missing(), 1);
}

// SG4: with what came until the deadline, and not with a timeout that has nothing.
#[tokio::test(start_paused = true)]
async fn sg2_the_deadline_in_force_ends_a_quorum_with_what_came() {
    let calls = || [answers(ms(10), 1), answers(secs(60), 2)];
    let within = Timeout::new(ms(100));
    let error = within.run(|| gather::quorum(2, calls())).await.unwrap_err();
    let Error::Service(error) = error else {
        panic!("{error}");
    };
    assert_eq!((error.needed(), error.succeeded()), (2, 1));
    let scope = Deadline::after(ms(100)).scope(gather::quorum(2, calls()));
    let (error, took) = timed(scope).await;
    assert_eq!((error.unwrap_err().succeeded(), took), (1, ms(100)));
}

#[tokio::test]
async fn sg2_the_classifier_says_what_a_success_is() {
    let found = ErrorsBy(|error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Outcome::Success,
        _ => Outcome::failure(seawall::classify::FailureKind::Error),
    });
    let calls = [
        Ok(1),
        Err(io::ErrorKind::NotFound),
        Err(io::ErrorKind::Other),
    ];
    let calls = calls.map(|outcome| async move { outcome.map_err(io::Error::from) });
    // A negative answer counts, and is no response.
    assert_eq!(gather::quorum_with(found, 2, calls).await.unwrap(), [1]);
    // A response that is a failure does not count, and is not among the successes.
    let above_one = |outcome: Result<&u32, &io::Error>| match outcome {
        Ok(2..) => Outcome::Success,
        _ => Outcome::failure(seawall::classify::FailureKind::Response),
    };
    let calls = [1, 5, 1].map(|answer| async move { Ok::<_, io::Error>(answer) });
    assert_eq!(gather::quorum_with(above_one, 1, calls).await.unwrap(), [5]);
}

#[tokio::test(start_paused = true)]
async fn sg3_all_returns_what_came_within_the_limit() {
    let held = Held::default();
    let calls = [
        answers(ms(10), 1),
        fails(ms(5)),
        answers(ms(100), 3),
        answers(ms(101), 4),
    ];
    let calls = calls.map(|call| held.call(call));
    let (all, took) = timed(gather::all(ms(100), calls)).await;
    // What ends with the limit counts.
    assert_eq!(took, ms(100));
    assert_eq!(all.responses().collect::<Vec<_>>(), [&1, &3]);
    assert_eq!(
        (all.errors().count(), all.missing(), all.is_complete()),
        (1, 1, false)
    );
    assert!(matches!(
        all.outcomes(),
        [Some(Ok(1)), Some(Err(_)), Some(Ok(3)), None]
    ));
    // SG4
    assert_eq!(held.count(), 0);

    let (all, took) = timed(gather::all(
        Duration::MAX,
        [answers(ms(5), 1), answers(ms(9), 2)],
    ))
    .await;
    assert_eq!((all.is_complete(), took), (true, ms(9)));
    assert_eq!(all.into_responses().collect::<Vec<_>>(), [1, 2]);
    let none = gather::all(secs(1), [] as [Call; 0]).await;
    assert!(none.is_complete());
}

#[tokio::test(start_paused = true)]
async fn sg4_each_call_sees_the_deadline_and_nothing_starts_after_it() {
    let left = || async { Ok::<_, io::Error>(Deadline::remaining().unwrap()) };
    let all = gather::all(ms(100), [left(), left()]).await;
    assert_eq!(all.into_responses().collect::<Vec<_>>(), [ms(100); 2]);
    let inside = Deadline::after(ms(30))
        .scope(gather::all(ms(100), [left()]))
        .await;
    assert_eq!(inside.into_responses().collect::<Vec<_>>(), [ms(30)]);
    assert_eq!(Deadline::remaining(), None);
    let mock = Mock::new();
    let late = async {
        tokio::time::sleep(ms(40)).await;
        gather::all(ms(100), [mock.clone().oneshot(Do::Answer)]).await
    };
    let late = Deadline::after(ms(30)).scope(late).await;
    assert_eq!((late.missing(), mock.calls()), (1, 0));
}

// SG4: policies of each call, and a drop of the whole.
#[tokio::test]
async fn sg4_a_drop_drops_every_call_with_its_permit() {
    let bulkheads = [(); 3].map(|()| Bulkhead::builder(1).build().unwrap());
    let calls = bulkheads
        .iter()
        .map(|bulkhead| bulkhead.run(pending::<Result<u32, BoxError>>));
    let mut task = Task::new(gather::quorum_with(seawall::classify::ErrorsOnly, 2, calls));
    assert!(task.run().is_pending());
    assert!(
        bulkheads
            .iter()
            .all(|bulkhead| bulkhead.snapshot().in_flight == 1)
    );
    task.cancel();
    assert!(
        bulkheads
            .iter()
            .all(|bulkhead| bulkhead.snapshot().in_flight == 0)
    );
    // An open breaker is one error of many.
    let shops = ["a", "b"].map(CircuitBreaker::new);
    shops[0].force_open();
    let calls = shops
        .iter()
        .map(|shop| shop.run(|| async { Ok::<_, io::Error>(1) }));
    let all = gather::all(secs(1), calls).await;
    let rejected = all.errors().next().and_then(Error::rejection).unwrap();
    assert_eq!(
        (rejected.kind(), all.responses().count()),
        (RejectionKind::CircuitOpen, 1)
    );
}

// SG4, CB8: also behind a buffer, where a call is made outside of the limit.
#[tokio::test(start_paused = true)]
async fn sg4_cb8_a_call_that_a_limit_ends_is_a_failure_behind_a_buffer_too() {
    let trip = Trip::consecutive_failures(2);
    let breaker = CircuitBreaker::builder("shop").trip_on(trip);
    let breaker = breaker.build().unwrap();
    let layer = CircuitBreakerLayer::new(&breaker);
    let shop = Buffer::new(layer.layer(Mock::new()), 4);
    let call = || shop.clone().oneshot(Do::Hang);
    let failures = || breaker.snapshot().rules[0].counts.consecutive;
    // A drop before it is no failure.
    let mut task = Task::new(Box::pin(gather::all(ms(100), [call()])));
    assert!(task.run().is_pending());
    task.cancel();
    assert_eq!(failures(), 0);
    assert_eq!(gather::all(ms(100), [call()]).await.missing(), 1);
    assert_eq!(failures(), 1);
    // TO8
    assert!(Deadline::shield(ms(100), call()).await.is_err());
    assert_eq!(breaker.state(), State::Open);
}
