use std::net::IpAddr;

use seawall::http::{ClientIp, Peer};
use seawall::{Keyed, Quota, ServerStack};

use super::*;
use crate::client_ip::SPOOFED;

#[tokio::test]
async fn rl16_each_request_has_the_address_of_its_peer() {
    let peer = |request: Request<Body>| async move {
        let peer = request.extensions().get::<Peer>().unwrap().0;
        format!("{peer}.")
    };
    let running = Running::new(quiet(), Router::new().route("/", get(peer))).await;
    let mut stream = running.connect().await;
    let own = format!("{}.", stream.local_addr().unwrap());
    for _ in 0..2 {
        get_on(&mut stream, "/", &own).await;
    }
    let (mut client, _connection) = http2(running.address).await;
    let answer = client.send_request(request("/")).await.unwrap();
    assert!(text(answer).await.starts_with("127.0.0.1:"));
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn rl16_axum_extracts_the_address_of_the_peer() {
    use axum::extract::ConnectInfo;
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("{peer}.") };
    let running = Running::new(quiet(), Router::new().route("/", get(peer))).await;
    let mut stream = running.connect().await;
    let own = format!("{}.", stream.local_addr().unwrap());
    get_on(&mut stream, "/", &own).await;
}

#[tokio::test]
async fn rl16_a_stack_limits_each_client_without_another_line() {
    let stack = ServerStack::new("api", 10).rate_limit(ClientIp::peer().per_minute(2));
    let running = Running::new(quiet(), app().layer(stack)).await;
    let mut stream = running.connect().await;
    get_on(&mut stream, "/", "hello").await;
    get_on(&mut stream, "/", "hello").await;
    let rejected = get_on(&mut stream, "/", "\r\n\r\n").await;
    assert!(rejected.starts_with("HTTP/1.1 429"), "{rejected}");
}

// The peer is on loopback, which is no proxy.
#[tokio::test]
async fn rl16_a_spoofed_header_changes_no_key_over_the_wire() {
    let proxies = || ClientIp::trusting(["10.0.0.0/8".parse().unwrap()]);
    for clients in [ClientIp::peer(), proxies(), proxies().forwarded()] {
        let limit = Keyed::<IpAddr, _>::limit(1_000, Quota::per_hour(30)).unwrap();
        let stack = ServerStack::http("api", 10).rate_limit(limit.by_client_ip(clients));
        let running = Running::new(quiet(), app().layer(stack)).await;
        let mut stream = running.connect().await;
        for headers in SPOOFED {
            let lines = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n"));
            let lines: String = lines.collect();
            let head = format!("GET / HTTP/1.1\r\nhost: test\r\n{lines}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            response(&mut stream, "hello").await;
        }
        let rejected = get_on(&mut stream, "/", "\r\n\r\n").await;
        assert!(rejected.starts_with("HTTP/1.1 429"), "{rejected}");
        assert_eq!(limit.len(), 1);
        assert!(!limit.allow(&IpAddr::from([127, 0, 0, 1])));
    }
}

#[tokio::test]
async fn rl16_the_addresses_of_one_ipv6_network_are_one_client_over_the_wire() {
    let limit = Keyed::<IpAddr, _>::limit(10_000, Quota::per_hour(5)).unwrap();
    let proxies = ClientIp::trusting(["127.0.0.0/8".parse().unwrap()]);
    let stack = ServerStack::http("api", 10).rate_limit(limit.by_client_ip(proxies));
    let running = Running::new(quiet(), app().layer(stack)).await;
    let (mut client, _connection) = http2(running.address).await;
    let mut served = 0;
    for n in 0..5_000 {
        let mut request = request("/");
        let address = format!("2001:db8:0:7:{:x}::{n:x}", n % 977);
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", address.parse().unwrap());
        let answer = client.send_request(request).await.unwrap();
        served += usize::from(answer.status().is_success());
    }
    assert_eq!((served, limit.len()), (5, 1));
}
