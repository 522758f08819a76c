//! The stack as a layer over hyper-util's client.

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::{ClientStack, RejectionKind};
use tower::{ServiceBuilder, ServiceExt};

use super::*;

/// What the program of the README prints.
#[derive(Debug, PartialEq)]
enum Printed {
    Bytes(StatusCode, usize),
    CutShort,
    Rejected(RejectionKind),
    Failed,
}

#[tokio::test]
async fn rn4_the_first_program_over_hyper_is_right() {
    let stack = ClientStack::http("search"); // 10 s for all of a call, 3 s for each of three attempts.
    let client = ServiceBuilder::new() // The first line is outermost.
        .layer(stack.clone())
        .map_err(seawall::Error::service) // hyper's error cannot carry a rejection.
        .service(Client::builder(TokioExecutor::new()).build_http());
    faster(&stack);
    let call = async |method: Method, url: String| {
        let request = Request::builder().method(method).uri(url);
        let request = request.body(Full::<::hyper::body::Bytes>::from("text"));
        match client.clone().oneshot(request.unwrap()).await {
            Ok(response) => {
                let status = response.status();
                match response.into_body().collect().await {
                    Ok(body) => Printed::Bytes(status, body.to_bytes().len()),
                    Err(_) => Printed::CutShort,
                }
            }
            Err(seawall::Error::Rejected(rejection)) => Printed::Rejected(rejection.kind()),
            Err(_) => Printed::Failed,
        }
    };
    let get = async |fault| seen(fault, async |url| call(Method::GET, url).await).await;
    let post = async |fault| seen(fault, async |url| call(Method::POST, url).await).await;
    let is_timeout =
        |printed: &Printed| matches!(printed, Printed::Rejected(RejectionKind::TimedOut { .. }));

    let missing = get(Fault::Missing).await;
    assert_eq!(missing.outcome, Printed::Bytes(StatusCode::NOT_FOUND, 12));
    assert_eq!(missing.server.calls(), 1);
    assert_eq!(in_a_row(&missing.breaker(&stack)), 0);

    let busy = get(Fault::BusyOnce).await;
    assert_eq!(busy.outcome, Printed::Bytes(StatusCode::OK, 5));
    assert_eq!(busy.server.calls(), 2);
    assert!(busy.took >= secs(1), "{:?}", busy.took);

    let hung = get(Fault::Hang).await;
    assert!(is_timeout(&hung.outcome), "{:?}", hung.outcome);
    assert_eq!(hung.server.calls(), 3);

    let cut = get(Fault::CutOnce).await;
    assert_eq!(cut.outcome, Printed::CutShort);
    assert_eq!(in_a_row(&cut.breaker(&stack)), 1);

    let retried = || stack.retry().snapshot().retried;
    let before = retried();
    assert_eq!(get(Fault::Unreachable).await.outcome, Printed::Failed);
    assert_eq!(retried() - before, 2);

    let failed = post(Fault::Error).await;
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(failed.outcome, Printed::Bytes(status, 6));
    assert_eq!(failed.server.calls(), 1);
    let hung = post(Fault::Hang).await;
    assert!(is_timeout(&hung.outcome), "{:?}", hung.outcome);
    assert_eq!(hung.server.calls(), 1);
    assert_eq!(post(Fault::BusyOnce).await.server.calls(), 2);
    let before = retried();
    assert_eq!(post(Fault::Unreachable).await.outcome, Printed::Failed);
    assert_eq!(retried() - before, 2);
    failed.opened_nothing(&stack);
}
