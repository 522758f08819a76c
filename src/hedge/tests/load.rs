//! HG4, RT4: the load that a hedge adds to its backend.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use tower_layer::Layer;
use tower_service::Service;

use super::support::{Backend, NEVER, answer, call, classify, fail, ms};
use crate::budget::Refill;
use crate::context::Attempt;
use crate::sync::Arc;
use crate::{Budget, Hedge, HedgeLayer, Rejection, RejectionKind};

/// Makes a call every `every` ms and awaits all of them.
async fn calls(
    service: &(impl Service<(), Future: Send> + Clone + Send + 'static),
    n: u32,
    every: u64,
) {
    let mut calls = Vec::new();
    for _ in 0..n {
        let mut service = service.clone();
        calls.push(tokio::spawn(async move {
            let _ = call(&mut service, ()).await;
        }));
        tokio::time::sleep(ms(every)).await;
    }
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn hg4_a_backend_that_is_slow_for_all_calls_gets_at_most_1_plus_ratio_of_the_load() {
    let hedge = Hedge::fixed(ms(10));
    let backend = Backend::new(|n| (ms(100), answer(n)));
    let log = backend.log.clone();
    let service = HedgeLayer::new(&hedge).layer(backend);
    calls(&service, 5_000, 2).await;
    let extra = log.calls() - 5_000;
    // Ratio and burst.
    assert!(extra <= 500 + 10, "{extra}");
    assert!(extra >= 500, "{extra}");
    assert_eq!(hedge.snapshot().made, extra as u64);
    assert_eq!(hedge.snapshot().suppressed, 5_000 - extra as u64);
}

#[tokio::test(start_paused = true)]
async fn hg4_a_quantile_that_jumps_tenfold_costs_no_more_than_the_budget() {
    let hedge = Hedge::builder().quantile(0.95).build().unwrap();
    let backend = Backend::new(|n| match n {
        0..2_000 => (ms(20), answer(n)),
        _ => (ms(200), answer(n)),
    });
    let log = backend.log.clone();
    let service = HedgeLayer::new(&hedge).layer(backend);
    calls(&service, 2_000, 5).await;
    assert_eq!(log.calls(), 2_000);
    calls(&service, 4_000, 5).await;
    let extra = log.calls() - 6_000;
    assert!(extra > 0);
    assert!(extra <= 600 + 10, "{extra}");
    let delay = hedge.delay().unwrap();
    assert!(delay >= ms(200) && delay <= ms(213), "{delay:?}");
    // HG5: the share that was slow once is not hedged for ever.
    let before = log.calls();
    calls(&service, 1_000, 5).await;
    assert_eq!(log.calls() - before, 1_000);
}

#[tokio::test(start_paused = true)]
async fn hg4_a_spent_budget_only_suppresses_the_extra_attempt() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(1)
        .floor(0)
        .build()
        .unwrap();
    let hedge = Hedge::builder()
        .delay(ms(10))
        .max_extra(3)
        .budget(&budget)
        .build()
        .unwrap();
    let backend = Backend::new(|n| match n {
        3 => (ms(5), fail(n)),
        _ => (ms(30), answer(n)),
    });
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    assert_eq!(call(&mut service, ()).await, answer(0));
    assert_eq!(call(&mut service, ()).await, answer(2));
    assert_eq!(call(&mut service, ()).await, fail(3));
    assert_eq!(log.times(), [0, 10, 30, 60]);
    // Once per call.
    assert_eq!(hedge.snapshot().suppressed, 3);
}

#[test]
fn rt4_ten_thousand_failing_calls_from_eight_threads_stay_within_the_bound() {
    let budget = Budget::builder()
        .ratio(0.2)
        .burst(10)
        .floor(1)
        .refill(crate::budget::Refill::Calls)
        .build()
        .unwrap();
    let hedge = Hedge::builder()
        .delay(ms(1_000))
        .max_extra(4)
        .budget(&budget)
        .build()
        .unwrap();
    let backend = Backend::new(|n| (ms(0), fail(n)));
    let log = backend.log.clone();
    let service = HedgeLayer::new(&hedge).layer(backend);
    let start = crate::time::now();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let mut service = service.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..1_250 {
                        call(&mut service, ()).await.unwrap_err();
                    }
                });
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let seconds = crate::time::now().since(start).as_secs() as usize + 1;
    let extra = log.calls() - 10_000;
    assert!(extra <= 2_000 + 10 + seconds, "{extra} in {seconds} s");
    assert!(extra >= 2_000, "{extra}");
}

