//! The page and its data.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use seawall::console::Console;
use seawall::serve::Server;
use seawall::{Bulkhead, Timeout};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{app, breaker, document, get, tile, trip};

#[tokio::test]
async fn ob20_the_page_is_one_file_without_outside_assets_at_any_path() {
    let console = Console::new();
    let nested = app(&console);
    let service = Router::new().nest_service("/seawall", console.router::<()>());
    let whole: Router = console.router();
    for (app, path) in [
        (&nested, "/seawall"),
        (&service, "/seawall"),
        (&service, "/seawall/"),
        (&whole, "/"),
    ] {
        let (status, headers, body) = get(app, path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let page = String::from_utf8(body.to_vec()).unwrap();
        assert!(page.starts_with("<!doctype html>"));
        for outside in ["src=", "url(http", "@import", "href=\"http", "{{"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }
    let (status, ..) = get(&nested, "/seawall/other").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn ob20_the_document_has_what_is_wrong_first_and_a_minute_of_history() {
    let console = Console::new();
    let app = app(&console);
    let orders = breaker("ob20 document orders");
    let bulkhead = Bulkhead::builder(4)
        .name("ob20 document limit")
        .build()
        .unwrap();
    let first = document(&app).await;
    assert_eq!(tile(&first, "ob20 document orders")["state"], "closed");
    trip(&orders);
    let _permit = bulkhead.try_acquire().unwrap();
    // Within the same half second nothing is read again.
    assert_eq!(document(&app).await, first);
    for _ in 0..140 {
        tokio::time::advance(Duration::from_millis(500)).await;
        document(&app).await;
    }
    let last = document(&app).await;
    let orders = tile(&last, "ob20 document orders");
    assert_eq!(last["policies"][0]["trouble"], "bad");
    assert_eq!(
        (&orders["trouble"], &orders["state"]),
        (&json!("bad"), &json!("open"))
    );
    assert_eq!(orders["says"], "open since 1 min 10 s");
    assert_eq!(orders["in_state"], 70.0);
    assert_eq!(orders["levers"], json!([]));
    let history = orders["history"]["state"].as_array().unwrap();
    assert_eq!((history.len(), &history[119]), (120, &json!(2.0)));
    let limit = tile(&last, "ob20 document limit");
    assert_eq!(
        (&limit["limit"], &limit["point"]["in_flight"]),
        (&json!(4), &json!(1.0))
    );
    // A time without a reader is a gap.
    tokio::time::advance(Duration::from_millis(2_500)).await;
    let history = tile(&document(&app).await, "ob20 document orders")["history"]["state"].clone();
    let end: Vec<_> = history.as_array().unwrap()[114..].to_vec();
    assert_eq!(json!(end), json!([2.0, null, null, null, null, 2.0]));
}

#[tokio::test(start_paused = true)]
async fn ob20_rates_are_of_a_second_and_latencies_of_ten() {
    let console = Console::new();
    let app = app(&console);
    let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
    let bulkhead = Bulkhead::builder(1).name("ob20 rates limit");
    let bulkhead = bulkhead.build().unwrap();
    let total = Timeout::builder(5 * second).name("ob20 rates timeout");
    let total = total.build().unwrap();
    let first = tile(&document(&app).await, "ob20 rates limit");
    assert_eq!(
        (&first["admitted"], &first["rejected"]),
        (&Value::Null, &Value::Null)
    );
    let permit = bulkhead.try_acquire().unwrap();
    for _ in 0..3 {
        bulkhead.try_acquire().unwrap_err();
    }
    let slow = || async {
        tokio::time::sleep(ms(400)).await;
        Ok::<_, std::io::Error>(())
    };
    total.run(slow).await.unwrap();
    tokio::time::advance(ms(600)).await;
    let read = document(&app).await;
    let limit = tile(&read, "ob20 rates limit");
    assert_eq!(limit["admitted"], 1.0);
    assert_eq!(limit["rejected"], json!({ "bulkhead_full": 3.0 }));
    assert_eq!(
        (&limit["trouble"], &limit["says"]),
        (&json!("bad"), &json!("full, rejecting 3.0/s"))
    );
    let latency = &tile(&read, "ob20 rates timeout")["latency"];
    let p99 = latency["p99"].as_f64().unwrap();
    assert!((0.4..0.5).contains(&p99), "{latency}");
    drop(permit);
    for _ in 0..21 {
        tokio::time::advance(ms(500)).await;
        document(&app).await;
    }
    let read = document(&app).await;
    let limit = tile(&read, "ob20 rates limit");
    assert_eq!(
        (&limit["admitted"], &limit["rejected"]),
        (&json!(0.0), &json!({}))
    );
    assert_eq!(
        (&limit["trouble"], &limit["calls"]),
        (&json!("ok"), &json!(4))
    );
    assert_eq!(tile(&read, "ob20 rates timeout")["latency"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn ob20_pages_share_two_frames_a_second_until_a_drain() {
    let console = Console::new();
    let app = app(&console);
    let orders = breaker("ob20 frames orders");
    let open = || async {
        let request = Request::get("/seawall/events").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body()
    };
    async fn next(page: &mut Body) -> Value {
        let frame = page.frame().await.unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let (_, data) = text.split_once("data: ").unwrap();
        serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
    }
    let (mut one, mut two) = (open().await, open().await);
    let (first_of_one, first_of_two) = (next(&mut one).await, next(&mut two).await);
    assert_eq!(first_of_one, first_of_two);
    assert!(tile(&first_of_one, "ob20 frames orders")["history"].is_object());
    trip(&orders);
    let before = tokio::time::Instant::now();
    let (of_one, of_two) = (next(&mut one).await, next(&mut two).await);
    assert_eq!(before.elapsed(), Duration::from_millis(500));
    assert_eq!(of_one, of_two);
    let orders = tile(&of_one, "ob20 frames orders");
    assert_eq!(
        (&orders["state"], &orders["history"]),
        (&json!("open"), &Value::Null)
    );
    // Other tests of this process have breakers too.
    let transitions = of_one["transitions"].as_array().unwrap();
    let of_orders = |passed: &&Value| passed["policy"] == "ob20 frames orders";
    let passed = transitions.iter().find(of_orders).unwrap();
    assert_eq!(
        (&passed["from"], &passed["to"]),
        (&json!("closed"), &json!("open"))
    );
    let cause = passed["cause"].as_str().unwrap();
    assert!(cause.contains("failures"), "{passed}");
    // A page holds up no drain: its response ends, and it connects again while it can.
    let server = Server::builder().signals(false).build().unwrap();
    server.drain();
    assert_eq!(next(&mut one).await["status"], "draining");
    assert!(one.frame().await.is_none());
    drop(server);
    assert_eq!(
        next(&mut open().await).await["policies"][0]["trouble"],
        "bad"
    );
}
