//! `cargo bench --bench outages`: what clients get from a server in trouble.

use clap::Parser;
use seawall_outages::{Contender, Job, all, print, run_all};

/// What clients get from a server in trouble, in virtual time.
#[derive(Parser, Debug)]
struct Args {
    /// Only rows whose name contains one of these.
    rows: Vec<String>,

    /// How many seeds: from 1 to this.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,

    /// Only contenders whose name contains one of these; may be given more than once.
    #[arg(long = "contender")]
    contenders: Vec<String>,

    /// On how many threads; on all processors if not given.
    #[arg(long)]
    threads: Option<usize>,

    /// Names of the rows, and no run.
    #[arg(long)]
    list: bool,

    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let rows = all().filter(|row| is_wanted(&args.rows, row.name));
    if args.list {
        rows.for_each(|row| println!("{:<18} {}", row.name, row.outage));
        return;
    }
    let jobs: Vec<Job> = rows
        .flat_map(|row| Contender::ALL.map(|contender| Job { row, contender }))
        .filter(|job| is_wanted(&args.contenders, job.contender.name()))
        .collect();
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let entries = run_all(&jobs, args.seeds, args.threads.unwrap_or_else(processors));
    print(&entries, args.seeds);
}

fn is_wanted(parts: &[String], name: &str) -> bool {
    parts.is_empty() || parts.iter().any(|part| name.contains(&**part))
}
