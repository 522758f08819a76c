//! A client of many hosts. One is down and one stalls in the middle of its bodies: their breakers
//! open, and the calls to the third go on.
//!
//!     cargo run --example many_hosts

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use seawall::{ClientStack, Error};
use tower::{BoxError, ServiceBuilder, ServiceExt};

async fn serve(stalls: bool) -> std::io::Result<String> {
    let rest = move || stream::pending().take(usize::from(stalls));
    let chunks = move || stream::iter([Ok::<_, BoxError>("hello")]).chain(rest());
    let answer = move || async move { Body::from_stream(chunks()) };
    let app = Router::new().route("/", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?;
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(host.to_string())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let stack = ClientStack::builder("search")
        .total_timeout(Duration::from_secs(1)) // With the body.
        .attempt_timeout(Duration::from_millis(300)) // To the head.
        .build()?
        .until_body_end()
        .body(|body| body.idle(Duration::from_millis(100)));
    let client = ServiceBuilder::new()
        .layer(stack.clone())
        .map_err(Error::service)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let hosts = [
        serve(false).await?,
        serve(true).await?,
        "127.0.0.1:1".into(),
    ];
    for round in 0..15 {
        for host in &hosts {
            let request = Request::get(format!("http://{host}/")).body(Empty::<Bytes>::new())?;
            let text = match client.clone().oneshot(request).await {
                Ok(response) => match response.into_body().collect().await {
                    Ok(body) => format!("{:?}", body.to_bytes()),
                    Err(error) => format!("cut short: {error}"),
                },
                Err(error) => format!("{error:?}"),
            };
            println!("{round}: {host}: {text}");
        }
    }
    println!("{:?}", stack.breakers().entries());
    Ok(())
}
