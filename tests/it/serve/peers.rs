use seawall::ServerStack;
use seawall::http::{ClientIp, Peer};

use super::*;

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
