//! What large bodies take of memory.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use seawall::http::ReplayLayer;
use seawall::{ClientStack, ServerStack};
use tower::{Layer, ServiceExt};

use crate::support::client;

const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 300_000_000 / CHUNK;

fn large() -> Body {
    let chunk = Bytes::from(vec![7; CHUNK]);
    let chunks =
        futures::stream::iter(0..CHUNKS).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    Body::from_stream(chunks)
}

async fn count(body: Body) -> String {
    let mut chunks = body.into_data_stream();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        size += chunk.unwrap().len();
    }
    size.to_string()
}

/// The peak of memory while 300 MB go up and 300 MB come down, all of it in this thread.
fn peak(stacks: bool) -> u64 {
    let run = async {
        let mut app = Router::new().route("/", get(async || large()).post(count));
        if stacks {
            app = app.layer(ServerStack::http("server", 4));
        }
        let address = crate::support::serve(app).await;
        let request = |post| {
            let (method, body) = if post {
                ("POST", large())
            } else {
                ("GET", Body::empty())
            };
            let request = Request::builder()
                .method(method)
                .uri(format!("http://{address}/"));
            request.body(body).unwrap()
        };
        for post in [true, false] {
            let response = match stacks {
                true => {
                    let stack = ClientStack::builder("client")
                        .total_timeout(std::time::Duration::from_secs(300))
                        .build()
                        .unwrap()
                        .until_body_end();
                    let response = stack.layer(client::<Body>()).oneshot(request(post)).await;
                    response.unwrap().map(Body::new)
                }
                false => {
                    // The same type, without anything to send again.
                    let plain = ReplayLayer::new().limit(0).layer(client::<Body>());
                    plain.oneshot(request(post)).await.unwrap().map(Body::new)
                }
            };
            let mut body = response.into_body();
            let mut size = 0;
            let mut text = Bytes::new();
            while let Some(frame) = body.frame().await {
                text = frame.unwrap().into_data().unwrap_or_default();
                size += text.len();
            }
            match post {
                true => assert_eq!(text, (CHUNKS * CHUNK).to_string()),
                false => assert_eq!(size, CHUNKS * CHUNK),
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    allocation_counter::measure(|| runtime.block_on(run)).bytes_max
}

// HB6, HB7
#[test]
fn hb7_300_mb_up_and_down_take_at_most_1_mib_more_than_the_plain_service() {
    let plain = peak(false);
    let stacked = peak(true);
    println!("peak: plain {plain} bytes, with both stacks {stacked}");
    assert!(
        stacked <= plain + 1024 * 1024,
        "{stacked} bytes, plain {plain}"
    );
}
