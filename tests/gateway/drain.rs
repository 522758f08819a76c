//! The end of a gateway that still has requests.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sv2_during_a_drain_requests_finish_and_readyz_is_draining() {
    let (sender, body) = by_hand();
    let behind = upstream(once(body)).await;
    let gateway = Running::start(behind, limits(), false, Duration::from_secs(20)).await;
    let mut running = gateway.send("/").await.unwrap().into_body();
    gateway.server.drain();

    // Until the settle time is over.
    let (status, _, body) = gateway.get("/readyz").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, "draining\n"));
    assert_eq!(gateway.status("/healthz").await, 200);
    let phase = || gateway.server.snapshot().phase;
    eventually("it accepts nothing", || phase() == Phase::Closing).await;

    sender.send(Frame::data("late".into())).await.unwrap();
    drop(sender);
    let data = running.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "late");
    assert!(running.frame().await.is_none());
    let served = timeout(Duration::from_secs(5), gateway.served);
    let served = served.await.expect("it ends when all is done").unwrap();
    assert_eq!(served.unwrap(), Drained::Complete);
    assert!(TcpStream::connect(gateway.addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sv2_a_drain_ends_within_its_bound() {
    let app = Router::new().fallback(any(std::future::pending::<()>));
    let behind = upstream(app).await;
    let mut gateway = Running::start(behind, limits(), false, millis(300)).await;
    let call = tokio::spawn(gateway.send("/"));
    eventually("one is under way", || gateway.requests() == 1).await;
    let start = Instant::now();
    gateway.server.drain();
    let cut = timeout(Duration::from_secs(5), &mut gateway.served).await;
    let cut = cut.expect("it ends").unwrap().unwrap();
    assert_eq!(cut, Drained::TimedOut { requests: 1 });
    let took = start.elapsed();
    assert!(
        took >= millis(600) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert!(call.await.unwrap().is_err());
    assert_eq!(
        (gateway.requests(), gateway.server.snapshot().connections),
        (0, 0)
    );
}
