//! What passes through the gateway unchanged: bodies, headers and trailers, without buffering.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_goes_up_and_down_byte_for_byte() {
    let gateway = Running::over(echo(), limits()).await;
    let sent = random_bytes(MEGABYTE);
    let (sender, chunked) = by_hand();
    let chunks = sent.clone();
    tokio::spawn(async move {
        for chunk in chunks.chunks(10_007) {
            let frame = Frame::data(Bytes::copy_from_slice(chunk));
            sender.send(frame).await.unwrap();
        }
    });
    for (body, sized) in [(Body::from(sent.clone()), true), (chunked, false)] {
        let request = Request::post(gateway.url("/")).body(body).unwrap();
        let response = h1().request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().contains_key("content-length"), sized);
        let got = response.into_body().collect().await.unwrap().to_bytes();
        assert!(
            got == sent,
            "{} of {} bytes, or others",
            got.len(),
            sent.len()
        );
    }
    eventually("nothing is in flight", || gateway.requests() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_headers_are_forwarded_except_those_of_the_connection() {
    let seen = Arc::new(Mutex::new(None));
    let seen_by_handler = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |request: Request| {
        let seen = Arc::clone(&seen_by_handler);
        async move {
            let (head, _) = request.into_parts();
            *seen.lock().unwrap() = Some((head.uri, head.headers));
            Response::builder()
                .status(207)
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .header("set-cookie", "c=3")
                .header("x-answer", HeaderValue::from_bytes(b"caf\xe9").unwrap())
                .header("connection", "x-secret")
                .header("x-secret", "of the connection")
                .header("keep-alive", "timeout=5")
                .body(Body::from("yes"))
                .unwrap()
        }
    }));
    let behind = upstream(app).await;
    let gateway = Running::before(behind, limits()).await;
    let request = Request::get(gateway.url("/a%2Fb//c;d?x=1&y=%20&x=2"))
        .header("x-many", "first")
        .header("x-many", "second")
        .header("x-many", "third, fourth")
        .header("authorization", "Basic abc")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-forwarded-for", "10.0.0.2")
        .header("connection", "x-hop")
        .header("x-hop", "of the connection")
        .header("te", "gzip")
        .header("proxy-authorization", "Basic def")
        .body(Body::empty())
        .unwrap();
    let (status, answered, body) = read(h1().request(request).await.unwrap()).await;

    let (uri, received) = seen.lock().unwrap().take().unwrap();
    let all = |name: &str| -> Vec<_> { received.get_all(name).iter().cloned().collect() };
    assert_eq!(uri, "/a%2Fb//c;d?x=1&y=%20&x=2");
    assert_eq!(all("x-many"), ["first", "second", "third, fourth"]);
    assert_eq!(all("authorization"), ["Basic abc"]);
    assert_eq!(all("x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"]);
    assert_eq!(all("x-forwarded-host"), [gateway.addr.to_string().as_str()]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("host"), [behind.to_string().as_str()]);
    for gone in ["x-hop", "connection", "te", "proxy-authorization"] {
        assert!(
            !received.contains_key(gone),
            "{gone} was forwarded: {received:?}"
        );
    }

    assert_eq!((status.as_u16(), body.as_str()), (207, "yes"));
    let cookies: Vec<_> = answered.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2", "c=3"]);
    assert_eq!(answered["x-answer"].as_bytes(), b"caf\xe9");
    assert_eq!(answered["content-length"], "3");
    for gone in ["x-secret", "connection", "keep-alive"] {
        assert!(
            !answered.contains_key(gone),
            "{gone} came back: {answered:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_length_is_invented_where_there_is_no_body() {
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
        ("HEAD", "200 OK\r\ncontent-length: 7\r\n\r\n", Some("7")),
        ("GET", "304 Not Modified\r\n\r\n", None),
        ("GET", "204 No Content\r\n\r\n", None),
        ("GET", "200 OK\r\ncontent-length: 0\r\n\r\n", Some("0")),
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", Some("2")),
        ("GET", "200 OK\r\nconnection: close\r\n\r\nok", None),
    ] {
        let behind = answering(vec![format!("HTTP/1.1 {answer}")]).await;
        let gateway = Running::before(behind, limits()).await;
        let request = Request::builder().method(method).uri(gateway.url("/"));
        let request = request.body(Body::empty()).unwrap();
        let (_, headers, body) = read(h1().request(request).await.unwrap()).await;
        let got = headers
            .get("content-length")
            .map(|value| value.to_str().unwrap());
        assert_eq!(got, length, "{method} {answer}");
        assert_eq!(body, if answer.ends_with("ok") { "ok" } else { "" });
    }
}

