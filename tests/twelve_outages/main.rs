//! Twelve outages of the gateway, each kept as its `/metrics`.
//!
//! ```text
//! cargo test --test twelve_outages -- DIRECTORY
//! ```
//!
//! It runs each outage for half a minute, in a process of its own, and keeps `/metrics` of every
//! second in `DIRECTORY/NN`. The numbers are shuffled; `DIRECTORY/KEY` has the cause and the onset
//! of each. From the files and the table of metrics alone, without this file, an
//! engineer can name the policy, the cause and the onset.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(dead_code, reason = "it uses a part of each module")]

#[path = "../../examples/gateway/args.rs"]
mod args;
#[path = "../../examples/gateway/headers.rs"]
mod headers;
#[path = "../../examples/gateway/metrics.rs"]
mod metrics;
mod outage;
#[path = "../../examples/gateway/policies.rs"]
mod policies;
#[path = "../../examples/gateway/proxy.rs"]
mod proxy;
mod service;
#[path = "../../examples/gateway/target.rs"]
mod target;
#[path = "../../examples/gateway/upstream.rs"]
mod upstream;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use outage::{ALL, Outage};

const LENGTH: Duration = Duration::from_secs(30);

/// How many run at once.
const AT_ONCE: usize = 4;

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match &args[..] {
        [directory] => all(Path::new(directory)),
        [directory, index, onset] => {
            let outage = ALL[index.parse::<usize>().expect("an index")];
            let onset = Duration::from_secs_f64(onset.parse().expect("seconds"));
            one(outage, onset, Path::new(directory));
        }
        _ => eprintln!("usage: twelve_outages DIRECTORY"),
    }
}

fn all(directory: &Path) {
    let mut order: Vec<usize> = (0..ALL.len()).collect();
    fastrand::shuffle(&mut order);
    let mut key = String::new();
    let runs: Vec<(usize, PathBuf, Duration)> = order
        .into_iter()
        .enumerate()
        .map(|(at, index)| {
            let onset = Duration::from_millis(fastrand::u64(8_000..16_000));
            let seconds = onset.as_secs_f64();
            writeln!(key, "{:02}: {:?}, from {seconds:.1} s", at + 1, ALL[index]).expect("text");
            (index, directory.join(format!("{:02}", at + 1)), onset)
        })
        .collect();
    std::fs::create_dir_all(directory).expect("a directory");
    std::fs::write(directory.join("KEY"), key).expect("a writable directory");
    let program = std::env::current_exe().expect("this program");
    for some in runs.chunks(AT_ONCE) {
        let children = some.iter().map(|(index, files, onset)| {
            std::fs::create_dir_all(files).expect("a directory");
            let mut command = Command::new(&program);
            command.arg(files).arg(index.to_string());
            command
                .arg(onset.as_secs_f64().to_string())
                .spawn()
                .expect("it starts")
        });
        for mut child in children.collect::<Vec<_>>() {
            assert!(child.wait().expect("it ends").success());
        }
    }
}

#[tokio::main]
async fn one(outage: Outage, onset: Duration, files: &Path) {
    outage::run(outage, onset, LENGTH, files).await;
}
