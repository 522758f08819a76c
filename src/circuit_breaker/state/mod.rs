//! The state machine: one word, and a lock for transitions.
//!
//! A call is [admitted](Machine::admit) by the word alone. A transition is a function of its own,
//! named after it: `trip`, `half_open`, `close` and their like.
//!
//! # Memory ordering
//!
//! - `word` decides everything. A closed breaker admits a call by one relaxed load: the generation
//!   in the permit is compared again when the call ends, which makes a stale load harmless (model:
//!   `a_late_outcome_changes_nothing`).
//! - A transition holds the lock, and still exchanges the word, because probe permits are counted
//!   there without the lock. A generation is left once (model: `one_generation_is_left_once`).
//! - The times of a state are stored before the word that enters it, in two sets by turns: one set
//!   is overwritten only after the word of the next state is visible. A reader loads word, times,
//!   word. Release on the word and acquire on its load show at least the times of that generation.
//!   Release on the times and acquire on their load make the second load of the word see at least
//!   the word that was current when they were stored; for later times in the same set that is a
//!   later generation. If both loads show one generation, the times belong to it (model:
//!   `a_rejection_has_the_time_of_its_own_generation`).
//! - Probe permits are taken and released by compare-exchange on the word, so their number is exact
//!   (model: `probes_never_exceed_their_number`). A permit is taken under the lock, after its time
//!   has been stored and with release on the word: a reader that sees the permit sees a time that
//!   is not earlier (model: `no_rejection_gives_a_probe_up_before_its_time`), and no probe starts
//!   while others are given up (model: `a_probe_is_given_up_or_ends`).

mod admission;
mod cause;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
#[cfg(all(test, seawall_loom))]
mod loom;
mod machine;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
mod naive;
mod probes;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod transition;
mod word;

pub(super) use admission::{Grant, Rejected, Role};
pub use cause::{Cause, Transition};
pub(super) use machine::Machine;
pub(super) use transition::{Edge, Moment};
pub use word::State;
pub(super) use word::{Flags, Word};
