//! What the layers share: the bounds on a service, how a rejection becomes its outcome, readiness and
//! calls that wait.

mod bounds;
mod front;
pub(crate) mod queued_call;
pub use queued_call::QueuedCall;
mod readiness;
mod respond;
mod response;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

pub use crate::classify::By;
pub(crate) use crate::classify::Verdict;
pub use bounds::{Guard, Judged, check};
pub(crate) use front::{Front, Rejects, responder_methods};
pub(crate) use readiness::Readiness;
pub use respond::{AsError, Format, Native, Respond, RespondWith, Silent};
pub use response::ResponseFuture;
