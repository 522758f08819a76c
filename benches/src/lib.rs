//! The method of the benchmarks. On a small and noisy machine, contenders take turns in short rounds, the
//! median counts, and the ratios of one run are compared. See `README.md`.

mod args;
pub mod body_call;
pub mod drive;
mod goal;
pub mod http_call;
mod machine;
mod measure;
pub mod noop;
pub mod ours;
pub mod peers;
mod report;
mod sched;
mod sheet;

pub use args::Args;
pub use goal::{Goal, Limit};
pub use machine::Machine;
pub use measure::{Kind, Plan, Sample, Turn, Work, alone, crew, median, taken};
pub use report::{Contender, Group, Report, digits};
pub use sched::{Times, this_thread};
pub use sheet::Sheet;
