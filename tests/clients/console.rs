//! The live page, in a real browser.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use seawall::circuit_breaker::{State, Trip};
use seawall::console::Console;
use seawall::{Bulkhead, CircuitBreaker, Mode, RateLimiter};
use serde_json::{Value, json};

use super::devtools::Page;
use super::scene::Scene;
use super::serve;

const SECOND: Duration = Duration::from_secs(1);
/// Until a page is loaded and its first frame is shown, on a machine with other work.
const LOADED: Duration = Duration::from_secs(20);

/// A breaker that opens after five failures, for long.
fn breaker(name: &str) -> CircuitBreaker {
    CircuitBreaker::builder(name)
        .trips([Trip::consecutive_failures(5)])
        .open_for(seawall::Backoff::constant(Duration::from_secs(600)))
        .build()
        .unwrap()
}

/// The address of a console's page.
async fn page_of(console: &Console) -> String {
    let address = serve(Router::new().nest("/ops/seawall", console.router())).await;
    format!("http://{address}/ops/seawall")
}

/// The text of the tile with this name.
fn tile(name: &str) -> String {
    let name = json!(name);
    format!(
        "[...document.querySelectorAll('.tile')]\
         .find((tile) => tile.querySelector('h3').textContent === {name})"
    )
}

/// Whether the tile shows this text.
fn shows(name: &str, text: &str) -> String {
    format!("{}?.innerText.includes({})", tile(name), json!(text))
}

/// Presses a lever of the tile, twice where that is what it takes.
async fn press(page: &mut Page, name: &str, lever: &str) {
    let button = format!("{}.querySelector('[data-lever={lever}]')", tile(name));
    page.value(&format!(
        "{}.querySelector('.levers').open = true",
        tile(name)
    ))
    .await;
    page.value(&format!("{button}.click()")).await;
    page.value(&format!(
        "{button}.classList.contains('sure') && {button}.click()"
    ))
    .await;
}

// OB20
#[tokio::test(flavor = "multi_thread")]
async fn ob20_a_page_sees_a_breaker_open_within_a_second() {
    let orders = breaker("ob20 orders");
    let console = Console::new();
    let mut page = Page::open().await;
    page.visit(&page_of(&console).await).await;
    page.wait(LOADED, &shows("ob20 orders", "closed")).await;
    for _ in 0..5 {
        orders.try_acquire().unwrap().failure();
    }
    assert_eq!(orders.state(), State::Open);
    page.wait(SECOND, &shows("ob20 orders", "open since")).await;
    for _ in 0..20 {
        orders.try_acquire().unwrap_err();
    }
    page.wait(3 * SECOND, &shows("ob20 orders", "circuit open"))
        .await;
    let first = page.value("document.querySelector('.headlines').innerText");
    let first = first.await;
    assert!(
        first.as_str().unwrap().contains("ob20 orders: open since"),
        "{first}"
    );
    let first = page.value("document.querySelector('.tile h3').textContent");
    assert_eq!(first.await, "ob20 orders", "what is wrong comes first");
    let listed = page.value("document.getElementById('transitions').innerText");
    let listed = listed.await;
    assert!(
        listed
            .as_str()
            .unwrap()
            .contains("ob20 orders: closed → open"),
        "{listed}"
    );
}

// OB21
#[tokio::test(flavor = "multi_thread")]
async fn ob21_levers_work_where_they_are_on() {
    let orders = breaker("ob20 levers");
    let limiter = RateLimiter::builder(seawall::Quota::per_second(50)).name("ob20 rate");
    let limiter = limiter.build().unwrap();
    let bulkhead = Bulkhead::builder(64).name("ob20 limit").build().unwrap();
    let console = Console::new().levers_behind_own_auth();
    let mut page = Page::open().await;
    page.visit(&page_of(&console).await).await;
    page.wait(LOADED, &shows("ob20 levers", "Levers")).await;

    press(&mut page, "ob20 levers", "force_open").await;
    let did = "forced open (it was closed)";
    page.wait(3 * SECOND, &shows("ob20 levers", did)).await;
    assert_eq!(orders.state(), State::ForcedOpen);
    press(&mut page, "ob20 levers", "release").await;
    page.wait(
        3 * SECOND,
        &shows("ob20 levers", "closed (it was forced open)"),
    )
    .await;
    assert_eq!(orders.state(), State::Closed);
    press(&mut page, "ob20 levers", "off").await;
    page.wait(
        3 * SECOND,
        &shows("ob20 levers", "the mode is off (it was enforce)"),
    )
    .await;
    assert_eq!(orders.mode(), Mode::Off);

    for (name, lever, value, did) in [
        ("ob20 rate", "rate", "20/s", "the rate is 20 per second"),
        ("ob20 limit", "limit", "8", "the limit is 8 (it was 64)"),
        (
            "ob20 limit",
            "limit",
            "many",
            "invalid `limit`: many (must be",
        ),
    ] {
        let input = format!("{}.querySelector('input[data-lever={lever}]')", tile(name));
        let set = format!(
            "{0}.querySelector('.levers').open = true; {input}.value = '{value}'; \
             {input}.form.requestSubmit()",
            tile(name)
        );
        page.value(&set).await;
        page.wait(3 * SECOND, &shows(name, did)).await;
    }
    assert_eq!((limiter.quota().count(), bulkhead.limit()), (20, 8));
}

