//! Seawall beside its peers, with the goals and whether they are met.
//!
//! ```text
//! cargo bench --bench versus -- [--quick] [--record] [FILTER..]
//! ```

mod bodies;
mod breaker;
mod bucket;
mod floor;
mod gateway;
mod http_stack;
mod keyed;
mod layer;
mod observed;
mod stack;

use clap::Parser;
use seawall_benches::{Args, Report};

fn main() {
    let args = Args::parse();
    // With a second thread, as in any server: with only one, allocators skip their locks.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let idle = std::thread::spawn(move || {
        let _ = held.recv();
    });
    let mut report = Report::new(&args);
    floor::run(&mut report);
    bucket::run(&mut report);
    keyed::run(&mut report);
    breaker::run(&mut report);
    layer::run(&mut report);
    stack::run(&mut report);
    http_stack::run(&mut report);
    bodies::run(&mut report);
    observed::run(&mut report);
    gateway::run(&mut report);
    report.finish("versus");
    drop(hold);
    let _ = idle.join();
}
