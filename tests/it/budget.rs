//! What retries and hedges take from a budget, and what they add to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use futures::FutureExt;
use http::{Request, Response};
use seawall::budget::Refill;
use seawall::classify::{ErrorsBy, FailureKind, Outcome};
use seawall::{
    Backoff, Budget, BudgetLayer, ClientStack, Deadline, Hedge, HedgeLayer, Jitter, Mode, Retry,
    RetryLayer,
};
use tokio::time::advance;
use tower::buffer::Buffer;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Task, ms, secs};

const CALLS: u64 = 1_000;

fn retry(budget: &Budget) -> Retry {
    let backoff = Backoff::constant(ms(1)).jitter(Jitter::None);
    let retry = Retry::builder().backoff(backoff).max_attempts(9);
    retry.nested(true).budget(budget).build().unwrap()
}

/// A service that fails the calls whose number, counted over all, is not a multiple of `every`, and
/// the number of calls.
fn every(
    every: u64,
) -> (
    impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send,
    Arc<AtomicU64>,
) {
    let made = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&made);
    let service = service_fn(move |call: u32| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            match number % every {
                0 => Ok(call),
                _ => Err(BoxError::from("down")),
            }
        }
    });
    (service, made)
}

fn budget(refill: Refill) -> Budget {
    let budget = Budget::builder().ratio(1.0).burst(10).refill(refill);
    budget.build().unwrap()
}

/// Makes [`CALLS`] calls, all within one epoch. Returns how many succeeded.
async fn call<S>(mut service: S) -> u64
where
    S: Service<u32, Response = u32, Error = BoxError>,
{
    let mut succeeded = 0;
    for call in 0..CALLS {
        let service = service.ready().await.unwrap();
        succeeded += u64::from(service.call(call as u32).await.is_ok());
    }
    succeeded
}

// RT4: one budget of two retries. The inner one is behind a buffer, whose worker makes the call
// outside of the outer one's attempt.
#[tokio::test(start_paused = true)]
async fn rt4_a_retry_inside_a_retry_adds_nothing_also_behind_a_buffer() {
    for refill in [Refill::Calls, Refill::Successes] {
        let budget = budget(refill);
        let (service, made) = every(8);
        let inner = RetryLayer::new(retry(&budget));
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new(retry(&budget)))
            .layer_fn(|inner| Buffer::new(inner, 8))
            .layer(inner)
            .service(service);
        let succeeded = call(service).await;
        let deposits = match refill {
            Refill::Calls => CALLS,
            _ => succeeded,
        };
        let extra = made.load(Ordering::Relaxed) - CALLS;
        let allowed = deposits + 10;
        assert!(
            extra <= allowed,
            "{refill:?}: {extra} extra attempts, {allowed} allowed"
        );
        assert!(extra > allowed / 2, "{refill:?}: {extra} of {allowed}");
    }
}

// RT4: the retry below a buffer was given no budget: it draws on that of the attempt.
#[tokio::test(start_paused = true)]
async fn rt4_a_retry_behind_a_buffer_draws_on_the_budget_of_the_attempt_around_it() {
    let budget = budget(Refill::Successes);
    let (service, made) = every(u64::MAX);
    let backoff = Backoff::constant(ms(1)).jitter(Jitter::None);
    let inner = Retry::builder().backoff(backoff).nested(true);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(&budget)))
        .layer_fn(|inner| Buffer::new(inner, 8))
        .layer(RetryLayer::new(inner.build().unwrap()))
        .service(service);
    assert_eq!(call(service).await, 0);
    assert_eq!(made.load(Ordering::Relaxed) - CALLS, 10);
}

// RT4: by the default of three attempts and half of each success, with no breaker.
#[tokio::test(start_paused = true)]
async fn rt4_in_a_total_outage_a_retry_adds_nothing_but_what_was_saved() {
    let retry = Retry::new(Backoff::constant(ms(1)));
    let up = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let made = Arc::new(AtomicU64::new(0));
    let (is_up, count) = (Arc::clone(&up), Arc::clone(&made));
    let service = RetryLayer::new(retry).layer(service_fn(move |_: u32| {
        count.fetch_add(1, Ordering::Relaxed);
        let up = is_up.load(Ordering::Relaxed);
        async move { up.then_some(7).ok_or_else(|| BoxError::from("down")) }
    }));
    assert_eq!(call(service.clone()).await, CALLS);
    assert_eq!(made.swap(0, Ordering::Relaxed), CALLS);
    up.store(false, Ordering::Relaxed);
    let saved = CALLS / 2 + 10;
    for _ in 0..5 {
        call(service.clone()).await;
    }
    assert_eq!(made.load(Ordering::Relaxed), 5 * CALLS + saved);
}

