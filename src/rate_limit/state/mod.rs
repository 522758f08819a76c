//! The bucket: a token bucket kept as the one instant at which its debt is repaid.
//!
//! This is GCRA, the generic cell rate algorithm of ATM (ITU-T I.371), in its virtual scheduling
//! form. The word holds the theoretical arrival time (TAT), the instant at which the bucket is
//! full again. A charge moves it on by cost × emission interval, from now if it is in the past. It
//! is granted as soon as the TAT is no further ahead than the burst. Time refills the bucket, so
//! there is nothing to update and nothing to lose.
//!
//! Time is in units of 1/32 ns since an origin, which belongs to the configuration. After two
//! years the next call moves the origin on and keeps the debt. A debt beyond four years (only a
//! change of rate can cause one) is kept as four years.
//!
//! An admission is in `admit`, a charge for an instant in `bucket`, a change of quota or a pause in
//! `changes`. `config` is the arithmetic. The configuration is in slots of the bucket, not in a
//! [`Live`](crate::config::Live), because rate and word must change in one exchange.
//!
//! # Orderings
//!
//! The word's two low bits name the slot that it was counted with. A change writes the other slot,
//! then moves the word to it. Changes are serialised by a mutex; an admission takes no lock.
//!
//! - The word is moved to a new generation with Release and loaded with Acquire, so a thread that
//!   sees a generation sees the values of its slot. Admissions and refunds exchange the word with
//!   Relaxed: they publish nothing, and as read-modify-writes they continue the release sequence
//!   of the change before them. Models: `change_against_admission`,
//!   `change_against_rejection_by_empty_stripes`.
//! - A slot is stored with Release and loaded with Acquire. A slow reader may find the values of
//!   the generation after next in its slot. They were stored after the exchange to the generation
//!   in between, which the reader then sees too: its exchange fails, or its second load of the
//!   word shows the change. Models: `two_changes_against_admission`,
//!   `two_changes_against_rejection`, `two_changes_against_rejection_by_empty_stripes`.
//! - A successful exchange proves that the word and its generation are those that were read, unless
//!   four changes came in between, within one call, and the debt then ended at the same 1/32 ns.
//!   That charge would use the rate of four changes ago. A wider generation would cost every
//!   admission another word.
//! - A charge holds the whole count of changes, so that it is never returned to a debt that was
//!   rescaled. The count is read from the slot like the rest. Models: `refund_against_admission`,
//!   `refund_against_change`.
//! - A pause is a change like any other. Model: `pause_against_admission`.

mod admit;
mod bucket;
mod changes;
pub(super) mod config;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
mod grant;
mod leases;
#[cfg(all(test, seawall_loom))]
mod loom;
mod refunds;
#[cfg(feature = "tower")]
mod remainder;
mod settle;
mod stripes;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
pub(super) mod word;

pub(crate) use bucket::{Bucket, Charge};
pub(crate) use grant::Shortfall;
pub(crate) use refunds::Refunds;
pub(crate) use settle::Return;
pub(crate) use stripes::Striped;
