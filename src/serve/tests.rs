use std::net::IpAddr;

use super::activity::{Activity, Due};
use super::caps::Caps;
use super::config::Config;
use crate::circuit_breaker::CircuitBreaker;
use crate::keyed::Keyed;
use crate::serve::{Health, Server};
use crate::sync::Arc;
use crate::testing::{ms, secs};
use crate::time::Tick;

const LIMITS: Config = Config {
    header_timeout: secs(10),
    idle_timeout: secs(75),
    ..Config::DEFAULT
};

fn at(seconds: u64) -> Tick {
    Tick::ZERO.after(secs(100 + seconds))
}

#[test]
fn sv1_each_head_has_the_header_timeout_and_the_time_between_has_the_idle_timeout() {
    let activity = Activity::new(at(0));
    let due = |closing| activity.deadline(&LIMITS, closing);
    assert_eq!(due(None), Some((at(10), Due::Cut)), "the first head");
    activity.has_read(|| at(3));
    assert_eq!(
        due(None),
        Some((at(10), Due::Cut)),
        "its bytes move nothing"
    );
    activity.start_request(false);
    assert_eq!(due(None), None);
    activity.has_read(|| at(20));
    activity.end_request(at(30));
    assert_eq!(due(None), Some((at(105), Due::Close)));
    assert_eq!(due(Some(at(50))), Some((at(60), Due::Cut)), "closing");
    activity.has_written(1, || at(40));
    assert_eq!(due(None), Some((at(115), Due::Close)), "a slow reader");
    assert_eq!(activity.unfinished(), 1);
    activity.has_flushed();
    assert_eq!(activity.unfinished(), 0);
    activity.has_read(|| at(50));
    assert_eq!(due(None), Some((at(60), Due::Cut)), "the second head");
}

#[test]
fn sv1_a_ping_on_http2_is_no_head() {
    let activity = Activity::new(at(0));
    activity.start_request(true);
    activity.end_request(at(5));
    activity.has_read(|| at(6));
    activity.has_written(17, || at(6));
    assert_eq!(activity.deadline(&LIMITS, None), Some((at(80), Due::Close)));
    activity.has_written(1_000, || at(7));
    assert_eq!(activity.deadline(&LIMITS, None), Some((at(82), Due::Close)));
}

#[test]
fn sv1_a_request_in_flight_is_not_idle_unless_its_reader_takes_nothing() {
    let activity = Activity::new(at(0));
    activity.start_request(false);
    activity.has_written(1_000, || at(5));
    assert_eq!(activity.deadline(&LIMITS, None), Some((at(80), Due::Close)));
    activity.has_flushed();
    assert_eq!(activity.deadline(&LIMITS, None), None);
}

#[test]
fn sv1_the_cap_per_address_counts_a_network_of_ipv6_as_one() {
    let caps = Arc::new(Caps::new(5, Some(2)));
    let admit = |address: &str| caps.admit(address.parse::<IpAddr>().unwrap());
    let first = admit("2001:db8::1").unwrap();
    let _second = admit("2001:db8::2:1").unwrap();
    assert!(admit("2001:db8::3").is_none());
    let _other = admit("2001:db8:0:1::1").unwrap();
    drop(first);
    let _third = admit("2001:db8::3").unwrap();
    let _mapped = admit("::ffff:192.0.2.1").unwrap();
    let _fifth = admit("192.0.2.1").unwrap();
    assert!(admit("192.0.2.2").is_none(), "the cap in all");
    assert_eq!((caps.open(), caps.rejected()), (5, 2));
}

// CX15, SV1
#[test]
fn cx15_the_server_reports_all_problems_at_once() {
    let server = Server::builder()
        .name("api")
        .header_timeout(ms(0))
        .idle_timeout(ms(0))
        .max_age(ms(0))
        .max_connections(0)
        .max_connections_per_address(0)
        .build();
    let error = server.unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|p| p.field.as_str()).collect();
    let expected = [
        "header_timeout",
        "idle_timeout",
        "max_age",
        "max_connections",
        "max_connections_per_address",
    ];
    assert_eq!(fields, expected);
    let _server = Server::builder()
        .settle(ms(0))
        .drain(ms(0))
        .build()
        .unwrap();
}

fn text(health: &Health, path: &str) -> (u16, String) {
    let answer = health.answer(path).unwrap();
    (answer.status().as_u16(), answer.into_body())
}

#[test]
fn sv2_readiness_names_what_is_open_or_draining() {
    let payments = CircuitBreaker::new("payments");
    let hosts = Keyed::new(10, |host: &str| CircuitBreaker::builder(host).build()).unwrap();
    let server = Server::new();
    let health = server
        .health()
        .degraded_by(&payments)
        .degraded_by_any(&hosts)
        .degraded_if(|| None);
    let ready = || text(&health, "/internal/readyz");
    assert_eq!(ready(), (200, "ready\n".to_owned()));
    payments.force_open();
    hosts.get("b.example").force_open();
    hosts.get("a.example").force_open();
    let reasons = "payments: forced open\na.example: forced open\nb.example: forced open\n";
    assert_eq!(ready(), (200, format!("degraded\n{reasons}")));
    let warm = health
        .clone()
        .unready_if(|| Some("the cache is empty".to_owned()));
    let expected = format!("not ready\nthe cache is empty\n{reasons}");
    assert_eq!(text(&warm, "/readyz"), (503, expected));
    server.drain();
    assert_eq!(ready(), (503, format!("draining\n{reasons}")));
    assert_eq!(text(&health, "/healthz"), (200, "ok\n".to_owned()));
    assert!(health.answer("/").is_none());
}

/// What a server reports about its drain, with a request in flight that ends once the server
/// closes, or never.
#[cfg(feature = "tracing")]
fn drain_lines(ends: bool) -> Vec<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use crate::serve::Phase;

    let lines = crate::event::lines_of(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let drain = if ends { secs(20) } else { ms(20) };
            let server = Server::builder().name("edge").signals(false);
            let server = server.settle(ms(0)).drain(drain).build().unwrap();
            let drains = server.clone();
            let handler = async move || {
                drains.drain();
                while !ends || drains.snapshot().phase < Phase::Closing {
                    tokio::time::sleep(ms(2)).await;
                }
            };
            let app = axum::Router::new().route("/", axum::routing::get(handler));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let head = b"GET / HTTP/1.1\r\nhost: edge\r\n\r\n";
                stream.write_all(head).await.unwrap();
                // A reset is an end as well.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            };
            let (drained, ()) = tokio::join!(server.serve(listener, app), client);
            let _ = drained.unwrap();
        });
    });
    let of_server = |line: &String| line.contains(" resilience.server=edge");
    lines.into_iter().filter(of_server).collect()
}

#[cfg(feature = "tracing")]
#[test]
fn ob2_a_drain_reports_each_phase_with_what_is_open_and_how_it_ended() {
    let phase = |phase, open| {
        format!(
            "INFO message=server drains resilience.server=edge resilience.phase={phase} \
             resilience.connections={open} resilience.requests={open}"
        )
    };
    let mut expected = [
        phase("draining", 1),
        phase("closing", 1),
        phase("ended", 0),
        "INFO message=server has answered every request resilience.server=edge".into(),
    ];
    assert_eq!(drain_lines(true), expected);
    expected[2] = phase("ended", 1);
    expected[3] =
        "WARN message=server has cut requests off resilience.server=edge resilience.cut=1".into();
    assert_eq!(drain_lines(false), expected);
}
