//! HG: which attempt starts when, and which wins.

use std::future::Future;
use std::task::Poll;

use tower_layer::Layer;

use super::support::{
    Answer, Backend, Events, Fail, NEVER, Outcome, answer, call, classify, fail, ms,
};
use crate::rejection::Error;
use crate::testing::Text;
use crate::{Budget, Hedge, HedgeLayer, Mode, Timeout};

type Classifier = fn(Result<&Answer, &Error<Fail>>) -> crate::Outcome;

fn layer(hedge: &Hedge) -> HedgeLayer<Classifier> {
    HedgeLayer::new(hedge).classify(classify)
}

fn unlimited() -> Budget {
    Budget::builder().mode(Mode::Off).build().unwrap()
}

fn times(max_extra: u32) -> Hedge {
    let hedge = Hedge::builder().delay(ms(10)).max_extra(max_extra);
    hedge.budget(unlimited()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn hg1_hg7_an_extra_attempt_starts_after_the_fixed_delay_and_reads_its_number() {
    let hedge = Hedge::fixed(ms(10));
    let backend = Backend::new(|n| match n {
        0 => (ms(9), answer(1)),
        1 => (ms(100), answer(2)),
        _ => (ms(5), answer(3)),
    });
    let log = backend.log.clone();
    let mut service = layer(&hedge).layer(backend);
    assert_eq!(call(&mut service, ()).await, answer(1));
    assert_eq!(log.calls(), 1);
    let before = tokio::time::Instant::now();
    assert_eq!(call(&mut service, ()).await, answer(3));
    assert_eq!(before.elapsed(), ms(15));
    assert_eq!(log.times(), [0, 9, 19]);
    let attempts: Vec<_> = log
        .seen()
        .iter()
        .map(|seen| (seen.attempt, seen.extra))
        .collect();
    assert_eq!(
        attempts,
        [(Some(1), false), (Some(1), false), (Some(2), true)]
    );
    assert_eq!((hedge.snapshot().made, hedge.snapshot().won), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn hg1_the_quantile_needs_its_samples_and_its_range() {
    let hedge = Hedge::builder().quantile(0.5).build().unwrap();
    let backend = Backend::new(|n| match n {
        0..100 => (ms(10), answer(n)),
        100 => (NEVER, answer(n)),
        101 => (ms(10), answer(n)),
        _ => (ms(10_001), answer(n)),
    });
    let log = backend.log.clone();
    let mut service = layer(&hedge).layer(backend);
    for _ in 0..99 {
        call(&mut service, ()).await.unwrap();
    }
    tokio::time::advance(ms(100)).await;
    assert_eq!(hedge.delay(), None);
    call(&mut service, ()).await.unwrap();
    tokio::time::advance(ms(100)).await;
    let delay = hedge.delay().unwrap();
    assert!((ms(10)..ms(11)).contains(&delay), "{delay:?}");
    assert_eq!(call(&mut service, ()).await, answer(101));
    assert_eq!(hedge.snapshot().made, 1);
    // HG5: the loser counts as longer than it took.
    assert_eq!(
        (hedge.snapshot().samples, hedge.snapshot().cut_short),
        (101, 1)
    );
    tokio::time::advance(ms(60_000)).await;
    let mut calls = Vec::new();
    for _ in 0..100 {
        let mut service = service.clone();
        calls.push(tokio::spawn(
            async move { call(&mut service, ()).await.is_ok() },
        ));
    }
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(hedge.snapshot().samples, 100);
    assert_eq!(hedge.delay(), None);
    call(&mut service, ()).await.unwrap();
    assert_eq!(hedge.snapshot().made, 1);
    assert_eq!(log.calls(), 203);
}

#[tokio::test(start_paused = true)]
async fn hg1_a_quantile_below_a_millisecond_waits_one() {
    let hedge = Hedge::builder()
        .quantile(0.5)
        .min_samples(1)
        .build()
        .unwrap();
    let mut service = layer(&hedge).layer(Backend::new(|n| (ms(0), answer(n))));
    call(&mut service, ()).await.unwrap();
    tokio::time::advance(ms(100)).await;
    assert_eq!(hedge.delay(), Some(ms(1)));
}

// A failure could have taken longer; a rejection has no latency.
#[tokio::test(start_paused = true)]
async fn hg5_only_successes_are_complete_latencies() {
    let hedge = Hedge::builder()
        .quantile(0.5)
        .min_samples(1)
        .build()
        .unwrap();
    let backend = Backend::new(|n| match n {
        0 => (ms(5), answer(n)),
        1 => (ms(5), fail(n)),
        _ => (ms(5), Err(Error::Service(Fail::Rejected))),
    });
    let mut service = layer(&hedge).layer(backend);
    for _ in 0..3 {
        let _ = call(&mut service, ()).await;
    }
    let seen = hedge.snapshot();
    assert_eq!((seen.samples, seen.cut_short), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn cx19_min_delay_and_min_samples_change_at_once() {
    let hedge = Hedge::builder().quantile(0.5).build().unwrap();
    let mut service = layer(&hedge).layer(Backend::new(|n| (ms(2), answer(n))));
    for _ in 0..10 {
        call(&mut service, ()).await.unwrap();
    }
    assert_eq!(hedge.delay(), None);
    hedge.change(|now| now.min_samples(10)).unwrap();
    assert!((ms(2)..ms(4)).contains(&hedge.delay().unwrap()));
    hedge.change(|now| now.min_delay(ms(7))).unwrap();
    assert_eq!(hedge.delay(), Some(ms(7)));
    hedge.change(|now| now.min_samples(0)).unwrap_err();
    hedge.change(|now| now.min_delay(ms(10_001))).unwrap_err();
    assert_eq!(hedge.delay(), Some(ms(7)));
    hedge.change(|now| now.min_samples(11)).unwrap();
    assert_eq!(hedge.delay(), None);
}

#[tokio::test(start_paused = true)]
async fn cx19_a_new_quantile_is_used_at_once() {
    let hedge = Hedge::builder()
        .quantile(0.5)
        .min_samples(1)
        .build()
        .unwrap();
    let backend = Backend::new(|n| (ms(if n < 80 { 10 } else { 50 }), answer(n)));
    let mut service = layer(&hedge).layer(backend);
    for _ in 0..100 {
        call(&mut service, ()).await.unwrap();
    }
    tokio::time::advance(ms(100)).await;
    assert!(hedge.delay().unwrap() < ms(11));
    hedge.set_quantile(0.9).unwrap();
    assert!(hedge.delay().unwrap() >= ms(50));
}

#[tokio::test(start_paused = true)]
async fn hg1_the_delay_can_depend_on_request_and_attempt() {
    let backend = Backend::new(|n| (NEVER, answer(n)));
    let log = backend.log.clone();
    let mut service = layer(&times(3))
        .delay_from(|request: &u32, attempt| match attempt {
            2 => Some(ms(u64::from(*request))),
            3 => Some(ms(7)),
            // The hedge's own.
            _ => None,
        })
        .layer(backend);
    let answer = tokio::time::timeout(ms(100), call(&mut service, 30u32)).await;
    assert!(answer.is_err());
    assert_eq!(log.times(), [0, 30, 37, 47]);
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn hg2_a_failure_does_not_win_and_starts_the_next_at_once() {
    let backend = Backend::new(|n| match n {
        0 => (ms(30), answer(0)),
        1 => (ms(5), fail(1)),
        _ => (ms(100), answer(2)),
    });
    let log = backend.log.clone();
    let mut service = layer(&times(2)).layer(backend);
    assert_eq!(call(&mut service, ()).await, answer(0));
    assert_eq!(log.times(), [0, 10, 15]);
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn hg2_a_failure_of_the_first_attempt_starts_the_next_before_its_delay() {
    let backend = Backend::new(|n| match n {
        0 => (ms(3), fail(0)),
        _ => (ms(50), answer(1)),
    });
    let log = backend.log.clone();
    let mut service = layer(&times(1)).layer(backend);
    assert_eq!(call(&mut service, ()).await, answer(1));
    assert_eq!(log.times(), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn hg2_if_all_fail_the_outcome_of_the_first_is_returned() {
    for first in [0, 3, 200] {
        let backend = Backend::new(move |n| (ms(if n == 0 { first } else { 20 }), fail(n)));
        let log = backend.log.clone();
        let hedge = times(2);
        let events = Events::of(&hedge);
        let mut service = layer(&hedge).layer(backend);
        assert_eq!(call(&mut service, ()).await, fail(0));
        assert_eq!(log.calls(), 3);
        assert_eq!(
            events.endings(crate::event::Ending::Failure(
                crate::classify::FailureKind::Error
            )),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn hg2_an_ignored_outcome_starts_nothing_and_does_not_win() {
    let rejected = || Err(Error::Service(Fail::Rejected));
    let backend = Backend::new(move |_| (ms(3), rejected()));
    let log = backend.log.clone();
    let mut service = layer(&times(2)).layer(backend);
    assert_eq!(call(&mut service, ()).await, rejected());
    assert_eq!(log.times(), [0]);

    // The extra attempt is rejected, as by a bulkhead below: the first continues.
    let backend = Backend::new(move |n| match n {
        0 => (ms(18), answer(0)),
        _ => (ms(0), rejected()),
    });
    let log = backend.log.clone();
    let mut service = layer(&times(2)).layer(backend);
    assert_eq!(call(&mut service, ()).await, answer(0));
    assert_eq!(log.times(), [0, 10]);

    // The first is rejected while another is under way.
    let backend = Backend::new(move |n| match n {
        0 => (ms(15), rejected()),
        _ => (ms(20), answer(n)),
    });
    let mut service = layer(&times(1)).layer(backend);
    assert_eq!(call(&mut service, ()).await, answer(1));
}

#[tokio::test(start_paused = true)]
async fn hg2_a_permanent_failure_starts_nothing() {
    let permanent = || Err(Error::Service(Fail::Permanent));
    let backend = Backend::new(move |_| (ms(3), permanent()));
    let log = backend.log.clone();
    let mut service = layer(&times(2)).layer(backend);
    assert_eq!(call(&mut service, ()).await, permanent());
    assert_eq!(log.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn hg2_a_failure_that_forbids_another_call_ends_the_hedges() {
    let after = |delay| Err(Error::Service(Fail::After(delay)));
    let permanent = Err(Error::Service(Fail::Permanent));
    // An extra attempt fails while the first is in flight.
    for (failure, times_made) in [
        (after(NEVER), vec![0, 10]),
        (permanent, vec![0, 10]),
        (after(ms(5)), vec![0, 10, 20]),
    ] {
        let failure = crate::sync::Mutex::new(Some(failure));
        let backend = Backend::new(move |n| match n {
            1 => (ms(2), failure.lock().take().unwrap()),
            _ => (ms(50), answer(n)),
        });
        let log = backend.log.clone();
        let mut service = layer(&times(2)).layer(backend);
        assert_eq!(call(&mut service, ()).await, answer(0));
        assert_eq!(log.times(), times_made);
    }
    // The first fails, alone and while an extra attempt is in flight.
    for (takes, times_made) in [(3, vec![0]), (15, vec![0, 10])] {
        let backend = Backend::new(move |n| match n {
            0 => (ms(takes), after(NEVER)),
            _ => (ms(30), answer(n)),
        });
        let log = backend.log.clone();
        let mut service = layer(&times(2)).layer(backend);
        let expected = match times_made.len() {
            1 => after(NEVER),
            _ => answer(1),
        };
        assert_eq!(call(&mut service, ()).await, expected);
        assert_eq!(log.times(), times_made);
    }
}

// It has its own readiness, and a change of the hedge keeps it.
#[tokio::test(start_paused = true)]
async fn hg8_extra_attempts_go_to_another_service() {
    let (slow, fast) = (
        Backend::new(|n| (NEVER, answer(n))),
        Backend::new(|_| (ms(5), answer(7))),
    );
    let (first, extra) = (slow.log.clone(), fast.log.clone());
    let hedge = times(2);
    let mut service = layer(&hedge).with(fast).layer(slow);
    assert_eq!(call(&mut service, ()).await, answer(7));
    assert_eq!((first.calls(), extra.times()), (1, vec![10]));
    hedge.set_delay(ms(30));
    assert_eq!(call(&mut service.clone(), ()).await, answer(7));
    assert_eq!((first.calls(), extra.times()), (2, vec![10, 45]));
    assert_eq!(first.in_flight() + extra.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn hg3_losers_are_dropped_before_the_winner_is_returned() {
    let backend = Backend::new(|n| match n {
        2 => (ms(1), answer(2)),
        n => (NEVER, answer(n)),
    });
    let log = backend.log.clone();
    let mut service = layer(&times(2)).layer(backend);
    let future = {
        std::future::poll_fn(|cx| tower_service::Service::<()>::poll_ready(&mut service, cx))
            .await
            .unwrap();
        tower_service::Service::call(&mut service, ())
    };
    tokio::pin!(future);
    let won = future.as_mut().await;
    assert_eq!(won, answer(2));
    // The future has not been dropped.
    assert_eq!(log.in_flight(), 0);
    assert_eq!(log.calls(), 3);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn hg6_by_default_only_idempotent_requests_are_hedged() {
    for (method, calls) in [("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)] {
        let backend = Backend::new(|n| (ms(30), answer(n)));
        let log = backend.log.clone();
        let mut service = layer(&times(1)).layer(backend);
        let request = http::Request::builder().method(method).body(()).unwrap();
        assert_eq!(call(&mut service, request).await, answer(0));
        assert_eq!(log.calls(), calls, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn hg6_only_says_which_requests_are_hedged() {
    for (request, calls) in [("read", 2), ("write", 1)] {
        let backend = Backend::new(|n| (ms(30), answer(n)));
        let log = backend.log.clone();
        let mut service = layer(&times(1))
            .only(|request: &&str| *request == "read")
            .layer(backend);
        assert_eq!(call(&mut service, request).await, answer(0));
        assert_eq!(log.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn hg6_to4_no_extra_attempt_starts_after_the_deadline() {
    for (limit, calls) in [(10, 1), (11, 2)] {
        let backend = Backend::new(|n| (NEVER, answer(n)));
        let (log, clones) = (backend.log.clone(), backend.log.clone());
        let mut service = layer(&times(1)).layer(backend);
        let timeout = Timeout::new(ms(limit));
        let outcome = timeout.run(|| call(&mut service, ())).await;
        assert!(outcome.unwrap_err().rejection().is_some());
        assert_eq!(log.calls(), calls, "{limit}");
        assert_eq!(log.in_flight(), 0);
        assert_eq!(*clones.clones.lock(), calls as u32);
    }
}

// Behind a buffer, only the polls see the deadline.
#[tokio::test(start_paused = true)]
async fn to4_a_deadline_that_only_the_polls_see_applies_too() {
    let backend = Backend::new(|n| (NEVER, answer(n)));
    let log = backend.log.clone();
    let mut service = layer(&times(1)).layer(backend);
    std::future::poll_fn(|cx| tower_service::Service::<()>::poll_ready(&mut service, cx))
        .await
        .unwrap();
    let future = tower_service::Service::call(&mut service, ());
    let outcome = Timeout::new(ms(10)).run(|| future).await;
    assert!(outcome.unwrap_err().rejection().is_some());
    assert_eq!(log.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn to3_hg1_a_call_polled_by_reference_under_a_shorter_timeout_is_hedged_later() {
    let backend = Backend::new(|n| (if n == 0 { NEVER } else { ms(1) }, answer(n)));
    let log = backend.log.clone();
    let mut service = layer(&times(1)).layer(backend);
    std::future::poll_fn(|cx| tower_service::Service::<()>::poll_ready(&mut service, cx))
        .await
        .unwrap();
    let mut call = Box::pin(tower_service::Service::call(&mut service, ()));
    let cut = Timeout::new(ms(5)).run(|| &mut call).await;
    assert!(cut.unwrap_err().rejection().is_some());
    assert_eq!(call.await, answer(1));
    assert_eq!(log.times(), [0, 10]);
}

#[tokio::test(start_paused = true)]
async fn to3_a_delay_that_ends_in_a_late_poll_of_another_caller_hedges_later() {
    let backend = Backend::new(|n| (if n == 0 { NEVER } else { ms(1) }, answer(n)));
    let log = backend.log.clone();
    let mut service = layer(&times(1)).layer(backend);
    let mut call = Box::pin(call(&mut service, ()));
    assert!(futures::poll!(&mut call).is_pending());
    {
        let timeout = Timeout::new(ms(5));
        let mut within = Box::pin(timeout.run(|| &mut call));
        assert!(futures::poll!(&mut within).is_pending());
        tokio::time::advance(ms(20)).await;
        assert!(futures::poll!(&mut within).is_ready());
    }
    assert_eq!(log.calls(), 1);
    assert_eq!(call.await, answer(1));
    assert_eq!(log.calls(), 2);
}

// HG2: the next attempt is due at once, and starts in the first poll of a caller that is not late.
#[tokio::test(start_paused = true)]
async fn to3_a_failure_in_a_late_poll_of_another_caller_is_hedged_later() {
    let failing: [fn() -> Outcome; 2] = [|| fail(0), || Err(Error::Service(Fail::Permanent))];
    for (first, calls) in failing.into_iter().zip([2, 1]) {
        let backend = Backend::new(move |n| match n {
            0 => (ms(8), first()),
            _ => (ms(1), answer(n)),
        });
        let log = backend.log.clone();
        let mut service = layer(&times(1)).layer(backend);
        let mut call = Box::pin(call(&mut service, ()));
        assert!(futures::poll!(&mut call).is_pending());
        let timeout = Timeout::new(ms(5));
        let mut within = Box::pin(timeout.run(|| &mut call));
        assert!(futures::poll!(&mut within).is_pending());
        tokio::time::advance(ms(8)).await;
        let Poll::Ready(outcome) = futures::poll!(&mut within) else {
            panic!("its time is over");
        };
        drop(within);
        assert_eq!(log.calls(), 1);
        // A permanent failure is the outcome at once.
        if calls == 1 {
            assert!(matches!(
                outcome,
                Err(Error::Service(Error::Service(Fail::Permanent)))
            ));
            continue;
        }
        assert!(outcome.unwrap_err().rejection().is_some());
        assert_eq!(call.await, answer(1));
        assert_eq!(log.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn to4_a_late_poll_after_the_deadline_starts_no_extra_attempt() {
    let suppressed = "Suppressed { attempt: 2, reason: Deadline }";
    for (deadline, calls, event) in [(20, 1, suppressed), (21, 2, "2 20")] {
        let backend = Backend::new(|n| (NEVER, answer(n)));
        let log = backend.log.clone();
        let hedge = times(1);
        let events = Events::of(&hedge);
        let mut service = layer(&hedge).layer(backend);
        let call = call(&mut service, ());
        let mut call = Box::pin(crate::Deadline::after(ms(deadline)).scope(call));
        assert!(futures::poll!(&mut call).is_pending());
        tokio::time::advance(ms(20)).await;
        for _ in 0..2 {
            assert!(futures::poll!(&mut call).is_pending());
        }
        assert_eq!(log.calls(), calls, "{deadline}");
        // CX14: once.
        assert_eq!(events.all(), [event]);
    }
}

#[tokio::test(start_paused = true)]
async fn to2_a_total_timeout_ends_all_attempts() {
    let backend = Backend::new(|n| (NEVER, answer(n)));
    let log = backend.log.clone();
    let mut service = layer(&times(5)).layer(backend);
    let start = tokio::time::Instant::now();
    let outcome = Timeout::new(ms(35)).run(|| call(&mut service, ())).await;
    assert!(outcome.unwrap_err().rejection().is_some());
    assert_eq!(start.elapsed(), ms(35));
    assert_eq!(log.times(), [0, 10, 20, 30]);
    assert_eq!(log.in_flight(), 0);
}

// An extra attempt of another policy is not hedged, and keeps its number.
#[tokio::test(start_paused = true)]
async fn hg6_rt10_only_first_attempts_hedge() {
    for (outer, seen) in [
        (1, vec![Some(1), Some(2)]),
        (2, vec![Some(2)]),
        (3, vec![Some(3)]),
    ] {
        let backend = Backend::new(|n| (ms(30), answer(n)));
        let log = backend.log.clone();
        let mut service = layer(&times(1)).layer(backend);
        let attempt = crate::context::Attempt::new(outer, None);
        let mut future = std::pin::pin!(call(&mut service, ()));
        let outcome = std::future::poll_fn(|cx| {
            let _entered = attempt.enter();
            future.as_mut().poll(cx)
        });
        assert_eq!(outcome.await, answer(0));
        let attempts: Vec<_> = log.seen().iter().map(|seen| seen.attempt).collect();
        assert_eq!(attempts, seen);
    }
}

// Behind a buffer, only the polls see the attempt. A failure starts no attempt either.
#[tokio::test(start_paused = true)]
async fn hg6_an_extra_attempt_that_only_the_polls_see_is_not_hedged() {
    for outcome in [answer as fn(u32) -> _, fail] {
        let backend = Backend::new(move |n| (ms(30), outcome(n)));
        let log = backend.log.clone();
        let hedge = times(1);
        let mut service = layer(&hedge).layer(backend);
        std::future::poll_fn(|cx| tower_service::Service::<()>::poll_ready(&mut service, cx))
            .await
            .unwrap();
        let mut future = std::pin::pin!(tower_service::Service::call(&mut service, ()));
        let attempt = crate::context::Attempt::new(2, None);
        let polled = std::future::poll_fn(|cx| {
            let _entered = attempt.enter();
            future.as_mut().poll(cx)
        });
        assert_eq!(polled.await, outcome(0));
        assert_eq!((log.calls(), hedge.snapshot().made), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn hg6_hedges_do_not_nest_in_extra_attempts() {
    let backend = Backend::new(|n| (NEVER, answer(n)));
    let log = backend.log.clone();
    let inner = layer(&times(2)).layer(backend);
    let outer = Hedge::builder()
        .delay(ms(50))
        .max_extra(2)
        .budget(unlimited())
        .build()
        .unwrap();
    let mut service = layer(&outer).layer(inner);
    let _ = tokio::time::timeout(ms(500), call(&mut service, ())).await;
    let attempts: Vec<_> = log
        .seen()
        .iter()
        .map(|seen| seen.attempt.unwrap())
        .collect();
    assert_eq!(attempts, [1, 2, 3, 2, 3]);
    assert_eq!(log.times(), [0, 10, 20, 50, 100]);
}

#[tokio::test(start_paused = true)]
async fn rt8_a_readiness_error_is_a_failed_attempt_that_gives_its_budget_back() {
    #[derive(Clone)]
    struct Once(bool, u32);
    impl tower_service::Service<()> for Once {
        type Response = u32;
        type Error = Error<Text>;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<u32, Error<Text>>>>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(if self.0 {
                Ok(())
            } else {
                Err(Error::Service(Text("not ready")))
            })
        }

        fn call(&mut self, (): ()) -> Self::Future {
            let takes = ms(u64::from(self.1));
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                Err(Error::Service(Text("failed")))
            })
        }
    }
    for takes in [5, 30] {
        let budget = Budget::builder()
            .floor(0)
            .ratio(0.0)
            .burst(5)
            .build()
            .unwrap();
        let hedge = Hedge::builder()
            .delay(ms(10))
            .max_extra(3)
            .budget(&budget)
            .build()
            .unwrap();
        let mut service = HedgeLayer::new(&hedge).layer(Once(false, takes));
        // The first service is made ready; the template was cloned before.
        let once = std::future::poll_fn(|cx| tower_service::Service::poll_ready(&mut service, cx));
        assert!(once.await.is_err());
        let outcome = tower_service::Service::call(&mut service, ()).await;
        assert_eq!(outcome, Err(Error::Service(Text("failed"))));
        assert_eq!(budget.snapshot().balance, 5.0);
        assert_eq!(hedge.snapshot().made, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn cx14_a_hedge_without_a_copy_has_its_event_when_it_is_due() {
    for (takes, expected) in [
        (ms(5), vec!["Success 5"]),
        (
            ms(20),
            vec!["Suppressed { attempt: 2, reason: NoCopy }", "Success 20"],
        ),
    ] {
        let hedge = Hedge::fixed(ms(10));
        let events = Events::of(&hedge);
        let backend = Backend::new(move |n| (takes, answer(n)));
        let layer = layer(&hedge).only(|(): &()| true).resend(|(): &()| None);
        let mut service = layer.layer(backend);
        assert_eq!(call(&mut service, ()).await, answer(0));
        assert_eq!(events.all(), expected);
    }
}
