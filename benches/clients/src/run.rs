//! One row for one contender: a server and a client of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::contender::Contender;
use crate::row::{Plan, Row};
use crate::server::{Server, listen};

/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(3);

struct Call {
    at: Duration,
    took: Duration,
    served: bool,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Judged calls that were served, in percent.
    pub served: f64,
    /// Attempts at the server per call, both in the trouble.
    pub attempts: f64,
    /// From the end of the trouble to the first second in which all are served but one.
    pub recovery: Option<Duration>,
    /// How long half of the callers wait at most, in the trouble.
    pub p50: Duration,
    /// By how much the latest call was late: a machine that is too busy spoils all figures.
    pub late: Duration,
}

/// Runs `row` from `start` on. The listener is there before any call.
pub async fn run(row: &'static Row, contender: Contender, plan: Plan, start: Instant) -> Figures {
    let listener = listen(([127, 0, 0, 1], 0).into());
    let address = listener.local_addr().expect("an address");
    let server = Server::new(row, plan, start);
    let serving = tokio::spawn(Arc::clone(&server).serve(listener, address));
    let client = (contender.make)();
    let url = format!("http://{address}/");

    let mut calls = JoinSet::new();
    // The same arrivals for each contender.
    let mut rng = Rng::with_seed(1);
    let end = plan.before + plan.trouble + plan.after;
    let (mut at, mut late) = (Duration::ZERO, Duration::ZERO);
    while at < end {
        sleep_until(start + at).await;
        late = late.max((Instant::now() - start).saturating_sub(at));
        let call = (client.get)(url.clone());
        calls.spawn(async move {
            let answer = timeout(PATIENCE, call).await;
            let took = (Instant::now() - start).saturating_sub(at);
            let served = matches!(answer, Ok(Ok(text)) if text == "found");
            Call { at, took, served }
        });
        let in_trouble = (plan.before..plan.before + plan.trouble).contains(&at);
        let rate = if in_trouble { row.rate.1 } else { row.rate.0 };
        at += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / f64::from(rate));
    }
    let calls = calls.join_all().await;
    serving.abort();
    let attempts = server.attempts.load(Ordering::Relaxed);
    Figures {
        late,
        ..figures(row, plan, &calls, attempts)
    }
}

fn figures(row: &Row, plan: Plan, calls: &[Call], attempts: u64) -> Figures {
    let between = |from: Duration, to: Duration| {
        let calls = calls
            .iter()
            .filter(move |call| (from..to).contains(&call.at));
        calls.collect::<Vec<_>>()
    };
    let failed = |calls: &[&Call]| calls.iter().filter(|call| !call.served).count();
    let ended = plan.before + plan.trouble;
    let after = if row.judged_after {
        plan.after
    } else {
        Duration::ZERO
    };
    let judged = between(plan.before, ended + after);
    let in_trouble = between(plan.before, ended);
    let mut took: Vec<_> = in_trouble.iter().map(|call| call.took).collect();
    took.sort();
    let second = Duration::from_secs(1);
    let tenths = (0..).map(|tenth| Duration::from_millis(100 * tenth));
    let mut seconds = tenths.take_while(|after| *after + second <= plan.after);
    Figures {
        served: 100.0 - 100.0 * failed(&judged) as f64 / judged.len().max(1) as f64,
        attempts: attempts as f64 / in_trouble.len().max(1) as f64,
        recovery: seconds
            .find(|after| failed(&between(ended + *after, ended + *after + second)) <= 1),
        p50: took.get(took.len() / 2).copied().unwrap_or_default(),
        late: Duration::ZERO,
    }
}
