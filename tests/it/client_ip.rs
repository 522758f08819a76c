//! The client's address and other keys of HTTP requests.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{AUTHORIZATION, HeaderName};
use http::{Request, StatusCode};
use proptest::prelude::*;
use seawall::http::{Bearer, ClientIp, IpNet, Peer};
use seawall::{Keyed, Quota, RateLimitLayer, ServerStack};
use tower::ServiceExt;

/// The last proxy, which is the peer.
const PROXY: &str = "10.0.0.1";
/// A proxy before it.
const EDGE: &str = "10.9.9.9";
const CLIENT: &str = "203.0.113.7";

fn ours() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"]
        .map(|net| net.parse().unwrap())
        .to_vec()
}

fn request(peer: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = SocketAddr::new(peer.parse().unwrap(), 4_711);
    request.extension(Peer(peer)).body(()).unwrap()
}

fn address(clients: &ClientIp, peer: &str, headers: &[(&str, &str)]) -> String {
    let address = clients.address(&request(peer, headers));
    address.unwrap().to_string()
}

pub(crate) type Headers = &'static [(&'static str, &'static str)];

const XFF: &str = "x-forwarded-for";

/// What a client sends to pass for another one.
pub(crate) const SPOOFED: [Headers; 30] = [
    &[(XFF, "198.51.100.1")],
    &[(XFF, "198.51.100.1, 198.51.100.2")],
    &[(XFF, "10.0.0.1")],
    &[(XFF, "198.51.100.1, 10.0.0.1")],
    &[(XFF, "10.0.0.1, 10.0.0.2, 10.0.0.3")],
    &[(XFF, "127.0.0.1")],
    &[(XFF, "::1")],
    &[(XFF, "::ffff:198.51.100.1")],
    &[(XFF, "[2001:db8::1]:80")],
    &[(XFF, "198.51.100.1:80")],
    &[(XFF, "")],
    &[(XFF, ",")],
    &[(XFF, ",,,198.51.100.1,,,")],
    &[(XFF, "unknown")],
    &[(XFF, "_hidden")],
    &[(XFF, "203.0.113.8, junk")],
    &[(XFF, "\"")],
    &[(XFF, "\", 198.51.100.1")],
    &[(XFF, "198.51.100.1"), (XFF, "198.51.100.2")],
    &[(XFF, "198.51.100.1"), ("x-real-ip", "198.51.100.1")],
    &[
        ("x-real-ip", "198.51.100.1"),
        ("cf-connecting-ip", "198.51.100.1"),
    ],
    &[
        ("x-client-ip", "198.51.100.1"),
        ("true-client-ip", "198.51.100.1"),
    ],
    &[("forwarded", "for=198.51.100.1")],
    &[("forwarded", "for=198.51.100.1, for=10.0.0.1")],
    &[("forwarded", "for=\"[2001:db8::1]:80\"")],
    &[("forwarded", "for=\"")],
    &[("forwarded", "for=\"198.51.100.1, for=198.51.100.2")],
    &[("forwarded", "for=\"\\")],
    &[("forwarded", "for=unknown;by=10.0.0.1;host=\"a,b\"")],
    &[("forwarded", "for=198.51.100.1"), (XFF, "198.51.100.1")],
];

