//! Which goals are met, and how much less than the best contender serves is served.

use std::fmt;

use crate::client::Contender;
use crate::measure::Summary;
use crate::row::{Goal, Row};

/// What one contender reached in one row.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub row: &'static Row,
    pub contender: Contender,
    pub summary: Summary,
}

/// The parts of a goal that were not met.
#[derive(Clone, Debug, Default)]
pub struct Unmet(pub Vec<&'static str>);

impl Goal {
    #[must_use]
    pub fn unmet(&self, reached: &Summary) -> Unmet {
        let parts = [
            ("served", reached.served >= self.served),
            ("worst", reached.worst >= self.worst),
            ("attempts", reached.attempts <= self.attempts),
            ("recovery", reached.worst_recovery <= self.recovery),
            ("p50", reached.p50 <= self.p50),
        ];
        let unmet = parts.into_iter().filter(|(_, met)| !met);
        Unmet(unmet.map(|(part, _)| part).collect())
    }
}

impl Unmet {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_empty() {
            true => f.pad("met"),
            false => f.pad(&format!("NOT {}", self.0.join(", "))),
        }
    }
}

/// For each contender how much less than the best admissible one it serves, in percent of that:
/// the mean of the rows.
#[must_use]
pub fn losses(entries: &[Entry]) -> Vec<(Contender, f64)> {
    let of_row = |name: &str| {
        let entries = entries.iter().filter(move |entry| entry.row.name == name);
        let admissible =
            entries.filter(|entry| entry.summary.attempts <= entry.row.admissible_attempts);
        admissible
            .map(|entry| entry.summary.served)
            .fold(0.0, f64::max)
    };
    let loss = |entry: &Entry| {
        let best = of_row(entry.row.name);
        match best > 0.0 {
            true => (100.0 * (1.0 - entry.summary.served / best)).max(0.0),
            false => 0.0,
        }
    };
    let mean = |contender| {
        let rows = entries.iter().filter(|entry| entry.contender == contender);
        let losses: Vec<f64> = rows.map(loss).collect();
        let count = losses.len() as f64;
        (!losses.is_empty()).then(|| (contender, losses.iter().sum::<f64>() / count))
    };
    Contender::ALL.into_iter().filter_map(mean).collect()
}
