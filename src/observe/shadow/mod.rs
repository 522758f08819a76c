//! What policies that only record would have done, and which numbers the traffic suggests.
//!
//! ```text
//!  calls ──> policies in Mode::RecordOnly ──> the service     nothing is rejected
//!                   │ events
//!                   v
//!                Shadow ──> report(): what each would have done in each hour, and a number for it
//! ```
//!
//! # Use
//!
//! Switch a stack to [`RecordOnly`](crate::Mode::RecordOnly), watch it for a day, read the report,
//! and then enforce:
//!
//! ```
//! use seawall::shadow::Shadow;
//! use seawall::{Bulkhead, Mode, registry};
//!
//! # let reports = Bulkhead::builder(64).name("reports").build()?;
//! for policy in registry::find("reports") {
//!     policy.set_mode(Mode::RecordOnly);
//! }
//! let shadow = Shadow::of("reports");
//! # reports.try_acquire()?.release();
//! // A day later:
//! println!("{}", shadow.report());
//! # let text = shadow.report().to_string();
//! # assert!(text.contains("suggests limit = 1"), "{text}");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does
//!
//! | policy | counted in each hour | suggested |
//! |---|---|---|
//! | timeout | calls that took longer than their limit or deadline | a limit: what 99.9 % of the calls took, rounded up to two digits, from 1,000 calls |
//! | rate limiter | calls without a token | a rate: the most calls of a second |
//! | bulkhead | calls that found the limit and the queue full, or waited too long | a limit: the most calls in flight at once |
//! | circuit breaker | calls while it was open, and how often it opened | |
//! | retry, hedge, budget, fallback | attempts that would have been made or suppressed, fallbacks | |
//!
//! A bulkhead's calls are played again at the report, with the limit and the queue that the
//! bulkhead had when the watch began: a rejected call takes no permit from the next one, whoever
//! waits ends later, and a call ends at the shortest timeout that is watched too and only records.
//! So the count differs from [`would_reject`](crate::bulkhead::Snapshot::would_reject), which
//! counts every call above the limit and the queue.
//!
//! Apart from that, each policy is counted as if it were the only one that rejects. A call that the
//! rate limit of a stack would have rejected is a call for its bulkhead too: with the first
//! enforced, the second rejects less.
//!
//! The limiter of a [keyed](crate::keyed) policy is counted for all keys together, and so is its
//! suggested rate.
//!
//! # Cost
//!
//! A lock and a few additions for each event of a watched policy; at most 1,000 policies, a week
//! of hours, and 16,384 calls of each bulkhead are kept. Drop the [`Shadow`] and policies cost what
//! they did before.

mod queueing;
mod record;
mod report;
mod watch;

pub use report::{Hour, Report, Suggestion, Verdict};
pub use watch::Shadow;