// RT4: the budget of the layer earns by the successes of the retries below, each call once.
#[tokio::test(start_paused = true)]
async fn rt4_a_budget_layer_earns_by_the_successes_of_the_calls_below() {
    for buffered in [false, true] {
        let budget = Budget::builder().burst(10).build().unwrap();
        let (service, made) = every(2);
        let backoff = Backoff::constant(ms(1)).jitter(Jitter::None);
        let service = ServiceBuilder::new()
            .layer(BudgetLayer::new(&budget))
            .option_layer(buffered.then(|| tower::layer::layer_fn(|inner| Buffer::new(inner, 8))))
            .layer(RetryLayer::new(Retry::new(backoff)))
            .layer(HedgeLayer::new(Hedge::fixed(ms(500))))
            .service(service);
        let succeeded = call(service).await;
        let extra = made.load(Ordering::Relaxed) - CALLS;
        let snapshot = budget.snapshot();
        assert_eq!(extra, snapshot.made, "buffered: {buffered}");
        let paid = succeeded / 2 + 10;
        assert_eq!(
            snapshot.balance + extra as f64,
            paid as f64 + (succeeded % 2) as f64 / 2.0
        );
        assert!(succeeded > CALLS / 2, "{succeeded}");
    }
}

// RT4: a service may poll what it calls before it returns its future.
#[tokio::test(start_paused = true)]
async fn rt4_a_success_while_a_call_is_made_earns_when_the_call_is_polled() {
    let budget = Budget::builder().ratio(1.0).burst(0).floor(0);
    let budget = budget.build().unwrap();
    let mut service = BudgetLayer::new(&budget).layer(service_fn(|call: u32| {
        let retry = Retry::new(Backoff::constant(ms(1)));
        let inner = retry.run(move |_| std::future::ready(Ok::<_, BoxError>(call)));
        let made = inner.now_or_never().expect("nothing waits");
        std::future::ready(made)
    }));
    assert_eq!(service.call(7).await.unwrap(), 7);
    assert_eq!(budget.snapshot().balance, 1.0);
}

// RT4, OUTAGES: five attempts' worth for a retry of a call that was shed.
#[tokio::test(start_paused = true)]
async fn rt4_a_retry_after_throttling_costs_five() {
    let budget = Budget::builder().ratio(0.0).burst(12).build().unwrap();
    let throttled = ErrorsBy(|_: &BoxError| Outcome::Failure {
        kind: FailureKind::Throttled,
        retry_after: None,
    });
    let (service, made) = every(u64::MAX);
    let retry = Retry::builder()
        .backoff(Backoff::constant(ms(1)))
        .throttled_base(ms(0))
        .budget(&budget)
        .build()
        .unwrap();
    let mut service = RetryLayer::new(retry).classify(throttled).layer(service);
    for _ in 0..4 {
        let error = service.ready().await.unwrap().call(1).await.unwrap_err();
        assert_eq!(error.to_string(), "down", "the service's own failure");
    }
    assert_eq!(made.load(Ordering::Relaxed), 4 + 2);
    assert_eq!(budget.snapshot().balance, 2.0);
}

fn throttling() -> Budget {
    let budget = Budget::builder().retry_throttling(10, 0.1);
    budget.build().unwrap()
}

// GR5
#[tokio::test(start_paused = true)]
async fn gr5_retries_stop_at_half_of_the_tokens_and_start_again_above_it() {
    let budget = throttling();
    let (failing, made) = every(u64::MAX);
    let mut failing = RetryLayer::new(retry(&budget)).layer(failing);
    /// How many attempts a call makes.
    async fn attempts<S>(service: &mut S, count: &AtomicU64) -> u64
    where
        S: Service<u32, Response = u32, Error = BoxError>,
    {
        let before = count.load(Ordering::Relaxed);
        let _ = service.ready().await.unwrap().call(7).await;
        count.load(Ordering::Relaxed) - before
    }
    // 9, 8, 7 and 6 are above half, and 5 is not.
    assert_eq!(attempts(&mut failing, &made).await, 5);
    assert_eq!(budget.snapshot().balance, 5.0);
    assert_eq!(budget.snapshot().made, 4);
    assert_eq!(budget.snapshot().suppressed, 1);
    // Failures take tokens without extra attempts too.
    for left in [4.0, 3.0, 2.0] {
        assert_eq!(attempts(&mut failing, &made).await, 1);
        assert_eq!(budget.snapshot().balance, left);
    }
    let (working, made_working) = every(1);
    let mut working = RetryLayer::new(retry(&budget)).layer(working);
    for _ in 0..40 {
        assert_eq!(attempts(&mut working, &made_working).await, 1);
    }
    assert_eq!(budget.snapshot().balance, 6.0);
    assert_eq!(attempts(&mut failing, &made).await, 1);
    for _ in 0..11 {
        attempts(&mut working, &made_working).await;
    }
    // 6.1, 5.1 and 4.1.
    assert_eq!(attempts(&mut failing, &made).await, 2);
}

