//! What callers and upstreams get from the policies: limits, timeouts, breakers, retries and hedges.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_answers_429_and_does_not_change_the_health() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let app = Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready("hello")
    }));
    let few = Limits {
        rate: 1,
        burst: 1,
        ..limits()
    };
    let gateway = Running::over(app, few).await;
    for _ in 0..5 {
        assert_eq!(gateway.status("/healthz").await, 200);
        assert_eq!(gateway.status("/readyz").await, 200);
    }
    let mut rejected = 0;
    for _ in 0..20 {
        let (status, headers, _) = gateway.get("/").await;
        if status == 429 {
            assert_eq!(headers["retry-after"], "1");
            rejected += 1;
        }
    }
    assert!(rejected >= 10, "{rejected} of 20 rejected");
    assert_eq!(calls.load(Ordering::SeqCst), 20 - rejected);
}

// The peer is a proxy that is trusted, and the client is what it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl16_each_client_has_a_rate_of_its_own_by_its_address() {
    let app = Router::new().fallback(any(async || "hello"));
    let limited = Limits {
        client_rate: Some(3),
        trust: vec!["127.0.0.0/8".parse().unwrap()],
        ..limits()
    };
    let gateway = Running::over(app, limited).await;
    let served = async |client: &str| {
        let mut served = 0;
        for made_up in 0..30 {
            let forwarded = format!("198.51.100.{made_up}, {client}");
            let request = Request::get(gateway.url("/")).header("x-forwarded-for", forwarded);
            let request = request.body(Body::empty()).unwrap();
            let (status, headers, _) = read(h1().request(request).await.unwrap()).await;
            match status.as_u16() {
                200 => served += 1,
                429 => assert_eq!(headers["retry-after"], "1"),
                other => panic!("{other}"),
            }
        }
        served
    };
    let start = Instant::now();
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        let served = served(client).await;
        let refilled = (3 * (start.elapsed().as_secs() + 1)) as usize;
        assert!((3..=3 + refilled).contains(&served), "{client:?}: {served}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_each_upstream_in_turn_except_to_those_with_an_open_breaker() {
    let calls: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    let mut behind = Vec::new();
    for (number, calls) in calls.iter().enumerate() {
        let calls = Arc::clone(calls);
        let app = Router::new().fallback(any(move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(number.to_string())
        }));
        behind.push(upstream(app).await);
    }
    behind.insert(1, no_listener().await);
    let quick = Limits {
        attempts: 1,
        breaker: Some(Breaker {
            open_for: Duration::from_secs(60),
            open_at_most: Duration::from_secs(60),
            ..opens_at(2).unwrap()
        }),
        ..limits()
    };
    let gateway = Running::start_all(&behind, quick, false, Duration::ZERO).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let (status, _, body) = gateway.get("/").await;
        answers.push(if status == 200 {
            body
        } else {
            status.to_string()
        });
    }
    // Its second failure opens the breaker of the one in the middle.
    let dead = "502 Bad Gateway";
    let turns = ["0", dead, "1", "0", dead, "1", "0", "1", "1", "0"];
    assert_eq!(answers, turns);
    assert_eq!(
        calls.each_ref().map(|calls| calls.load(Ordering::SeqCst)),
        [4, 4]
    );
    let (_, _, ready) = gateway.get("/readyz").await;
    let degraded = format!("degraded\nupstream.breaker@{}: open\n", behind[1]);
    assert_eq!(ready, degraded);

    // If all breakers are open, the gateway rejects.
    for (_, breaker) in gateway.policies.client.breakers().entries() {
        breaker.force_open();
    }
    assert_eq!(gateway.status("/").await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_above_the_limit_in_flight_is_answered_503() {
    let app = Router::new().fallback(any(async |request: Request| {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
    }));
    let narrow = Limits {
        in_flight: 1,
        ..limits()
    };
    let gateway = Running::over(app, narrow).await;
    let held = tokio::spawn(gateway.send("/hang"));
    let capacity = || gateway.policies.bulkhead.snapshot().in_flight;
    eventually("it is in flight", || capacity() == 1).await;
    assert_eq!(gateway.status("/").await, 503);
    assert_eq!(gateway.status("/healthz").await, 200);
    held.abort();
    eventually("its permit is back", || capacity() == 0).await;
    assert_eq!(gateway.status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_upstream_is_504_then_503_and_readyz_is_degraded() {
    let hangs = Arc::new(AtomicBool::new(true));
    let calls = Arc::new(AtomicUsize::new(0));
    let (hang, count) = (Arc::clone(&hangs), Arc::clone(&calls));
    let app = Router::new().fallback(any(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let hangs = hang.load(Ordering::SeqCst);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            "hello"
        }
    }));
    let quick = Limits {
        attempt_timeout: millis(50),
        attempts: 1,
        breaker: opens_at(3),
        ..limits()
    };
    let gateway = Running::over(app, quick).await;
    assert_eq!(gateway.readyz().await, "ready\n");
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(gateway.status("/").await, 504);
    }
    within(start, 5_000);
    let (status, headers, _) = gateway.get("/").await;
    assert_eq!(status, 503);
    assert!(["1", "2"].contains(&headers["retry-after"].to_str().unwrap()));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let (status, _, body) = gateway.get("/readyz").await;
    assert_eq!(status, 200);
    assert!(
        body.contains("degraded") && body.contains("upstream"),
        "{body}"
    );
    assert_eq!(gateway.status("/healthz").await, 200);

    hangs.store(false, Ordering::SeqCst);
    let recovered = async {
        while gateway.status("/").await != 200 {
            sleep(millis(20)).await;
        }
        while gateway.readyz().await != "ready\n" {
            assert_eq!(gateway.status("/").await, 200);
        }
    };
    timeout(Duration::from_secs(10), recovered)
        .await
        .expect("it recovers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_of_the_request_bounds_all_attempts() {
    let app = Router::new().fallback(any(std::future::pending::<()>));
    let short = Limits {
        timeout: millis(50),
        attempt_timeout: millis(50),
        ..limits()
    };
    let gateway = Running::over(app, short).await;
    let start = Instant::now();
    assert_eq!(gateway.status("/").await, 504);
    within(start, 5_000);
    eventually("nothing is in flight", || gateway.requests() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_upstream_is_502_then_503_at_once() {
    let quick = Limits {
        attempts: 1,
        breaker: opens_at(3),
        ..limits()
    };
    let gateway = Running::before(no_listener().await, quick).await;
    let start = Instant::now();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(gateway.status("/").await);
    }
    assert_eq!(statuses, [502, 502, 502, 503, 503, 503]);
    within(start, 2_000);
    assert_eq!(gateway.status("/healthz").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_is_502_and_the_next_call_works() {
    let works = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let behind = answering(vec![String::new(), works.into()]).await;
    let single = Limits {
        attempts: 1,
        hedge: None,
        ..limits()
    };
    let gateway = Running::before(behind, single).await;
    assert_eq!(gateway.status("/").await, 502);
    let (status, _, body) = gateway.get("/").await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsupported_request_is_501_and_does_not_open_the_breaker() {
    let sensitive = Limits {
        breaker: opens_at(1),
        ..limits()
    };
    let gateway = Running::over(echo(), sensitive).await;
    for (request, text) in [
        (
            "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n",
            "CONNECT is not supported",
        ),
        (
            "GET /chat HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n",
            "\"websocket\" is not supported",
        ),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n", "* is not supported"),
    ] {
        let answer = raw(gateway.addr, &format!("{request}connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{request}: {answer}");
        assert!(answer.contains(text), "{request}: {answer}");
    }
    // A server may ignore the offer of HTTP/2, and curl makes it.
    let offer = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nconnection: upgrade, http2-settings, close\r\n\r\n";
    let answer = raw(gateway.addr, offer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(gateway.readyz().await, "ready\n");
}

/// The method, path and body of each request that reached the upstream.
type Arrived = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// Records what arrives, and answers by the path and how often it was requested.
fn recording<F>(arrived: &Arrived, answer: fn(String, usize) -> F) -> Router
where
    F: Future<Output = StatusCode> + Send + 'static,
{
    let arrived = Arc::clone(arrived);
    Router::new().fallback(any(move |request: Request| {
        let arrived = Arc::clone(&arrived);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = head.uri.path().to_owned();
            let times = {
                let mut arrived = arrived.lock().unwrap();
                arrived.push((head.method.to_string(), path.clone(), body));
                arrived.iter().filter(|request| request.1 == path).count()
            };
            answer(path, times).await
        }
    }))
}

/// With a breaker that does not open.
fn steady() -> Limits {
    Limits {
        breaker: opens_at(4_095),
        ..limits()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rt6_rt7_only_idempotent_requests_without_a_body_are_retried() {
    let arrived = Arrived::default();
    let app = recording(&arrived, |_, times| {
        std::future::ready(match times {
            3 => StatusCode::OK,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })
    });
    let gateway = Running::over(app, steady()).await;
    let large = Bytes::from(random_bytes(MEGABYTE));
    let sized = || Body::from(large.clone());
    let (sender, streamed) = by_hand();
    let whole = Frame::data(large.clone());
    tokio::spawn(async move { sender.send(whole).await.unwrap() });
    let none = Body::empty;
    for (method, path, key, body, attempts) in [
        ("GET", "/a", false, none(), 3),
        ("HEAD", "/b", false, none(), 3),
        ("DELETE", "/c", false, none(), 3),
        ("POST", "/d", false, none(), 1),
        ("POST", "/e", true, none(), 3),
        ("PATCH", "/f", false, none(), 1),
        ("GET", "/g", false, sized(), 1),
        ("PUT", "/h", false, sized(), 1),
        ("POST", "/i", true, sized(), 1),
        ("PUT", "/j", false, streamed, 1),
    ] {
        let has_body = !http_body::Body::is_end_stream(&body);
        let mut request = Request::builder().method(method).uri(gateway.url(path));
        if key {
            request = request.header("idempotency-key", "one");
        }
        let response = h1().request(request.body(body).unwrap()).await.unwrap();
        let expected = if attempts == 3 { 200 } else { 500 };
        assert_eq!(response.status(), expected, "{method} {path}");
        let arrived = arrived.lock().unwrap();
        let here: Vec<_> = arrived.iter().filter(|request| request.1 == path).collect();
        assert_eq!(here.len(), attempts, "{method} {path}");
        for (arrived_by, _, body) in here {
            assert_eq!(arrived_by, method);
            let sent = if has_body { &large[..] } else { &[] };
            assert!(*body == sent, "{method} {path}: {} bytes", body.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hg6_a_slow_get_is_hedged_and_no_other_request() {
    let arrived = Arrived::default();
    let app = recording(&arrived, |path, times| async move {
        if path.starts_with("/slow") && times == 1 {
            sleep(millis(1_500)).await;
        }
        StatusCode::OK
    });
    let generous = Limits {
        budget: 100,
        ..steady()
    };
    let gateway = Running::over(app, generous).await;
    while gateway.policies.client.hedge().delay().is_none() {
        assert_eq!(gateway.status("/quick").await, 200);
    }
    let times = |path: &str| {
        let arrived = arrived.lock().unwrap();
        arrived.iter().filter(|request| request.1 == path).count()
    };
    let start = Instant::now();
    assert_eq!(gateway.status("/slow/get").await, 200);
    within(start, 1_500);
    assert_eq!(times("/slow/get"), 2);

    let hedged = gateway.policies.client.hedge().snapshot().made;
    for (method, path, body) in [
        ("POST", "/slow/post", "order"),
        ("POST", "/slow/bare", ""),
        ("PUT", "/slow/put", "order"),
        ("GET", "/slow/body", "order"),
    ] {
        let request = Request::builder().method(method).uri(gateway.url(path));
        let request = request.body(Body::from(body)).unwrap();
        let start = Instant::now();
        assert_eq!(read(h1().request(request).await.unwrap()).await.0, 200);
        assert!(start.elapsed() >= millis(1_500), "{method} {path}");
        assert_eq!(times(path), 1, "{method} {path}");
        let arrived = arrived.lock().unwrap();
        assert_eq!(arrived.last().unwrap().2, body, "{method} {path}");
    }
    assert_eq!(gateway.policies.client.hedge().snapshot().made, hedged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_flag_nothing_is_hedged() {
    let arrived = Arrived::default();
    let app = recording(&arrived, |_, times| async move {
        sleep(millis(if times % 30 == 0 { 100 } else { 0 })).await;
        StatusCode::OK
    });
    let plain = Limits {
        hedge: None,
        ..steady()
    };
    let gateway = Running::over(app, plain).await;
    for _ in 0..90 {
        assert_eq!(gateway.status("/").await, 200);
    }
    assert_eq!(arrived.lock().unwrap().len(), 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rt4_attempts_at_a_failing_upstream_stay_within_the_budget() {
    let arrived = Arrived::default();
    let fails = |_, _| std::future::ready(StatusCode::INTERNAL_SERVER_ERROR);
    let gateway = Running::over(recording(&arrived, fails), steady()).await;
    let client = h1();
    let ends = many(1_000, || {
        let request = Request::get(gateway.url("/")).body(Body::empty()).unwrap();
        let call = client.request(request);
        async move { call.await.unwrap().status().to_string() }
    })
    .await;
    assert_eq!(
        ends.keys().collect::<Vec<_>>(),
        ["500 Internal Server Error"]
    );
    let attempts = arrived.lock().unwrap().len() as u64;
    // Nothing succeeds, so that the burst is all.
    assert_eq!(attempts, 1_000 + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_above_the_capacity_waits_or_is_answered_503() {
    let capacity = Arc::new(Semaphore::new(0));
    let (calls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&capacity));
    let counted = Arc::clone(&calls);
    let app = Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&gate);
        async move { gate.acquire().await.unwrap().forget() }
    }));
    let narrow = Limits {
        capacity: 2,
        queue: 1,
        queue_wait: Duration::from_secs(10),
        breaker: opens_at(1),
        ..limits()
    };
    let gateway = Running::over(app, narrow).await;
    let bulkhead = &gateway.upstream().1;
    let is = |in_flight, queued| {
        move || {
            let now = bulkhead.snapshot();
            (now.in_flight, now.queued) == (in_flight, queued)
        }
    };
    let call = || tokio::spawn(gateway.send("/"));
    let admitted = [call(), call()];
    eventually("two are in flight", is(2, 0)).await;
    let queued = call();
    eventually("one queues", is(2, 1)).await;

    // Rejected and not retried.
    let (status, headers, body) = gateway.get("/").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, ""));
    assert!(["1", "2"].contains(&headers["retry-after"].to_str().unwrap()));

    // A waiter that leaves makes room in the queue.
    queued.abort();
    eventually("none queues", is(2, 0)).await;
    let queued = call();
    eventually("one queues again", is(2, 1)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    capacity.add_permits(3);
    for call in admitted.into_iter().chain([queued]) {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    eventually("none is in flight", is(0, 0)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 3);

    bulkhead.change(|now| now.max_wait(millis(50))).unwrap();
    let admitted = [call(), call()];
    eventually("two are in flight again", is(2, 0)).await;
    let start = Instant::now();
    assert_eq!(gateway.status("/").await, 503);
    assert!(start.elapsed() >= millis(50), "{:?}", start.elapsed());
    capacity.add_permits(2);
    for call in admitted {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    // Calls that never reached the upstream do not count.
    assert_eq!(gateway.readyz().await, "ready\n");
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}
