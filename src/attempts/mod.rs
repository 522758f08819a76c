//! What retries and hedges share: which requests may be sent again, how they are copied, the
//! service that later attempts are made by, and the ledger of extra attempts.
//!
//! # Which requests are sent again
//!
//! Two questions, with an answer each:
//!
//! | question | the request's own answer | instead of it, on a layer or stack |
//! |---|---|---|
//! | may it be sent more than once? | [`Idempotent`] | `.only(\|request\| ..)` |
//! | how is it copied? | [`Resend`] | `.resend(\|request\| ..)` |
//!
//! A copier permits nothing: a request that has a copy and is not idempotent is sent once. A
//! request that is idempotent and has no copy is sent once as well. `http::Request` answers by its
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
mod ledger;
mod resend;
#[cfg(feature = "tower")]
mod template;

#[cfg(feature = "tower")]
pub use again::{Again, ByRequest, CopyBy, OnlyIf, SendAgain};
#[cfg(feature = "tokio")]
pub(crate) use ledger::{CallLedger, ExtraPermit, Funding, Ledger, Plan, SentExtra};
pub use resend::{Idempotent, Resend};
#[cfg(feature = "tower")]
pub(crate) use template::Template;
