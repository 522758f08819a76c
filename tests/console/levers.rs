//! Levers: what they do, and what they reject.

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use seawall::circuit_breaker::State;
use seawall::console::Console;
use seawall::{Bulkhead, CircuitBreaker, Keyed, Mode, Quota, RateLimiter};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{app, breaker, document, get, tile, trip};

/// Uses a lever as the page does.
async fn pull(app: &Router, pull: Value) -> (StatusCode, String) {
    let request = Request::post("/seawall/lever")
        .header("content-type", "application/json; charset=utf-8")
        .header("x-seawall-console", "1")
        .body(Body::from(pull.to_string()));
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = body["did"].as_str().or(body["error"].as_str());
    (status, text.unwrap().to_owned())
}

#[tokio::test]
async fn ob21_levers_say_what_they_did_and_what_was_before() {
    let app = app(&Console::new().levers_behind_own_auth());
    let orders = breaker("ob20 levers orders");
    let hosts = Keyed::<str, CircuitBreaker>::builder(|host| Ok(breaker(host)));
    let hosts = hosts.name("ob20 levers hosts").build().unwrap();
    trip(&hosts.get("a.example"));
    let limiter = RateLimiter::builder(Quota::per_second(50)).name("ob20 levers rate");
    let limiter = limiter.build().unwrap();
    let bulkhead = Bulkhead::builder(64)
        .name("ob20 levers limit")
        .build()
        .unwrap();
    let read = document(&app).await;
    assert_eq!(read["levers"], true);
    for (name, lever, value, did) in [
        (
            "orders",
            "force_open",
            Value::Null,
            "forced open (it was closed)",
        ),
        (
            "orders",
            "release",
            Value::Null,
            "closed (it was forced open)",
        ),
        ("orders", "reset", Value::Null, "closed (it was closed)"),
        (
            "orders",
            "mode",
            json!("off"),
            "the mode is off (it was enforce)",
        ),
        (
            "hosts",
            "reset",
            json!("a.example"),
            "a.example: closed (it was open)",
        ),
        (
            "hosts",
            "mode",
            json!("record_only"),
            "the mode is record only (it was enforce)",
        ),
        (
            "rate",
            "rate",
            json!(" 20/s "),
            "the rate is 20 per second, burst 20 (it was 50 per second, burst 50)",
        ),
        (
            "rate",
            "rate",
            json!("600/min"),
            "the rate is 600 per minute, burst 600 (it was 20 per second, burst 20)",
        ),
        ("limit", "limit", json!(8), "the limit is 8 (it was 64)"),
    ] {
        let name = format!("ob20 levers {name}");
        let id = &tile(&read, &name)["id"];
        let pulled = pull(
            &app,
            json!({ "id": id, "name": name, "lever": lever, "value": value }),
        )
        .await;
        assert_eq!(pulled, (StatusCode::OK, did.to_owned()));
    }
    assert_eq!(
        (orders.mode(), hosts.get("a.example").state()),
        (Mode::Off, State::Closed)
    );
    assert_eq!(
        (limiter.quota(), bulkhead.limit()),
        (Quota::per_minute(600), 8)
    );
}

#[tokio::test]
async fn ob21_a_lever_that_does_not_fit_is_one_message_and_changes_nothing() {
    let console = Console::new().levers_behind_own_auth();
    let app = app(&console);
    let limiter = RateLimiter::builder(Quota::per_second(50)).name("ob20 wrong rate");
    let limiter = limiter.build().unwrap();
    let bulkhead = Bulkhead::builder(64)
        .name("ob20 wrong limit")
        .build()
        .unwrap();
    let read = document(&app).await;
    for (name, lever, value, error) in [
        (
            "rate",
            "rate",
            "fast",
            "invalid `rate`: fast (must be a rate, such as `50/s`, `100/min` or `5/10s`, or `unlimited`)",
        ),
        (
            "limit",
            "limit",
            "-1",
            "invalid `limit`: -1 (must be a whole number from 0 to 1,000,000)",
        ),
        (
            "limit",
            "limit",
            "2000000",
            "ob20 wrong limit: invalid `limit`: 2000000 (must be at most 1,000,000)",
        ),
        (
            "limit",
            "mode",
            "on",
            "invalid `mode`: on (must be enforce or record_only or off)",
        ),
        (
            "limit",
            "rate",
            "1/s",
            "invalid `lever`: rate (must be mode or limit)",
        ),
    ] {
        let name = format!("ob20 wrong {name}");
        let id = &tile(&read, &name)["id"];
        let pulled = pull(
            &app,
            json!({ "id": id, "name": name, "lever": lever, "value": value }),
        )
        .await;
        assert_eq!(pulled, (StatusCode::UNPROCESSABLE_ENTITY, error.to_owned()));
    }
    assert_eq!(
        (limiter.quota(), bulkhead.limit()),
        (Quota::per_second(50), 64)
    );
    // Another policy has the id, or none has it any more.
    let id = tile(&read, "ob20 wrong limit")["id"].clone();
    let renamed = json!({ "id": id, "name": "ob20 wrong rate", "lever": "limit", "value": 1 });
    assert_eq!(pull(&app, renamed).await.0, StatusCode::NOT_FOUND);
    drop(bulkhead);
    let gone = json!({ "id": id, "name": "ob20 wrong limit", "lever": "limit", "value": 1 });
    // The page may be reading it, which keeps it for a moment.
    let mut pulled = pull(&app, gone.clone()).await;
    for _ in 0..1_000 {
        if pulled.0 != StatusCode::OK {
            break;
        }
        tokio::task::yield_now().await;
        pulled = pull(&app, gone.clone()).await;
    }
    let (status, text) = pulled;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.ends_with("with the name `ob20 wrong limit`"), "{text}");
    let (status, text) = pull(&app, json!({ "id": 1 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        text.starts_with("invalid body: missing field `name`"),
        "{text}"
    );
}

#[tokio::test]
async fn ob21_a_lever_takes_a_post_with_a_header_that_no_form_of_another_site_has() {
    let console = Console::new();
    let orders = breaker("ob20 site orders");
    let (looks, levers) = (app(&console), app(&console.levers_behind_own_auth()));
    let read = document(&levers).await;
    let id = &tile(&read, "ob20 site orders")["id"];
    let body = json!({ "id": id, "name": "ob20 site orders", "lever": "force_open" }).to_string();
    let json = ("content-type", "application/json");
    let ours = ("x-seawall-console", "1");
    let site = |site| ("sec-fetch-site", site);
    for (app, headers, status) in [
        (&looks, vec![json, ours], 403),
        (&levers, vec![json], 403),
        (&levers, vec![ours], 403),
        (&levers, vec![("content-type", "text/plain"), ours], 403),
        (&levers, vec![json, ours, site("cross-site")], 403),
        (&levers, vec![json, ours, site("same-site")], 403),
        (&levers, vec![json, ours, site("same-origin")], 200),
        (&levers, vec![json, ours, site("none")], 200),
    ] {
        orders.reset();
        let mut request = Request::post("/seawall/lever");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.clone())).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{headers:?}");
        let is_open = orders.state() == State::ForcedOpen;
        assert_eq!(is_open, status == 200, "{headers:?}");
    }
    let (status, ..) = get(&levers, "/seawall/lever").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}
