//! The outage table: what clients get from a server in trouble, in virtual time.

mod client;
mod judge;
mod measure;
mod row;
mod rows;
mod server;
mod simulate;
mod table;
mod work;

pub use client::Contender;
pub use judge::{Entry, Unmet, losses};
pub use measure::{Figures, Summary};
pub use row::{Goal, Row};
pub use rows::all;
pub use simulate::run;
pub use table::print;
pub use work::{Job, run_all};