/// Polls `future` to completion inside an attempt.
async fn inside<F: Future>(attempt: Attempt, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let _entered = attempt.enter();
        future.as_mut().poll(cx)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn hg4_rt4_inside_an_attempt_its_budget_is_used_and_nothing_is_added_to_it() {
    let outer = Budget::builder()
        .ratio(0.5)
        .burst(2)
        .floor(0)
        .build()
        .unwrap();
    let given = Budget::builder()
        .ratio(0.5)
        .burst(2)
        .floor(0)
        .build()
        .unwrap();
    for (own, outer_left, given_left) in [(None, 1.0, 2.0), (Some(&given), 1.0, 1.0)] {
        let mut hedge = Hedge::builder().delay(ms(10));
        if let Some(own) = own {
            hedge = hedge.budget(own);
        }
        let hedge = hedge.build().unwrap();
        let backend = Backend::new(|n| (ms(15), answer(n)));
        let mut service = HedgeLayer::new(&hedge).layer(backend);
        let attempt = Attempt::new(1, Some(outer.id()));
        inside(attempt, call(&mut service, ())).await.unwrap();
        assert_eq!(hedge.snapshot().made, 1);
        assert_eq!(outer.snapshot().balance, outer_left);
        assert_eq!(given.snapshot().balance, given_left);
    }
}

#[tokio::test(start_paused = true)]
async fn hg4_an_original_call_adds_its_ratio_once() {
    for (refill, after_failure) in [(Refill::Calls, 2.0), (Refill::Successes, 1.5)] {
        let budget = Budget::builder()
            .ratio(0.5)
            .burst(1)
            .floor(0)
            .refill(refill);
        let budget = budget.build().unwrap();
        let hedge = Hedge::builder()
            .delay(ms(10))
            .budget(&budget)
            .build()
            .unwrap();
        let backend = Backend::new(|n| match n {
            0 => (ms(1), answer(n)),
            _ => (
                ms(1),
                Err(crate::rejection::Error::Service(
                    super::support::Fail::Rejected,
                )),
            ),
        });
        let mut service = HedgeLayer::new(&hedge)
            .classify(classify as fn(_: Result<&_, &_>) -> _)
            .layer(backend);
        call(&mut service, ()).await.unwrap();
        assert_eq!(budget.snapshot().balance, 1.5);
        call(&mut service, ()).await.unwrap_err();
        assert_eq!(budget.snapshot().balance, after_failure);
    }
}

// Dropped in flight, while an extra attempt becomes ready, and while it is in flight.
#[tokio::test(start_paused = true)]
async fn cx7_ten_thousand_random_drops_leave_the_budget_unchanged() {
    const BURST: u32 = 100_000;
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(BURST)
        .floor(0)
        .build()
        .unwrap();
    let hedge = Hedge::builder()
        .delay(ms(2))
        .max_extra(2)
        .budget(&budget)
        .build()
        .unwrap();
    let mut backend = Backend::new(|n| match n % 7 {
        0 => (ms(1), fail(n)),
        1 => (ms(3), answer(n)),
        2 => (ms(6), fail(n)),
        _ => (NEVER, answer(n)),
    });
    backend.unready = 2;
    let log = backend.log.clone();
    let mut service = HedgeLayer::new(&hedge).layer(backend);
    let mut rng = fastrand::Rng::with_seed(11);
    let mut cx = Context::from_waker(Waker::noop());
    let (mut dropped, mut unsent) = (0, 0);
    for _ in 0..10_000 {
        std::future::poll_fn(|cx| Service::<()>::poll_ready(&mut service, cx))
            .await
            .unwrap();
        let mut future = Box::pin(service.call(()));
        let mut over = false;
        for _ in 0..rng.u32(0..12) {
            if future.as_mut().poll(&mut cx).is_ready() {
                over = true;
                break;
            }
            tokio::time::advance(ms(rng.u64(0..3))).await;
        }
        dropped += u32::from(!over);
        let spent = f64::from(BURST) - budget.snapshot().balance;
        unsent += u32::from(spent > hedge.snapshot().made as f64);
        drop(future);
        assert_eq!(log.in_flight(), 0);
    }
    let made = hedge.snapshot().made;
    assert!(
        dropped > 5_000 && unsent > 500 && made > 2_000,
        "{dropped} {unsent} {made}"
    );
    assert_eq!(log.calls() as u64, 10_000 + made);
    assert_eq!(budget.snapshot().balance, f64::from(BURST) - made as f64);
    assert_eq!(Arc::strong_count(&log), 3);
}

#[tokio::test(start_paused = true)]
async fn hg4_rt11_a_rejected_extra_attempt_goes_back_to_the_budget() {
    let budget = Budget::builder().ratio(0.0).burst(3).floor(0);
    let budget = budget.build().unwrap();
    let hedge = Hedge::builder().delay(ms(10)).budget(&budget);
    let hedge = hedge.build().unwrap();
    let answer = hedge.run(|attempt| async move {
        if attempt > 1 {
            return Err(Rejection::new(RejectionKind::RateLimited, "below"));
        }
        tokio::time::sleep(ms(50)).await;
        Ok(attempt)
    });
    assert_eq!(answer.await, Ok(1));
    let kept = budget.snapshot();
    assert_eq!((kept.balance, kept.made), (3.0, 0));
    assert_eq!(hedge.snapshot().made, 0);
}
