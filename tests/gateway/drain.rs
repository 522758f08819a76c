//! The end of a gateway that still has requests.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_a_drain_requests_finish_and_readyz_is_draining() {
    let (sender, body) = by_hand();
    let behind = upstream(once(body)).await;
    let mut gateway = Running::start(behind, limits(), false, Duration::from_secs(20)).await;
    let mut running = gateway.send("/").await.unwrap().into_body();
    gateway.stop();
    eventually("it drains", || gateway.health.draining()).await;

    let (status, _, body) = gateway.get("/readyz").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, "draining\n"));
    assert_eq!(gateway.status("/healthz").await, 200);
    let (status, headers, _) = gateway.get("/").await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after"));

    sender.send(Frame::data("late".into())).await.unwrap();
    drop(sender);
    let data = running.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "late");
    assert!(running.frame().await.is_none());
    let served = timeout(Duration::from_secs(5), gateway.served);
    assert_eq!(served.await.expect("it ends when all is done").unwrap(), 0);
    assert!(TcpStream::connect(gateway.addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_within_its_bound() {
    let app = Router::new().fallback(any(std::future::pending::<()>));
    let behind = upstream(app).await;
    let mut gateway = Running::start(behind, limits(), false, millis(300)).await;
    let call = tokio::spawn(gateway.send("/"));
    eventually("one is under way", || gateway.health.counts.requests() == 1).await;
    let start = Instant::now();
    gateway.stop();
    let cut = timeout(Duration::from_secs(5), &mut gateway.served).await;
    assert_eq!(cut.expect("it ends").unwrap(), 1);
    let took = start.elapsed();
    assert!(
        took >= millis(300) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert!(call.await.unwrap().is_err());
    assert_eq!(gateway.health.counts.requests(), 0);
    assert_eq!(gateway.health.counts.connections(), 0);
}
