//! What a policy counts: in cells that only their own thread writes, and that a snapshot sums.
//!
//! # Memory ordering
//!
//! A count publishes nothing but itself: relaxed. What a thread has counted is in the sum of every
//! thread that was synchronised with it since, such as by a join.

mod cells;
mod count;
mod times;
mod totals;

pub(crate) use cells::Cells;
pub(crate) use count::Count;
#[cfg(feature = "tokio")]
pub(crate) use times::SHORTEST;
pub use times::Times;
pub use totals::Totals;
