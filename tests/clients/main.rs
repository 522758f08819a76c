//! Clients that are programs: a browser, curl and Prometheus's promtool. `.ci/run clients` installs
//! them where they are missing, and runs this; `cargo test` needs only Rust.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod browser;
mod console;
mod curl;
mod devtools;
mod promtool;
mod scene;

use std::net::SocketAddr;

use axum::Router;
use seawall::serve::Server;
use tokio::net::TcpListener;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().signals(false).build().unwrap();
    tokio::spawn(async move { server.serve(listener, app).await });
    address
}
