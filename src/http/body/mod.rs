//! Response bodies: a call that ends with its body, and limits of the body.
//!
//! ```text
//! call ──> head ──> chunk ──> chunk ──────────> end, error or drop
//!  │         │        │ idle    │ idle            │
//!  │         └ first_chunk      └ idle            │
//!  └ permit, verdict, total timeout ──────────────┘
//! ```

mod call;
mod held;
mod layer;
mod limits;
mod response;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;
mod until;

pub use layer::{BodyFuture, BodyLayer, BodyService};
pub use limits::{ChunksBy, EveryChunk, Progress};
pub(super) use limits::{Limits, WaitForChunk};
pub(crate) use response::with_more;
pub use response::{Body, BodyError};
pub use until::{HeldFormat, UntilBodyEnd};
