//! The same load through an unprotected proxy and through a protected one, phase by phase.

use std::io;
use std::time::Duration;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use seawall::ConfigError;
use seawall::serve::{Health, Server};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

use crate::args::named;
use crate::load::{Load, Samples, Summary, recovery};
use crate::policies::{Breaker, Limits};
use crate::proxy::{Gateway, Policies};
use crate::target::Target;
use crate::upstream::{BUSY, Behaviour, Faulty, PHASES as COUNT, Switch, WORKERS};

/// Requests a second to each proxy: few, so that the machine is not what is measured.
const RATE: u32 = 200;

// "Twice the capacity".
const _: () = assert!(RATE as u128 * BUSY.as_millis() == 2 * 1_000 * WORKERS as u128);

struct Phase {
    name: &'static str,
    upstream: Behaviour,
    text: &'static str,
    /// Its share of the whole run.
    share: f64,
}

const PHASES: [Phase; COUNT] = [
    Phase {
        name: "healthy",
        upstream: Behaviour::Healthy,
        text: "the upstream answers in 1 to 4 ms",
        share: 0.08,
    },
    Phase {
        name: "1 % stragglers",
        upstream: Behaviour::Straggling,
        text: "the same, but every 100th answer takes 100 to 120 ms",
        share: 0.18,
    },
    Phase {
        name: "30 % errors",
        upstream: Behaviour::Failing,
        text: "no stragglers, but 30 of 100 answers are a 500",
        share: 0.10,
    },
    Phase {
        name: "twice the capacity",
        upstream: Behaviour::Busy,
        text: "every answer takes 50 ms of one of 5 workers: 100/s, half of the load",
        share: 0.18,
    },
    // Longer than the phase before, because the upstream first finishes the work of that.
    Phase {
        name: "total outage",
        upstream: Behaviour::Hanging,
        text: "the upstream takes every request and answers none",
        share: 0.24,
    },
    // Longer than the breaker stays open.
    Phase {
        name: "recovery",
        upstream: Behaviour::Healthy,
        text: "the upstream answers in 1 to 4 ms again",
        share: 0.22,
    },
];
const RECOVERY: usize = 5;

/// How much shorter than 30 s, which fit the breaker's default times, a demonstration of `length` is.
/// A longer one has longer phases, not slower policies.
pub(crate) fn scale(length: Duration) -> f64 {
    (length.as_secs_f64() / 30.0).min(1.0)
}

struct Side {
    name: &'static str,
    upstream: Faulty,
    policies: Option<Policies>,
    samples: Samples,
}

impl Side {
    async fn start(
        name: &'static str,
        switch: &Switch,
        proxy: impl FnOnce(&[Target], Health) -> Result<Gateway, ConfigError>,
    ) -> Result<(Self, std::net::SocketAddr), String> {
        let failed =
            |error: io::Error| format!("the demonstration cannot listen on loopback: {error}");
        let upstream = Faulty::start(switch).await.map_err(failed)?;
        let target = Target::parse(&format!("http://{}", upstream.addr))?;
        let server = Server::builder().name(name).signals(false).build();
        let server = server.map_err(|error| named(&error))?;
        let gateway = proxy(&[target], server.health()).map_err(|error| named(&error))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        tokio::spawn(async move { server.serve(listener, gateway.router).await });
        Ok((
            Self {
                name,
                upstream,
                policies: gateway.policies,
                samples: Samples::default(),
            },
            addr,
        ))
    }

    fn summary(&self, phase: usize) -> Summary {
        Summary::of(&self.samples.of_phase(phase))
    }

    /// The extra attempts.
    fn extra(&self) -> Option<String> {
        let client = &self.policies.as_ref()?.client;
        let hedge = client.hedge().snapshot();
        let budgets = client.budgets().entries().into_iter();
        let budgets = budgets.map(|(_, budget)| budget.snapshot());
        let (made, suppressed) = budgets.fold((0, 0), |(made, suppressed), budget| {
            (made + budget.made, suppressed + budget.suppressed)
        });
        let requests: usize = (0..COUNT).map(|phase| self.summary(phase).requests).sum();
        Some(format!(
            "Extra attempts: {:.1} % of all requests; {} by the retry and {} by the hedge, {} of which won. The budget suppressed {}.",
            100.0 * made as f64 / requests.max(1) as f64,
            client.retry().snapshot().retried,
            hedge.made,
            hedge.won,
            suppressed,
        ))
    }
}