/// Answers with the trailers it was sent, and with the body in capitals.
fn trailers() -> Router {
    Router::new().fallback(any(|request: Request| async {
        let wants = request.headers()["te"] == "trailers";
        let body = request.into_body().collect().await.unwrap();
        let mut trailers = body.trailers().cloned().unwrap();
        trailers.insert("x-wants", HeaderValue::from(u16::from(wants)));
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let body = Full::from(text.to_uppercase());
        let body = body.with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(Body::new(Unsized(Box::pin(body))));
        let announced = HeaderValue::from_static("x-sum, x-sum-two, x-wants");
        response.headers_mut().insert("trailer", announced);
        response
    }))
}

/// A body that hides its length, so that HTTP/1 sends it in chunks.
struct Unsized<B>(Pin<Box<B>>);

impl<B: http_body::Body> http_body::Body for Unsized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.0.as_mut().poll_frame(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    let behind = upstream(trailers()).await;
    for (up, down) in [(false, false), (true, false), (false, true), (true, true)] {
        let gateway = Running::start(behind, limits(), up, Duration::ZERO).await;
        let (sender, body) = by_hand();
        tokio::spawn(async move {
            sender.send(Frame::data("some".into())).await.unwrap();
            sender.send(Frame::data(" text".into())).await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            trailers.insert("x-sum-two", HeaderValue::from_static("43"));
            sender.send(Frame::trailers(trailers)).await.unwrap();
        });
        let mut request = Request::post(gateway.url("/"))
            .header("te", "trailers")
            .header("trailer", "x-sum, x-sum-two");
        if down {
            request = request.version(Version::HTTP_2);
        } else {
            request = request.header("connection", "te");
        }
        let client = proxy::client(down);
        let response = client.request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned();
        let trailers = trailers.unwrap_or_else(|| panic!("http/2: {up}, {down}: no trailers"));
        assert_eq!(trailers["x-sum"], "42");
        assert_eq!(trailers["x-sum-two"], "43");
        assert_eq!(trailers["x-wants"], "1");
        assert_eq!(body.to_bytes(), "SOME TEXT");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb1_a_slow_download_is_streamed_beyond_the_timeouts() {
    let (sender, body) = by_hand();
    let timeouts = Limits {
        attempt_timeout: millis(100),
        timeout: millis(150),
        ..limits()
    };
    let gateway = Running::over(once(body), timeouts).await;

    let response = gateway.send("/").await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    // Each piece is sent after the one before has arrived, so nothing is buffered.
    for piece in 0..8_u8 {
        sender
            .send(Frame::data(Bytes::from(vec![piece; 1_000])))
            .await
            .unwrap();
        let mut got = 0;
        while got < 1_000 {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(data.iter().all(|byte| *byte == piece));
            got += data.len();
        }
        sleep(millis(50)).await;
    }
    // What is in flight is the body.
    let in_flight = || gateway.policies.bulkhead.snapshot().in_flight;
    assert_eq!(in_flight(), 1);
    drop(sender);
    assert!(body.frame().await.is_none());
    eventually("its permit is back", || in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_streamed() {
    let (seen, mut arrived) = mpsc::channel(1);
    let app = Router::new().fallback(any(move |request: Request| {
        let seen = seen.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let len = frame.data_ref().map_or(0, Bytes::len);
                seen.send(len).await.unwrap();
            }
        }
    }));
    let gateway = Running::over(app, limits()).await;
    let (sender, body) = by_hand();
    let request = Request::post(gateway.url("/")).body(body).unwrap();
    let call = tokio::spawn(h1().request(request));
    for _ in 0..5 {
        sender
            .send(Frame::data(Bytes::from(vec![1; 100])))
            .await
            .unwrap();
        assert_eq!(arrived.recv().await, Some(100));
    }
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}
