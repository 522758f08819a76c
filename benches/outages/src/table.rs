//! The table as it is printed.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::client::Contender;
use crate::judge::{Entry, losses};
use crate::measure::Summary;
use crate::row::{Goal, Row};

/// Prints a line for each row, and what follows from all of them.
pub fn print(entries: &[Entry], seeds: u64) {
    let contenders: Vec<Contender> = Contender::ALL
        .into_iter()
        .filter(|&contender| entries.iter().any(|entry| entry.contender == contender))
        .collect();
    let mut rows: Vec<&'static Row> = entries.iter().map(|entry| entry.row).collect();
    rows.dedup_by_key(|row| row.name);
    let mut table = Table::new();
    table
        .load_preset(ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec!["row".to_owned()];
    header.extend(contenders.iter().map(ToString::to_string));
    header.extend(["recovery", "p50", "goal", "met"].map(str::to_owned));
    table.set_header(header);
    let (mut met, mut judged) = (0, 0);
    for row in rows {
        let entry = |contender| {
            let mut entries = entries.iter();
            entries.find(|entry| entry.row.name == row.name && entry.contender == contender)
        };
        let mut line = vec![row.name.to_owned()];
        line.extend(contenders.iter().map(|&contender| {
            entry(contender).map_or_else(String::new, |entry| cell(&entry.summary))
        }));
        if let Some(entry) = entry(Contender::Stack) {
            let unmet = row.goal.unmet(&entry.summary);
            judged += 1;
            met += usize::from(unmet.is_empty());
            line.push(format!("{:.1} s", entry.summary.worst_recovery));
            line.push(format!("{:.0} ms", entry.summary.p50 * 1e3));
            line.push(goal(&row.goal));
            line.push(unmet.to_string());
        }
        table.add_row(line);
    }
    for column in 1..contenders.len() + 3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}\n");
    println!("served in %: median of {seeds} seeds (worst seed), attempts per call in the trouble");
    if judged > 0 {
        println!("goals met by seawall: {met} of {judged}");
    }
    if contenders.len() > 1 {
        println!("mean loss against the best admissible contender:");
        for (contender, loss) in losses(entries) {
            println!("  {contender:<12} {loss:5.1} %");
        }
    }
}

fn cell(summary: &Summary) -> String {
    let Summary {
        served,
        worst,
        attempts,
        ..
    } = summary;
    format!("{served:.1} ({worst:.1}) {attempts:.2}")
}

fn goal(goal: &Goal) -> String {
    let at_most = |value: f64, text: String| match value.is_finite() {
        true => text,
        false => "-".to_owned(),
    };
    let mut text = format!(
        "{:.1} ({:.1}), {}, {}",
        goal.served,
        goal.worst,
        at_most(goal.attempts, format!("{:.2}", goal.attempts)),
        at_most(goal.recovery, format!("{:.1} s", goal.recovery)),
    );
    if goal.p50.is_finite() {
        text.push_str(&format!(", {:.0} ms", goal.p50 * 1e3));
    }
    text
}