// OB21
#[tokio::test(flavor = "multi_thread")]
async fn ob21_levers_are_rejected_where_they_are_off_and_from_another_site() {
    let orders = breaker("ob20 guarded");
    let console = Console::new();
    let looks = page_of(&console).await;
    let levers = page_of(&console.clone().levers_behind_own_auth()).await;
    let mut page = Page::open().await;
    page.visit(&looks).await;
    page.wait(LOADED, &shows("ob20 guarded", "closed")).await;
    let tile = tile("ob20 guarded");
    assert_eq!(
        page.value(&format!("{tile}.querySelector('.levers')"))
            .await,
        Value::Null
    );
    let id = page.value(&format!("{tile}.id.slice(2)")).await;
    let pull = json!({ "id": id.as_str().unwrap().parse::<u64>().unwrap(),
        "name": "ob20 guarded", "lever": "force_open" });
    let fetch = |url: &str, headers: Value| {
        format!(
            "fetch('{url}/lever', {{ method: 'POST', headers: {headers}, body: {} }})\
             .then((answer) => answer.status, () => 'network error')",
            json!(pull.to_string())
        )
    };
    let ours = json!({ "content-type": "application/json", "x-seawall-console": "1" });
    // The console's own page, where levers are off.
    assert_eq!(page.value(&fetch(&looks, ours.clone())).await, 403);
    // The same page is another site to the console with levers: a preflight, which fails.
    let elsewhere = levers.replace("127.0.0.1", "localhost");
    page.visit("about:blank").await;
    assert_eq!(
        page.value(&fetch(&elsewhere, ours.clone())).await,
        "network error"
    );
    // A form has no such header.
    let form = json!({ "content-type": "text/plain" });
    let sent = page.value(&fetch(&elsewhere, form)).await;
    assert_eq!(sent, "network error", "its answer is not readable either");
    assert_eq!(orders.state(), State::Closed);
    // And from its own page it works.
    page.visit(&levers).await;
    page.wait(LOADED, &shows("ob20 guarded", "closed")).await;
    let no_header = json!({ "content-type": "application/json" });
    assert_eq!(page.value(&fetch(&levers, no_header)).await, 403);
    assert_eq!(orders.state(), State::Closed);
    assert_eq!(page.value(&fetch(&levers, ours)).await, 200);
    assert_eq!(orders.state(), State::ForcedOpen);
}

// OB20
#[tokio::test(flavor = "multi_thread")]
async fn ob20_a_name_is_text_and_nothing_else() {
    let name = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>";
    let orders = breaker(name);
    let console = Console::new().levers_behind_own_auth();
    let mut page = Page::open().await;
    page.visit(&page_of(&console).await).await;
    page.wait(LOADED, &shows(name, "closed")).await;
    press(&mut page, name, "force_open").await;
    page.wait(3 * SECOND, &shows(name, "forced open since"))
        .await;
    let listed = "document.getElementById('transitions').innerText.includes('onerror')";
    page.wait(3 * SECOND, listed).await;
    assert_eq!(page.value("window.ran").await, Value::Null);
    assert_eq!(
        page.value("document.querySelectorAll('img').length").await,
        0
    );
    drop(orders);
}

// OB20
#[tokio::test(flavor = "multi_thread")]
async fn ob20_fits_a_phone_both_colours_and_a_keyboard() {
    let mut page = Page::open().await;
    let scene = Scene::start();
    let console = Console::new().levers_behind_own_auth();
    page.visit(&page_of(&console).await).await;
    page.wait(LOADED, &shows("orders.retry", "admits all"))
        .await;
    let pictures = std::env::var_os("SEAWALL_SCREENSHOTS").map(PathBuf::from);
    // With pictures, charts of a whole minute.
    let (healthy, outage) = match pictures {
        Some(_) => (44 * SECOND, 14 * SECOND),
        None => (SECOND, SECOND),
    };
    tokio::time::sleep(healthy).await;
    scene.fail();
    page.wait(
        LOADED,
        "document.querySelector('.headlines').innerText.includes('open for eu.orders.example')",
    )
    .await;
    tokio::time::sleep(outage).await;
    let background = "getComputedStyle(document.body).backgroundColor";
    let motion = "getComputedStyle(document.querySelector('.live.on .dot')).animationName";
    let mut seen = Vec::new();
    for (name, size, colours, reduced) in [
        ("light", (1280, 1000), "light", "no-preference"),
        ("dark", (1280, 1000), "dark", "reduce"),
        ("narrow", (360, 1200), "light", "reduce"),
    ] {
        page.look(size, colours, reduced).await;
        page.wait(3 * SECOND, "document.querySelector('.live.on') !== null")
            .await;
        let wide = page.value("document.documentElement.scrollWidth").await;
        assert_eq!(wide, size.0, "{name}: nothing is beyond the window");
        if let Some(folder) = &pictures {
            page.screenshot(&folder.join(format!("console-{name}.png")))
                .await;
        }
        seen.push((page.value(background).await, page.value(motion).await));
    }
    let light = json!("rgb(244, 245, 247)");
    let dark = json!("rgb(15, 18, 22)");
    assert_eq!(
        seen,
        [
            (light.clone(), json!("pulse")),
            (dark, json!("none")),
            (light, json!("none"))
        ]
    );

    // By keyboard: `/` goes to the filter, the next key to the policies, and Enter opens the levers.
    page.key("/", 191).await;
    assert_eq!(page.value("document.activeElement.id").await, "filter");
    page.value("document.activeElement.value = 'api.bulkhead'; document.activeElement.dispatchEvent(new Event('input'))")
        .await;
    let shown =
        "[...document.querySelectorAll('.tile:not([hidden]) h3')].map((name) => name.textContent)";
    assert_eq!(page.value(shown).await, json!(["api.bulkhead"]));
    let levers = "document.activeElement.closest('.levers') !== null";
    for _ in 0..20 {
        page.key("Tab", 9).await;
        if page.value(levers).await == json!(true) {
            break;
        }
    }
    page.key("Enter", 13).await;
    let open = "document.activeElement.closest('.levers')?.open";
    assert_eq!(page.value(open).await, true);
}
