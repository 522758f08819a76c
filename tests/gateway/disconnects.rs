//! Callers that disconnect at any point leave every count at zero.

use super::*;

/// Answers at a random time with a slow body, or fails.
fn uneven(in_upstream: &Arc<AtomicUsize>) -> Router {
    struct Leaves(Arc<AtomicUsize>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let counted = Arc::clone(in_upstream);
    Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let leaves = Leaves(Arc::clone(&counted));
        async move {
            let slow = if fastrand::u8(..10) == 0 { 60 } else { 8 };
            sleep(millis(fastrand::u64(..slow))).await;
            if fastrand::u8(..10) == 0 {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            let (sender, body) = by_hand();
            tokio::spawn(async move {
                let _leaves = leaves;
                for _ in 0..fastrand::u8(1..4) {
                    let piece = Bytes::from(vec![7; fastrand::usize(1..8_000)]);
                    if sender.send(Frame::data(piece)).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_micros(fastrand::u64(..1_000))).await;
                }
            });
            Response::new(body).into_response()
        }
    }))
}

/// With a breaker that opens and probes all the time, so that probes are dropped too, a bulkhead below the
/// number of callers, and hedges and retries for all of them.
fn restless() -> Limits {
    Limits {
        attempt_timeout: millis(30),
        budget: 100,
        hedge: Some(0.5),
        capacity: 8,
        queue: 16,
        queue_wait: millis(10),
        breaker: Some(Breaker {
            failures: 3,
            lasting: Duration::ZERO,
            open_for: millis(2),
            open_at_most: millis(5),
        }),
        ..limits()
    }
}

async fn becomes_idle(gateway: &Running, in_upstream: &AtomicUsize) {
    eventually("no requests", || gateway.requests() == 0).await;
    let connections = || gateway.server.snapshot().connections;
    eventually("no connections", || connections() == 0).await;
    eventually("the upstream is idle", || {
        in_upstream.load(Ordering::SeqCst) == 0
    })
    .await;
    let client = &gateway.policies.client;
    let (retry, hedge) = (client.retry(), client.hedge());
    let budgets = client.budgets().entries();
    let (breaker, bulkhead) = gateway.upstream();
    let all = gateway.policies.bulkhead.snapshot();
    assert_eq!((all.in_flight, all.queued), (0, 0), "{all:?}");
    let probes = breaker.snapshot().probes;
    let out = probes.map_or(0, |probes| probes.in_flight);
    assert_eq!(out, 0, "{probes:?}");
    let capacity = bulkhead.snapshot();
    assert_eq!(
        (capacity.in_flight, capacity.queued),
        (0, 0),
        "{capacity:?}"
    );
    // Only what was sent is spent.
    let (retried, hedged) = (retry.snapshot(), hedge.snapshot());
    let extra = retried.retried + hedged.made;
    let made = budgets.iter().map(|(_, budget)| budget.snapshot().made);
    let made = made.sum::<u64>();
    assert_eq!(made, extra, "{budgets:?}, {retried:?}, {hedged:?}");
    // How many extra attempts find a permit depends on the machine. That slow requests are hedged
    // has a test of its own.
    assert!(hedged.samples > 0, "{hedged:?}");
    let works = async {
        while gateway.status("/").await != 200 {
            sleep(millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), works)
        .await
        .expect("it serves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_with_random_disconnects_leave_every_count_at_zero() {
    let _ = rlimit::increase_nofile_limit(4_096);
    let in_upstream = Arc::default();
    let gateway = Running::over(uneven(&in_upstream), restless()).await;
    let addr = gateway.addr;
    let ends = many(10_000, || disconnect_at_random(addr)).await;
    assert!(ends.contains_key("HTTP/1.1 200"), "{ends:?}");
    assert!(ends.len() >= 6, "{ends:?}");
    becomes_idle(&gateway, &in_upstream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_streams_of_one_connection_leave_every_count_at_zero() {
    let in_upstream = Arc::default();
    let narrow = Limits {
        capacity: 8,
        queue: 64,
        ..limits()
    };
    let gateway = Running::over(uneven(&in_upstream), narrow).await;
    let client = proxy::client(true);
    let ends = many(1_000, || {
        let request = Request::get(gateway.url("/"));
        let request = request.version(Version::HTTP_2).body(Body::empty());
        let call = client.request(request.unwrap());
        async move {
            let leaves = fastrand::bool();
            let patience = millis(if leaves { fastrand::u64(..20) } else { 60_000 });
            let call = async {
                // After too many resets hyper takes the caller for an attacker.
                let Ok(response) = call.await else {
                    return "cut off".into();
                };
                let status = response.status();
                let _ = response.into_body().collect().await;
                status.to_string()
            };
            timeout(patience, call).await.unwrap_or("left".into())
        }
    })
    .await;
    assert!(
        ends.contains_key("200 OK") && ends.contains_key("left"),
        "{ends:?}"
    );
    eventually("no requests", || gateway.requests() == 0).await;
    drop(client);
    becomes_idle(&gateway, &in_upstream).await;
}

/// Sends a request, closes the connection at some point, and returns that point or the answer.
async fn disconnect_at_random(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let closes_after = fastrand::u8(..5);
    if closes_after == 0 {
        let part = fastrand::usize(..request.len());
        let _ = stream.write_all(&request[..part]).await;
        return "left in the request".into();
    }
    if stream.write_all(request).await.is_err() {
        return "cut off".into();
    }
    match closes_after {
        1 => return "left at once".into(),
        2 => {
            sleep(Duration::from_micros(fastrand::u64(..5_000))).await;
            return "left while it waited".into();
        }
        3 => {
            let _ = stream.read(&mut [0; 64]).await;
            return "left in the response".into();
        }
        _ => {}
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Ok(_) => String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned(),
        Err(_) => "cut off".into(),
    }
}