/// What a proxy in front makes of `headers`: it adds the address of its own peer, to the last header
/// of that name or as one more.
fn behind(
    headers: &[(&'static str, &str)],
    name: &'static str,
    entry: &str,
    joined: bool,
) -> Vec<(&'static str, String)> {
    let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
    let last = headers.iter_mut().rev().find(|(n, _)| *n == name && joined);
    match last {
        Some((_, value)) => *value = format!("{value}, {entry}"),
        None => headers.push((name, entry.to_owned())),
    }
    headers
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(n, v)| (*n, &**v)).collect()
}

#[test]
fn rl16_a_spoofed_header_changes_no_key() {
    let direct = [
        ClientIp::peer(),
        ClientIp::trusting(ours()),
        ClientIp::trusting(ours()).forwarded(),
    ];
    let [xff, forwarded] = [XFF, "forwarded"];
    for sent in SPOOFED {
        for clients in &direct {
            assert_eq!(
                address(clients, CLIENT, sent),
                CLIENT,
                "{clients:?} {sent:?}"
            );
        }
        for joined in [false, true] {
            for (name, one, two, by_nets, by_hops) in [
                (
                    xff,
                    CLIENT.to_owned(),
                    EDGE.to_owned(),
                    ClientIp::trusting(ours()),
                    ClientIp::trusting_hops as fn(usize) -> ClientIp,
                ),
                (
                    forwarded,
                    format!("for={CLIENT};host=\"a,b;\\\"c\""),
                    format!("proto=https;For=\"{EDGE}:_port\""),
                    ClientIp::trusting(ours()).forwarded(),
                    |hops| ClientIp::trusting_hops(hops).forwarded(),
                ),
            ] {
                let once = behind(sent, name, &one, joined);
                let twice = behind(&borrowed(&once), name, &two, joined);
                let (once, twice) = (borrowed(&once), borrowed(&twice));
                assert_eq!(address(&by_nets, PROXY, &once), CLIENT, "{once:?}");
                assert_eq!(address(&by_nets, PROXY, &twice), CLIENT, "{twice:?}");
                assert_eq!(address(&by_hops(1), PROXY, &once), CLIENT, "{once:?}");
                assert_eq!(address(&by_hops(2), PROXY, &twice), CLIENT, "{twice:?}");
            }
        }
    }
}

#[test]
fn rl16_the_header_is_read_as_far_as_the_trust_reaches() {
    let nets = || ClientIp::trusting(ours());
    let cases: [(ClientIp, &str, Headers, &str); 22] = [
        (nets(), PROXY, &[], PROXY),
        (nets(), PROXY, &[(XFF, CLIENT)], CLIENT),
        (nets(), PROXY, &[(XFF, "203.0.113.7:443")], CLIENT),
        (nets(), PROXY, &[(XFF, "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
        (
            nets(),
            "::ffff:10.0.0.1",
            &[(XFF, "::ffff:203.0.113.7")],
            CLIENT,
        ),
        (nets(), "fd00::1", &[(XFF, "2001:db8::1")], "2001:db8::1"),
        (nets(), PROXY, &[(XFF, "[2001:db8::1]:80")], "2001:db8::1"),
        // Malformed where it has to be read.
        (nets(), PROXY, &[(XFF, "203.0.113.7, junk")], PROXY),
        (nets(), PROXY, &[(XFF, "203.0.113.7, 10.1.1.1, _x")], PROXY),
        (nets(), PROXY, &[(XFF, "203.0.113.7:99999")], PROXY),
        (nets(), PROXY, &[(XFF, "[2001:db8::1")], PROXY),
        (nets(), PROXY, &[(XFF, "fe80::1%eth0")], PROXY),
        (
            nets().forwarded(),
            PROXY,
            &[("forwarded", "for=unknown")],
            PROXY,
        ),
        (
            nets().forwarded(),
            PROXY,
            &[("forwarded", "proto=http")],
            PROXY,
        ),
        (
            nets().forwarded(),
            PROXY,
            &[("forwarded", "for=203.0.113.7;for=1.1.1.1")],
            PROXY,
        ),
        (
            nets().forwarded(),
            PROXY,
            &[("forwarded", "for=\"203.0.113.7\" x")],
            PROXY,
        ),
        (
            nets().forwarded(),
            PROXY,
            &[("forwarded", "for=203.0.113.7; proto=http , for=10.1.1.1")],
            CLIENT,
        ),
        // Too short.
        (ClientIp::trusting_hops(2), PROXY, &[(XFF, CLIENT)], PROXY),
        (
            ClientIp::trusting_hops(1),
            PROXY,
            &[(XFF, "1.1.1.1,, 203.0.113.7 ,")],
            CLIENT,
        ),
        (
            ClientIp::trusting_hops(1),
            PROXY,
            &[(XFF, CLIENT), (XFF, "")],
            CLIENT,
        ),
        (
            nets().header(HeaderName::from_static("cf-connecting-ip")),
            PROXY,
            &[("cf-connecting-ip", CLIENT), (XFF, "1.1.1.1")],
            CLIENT,
        ),
        (
            ClientIp::trusting(["::ffff:10.0.0.0/104".parse().unwrap()]),
            PROXY,
            &[(XFF, CLIENT)],
            CLIENT,
        ),
    ];
    for (clients, peer, headers, expected) in cases {
        assert_eq!(
            address(&clients, peer, headers),
            expected,
            "{clients:?} {headers:?}"
        );
    }
}

proptest! {
    /// Whatever a client writes to the left, the entries of the proxies are read as they are.
    #[test]
    fn rl16_no_prefix_changes_what_the_proxies_added(
        made_up in proptest::collection::vec("[ -~]{0,30}", 0..3),
        addresses in proptest::collection::vec(any::<IpAddr>(), 1..5),
        joined: bool,
    ) {
        let hops = addresses.len();
        let expected = addresses[0].to_canonical();
        for is_forwarded in [false, true] {
            let (name, clients) = match is_forwarded {
                true => ("forwarded", ClientIp::trusting_hops(hops).forwarded()),
                false => (XFF, ClientIp::trusting_hops(hops)),
            };
            let mut headers: Vec<_> = made_up.iter().map(|text| (name, text.trim().to_owned())).collect();
            for address in &addresses {
                let entry = match is_forwarded {
                    true if address.is_ipv6() => format!("by=_x;for=\"[{address}]:80\";host=\"\\\\\\\",\""),
                    true => format!("for={address}"),
                    false => address.to_string(),
                };
                headers = behind(&borrowed(&headers), name, &entry, joined);
            }
            let found = clients.address(&request(PROXY, &borrowed(&headers)));
            prop_assert_eq!(found, Some(expected), "{:?}", headers);
        }
    }
}

#[tokio::test]
async fn rl16_the_addresses_of_one_ipv6_network_are_one_client() {
    let app = |clients: ClientIp| {
        Router::new()
            .route("/", get(|| async { "hello" }))
            .layer(RateLimitLayer::new(clients.per_minute(5)))
    };
    let admitted = async |app: Router| {
        let mut admitted = 0;
        for n in 0..5_000_u128 {
            let address =
                IpAddr::from((0x2001_0db8_0000_0007_u128 << 64 | n << 32 | n).to_be_bytes());
            let mut request = Request::new(Body::empty());
            request
                .extensions_mut()
                .insert(Peer(SocketAddr::new(address, 1)));
            let answer = app.clone().oneshot(request).await.unwrap();
            admitted += usize::from(answer.status().is_success());
        }
        admitted
    };
    assert_eq!(admitted(app(ClientIp::peer())).await, 5);
    assert_eq!(
        admitted(app(ClientIp::peer().ipv6_prefix(128))).await,
        5_000
    );
}

// Case 35
#[tokio::test]
async fn ky5_forgotten_connect_info_is_found_by_the_first_request() {
    let stack = ServerStack::new("api", 100).rate_limit(ClientIp::peer().per_second(1_000));
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(stack);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let status = reqwest::get(url).await.unwrap().status();
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn rl16_axum_serve_with_connect_info_gives_the_peer() {
    let stack = ServerStack::new("api", 100).rate_limit(ClientIp::peer().per_minute(2));
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(stack);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(reqwest::get(&url).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
}

// KY1
#[tokio::test]
async fn ky5_headers_and_bearer_tokens_are_keys_with_tiers_for_any_body() {
    let plans = [Quota::per_day(1), Quota::per_day(3)];
    let by_header = Keyed::tiers(10, plans, |key: &str| usize::from(key == "pro")).unwrap();
    let key = HeaderName::from_static("x-api-key");
    let by_header = by_header.by_header(key).or_reject();
    let bearer = Bearer::new();
    let pro = bearer.key("pro");
    let by_token = Keyed::tiers(10, plans, move |key| usize::from(*key == pro)).unwrap();
    let by_token = by_token.by_bearer(bearer).or_reject();

    let app = Router::new()
        .route(
            "/header",
            get(|| async {}).layer(RateLimitLayer::new(by_header)),
        )
        .route(
            "/token",
            get(|| async {}).layer(RateLimitLayer::new(by_token)),
        );
    let send = async |path: &str, headers: &[(HeaderName, &str)]| {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap());
        answer.await.unwrap().status().as_u16()
    };
    let api_key = |value| (HeaderName::from_static("x-api-key"), value);
    let token = |value| (AUTHORIZATION, value);
    for (path, free, pro) in [
        ("/header", api_key("free"), api_key("pro")),
        ("/token", token("Bearer free"), token("bearer  pro")),
    ] {
        let mut statuses = Vec::new();
        for key in [&free, &free, &pro, &pro, &pro, &pro] {
            statuses.push(send(path, std::slice::from_ref(key)).await);
        }
        assert_eq!(statuses, [200, 429, 200, 200, 200, 429], "{path}");
    }
    assert_eq!(send("/header", &[]).await, 400);
    assert_eq!(
        send("/header", &[api_key("new"), api_key("pro")]).await,
        400
    );
    assert_eq!(send("/token", &[token("Basic cHJv")]).await, 400);
    assert_eq!(send("/token", &[token("Bearer ")]).await, 400);
}
