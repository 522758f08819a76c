//! One seeded run in virtual time.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use seawall::CircuitBreaker;
use tokio::time::Instant;

use crate::client::{Client, Contender, Naive, Plain, Stack};
use crate::measure::{Call, Figures, figures};
use crate::row::{Arrivals, Load, Row};
use crate::server::{ARRIVED, Server};

/// Runs one contender through one row.
#[must_use]
pub fn run(row: &'static Row, contender: Contender, seed: u64) -> Figures {
    origin();
    paused().block_on(async {
        align(seed).await;
        let before = Duration::from_secs_f64(row.load.before);
        let server = Server::new(row, seed, Instant::now() + before);
        match contender {
            Contender::Plain => drive(row, seed, &server, |_| Plain::new(row, &server)).await,
            Contender::Naive => drive(row, seed, &server, |_| Naive::new(row, &server)).await,
            Contender::Budget => {
                drive(row, seed, &server, |_| Naive::with_budget(row, &server)).await
            }
            Contender::Stack => {
                let client = |n: usize| Stack::new(row, &server, seed * 1_000 + n as u64);
                drive(row, seed, &server, client).await
            }
        }
    })
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build().expect("a runtime")
}

/// What the crate counts its time from: the first reading that it makes.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        paused().block_on(async {
            let breaker = CircuitBreaker::new("origin");
            breaker.try_acquire().expect("it is closed").success();
            Instant::now()
        })
    })
}

/// Moves the clock to a time since the origin that depends on the seed alone: a runtime starts at
/// the time of day, and the windows of breaker and budget begin at whole seconds of the crate's
/// time. They begin at other times of the trouble with each seed, and at the same in each run.
async fn align(seed: u64) {
    const MINUTE: i128 = 60_000;
    let phase = i128::from(Rng::with_seed(seed ^ 0xA119).u64(..60_000));
    let (now, origin) = (Instant::now(), origin());
    let nanos = match now.checked_duration_since(origin) {
        Some(since) => since.as_nanos() as i128,
        None => -((origin - now).as_nanos() as i128),
    };
    // In whole milliseconds, in which timers are counted from the start of the runtime. What is
    // left is less than one, so each event is on the same side of each boundary.
    let millis = nanos.div_euclid(1_000_000);
    let rest = (phase - millis - 1).rem_euclid(MINUTE) + 1;
    tokio::time::advance(Duration::from_millis(rest as u64)).await;
}

async fn drive<C: Client>(
    row: &'static Row,
    seed: u64,
    server: &Server,
    client: impl Fn(usize) -> C,
) -> Figures {
    let clients: Vec<C> = (0..row.load.clients).map(client).collect();
    // Not the server's numbers: all contenders get the same calls.
    let mut rng = Rng::with_seed(seed ^ 0x5EA_0A11);
    let calls = Arc::new(Mutex::new(arrivals(row, &mut rng)));
    let patience = Duration::from_secs_f64(row.limits.patience);
    let count = calls.lock().expect("no panic").len();
    for n in 0..count {
        let Call { at, host, .. } = calls.lock().expect("no panic")[n];
        tokio::time::sleep_until(server.instant(at)).await;
        let client = clients[rng.usize(..clients.len())].clone();
        let (calls, seed) = (Arc::clone(&calls), rng.u64(..));
        tokio::spawn(async move {
            let start = Instant::now();
            let call = ARRIVED.scope(at, client.call(host, seed));
            let served = tokio::time::timeout(patience, call).await;
            let call = &mut calls.lock().expect("no panic")[n];
            call.took = start.elapsed().as_secs_f64();
            call.served = served.unwrap_or(false);
        });
    }
    tokio::time::sleep(patience + Duration::from_secs(1)).await;
    let calls = calls.lock().expect("no panic");
    figures(row, &calls, server.attempts())
}

/// When calls arrive, and for which host.
fn arrivals(row: &Row, rng: &mut Rng) -> Vec<Call> {
    let Load {
        rate,
        rate_in_trouble,
        before,
        hosts,
        ..
    } = row.load;
    let mut calls = Vec::new();
    let spans = [
        (-before, 0.0, rate),
        (0.0, row.trouble, rate_in_trouble),
        (row.trouble, row.trouble + row.after(), rate),
    ];
    for (start, end, rate) in spans {
        let mut n = 0.0;
        let mut at = start;
        loop {
            match row.load.arrivals {
                Arrivals::Poisson => at -= (1.0 - rng.f64()).ln() / rate,
                Arrivals::Even => at = start + n / rate,
            }
            if at >= end {
                break;
            }
            n += 1.0;
            let host = match rng.f64() < hosts.first {
                true => 0,
                false => rng.usize(1..hosts.count),
            };
            calls.push(Call::new(at, host));
        }
    }
    calls
}
