//! What budgets and hedges learn at the end of a body.

use super::*;
use crate::{Backoff, Budget, BudgetLayer, Hedge, HedgeLayer, Retry, RetryLayer};

fn budget() -> Budget {
    let budget = Budget::builder().ratio(1.0).burst(0).floor(0);
    budget.build().unwrap()
}

/// How a body ends, and whether that is a success.
fn endings() -> [(&'static str, Script, bool); 5] {
    let timed_out = [(ms(1), chunk("x")), (secs(60), chunk("y"))];
    [
        ("whole", script([(ms(1), chunk("x"))]), true),
        (
            "cut",
            script([(ms(1), chunk("x")), (ms(1), Do::Fail)]),
            false,
        ),
        ("idle", script(timed_out), false),
        ("grpc", script([(ms(1), grpc_status("14"))]), false),
        ("grpc ok", script([(ms(1), grpc_status("0"))]), true),
    ]
}

fn limits() -> BodyLayer {
    BodyLayer::new().idle(ms(100)).judge_within(secs(600))
}

// HB3, RT4
#[tokio::test(start_paused = true)]
async fn hb3_a_budget_earns_nothing_from_a_response_whose_body_was_cut() {
    for (how, body, earns) in endings() {
        let budget = budget();
        let retry = Retry::builder().budget(&budget).build().unwrap();
        let layer = (RetryLayer::new(retry).until_body_end(), limits());
        let body = read_through(&layer, body).await;
        assert_eq!(budget.snapshot().balance, 0.0, "{how}: before the end");
        let _ = read(body).await;
        assert_eq!(
            budget.snapshot().balance,
            f64::from(u8::from(earns)),
            "{how}"
        );
    }
    for (how, body, earns) in endings() {
        let budget = budget();
        let retry = Retry::new(Backoff::constant(ms(1)));
        let layer = (
            BudgetLayer::new(&budget).until_body_end(),
            (RetryLayer::new(retry).until_body_end(), limits()),
        );
        let body = read_through(&layer, body).await;
        assert_eq!(budget.snapshot().balance, 0.0, "{how}: before the end");
        let _ = read(body).await;
        assert_eq!(
            budget.snapshot().balance,
            f64::from(u8::from(earns)),
            "{how}"
        );
    }
}

// HB3
#[tokio::test(start_paused = true)]
async fn hb3_a_budget_earns_as_the_head_said_from_a_body_that_is_dropped_or_lasts_long() {
    let budget = budget();
    let retry = Retry::builder().budget(&budget).build().unwrap();
    let layer = (
        RetryLayer::new(retry).until_body_end(),
        BodyLayer::new().judge_within(ms(50)),
    );
    let body = read_through(&layer, script([(ms(1), chunk("x"))])).await;
    drop(body);
    assert_eq!(budget.snapshot().balance, 1.0);
    let late = [(ms(60), chunk("x")), (ms(1), Do::Fail)];
    assert!(
        read(read_through(&layer, script(late)).await)
            .await
            .2
            .is_some()
    );
    assert_eq!(budget.snapshot().balance, 2.0);
    // A body that is empty ends with its head.
    let mut empty = script([]);
    empty.knows_its_end = true;
    let body = read_through(&layer, empty).await;
    assert_eq!(budget.snapshot().balance, 3.0);
    drop(body);
    // Without the option, so does every call.
    let retry = Retry::builder().budget(&budget).build().unwrap();
    let layer = (RetryLayer::new(retry), BodyLayer::new());
    let body = read_through(&layer, script([(ms(1), Do::Fail)])).await;
    assert_eq!(budget.snapshot().balance, 4.0);
    drop(body);
}

// HB3, HG2, HG5
#[tokio::test(start_paused = true)]
async fn hb3_a_hedge_counts_its_win_and_its_latency_at_the_end_of_the_body() {
    for (how, body, won) in endings() {
        let budget = Budget::builder().ratio(1.0).burst(1).floor(0);
        let budget = budget.build().unwrap();
        let hedge = Hedge::builder().delay(ms(10)).budget(&budget);
        let hedge = hedge.build().unwrap();
        let layer = (HedgeLayer::new(&hedge).until_body_end(), limits());
        // The first attempt hangs, the second answers.
        let body = crate::sync::Arc::new(crate::sync::Mutex::new((0, Some(body))));
        let answer = service_fn(move |_: Request<()>| {
            let mut next = body.lock();
            next.0 += 1;
            let body = (next.0 > 1).then(|| next.1.take().unwrap());
            async move {
                match body {
                    Some(body) => {
                        let mut response = Response::new(body);
                        if how.starts_with("grpc") {
                            mark_grpc(&mut response);
                        }
                        Ok::<_, BoxError>(response)
                    }
                    None => std::future::pending().await,
                }
            }
        });
        let service = layer.layer(answer);
        let response = service.oneshot(Request::new(())).await.unwrap();
        assert_eq!(hedge.snapshot().made, 1, "{how}");
        assert_eq!(hedge.snapshot().won, 0, "{how}: before the end");
        let _ = read(Box::pin(response.into_body())).await;
        assert_eq!(hedge.snapshot().won, u64::from(won), "{how}");
        assert_eq!(budget.snapshot().balance, f64::from(u8::from(won)), "{how}");
    }
    for (how, body, whole) in endings() {
        let hedge = Hedge::builder().quantile(0.5).build().unwrap();
        let layer = (HedgeLayer::new(&hedge).until_body_end(), limits());
        let body = read_through(&layer, body).await;
        assert_eq!(hedge.snapshot().samples, 0, "{how}: before the end");
        let _ = read(body).await;
        let counts = (hedge.snapshot().samples, hedge.snapshot().cut_short);
        assert_eq!(counts, (u64::from(whole), u64::from(!whole)), "{how}");
    }
}
