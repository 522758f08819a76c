//! The same load through an unprotected proxy and through a protected one, phase by phase.

use std::io;
use std::time::Duration;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

use crate::args::named;
use crate::load::{Load, Samples, Summary, recovery};
use crate::proxy::{Gateway, Limits};
use crate::serve::serve;
use crate::target::Target;
use crate::upstream::{Behaviour, Faulty, Switch};

/// Requests a second to each proxy: little for a machine, so that it is not what is measured.
const RATE: u32 = 200;

struct Phase {
    name: &'static str,
    upstream: Behaviour,
    /// Its part of the whole.
    share: f64,
}

const PHASES: [Phase; 4] = [
    Phase {
        name: "healthy",
        upstream: Behaviour::Healthy,
        share: 0.15,
    },
    Phase {
        name: "30 % errors",
        upstream: Behaviour::Failing,
        share: 0.15,
    },
    Phase {
        name: "total outage",
        upstream: Behaviour::Hanging,
        share: 0.40,
    },
    Phase {
        name: "recovery",
        upstream: Behaviour::Healthy,
        share: 0.30,
    },
];
const RECOVERY: usize = 3;

/// By how much a demonstration of `length` is faster than the one of 20 s that the breaker's
/// default times fit into. A longer one has longer phases, not slower policies.
pub(crate) fn scale(length: Duration) -> f64 {
    (length.as_secs_f64() / 20.0).min(1.0)
}

struct Side {
    name: &'static str,
    upstream: Faulty,
    samples: Samples,
}

impl Side {
    async fn start(
        name: &'static str,
        switch: &Switch,
        proxy: impl FnOnce(&Target) -> Result<Gateway, String>,
    ) -> Result<(Self, std::net::SocketAddr), String> {
        let told =
            |error: io::Error| format!("the demonstration cannot listen on loopback: {error}");
        let upstream = Faulty::start(switch).await.map_err(told)?;
        let target = Target::parse(&format!("http://{}", upstream.addr))?;
        let gateway = proxy(&target)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(told)?;
        let addr = listener.local_addr().map_err(told)?;
        let running = serve(listener, gateway, std::future::pending(), Duration::ZERO);
        tokio::spawn(running);
        Ok((
            Self {
                name,
                upstream,
                samples: Samples::default(),
            },
            addr,
        ))
    }

    fn summary(&self, phase: usize) -> Summary {
        Summary::of(&self.samples.of_phase(phase))
    }
}

/// Runs it, and returns its table.
pub(crate) async fn run(length: Duration, limits: &Limits) -> Result<Table, String> {
    let lengths = PHASES.map(|phase| length.mul_f64(phase.share));
    let load = Load {
        rate: RATE,
        patience: Duration::from_secs(1).mul_f64(scale(length).max(0.4)),
        phases: lengths.to_vec(),
    };
    let switch = Switch::new();
    // A moment ahead, so that the first requests are not late for what is done until then.
    let start = Instant::now() + Duration::from_millis(50);
    let (unprotected, plain_addr) =
        Side::start("unprotected", &switch, |target| Ok(Gateway::plain(target))).await?;
    let (protected, protected_addr) = Side::start("protected", &switch, |target| {
        let log = move |line: &str| println!("{:6.2} s    {line}", start.elapsed().as_secs_f64());
        Gateway::protected(target, limits, log).map_err(|error| named(&error))
    })
    .await?;

    println!(
        "{RATE} requests/s to each of two proxies for {:.0} s; every caller gives up after {}.",
        length.as_secs_f64(),
        millis(load.patience),
    );
    println!(
        "The protected one lets through {}/s, gives a request {} and an attempt {}, and opens after {} failures in a row that last {}, for {} to {}.\n",
        limits.rate,
        millis(limits.timeout),
        millis(limits.attempt_timeout),
        limits.failures,
        millis(limits.failing_for),
        millis(limits.open_for),
        millis(limits.open_at_most),
    );

    let callers = [
        tokio::spawn(
            load.clone()
                .drive(plain_addr, start, unprotected.samples.clone()),
        ),
        tokio::spawn(load.drive(protected_addr, start, protected.samples.clone())),
    ];
    let sides = [unprotected, protected];

    let mut begins = Duration::ZERO;
    for (phase, lasts) in PHASES.iter().zip(lengths) {
        switch.set(phase.upstream);
        println!(
            "{:6.2} s  {}: {}",
            start.elapsed().as_secs_f64(),
            phase.name,
            match phase.upstream {
                Behaviour::Healthy => "the upstream answers in 1 to 4 ms",
                Behaviour::Failing => "the same, but 30 of 100 answers are a 500",
                Behaviour::Hanging => "the upstream takes every request and answers none",
            }
        );
        begins += lasts;
        // Half a gap early: what is due at the boundary belongs to the next phase.
        sleep_until(start + begins - Duration::from_secs(1) / (2 * RATE)).await;
    }
    for callers in callers {
        callers
            .await
            .map_err(|error| format!("the load broke off: {error}"))?;
    }
    println!(
        "{:6.2} s  done, the last caller was answered\n",
        start.elapsed().as_secs_f64()
    );

    let recovers = lengths[..RECOVERY].iter().sum();
    Ok(table(&sides, recovers))
}

fn table(sides: &[Side; 2], recovers: Duration) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "phase",
        "proxy",
        "requests",
        "served",
        "p50",
        "p99",
        "p99.9",
        "longest wait",
        "upstream calls per request",
        "time to recover",
    ]);
    for (index, phase) in PHASES.iter().enumerate() {
        for side in sides {
            let seen = side.summary(index);
            let reached = side.upstream.seen(index) as f64 / seen.requests.max(1) as f64;
            let recovered = match index {
                RECOVERY => recovery(&side.samples.of_phase(index), recovers)
                    .map_or_else(|| "not in this phase".into(), millis),
                _ => String::new(),
            };
            table.add_row([
                phase.name.to_owned(),
                side.name.to_owned(),
                seen.requests.to_string(),
                format!("{:.1} %", 100.0 * seen.success_rate()),
                millis(seen.quantile(0.5)),
                millis(seen.quantile(0.99)),
                millis(seen.quantile(0.999)),
                millis(seen.longest()),
                format!("{reached:.3}"),
                recovered,
            ]);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1_000.0;
    if millis < 10.0 && millis != 0.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}
