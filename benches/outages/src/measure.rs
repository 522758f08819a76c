//! What one run gave, and what all runs of a row gave together.

use crate::row::Row;

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) at: f64,
    pub(crate) host: usize,
    pub(crate) took: f64,
    pub(crate) served: bool,
}

impl Call {
    pub(crate) fn new(at: f64, host: usize) -> Self {
        Self {
            at,
            host,
            took: f64::INFINITY,
            served: false,
        }
    }
}

/// What one run gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The share of the judged calls that was served, in percent.
    pub served: f64,
    /// Attempts at the server per call, both in the trouble.
    pub attempts: f64,
    /// Seconds from the end of the trouble to the first good second.
    pub recovery: f64,
    /// How long half of the callers had to wait at most, in the trouble.
    pub p50: f64,
}

/// A second is good if it serves this share of what a plain client gets of a healthy server.
const GOOD: f64 = 0.98;

pub(crate) fn figures(row: &Row, calls: &[Call], attempts: u64) -> Figures {
    let is_judged = |call: &&Call| row.judged.first_host || call.host != 0;
    let between = |from: f64, to: f64| {
        let first = calls.partition_point(|call| call.at < from);
        let last = calls.partition_point(|call| call.at < to);
        &calls[first..last.max(first)]
    };
    let served = |from: f64, to: f64| {
        let judged = || between(from, to).iter().filter(is_judged);
        let served = judged().filter(|call| call.served).count();
        served as f64 / judged().count() as f64
    };
    let in_trouble = between(0.0, row.trouble);
    let mut took: Vec<f64> = in_trouble.iter().map(|call| call.took).collect();
    let tenths = 0..=((row.after() - 1.0) * 10.0) as u32;
    let recovery = tenths.map(|tenth| f64::from(tenth) / 10.0).find(|after| {
        let from = row.trouble + after;
        // A second without a call is not good: what would be there is not known.
        served(from, from + 1.0) >= GOOD * row.healthy()
    });
    Figures {
        served: 100.0 * served(row.judged.from, row.trouble + row.judged.after),
        attempts: attempts as f64 / in_trouble.len().max(1) as f64,
        recovery: recovery.unwrap_or(row.after()),
        p50: median(&mut took),
    }
}

/// What all seeds of a row gave: medians, and the worst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub served: f64,
    pub worst: f64,
    pub attempts: f64,
    pub worst_recovery: f64,
    pub p50: f64,
}

impl Summary {
    #[must_use]
    pub fn of(runs: &[Figures]) -> Self {
        let all = |figure: fn(&Figures) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
        let served = all(|run| run.served);
        Self {
            worst: served.iter().copied().fold(f64::INFINITY, f64::min),
            served: median(&mut { served }),
            attempts: median(&mut all(|run| run.attempts)),
            worst_recovery: all(|run| run.recovery).into_iter().fold(0.0, f64::max),
            p50: median(&mut all(|run| run.p50)),
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => values[n / 2 - 1].midpoint(values[n / 2]),
    }
}
