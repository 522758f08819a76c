//! The attempt budget: how many attempts beyond the first all callers together may make.
//!
//! ```text
//!  an original call ──> + ratio ┐
//!                               v
//!                         ┌───────────┐   1 is there    ┌──────────────────────┐
//!  an extra attempt ────> │  balance  │ ──────────────> │ a retry or a hedge   │
//!                         └───────────┘                 └──────────────────────┘
//!                               │ short: a floor of so many a second is asked
//!                               └──────────> spent: the first outcome stands
//! ```
//!
//! Retries help against failures that are few and independent. In an outage they multiply the
//! load on what is already down, and a limit per call does not stop that: three attempts are
//! three times the load. A budget does: extra attempts are at most the ratio of the calls of
//! this epoch of 10 s and the last, and the burst, and the floor for every second. One budget
//! covers retries and hedges, and clones share it.
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | ratio | 10 % of calls | an outage makes 1.1 times the load a layer, not three |
//! | burst | 10 | a service with little traffic may retry at all |
//! | floor | 1 a second | the same; 10 a second on 1,000 replicas would be a storm |

mod policy;
mod state;

pub(crate) use policy::Number;
#[cfg(feature = "tokio")]
pub(crate) use policy::Sent;
pub use policy::{Budget, Builder, Refill, Snapshot, Withdrawal};
