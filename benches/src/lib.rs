//! How the benchmarks measure, so that a number means something on a small and noisy machine:
//! contenders take turns in short rounds, the median counts, and what is compared is a ratio of
//! one run. See `README.md`.

mod args;
mod machine;
mod measure;
pub mod noop;
mod report;
mod sched;
mod sheet;
pub mod stacks;

pub use args::Args;
pub use machine::Machine;
pub use measure::{Kind, Plan, Sample, Turn, Work, alone, crew, median, taken};
pub use report::{Contender, Goal, Group, Limit, Report, digits};
pub use sched::Times;
pub use sheet::Sheet;
