//! What retries and hedges share: which requests may be sent again, how they are copied, the
//! service that later attempts are made by, and the ledger of extra attempts.
//!
//! # Which requests are sent again
//!
//! Two questions, with an answer each:
//!
//! | question | the request's own answer | instead of it, on a layer or stack |
//! |---|---|---|
//! | may it be sent again after it may have had its effect? | [`Idempotent`] | `.only(\|request\| ..)` |
//! | how is it copied? | [`Resend`] | `.resend(\|request\| ..)` |
//!
//! For a retry the first question comes after an attempt has failed, and not at all if the attempt
//! had no effect; for a hedge it comes before. See [`retry`](crate::retry) and [`hedge`](crate::hedge).
//!
//! A copier permits nothing: a request that has a copy and is not idempotent is sent once, if it
//! may have had its effect. A request that is idempotent and has no copy is sent once as well. `http::Request` answers by its
//! method and its `Idempotency-Key`; a type of yours answers with one line of
//! [`resend!`](crate::resend).
//!
//! ```
//! #[derive(Clone)]
//! struct Query(String);
//! seawall::resend!(Query);
//!
//! #[derive(Clone)]
//! struct Command { reads: bool }
//! seawall::resend!(Command, |command| command.reads);
//! ```
//!
//! [`Again`] holds both answers of a layer.

#[cfg(feature = "tower")]
mod again;
#[cfg(feature = "tokio")]
mod call;
#[cfg(feature = "tower")]
mod earned;
#[cfg(feature = "tokio")]
mod funding;
#[cfg(feature = "tokio")]
mod ledger;
#[cfg(feature = "tokio")]
mod opened;
mod resend;
#[cfg(feature = "tokio")]
mod span;
#[cfg(feature = "tower")]
mod template;

#[cfg(all(feature = "http", feature = "tower"))]
pub use again::CopyOf;
#[cfg(feature = "tower")]
pub use again::{Again, ByRequest, CopyBy, OnlyIf, SendAgain};
#[cfg(feature = "tokio")]
pub(crate) use call::{CallLedger, ExtraPermit};
#[cfg(feature = "tower")]
pub(crate) use earned::Earned;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use earned::Win;
#[cfg(feature = "tokio")]
pub(crate) use funding::Funding;
#[cfg(feature = "tokio")]
pub(crate) use ledger::{Ledger, Plan};
#[cfg(feature = "tokio")]
pub(crate) use opened::Opened;
pub use resend::{Idempotent, Resend};
#[cfg(feature = "tokio")]
pub(crate) use span::AttemptSpan;
#[cfg(feature = "tower")]
pub(crate) use template::Template;
