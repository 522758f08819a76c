//! A reverse proxy that protects an HTTP service, and a demonstration of its effect.
//!
//! ```text
//! cargo run --release --example gateway
//! cargo run --release --example gateway -- --upstream http://127.0.0.1:9000 --listen 127.0.0.1:8080
//! ```
//!
//! The two stacks are in `policies.rs`; `Gateway::protected` in `proxy.rs` puts them together.
// The bans are for the crate; a program has clocks, tasks and counters of its own.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod args;
mod counts;
mod demo;
mod headers;
mod load;
mod policies;
mod proxy;
mod serve;
mod target;
mod upstream;
mod upstreams;

use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    let stop_signal = match stop_signal() {
        Ok(signal) => signal,
        Err(error) => {
            eprintln!("gateway: cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    match args.upstream.is_empty() {
        false => gateway(&args, stop_signal).await,
        true => demonstrate(&args, stop_signal).await,
    }
}

async fn gateway(args: &Args, stop_signal: impl Future<Output = ()>) -> ExitCode {
    let start = Instant::now();
    let log = move |line: &str| eprintln!("{:10.3} s  {line}", start.elapsed().as_secs_f64());
    let gateway = args.limits().and_then(|limits| {
        let http2 = |target: &Target| target.clone().with_http2(args.upstream_http2);
        let targets: Vec<_> = args.upstream.iter().map(http2).collect();
        Gateway::protected(&targets, &limits, log).map_err(|error| args::named(&error))
    });
    let gateway = match gateway {
        Ok(gateway) => gateway,
        Err(what) => return wrong(what),
    };
    let listen = args.listen();
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            return wrong(format_args!(
                "invalid --listen: {listen} (must be a free address of this machine: {error})"
            ));
        }
    };
    let bound = listener.local_addr().unwrap_or(listen);
    let targets: Vec<_> = args.upstream.iter().map(Target::to_string).collect();
    let targets = targets.join(" and ");
    log(&format!("listening on {bound}, in front of {targets}"));
    let (drain, health) = (args.drain, gateway.health.clone());
    let stop = async move {
        stop_signal.await;
        let (requests, connections) = (health.counts.requests(), health.counts.connections());
        log(&format!(
            "draining {requests} requests on {connections} connections, for at most {drain:?}"
        ));
    };
    match serve::serve(listener, gateway, stop, drain).await {
        0 => log("drained, every request was answered"),
        cut => log(&format!("drained, {cut} requests were cut off")),
    }
    ExitCode::SUCCESS
}

async fn demonstrate(args: &Args, stop_signal: impl Future<Output = ()>) -> ExitCode {
    let length = args.seconds.unwrap_or(Duration::from_secs(30));
    let limits = match args.demo_limits(demo::scale(length)) {
        Ok(limits) => limits,
        Err(what) => return wrong(what),
    };
    let table = tokio::select! {
        table = demo::run(length, &limits) => table,
        // Half a run is no measurement.
        () = stop_signal => return ExitCode::from(130),
    };
    match table {
        Ok(table) => {
            println!("{table}\n\n{}", demo::LEGEND);
            ExitCode::SUCCESS
        }
        Err(what) => wrong(what),
    }
}

/// Ctrl-C, or a supervisor's signal; received from the call of this function on.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ctrl-C; received from the call of this function on.
#[cfg(windows)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
