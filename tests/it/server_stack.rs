//! The server's stack, in front of plain services and of an axum router.

use seawall::{RejectionKind, ServerStack};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{Do, Mock, Strict, reason};

// CX12
#[tokio::test]
async fn cx12_three_nested_server_stacks_compile_and_change_no_type() {
    let named = |name: &str| ServerStack::new(name, 10);
    let service = ServiceBuilder::new()
        .layer(named("outer"))
        .layer(named("middle"))
        .layer(named("inner"))
        .service(Strict::new(Mock::new()));
    assert_eq!(service.clone().oneshot(Do::Answer).await.unwrap(), 7);
    let failed = tokio::spawn(async move { service.oneshot(Do::Fail).await });
    let error = failed.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
}

// CX7, CX8
#[test]
fn cx7_a_permit_returns_on_drop_and_on_panic() {
    let stack = ServerStack::new("capacity", 1);
    let mut service = stack.layer(Mock::new());
    let mut call = |what| {
        assert!(crate::support::poll_ready::<Do, _>(&mut service).is_ready());
        service.call(what)
    };
    for _ in 0..10 {
        drop(call(Do::Hang));
        let mut panics = crate::support::Task::new(call(Do::PanicInPoll));
        crate::support::catching(|| panics.run()).unwrap_err();
        assert_eq!(stack.bulkhead().snapshot().in_flight, 0);
    }
    let _held = call(Do::Hang);
    let mut rejected = crate::support::Task::new(call(Do::Answer));
    match rejected.run() {
        std::task::Poll::Ready(Err(error)) => {
            assert!(matches!(
                reason(&error).kind(),
                RejectionKind::BulkheadFull { .. }
            ));
        }
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "http")]
mod under_axum {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::Path;
    use axum::routing::get;
    use http::{Request, StatusCode};
    use seawall::{Keyed, Quota, RateLimiter};
    use tokio::sync::Notify;

    use super::*;

    fn get_of(path: &str, client: &str) -> Request<Body> {
        let request = Request::get(path).header("x-api-key", client);
        request.body(Body::empty()).unwrap()
    }

    async fn status(app: &Router, request: Request<Body>) -> StatusCode {
        app.clone().oneshot(request).await.unwrap().status()
    }

    // CX12, KY1: one `.layer(..)`, without `HandleErrorLayer`.
    #[tokio::test]
    async fn ky1_a_limit_per_client_and_one_for_all_in_front_of_a_router() {
        let in_all = RateLimiter::builder(Quota::per_day(7)).name("in all");
        let in_all = in_all.build().unwrap();
        let per_client = Keyed::<str, _>::limit(100, Quota::per_minute(3)).unwrap();
        let limit = per_client.with_limits([in_all]).unwrap();
        let stack = ServerStack::new("api", 10).rate_limit(
            limit.by(|request: &Request<Body>| request.headers().get("x-api-key")?.to_str().ok()),
        );
        let app = Router::new()
            .route("/{page}", get(async |Path(page): Path<String>| page))
            .layer(stack.clone());
        let mut seen = Vec::new();
        for (client, calls) in [("a", 4), ("b", 4), ("c", 2)] {
            for page in 0..calls {
                seen.push(
                    status(&app, get_of(&format!("/{page}"), client))
                        .await
                        .as_u16(),
                );
            }
        }
        assert_eq!(seen, [200, 200, 200, 429, 200, 200, 200, 429, 200, 429]);
        assert_eq!(stack.bulkhead().snapshot().in_flight, 0);
    }

    // CX1, BH1: over real sockets, where axum makes new services all the time.
    #[tokio::test]
    async fn cx1_fifty_connections_share_the_permits_of_one_stack() {
        let stack = ServerStack::new("api", 5);
        let (go, here) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (gate, arrived) = (Arc::clone(&go), Arc::clone(&here));
        let wait = move || {
            let (gate, arrived) = (Arc::clone(&gate), Arc::clone(&arrived));
            async move {
                arrived.notify_one();
                gate.notified().await;
                "done"
            }
        };
        let app = Router::new()
            .route("/a", get(wait.clone()))
            .route("/b", get(wait))
            .layer(stack.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut calls = Vec::new();
        for n in 0..50 {
            let url = format!("http://{address}/{}", ["a", "b"][n % 2]);
            calls.push(tokio::spawn(async move {
                reqwest::Client::new()
                    .get(url)
                    .send()
                    .await
                    .unwrap()
                    .status()
            }));
            if n < 5 {
                here.notified().await;
            }
        }
        assert_eq!(stack.bulkhead().snapshot().in_flight, 5);
        // The first five wait; all others are rejected.
        for call in calls.drain(5..) {
            assert_eq!(call.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        }
        go.notify_waiters();
        for call in calls {
            assert_eq!(call.await.unwrap(), StatusCode::OK);
        }
        assert_eq!(stack.bulkhead().snapshot().in_flight, 0);
    }
}
