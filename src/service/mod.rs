//! What the layers share: the bounds on a service, how a rejection becomes its outcome, readiness,
//! calls that wait, and the template of extra attempts.

mod bounds;
pub(crate) mod queued_call;
pub use queued_call::QueuedCall;
mod readiness;
mod respond;
mod response;
pub(crate) mod template;

pub use bounds::{By, Guard, Judged, Verdict, check};
pub(crate) use readiness::Readiness;
pub use respond::{AsError, Format, Native, Reject, Respond, RespondWith, Silent};
pub use response::ResponseFuture;
