//! Plain calls of reqwest by a `Pipeline`, and by a breaker alone.

use ::reqwest::Client;
use seawall::circuit_breaker::Trip;
use seawall::{Backoff, CircuitBreaker, Pipeline, Reason, RejectionKind, Retry};

use super::*;

async fn page(http: &Client, url: &str) -> Result<String, ::reqwest::Error> {
    http.get(url).send().await?.error_for_status()?.text().await
}

#[tokio::test]
async fn rn4_the_first_program_of_a_pipeline_is_right() {
    let pages = CircuitBreaker::new("pages");
    let retry = Retry::new(Backoff::exponential(ms(50)));
    let pipeline = Pipeline::new()
        .timeout(secs(4))
        .retry(&retry)
        .breaker(&pages)
        .attempt_timeout(ms(300));
    let http = Client::new();
    let get = async |fault| {
        let page = async |url: String| pipeline.run(|_| page(&http, &url)).await;
        seen(fault, page).await
    };
    let in_a_row = || in_a_row(&pages);

    let missing = get(Fault::Missing).await;
    let error = missing.outcome.unwrap_err().into_service().unwrap();
    assert_eq!(error.status().unwrap(), http::StatusCode::NOT_FOUND);
    assert_eq!((missing.server.calls(), in_a_row()), (1, 0));

    let busy = get(Fault::BusyOnce).await;
    assert_eq!(busy.outcome.unwrap(), "hello");
    assert_eq!(busy.server.calls(), 2);
    assert!(busy.took >= secs(1), "{:?}", busy.took);

    let hung = get(Fault::Hang).await;
    let rejection = hung.outcome.unwrap_err().into_service().unwrap_err();
    assert!(matches!(rejection.kind(), RejectionKind::TimedOut { .. }));
    assert_eq!((hung.server.calls(), in_a_row()), (3, 3));

    // The body is read within the attempt, so the whole of it is fetched again.
    let cut = get(Fault::CutOnce).await;
    assert_eq!(cut.outcome.unwrap(), "hello");
    assert_eq!((cut.server.calls(), in_a_row()), (2, 0));

    let before = retry.snapshot().retried;
    let unreachable = get(Fault::Unreachable).await;
    let error = unreachable.outcome.unwrap_err().into_service().unwrap();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(retry.snapshot().retried - before, 2);
    assert_eq!(pages.state(), State::Closed);
}

// A call that must not be made twice has a breaker and no retry.
#[tokio::test]
async fn rn4_the_first_program_of_a_breaker_is_right() {
    let trip = Trip::consecutive_failures(2);
    let orders = CircuitBreaker::builder("orders").trip_on(trip).build();
    let orders = orders.unwrap();
    let http = Client::builder().timeout(ms(300)).build().unwrap();
    let post = async |fault| {
        let order = async |url: String| {
            orders
                .run(|| async { http.post(url).send().await?.error_for_status() })
                .await
        };
        seen(fault, order).await
    };
    for _ in 0..5 {
        let missing = post(Fault::Missing).await;
        assert_eq!(
            (missing.outcome.is_err(), missing.server.calls()),
            (true, 1)
        );
    }
    assert_eq!(orders.state(), State::Closed);
    assert_eq!(post(Fault::BusyOnce).await.server.calls(), 1);
    assert!(post(Fault::None).await.outcome.is_ok());
    let hung = post(Fault::Hang).await;
    let error = hung.outcome.unwrap_err().into_service().unwrap();
    assert!(error.is_timeout());
    assert!(post(Fault::Error).await.outcome.is_err());
    let rejected = post(Fault::None).await;
    let error = rejected.outcome.unwrap_err();
    assert_eq!(
        Reason::of(&error).unwrap().kind(),
        RejectionKind::CircuitOpen
    );
    assert_eq!(rejected.server.calls(), 0);
}