/// Runs it, and returns its table.
pub(crate) async fn run(length: Duration, limits: &Limits, page: &str) -> Result<Table, String> {
    let lengths = PHASES.map(|phase| length.mul_f64(phase.share));
    let load = Load {
        rate: RATE,
        patience: Duration::from_secs(1).mul_f64(scale(length).max(0.35)),
        phases: lengths.to_vec(),
    };
    let switch = Switch::new();
    // A moment later, so that the first requests are on time.
    let start = Instant::now() + Duration::from_millis(50);
    let (unprotected, plain_addr) = Side::start("unprotected", &switch, |targets, _| {
        Ok(Gateway::plain(targets))
    })
    .await?;
    let (protected, protected_addr) = Side::start("protected", &switch, |targets, health| {
        let log = move |line: &str| println!("{:6.2} s    {line}", start.elapsed().as_secs_f64());
        Gateway::protected(targets, limits, health, log)
    })
    .await?;

    println!("The live page of the policies is {page}\n");
    println!(
        "{RATE} requests/s to each of two proxies for {:.0} s; every caller gives up after {}.",
        length.as_secs_f64(),
        millis(load.patience),
    );
    println!("{}", settings(limits));

    let callers = [
        tokio::spawn(
            load.clone()
                .drive(plain_addr, start, unprotected.samples.clone()),
        ),
        tokio::spawn(load.drive(protected_addr, start, protected.samples.clone())),
    ];
    let sides = [unprotected, protected];

    let mut end = Duration::ZERO;
    for (phase, lasts) in PHASES.iter().zip(lengths) {
        switch.set(phase.upstream);
        println!(
            "{:6.2} s  {}: {}",
            start.elapsed().as_secs_f64(),
            phase.name,
            phase.text,
        );
        end += lasts;
        // Half a gap early: a request at the boundary belongs to the next phase.
        sleep_until(start + end - Duration::from_secs(1) / (2 * RATE)).await;
    }
    for callers in callers {
        callers
            .await
            .map_err(|error| format!("the load failed: {error}"))?;
    }
    println!(
        "{:6.2} s  done, the last caller was answered\n",
        start.elapsed().as_secs_f64()
    );
    for side in &sides {
        if let Some(extra) = side.extra() {
            println!("{extra}\n");
        }
    }

    let recovers = lengths[..RECOVERY].iter().sum();
    Ok(table(&sides, &lengths, recovers))
}

/// How to read the table.
pub(crate) const LEGEND: &str = "\
A request is served if its whole answer is a 200 and arrives within the caller's patience. The times
include rejected callers and those that gave up: in the outage the protected callers get an answer in
milliseconds, the others wait for their whole patience. This upstream recovers under any load; a real
one may not. The price of protecting it is the rest of the breaker's wait, up to 1 s by default.";

fn settings(limits: &Limits) -> String {
    let breaker = limits
        .breaker
        .unwrap_or(Breaker::within(Duration::from_secs(1)));
    let hedge = match limits.hedge {
        Some(share) => format!(
            "starts when one takes longer than {} % of them, from {} on",
            100.0 * share,
            limits.hedge_samples
        ),
        None => "off".into(),
    };
    format!(
        "The protected one
  rate limit: {}/s;
  timeouts:   {} for a request, {} for an attempt;
  retry:      up to {} attempts;
  hedge:      {hedge};
  budget:     extra attempts for {} % of the successes of the last 4 to 8 s;
  breaker:    opens after {} failures in a row that last {}, for {} to {};
  bulkhead:   {} attempts in flight and {} in the queue, for at most {}.
",
        limits.rate,
        millis(limits.timeout),
        millis(limits.attempt_timeout),
        limits.attempts,
        limits.budget,
        breaker.failures,
        millis(breaker.lasting),
        millis(breaker.open_for),
        millis(breaker.open_at_most),
        limits.capacity,
        limits.queue,
        millis(limits.queue_wait),
    )
}

fn table(sides: &[Side; 2], lengths: &[Duration; COUNT], recovers: Duration) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "phase",
        "proxy",
        "requests",
        "served",
        "served/s",
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
                format!("{:.0}", seen.served as f64 / lengths[index].as_secs_f64()),
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