// GR5: also where a hedge is inside the retry, and the budget is the stack's.
#[tokio::test(start_paused = true)]
async fn gr5_each_failed_attempt_takes_one_token_of_its_server() {
    let stack = ClientStack::builder("a6")
        .retry(|retry| retry.backoff(Backoff::constant(ms(1))))
        .hedge(|hedge| hedge.delay(ms(5)))
        .breaker(|breaker| breaker.mode(Mode::Off))
        .budgets(|budget| budget.retry_throttling(1_000, 0.1))
        .build();
    let stack = stack.unwrap().default_authority("one");
    let (failing, made) = every(u64::MAX);
    let service = stack.layer(failing);
    let tokens = || stack.budgets().get("one").snapshot().balance;
    for _ in 0..20 {
        service.clone().oneshot(7).await.unwrap_err();
    }
    // Only the first of three attempts is hedged.
    assert_eq!(made.load(Ordering::Relaxed), 20 * 4);
    assert_eq!(tokens(), 1_000.0 - 80.0);
    assert_eq!(stack.budgets().get("two").snapshot().balance, 1_000.0);
    // The first attempt fails, and its hedge wins.
    let (second, made) = every(2);
    let service = stack.layer(second);
    for _ in 0..20 {
        service.clone().oneshot(7).await.unwrap();
    }
    assert_eq!(made.load(Ordering::Relaxed), 40);
    assert_eq!(tokens(), 1_000.0 - 80.0 - 20.0 + 2.0);
}

// RT4, HB3: both wait for the end of the body, which is read outside of the attempts.
#[tokio::test]
async fn rt4_a_call_inside_of_an_attempt_earns_nothing_at_the_end_of_its_body() {
    let budget = Budget::builder().ratio(0.5).burst(10).build().unwrap();
    let stack = ClientStack::builder("inner").retry(|retry| retry.budget(&budget));
    let stack = stack.build().unwrap().until_body_end();
    let answer = async |_| Ok::<_, BoxError>(Response::new(Body::from("answer")));
    let client = stack.layer(service_fn(answer));
    let outer = Retry::builder().budget(&budget).build().unwrap();
    let call = |_| client.clone().oneshot(Request::new(Body::empty()));
    let response = outer.run(call).await.unwrap();
    assert_eq!(budget.snapshot().balance, 10.5);
    axum::body::to_bytes(Body::new(response.into_body()), 100)
        .await
        .unwrap();
    assert_eq!(budget.snapshot().balance, 10.5);
}

// GR5: an inner retry that inherits the budget of the outer one, and one that was given it too.
#[tokio::test(start_paused = true)]
async fn gr5_a_failed_attempt_takes_one_token_also_inside_of_a_retry() {
    let with = |budget: Option<&Budget>| {
        let backoff = Backoff::constant(ms(1)).jitter(Jitter::None);
        let retry = Retry::builder().backoff(backoff).nested(true);
        match budget {
            Some(budget) => retry.budget(budget).build().unwrap(),
            None => retry.build().unwrap(),
        }
    };
    // All attempts; a spent budget; a backoff of the inner one that ends after the deadline.
    let cases = [(1_000, 9, ms(1)), (4, 1, ms(1)), (1_000, 1, secs(2))];
    let both = cases
        .into_iter()
        .flat_map(|case| [(case, false), (case, true)]);
    for ((tokens, attempts, step), is_given) in both {
        let budget = Budget::builder().retry_throttling(tokens, 0.1);
        let budget = budget.build().unwrap();
        if tokens == 4 {
            // Two of four are no more than half.
            budget.on_failure();
        }
        let before = budget.snapshot().balance;
        let (outer, inner) = (
            with(Some(&budget)),
            with(Some(&budget).filter(|_| is_given)),
        );
        let (failing, made) = every(u64::MAX);
        let service = RetryLayer::new(&inner).layer(failing);
        let service = RetryLayer::new(&outer).layer(service);
        let mut call = Task::new(Deadline::after(secs(1)).scope(service.oneshot(7)));
        while call.run().is_pending() {
            advance(step).await;
        }
        assert_eq!(made.load(Ordering::Relaxed), attempts);
        let taken = before - budget.snapshot().balance;
        assert_eq!(taken, attempts as f64, "{tokens} {is_given} {step:?}");
    }
}

// GR5
#[test]
fn gr5_what_is_permanent_takes_no_token_and_a_switched_off_throttle_none() {
    let budget = throttling();
    let permanent = |_: Result<&u32, &BoxError>| Outcome::failure(FailureKind::Permanent);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let (failing, _) = every(u64::MAX);
        let layer = RetryLayer::new(retry(&budget)).classify(permanent);
        layer.layer(failing).oneshot(7).await.unwrap_err();
    });
    assert_eq!(budget.snapshot().balance, 10.0);
    (0..3).for_each(|_| budget.on_failure());
    assert_eq!(budget.snapshot().balance, 7.0);
    budget.change(|now| now.retry_throttling(4, 0.1)).unwrap();
    assert_eq!(budget.snapshot().balance, 4.0);
    for (tokens, ratio) in [(0, 0.1), (1_001, 0.1), (10, -0.1), (10, 1.1)] {
        let changed = budget.change(|now| now.retry_throttling(tokens, ratio));
        let error = changed.unwrap_err();
        let field = &error.problems()[0].field;
        assert!(field == "max_tokens" || field == "ratio");
    }
}
