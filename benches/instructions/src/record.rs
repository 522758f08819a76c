use std::fmt::Write;
use std::path::Path;

/// What was counted, and with what.
pub(crate) struct Record {
    pub(crate) with: String,
    pub(crate) counts: Vec<(String, f64)>,
}

const WITH: &str = "# with ";

impl Record {
    pub(crate) fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).ok()?;
        let with = text.lines().find_map(|line| line.strip_prefix(WITH));
        let counts = text.lines().filter(|line| !line.starts_with('#'));
        let counts = counts.filter_map(|line| {
            let (name, count) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        });
        Some(Self {
            with: with.unwrap_or("something unknown").to_owned(),
            counts: counts.collect(),
        })
    }

    pub(crate) fn write(&self, file: &Path) -> std::io::Result<()> {
        let mut text = "# Instructions per operation. Written by `--write`.\n".to_owned();
        let _ = writeln!(text, "{WITH}{}", self.with);
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name:<40} {count:>8.1}");
        }
        std::fs::write(file, text)
    }

    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        let found = self.counts.iter().find(|(other, _)| other == name);
        found.map(|(_, count)| *count)
    }
}

/// The instructions of a function with all that it calls, from the uncompressed output of callgrind: `fn=` opens a
/// function; a line of numbers is a position and its cost; after `calls=` that is the cost of the callee with all
/// that it calls. A mangled name has its length before it, in both of the manglings of Rust.
pub(crate) fn inclusive(text: &str, function: &str) -> Option<u64> {
    // With the path: `stack` is a module of the crate too.
    let mangled = format!("10operations3all{}{function}", function.len());
    let mut inside = false;
    let mut sum = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            inside = name.contains(&mangled);
            if inside {
                sum.get_or_insert(0);
            }
        } else if inside && line.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-') {
            let cost = line
                .split(' ')
                .nth(1)
                .and_then(|cost| cost.parse::<u64>().ok());
            sum = sum.zip(cost).map(|(sum, cost)| sum + cost).or(sum);
        }
    }
    sum
}
