//! The same client, as a user of each crate writes it from that crate's README: 1 s for an attempt, 3 s
//! in all, three attempts from 50 ms. All else is by the crate's defaults.
//!
//! Each file is what a user writes, and its lines are counted.

pub mod backon;
pub mod fetch;
pub mod middleware;
pub mod plain;
pub mod seawall;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
