//! A client of reqwest in one line.

use std::error::Error;

use seawall::reqwest::Client;
use seawall::{ClientStack, Reason, RejectionKind};

use super::*;

async fn page(client: &Client, url: &str) -> Result<String, Box<dyn Error>> {
    let response = client.get(url).query(&[("q", "all")]).send().await?;
    Ok(response.error_for_status()?.text().await?)
}

async fn order(client: &Client, url: &str) -> Result<String, Box<dyn Error>> {
    let response = client.post(url).json(&["order"]).send().await?;
    Ok(response.error_for_status()?.text().await?)
}

#[tokio::test]
async fn rn4_the_first_program_over_reqwest_is_right() {
    let stack = ClientStack::http("search");
    let client = stack.reqwest(::reqwest::Client::new());
    faster(&stack);
    let page = async |fault| seen(fault, async |url| page(&client, &url).await).await;
    let order = async |fault| seen(fault, async |url| order(&client, &url).await).await;

    let found = page(Fault::None).await;
    assert_eq!(found.outcome.as_deref().unwrap(), "hello");

    // Sent once, and no failure of its host.
    let missing = page(Fault::Missing).await;
    let error = missing.outcome.as_ref().unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    assert_eq!(missing.server.calls(), 1);
    assert_eq!(in_a_row(&missing.breaker(&stack)), 0);

    // After its delay, and not before.
    let busy = page(Fault::BusyOnce).await;
    assert_eq!(busy.outcome.as_deref().unwrap(), "hello");
    assert_eq!(busy.server.calls(), 2);
    assert!(busy.took >= secs(1), "{:?}", busy.took);

    // Three attempts, each ended by the timeout of this side.
    let hung = page(Fault::Hang).await;
    let reason = Reason::find(&**hung.outcome.as_ref().unwrap_err()).unwrap();
    assert!(matches!(reason.kind(), RejectionKind::TimedOut { .. }));
    assert_eq!(hung.server.calls(), 3);
    assert!((ms(900)..secs(4)).contains(&hung.took), "{:?}", hung.took);

    // An error and no half page; a failure of its host. The body was with the user by then.
    let cut = page(Fault::CutOnce).await;
    assert!(cut.outcome.is_err());
    assert_eq!(cut.server.calls(), 1);
    assert_eq!(in_a_row(&cut.breaker(&stack)), 1);

    let retried = || stack.retry().snapshot().retried;
    let before = retried();
    let unreachable = page(Fault::Unreachable).await;
    let error = unreachable.outcome.as_ref().unwrap_err().downcast_ref();
    let error: &seawall::Error<::reqwest::Error> = error.unwrap();
    assert!(matches!(error, seawall::Error::Service(error) if error.is_connect()));
    assert_eq!(retried() - before, 2);

    // A POST that may have been carried out is sent once, and one that was not is sent again.
    let failed = order(Fault::Error).await;
    assert!(failed.outcome.is_err());
    assert_eq!(failed.server.calls(), 1);
    let cut = order(Fault::CutOnce).await;
    assert_eq!((cut.outcome.is_err(), cut.server.calls()), (true, 1));
    let hung = order(Fault::Hang).await;
    assert_eq!((hung.outcome.is_err(), hung.server.calls()), (true, 1));
    let busy = order(Fault::BusyOnce).await;
    assert_eq!((busy.outcome.is_ok(), busy.server.calls()), (true, 2));
    let before = retried();
    assert!(order(Fault::Unreachable).await.outcome.is_err());
    assert_eq!(retried() - before, 2);
    failed.opened_nothing(&stack);
}
