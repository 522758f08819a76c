//! A reverse proxy that protects an HTTP service, and a demonstration of its effect.
//!
//! ```text
//! cargo run --release --example gateway
//! cargo run --release --example gateway -- --upstream http://127.0.0.1:9000 --listen 127.0.0.1:8080
//! ```
//!
//! The two stacks are in `policies.rs`; `Gateway::protected` in `proxy.rs` puts them together,
//! and `seawall::serve` serves them.
// The bans are for the crate; a program has clocks, tasks and counters of its own.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod args;
mod console;
mod demo;
mod headers;
mod load;
mod metrics;
mod policies;
mod proxy;
mod target;
mod upstream;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use seawall::serve::Server;
use tokio::net::TcpListener;

use args::{Args, wrong};
use proxy::Gateway;
use target::Target;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(code) => return code,
    };
    // Each request in flight holds two sockets, and many systems start with 1,024 or fewer. It also
    // runs with fewer.
    let _ = rlimit::increase_nofile_limit(65_536);
    let result = match args.upstream.is_empty() {
        false => gateway(&args).await,
        true => demonstrate(&args).await,
    };
    result.unwrap_or_else(wrong)
}

async fn gateway(args: &Args) -> Result<ExitCode, String> {
    let start = Instant::now();
    let log = move |line: &str| eprintln!("{:10.3} s  {line}", start.elapsed().as_secs_f64());
    let mut server = Server::builder().name("gateway");
    if let Some(time) = args.settle {
        server = server.settle(time);
    }
    if let Some(time) = args.drain {
        server = server.drain(time);
    }
    let server = server.build().map_err(|error| args::named(&error))?;
    let http2 = |target: &Target| target.clone().with_http2(args.upstream_http2);
    let targets: Vec<_> = args.upstream.iter().map(http2).collect();
    let gateway = Gateway::protected(&targets, &args.limits(), server.health(), log);
    let gateway = gateway.map_err(|error| args::named(&error))?;
    let router = metrics::route(gateway.router)
        .map_err(|error| format!("cannot publish metrics: {error}"))?;
    let listen = args.listen();
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        format!("invalid --listen: {listen} (must be a free address of this machine: {error})")
    })?;
    let page = console::serve(args.console(), args.levers).await?;
    let bound = listener.local_addr().unwrap_or(listen);
    let targets: Vec<_> = args.upstream.iter().map(Target::to_string).collect();
    let targets = targets.join(" and ");
    log(&format!("listening on {bound}, in front of {targets}"));
    log(&format!("the live page of the policies is {page}"));
    let drained = server.serve(listener, router).await;
    let drained = drained.map_err(|error| format!("cannot listen for signals: {error}"))?;
    log(&format!("drained: {drained:?}"));
    Ok(ExitCode::from(drained.code()))
}

async fn demonstrate(args: &Args) -> Result<ExitCode, String> {
    let page = console::serve(args.console(), args.levers).await?;
    let length = args.seconds.unwrap_or(Duration::from_secs(30));
    let table = demo::run(length, &args.demo_limits(demo::scale(length)), &page).await?;
    println!("{table}\n\n{}", demo::LEGEND);
    Ok(ExitCode::SUCCESS)
}
