use clap::Parser;

/// Seawall beside its peers.
#[derive(Parser, Debug, Clone)]
pub struct Args {
    /// Only groups whose name contains one of these.
    pub filter: Vec<String>,

    /// A few seconds in all, for a first impression.
    #[arg(long)]
    pub quick: bool,

    /// Rounds of each contender.
    #[arg(long)]
    pub rounds: Option<usize>,

    /// Prints the names of the groups and runs nothing.
    #[arg(long)]
    pub list: bool,

    /// Writes the tables to `benches/record`, with the date and the machine.
    #[arg(long)]
    pub record: bool,

    /// cargo passes it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(&**part))
    }

    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds
            .unwrap_or(if self.quick { 5 } else { 21 })
            .max(1)
    }
}
