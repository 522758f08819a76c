//! The documented order with CORS, as a page in a real browser sees it.

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use http::header::RETRY_AFTER;
use seawall::http::{ClientIp, HttpServerStack};
use seawall::keyed::ByKey;
use seawall::{RateLimiter, ServerStack};
use tokio::sync::mpsc;
use tower_http::cors::{Any, CorsLayer};

use super::devtools::Browser;
use super::serve;

/// Calls each URL once and reports what it could read. The header makes it a request with a
/// preflight.
const PAGE: &str = "<!doctype html><script>
async function read(url) {
  try {
    const response = await fetch(url, { headers: { 'x-api-key': 'one' } });
    return response.status + ' ' + response.headers.get('retry-after');
  } catch (error) {
    return 'network error';
  }
}
(async () => {
  const seen = [];
  for (const url of URLS) seen.push(await read(url));
  await fetch('/seen', { method: 'POST', body: seen.join('\\n') });
})();
</script>";

type Clients = ByKey<IpAddr, RateLimiter, ClientIp>;
type Stack = HttpServerStack<Clients>;

/// An API with one request a minute for each client, and one at once.
fn api() -> (Router, Stack) {
    let stack = ServerStack::http("api", 1).rate_limit(ClientIp::peer().per_minute(1));
    (Router::new().route("/", get(|| async { "hello" })), stack)
}

fn cors() -> CorsLayer {
    CorsLayer::new().allow_origin(Any).allow_headers(Any)
}

/// What the page could read of each URL.
async fn seen(urls: &[String]) -> Vec<String> {
    let (sender, mut receiver) = mpsc::channel(1);
    let urls: Vec<_> = urls.iter().map(|url| format!("'{url}'")).collect();
    let page = PAGE.replace("URLS", &format!("[{}]", urls.join(", ")));
    let report = move |text: String| async move { sender.send(text).await.unwrap() };
    let app = Router::new()
        .route("/", get(|| async { Html(page) }))
        .route("/seen", post(report));
    let browser = Browser::open(&[&format!("http://{}/", serve(app).await)]);
    let text = tokio::time::timeout(Duration::from_secs(60), receiver.recv());
    let text = text.await.expect("the page reports").unwrap();
    drop(browser);
    text.lines().map(str::to_owned).collect()
}

// HB9
#[tokio::test(flavor = "multi_thread")]
async fn hb9_a_page_of_another_origin_reads_rejections_with_cors_outermost() {
    // With axum the last layer is the outermost.
    let (app, stack) = api();
    let documented = serve(app.layer(stack).layer(cors().expose_headers([RETRY_AFTER]))).await;
    let (app, stack) = api();
    let bulkhead = stack.bulkhead().clone();
    let _full = bulkhead.try_acquire().unwrap();
    let full = serve(app.layer(stack).layer(cors().expose_headers([RETRY_AFTER]))).await;
    let (app, stack) = api();
    let not_exposed = serve(app.layer(stack).layer(cors())).await;
    let (app, stack) = api();
    let wrong = serve(app.layer(cors().expose_headers([RETRY_AFTER])).layer(stack)).await;
    let (app, stack) = api();
    let bulkhead = stack.bulkhead().clone();
    let _wrong_full = bulkhead.try_acquire().unwrap();
    let wrong_full = serve(app.layer(cors().expose_headers([RETRY_AFTER])).layer(stack)).await;

    let apis = [
        documented,
        documented,
        full,
        not_exposed,
        not_exposed,
        wrong,
        wrong_full,
    ];
    let seen = seen(&apis.map(|api| format!("http://{api}/"))).await;
    // The preflight took no token.
    assert_eq!(seen[..2], ["200 null", "429 60"], "the documented order");
    assert!(
        seen[2].starts_with("503 "),
        "the documented order: {seen:?}"
    );
    assert_eq!(seen[3..5], ["200 null", "429 null"], "not exposed");
    // The preflight took the only token, and the rejection has no header of CORS.
    assert_eq!(
        seen[5..],
        ["network error", "network error"],
        "the wrong order"
    );
}
