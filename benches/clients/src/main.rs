//! The same client by five crates, on real sockets: what a user writes, what one call does to a server
//! with one fault, and what is served in an outage. `README.md` describes it.

use std::time::Duration;

use clap::Parser;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use futures::future::join_all;
use tokio::time::Instant;

use seawall_clients::contender::{CONTENDERS, Contender};
use seawall_clients::faults::{self, FAULTS, Seen};
use seawall_clients::row::{Plan, ROWS};
use seawall_clients::run::{self, Figures};

/// The same client by five crates, on real sockets. Takes half a minute.
#[derive(Parser, Debug)]
struct Args {
    /// Only rows of the outage table whose name contains one of these.
    rows: Vec<String>,

    /// Takes a few seconds, and fails if a client does not serve where nothing is wrong. The other
    /// figures mean nothing then.
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    lines();
    let seconds = Duration::from_secs;
    let plan = match args.quick {
        true => Plan {
            before: seconds(1),
            trouble: seconds(2),
            after: seconds(1),
        },
        false => Plan {
            before: seconds(5),
            trouble: seconds(14),
            after: seconds(8),
        },
    };
    faults().await;
    let healthy = outages(&args.rows, plan).await;
    if args.quick {
        for (contender, figures) in CONTENDERS.iter().zip(healthy) {
            let (name, served) = (contender.name, figures.served);
            assert!(
                served >= 90.0,
                "{name} serves {served:.1} % of nothing wrong"
            );
        }
    }
}

fn table(first: &str) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    let names = CONTENDERS.iter().map(|contender| contender.name);
    table.set_header(std::iter::once(first).chain(names));
    table
}

fn print(title: &str, table: &Table) {
    println!("{title}\n\n{table}\n");
}

fn lines() {
    let mut table = table("lines");
    let mut add = |what: &str, lines: fn(&Contender) -> usize| {
        let lines = CONTENDERS.iter().map(|one| lines(one).to_string());
        table.add_row(std::iter::once(what.to_owned()).chain(lines));
    };
    add(
        "the function that makes the client",
        Contender::lines_of_client,
    );
    add("all, with a GET and a POST", Contender::lines);
    print("What a user writes", &table);
}

async fn faults() {
    let mut table = table("fault");
    let clients = FAULTS.map(|fault| (fault, CONTENDERS.map(|one| (one.make)())));
    let rows = clients.map(|(fault, clients)| {
        let call = |client| tokio::spawn(faults::call(fault, client));
        join_all(clients.map(call))
    });
    for (fault, seen) in FAULTS.iter().zip(join_all(rows).await) {
        let seen = seen.into_iter().map(|seen| seen.expect("no panic"));
        let text = |seen: Seen| {
            let served = if seen.served { "served" } else { "failed" };
            let requests = seen.requests.map(|requests| format!(", {requests} sent"));
            let took = seen.took.as_secs_f64();
            format!("{served}{}, {took:.2} s", requests.unwrap_or_default())
        };
        table.add_row(std::iter::once(fault.name.to_owned()).chain(seen.map(text)));
    }
    print("One call", &table);
}

/// Returns the figures of the first row.
async fn outages(wanted: &[String], plan: Plan) -> Vec<Figures> {
    let is_wanted = |name: &str| {
        let mut parts = wanted.iter();
        name == ROWS[0].name || wanted.is_empty() || parts.any(|part| name.contains(&**part))
    };
    let rows: Vec<_> = ROWS.iter().filter(|row| is_wanted(row.name)).collect();
    // All at once, after all clients are made.
    let start = Instant::now() + Duration::from_millis(500);
    let runs = rows.iter().map(|row| {
        let run = |one| tokio::spawn(run::run(row, one, plan, start));
        join_all(CONTENDERS.map(run))
    });
    let runs = join_all(runs).await;
    let figures: Vec<Vec<Figures>> = runs
        .into_iter()
        .map(|row| row.into_iter().map(|run| run.expect("no panic")).collect())
        .collect();
    let mut table = table("outage");
    for (row, figures) in rows.iter().zip(&figures) {
        let text = |run: &Figures| {
            let recovery = run.recovery.map_or("more".to_owned(), |recovery| {
                format!("{:.1} s", recovery.as_secs_f64())
            });
            let (served, attempts) = (run.served, run.attempts);
            let p50 = run.p50.as_millis();
            format!("{served:.1} %, {attempts:.2}, {recovery}, {p50} ms")
        };
        let name = format!("{}: {}", row.name, row.outage);
        table.add_row(std::iter::once(name).chain(figures.iter().map(text)));
    }
    print(
        "Outages: served, attempts per call in the trouble, recovery, p50 in the trouble",
        &table,
    );
    let late = figures.iter().flatten().map(|run| run.late).max();
    println!(
        "The latest call was late by {} ms.",
        late.unwrap_or_default().as_millis()
    );
    figures.into_iter().next().unwrap_or_default()
}
