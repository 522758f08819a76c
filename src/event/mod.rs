//! Events of the policies: one terminal event per admission, and the transitions of circuit
//! breakers.
//!
//! A listener runs on the thread of the call that caused the event, after the policy has changed
//! its state and outside every critical section, so it may call the policy itself. It sees the
//! state after the event, or a later one. A panic of a listener is caught, and the call goes on.
//! Without a listener an event costs one relaxed load. With some it takes no lock and allocates
//! nothing: the events of many threads do not wait for each other.
//!
//! Once the drop of a [`Subscription`] has returned, its listener neither runs nor is called.
//!
//! A listener receives the events of calls that start after it was added. A call that started
//! earlier may end without an event.
//!
//! # Tracing
//!
//! With the feature `tracing`, which is on by default, the policies also report to
//! [`tracing`](https://docs.rs/tracing) with the target `seawall`:
//!
//! | level | message | fields, each after `resilience.` |
//! |---|---|---|
//! | `WARN` | a circuit breaker opened, or was forced open | `policy`, `from`, `to`, `cause`, `open_for` |
//! | `INFO` | any other transition of a circuit breaker | the same |
//! | `WARN` | calls were rejected: how many and why, at most once in 10 s for each policy, and not where debug is on | `policy`, `calls`, `seconds`, `reasons` |
//! | `DEBUG` | a call was rejected, or would have been (record-only) | `policy`, `rejection`, `reason`, `retry_after` |
//! | `DEBUG` | a call timed out, or would have (record-only) | `policy`, `rejection`, `reason` |
//! | `DEBUG` | a retry or hedge was due and is not made, or would not be (record-only) | `policy`, `attempt`, `suppression`, `reason` |
//! | `DEBUG` | a fallback is not called | `policy`, `suppression`, `reason` |
//! | `WARN` | the policy of a key could not be constructed | `policy`, `error` |
//! | `WARN` | a keyed policy gets its first call without a key (debug builds) | `policy` |
//! | `WARN` | one policy is applied twice on one path (debug builds) | `policy`, `site` |
//! | `ERROR` | once: a request has no peer address for `http::ClientIp` | `policy` |
//! | `WARN` | a lever of the [page](crate::console) was used | `policy`, `did` |
//! | `INFO` | a server goes on to the next phase of its drain, or has answered every request | `server`, `phase`, `connections`, `requests` |
//! | `INFO` | a stack was built, with its [verdict](crate::stack::Verdict) | `stack`, `verdict` |
//! | `INFO` | a changed [file](crate::settings::File) of settings was applied | `path`, `applied` |
//! | `WARN` | such a file was rejected; once for each error | `path`, `error` |
//! | `WARN` | a server has ended and cut requests off | `server`, `cut` |
//!
//! | field | value |
//! |---|---|
//! | `resilience.policy` | the name of the policy; the label `policy` of the metrics |
//! | `resilience.rejection` | the [label](#labels) of the rejection's kind; the label `reason` of the metrics |
//! | `resilience.suppression` | the label of a [`Suppression`]; the label `reason` of the metrics |
//! | `resilience.reason` | the rejection or suppression as text, with its numbers |
//! | `resilience.retry_after` | after how long another call may be admitted, such as `1s`; absent if it is not known |
//! | `resilience.from`, `resilience.to` | the labels of the breaker's states |
//! | `resilience.cause` | what changed the breaker's state, as text |
//! | `resilience.open_for` | how long the breaker stays open, such as `5s`; absent if it has no end |
//! | `resilience.attempt` | the number of the attempt; the first is 1 |
//! | `resilience.calls`, `resilience.reasons` | how many calls were rejected since the last summary, and how many of them for each label of a kind |
//! | `resilience.seconds` | the time since the last summary; absent in the first |
//! | `resilience.server`, `resilience.stack` | the name of the server or stack |
//! | `resilience.phase` | the phase of the drain: `draining`, `closing`, `ended` |
//! | `resilience.connections`, `resilience.requests` | how many are open |
//! | `resilience.cut` | how many requests were cut off |
//! | `resilience.verdict` | what the stack can do to its dependency, as text |
//! | `resilience.path`, `resilience.applied` | the file of settings, and what of it was applied, as text |
//! | `resilience.did` | what the lever changed, as text |
//! | `resilience.site` | where the second layer was made |
//! | `resilience.error` | the error, as text |
//!
//! A name never changes.
//!
//! Each attempt of a retry or hedge is a span `attempt` at the level `DEBUG`, with the target
//! `seawall`. It is entered whenever the attempt is polled, so the spans and events of what the
//! attempt calls are inside of it. Its parent is the span that is current when the attempt starts.
//! It ends with the head of the response, not with its body. A hedge inside of an extra
//! attempt of another policy makes no attempts of its own, and has no spans.
//!
//! | field of `attempt` | value |
//! |---|---|
//! | `resilience.policy`, `resilience.attempt` | as above |
//! | `resilience.delay_ms` | a retry: the wait before the attempt; a hedge: the time since the call; whole milliseconds, rounded down |
//! | `resilience.result` | `success`, `failure`, `ignored`, `dropped` (by the caller, or because another attempt has won) or `panicked` |
//! | `resilience.failure` | the label of the [kind](crate::classify::FailureKind) of a failure; else absent |
//! | `resilience.rejection` | the label of the rejection's kind, if a policy below rejected the attempt or cut it short; else absent |
//! | `resilience.hedge_won` | whether an extra attempt of a hedge has won, once it has an outcome; else absent |
//!
//! The first rejection after ten quiet seconds is summarised at once, so a burst shows when it starts.
//! No timer runs: what is rejected after the last summary of a burst is in the first summary of the
//! next one, whose `resilience.seconds` say how long that was, and in the
//! [totals](crate::registry::Totals) at once. The policies of one keyed policy have one summary. A
//! keyed limiter [with other limits](crate::Keyed::with_limits) reports a rejection once, by the limit
//! that rejects.
//!
//! Without a subscriber this costs a rejection what `tracing` needs to find that out, an attempt one
//! comparison, and any other admitted call nothing. An attempt that has a span allocates it.
//!
//! Where there is no subscriber, the feature `log` of `tracing` gives events to the logger of
//! [`log`](https://docs.rs/log). These come there too, except those of calls that were rejected or
//! timed out: those and the spans need a subscriber.
//!
//! # Labels
//!
//! Each kind has a `label()`: a short text for metrics and logs that never changes.
//!
//! | of | labels |
//! |---|---|
//! | [`EventKind`] | `ended`, `rejected`, `would_reject`, `overflow`, `keyless`, `construction_failed`, `hedging`, `would_hedge`, `transition`, `retrying`, `suppressed`, `would_suppress`, `would_retry`, `falling_back`, `would_fall_back`, `no_fallback` |
//! | [`Ending`] | `admitted`, `completed`, `rejected`, `fell_back`, `success`, `failure`, `ignored`, `dropped`, `panicked` |
//! | [`RejectionKind`](crate::RejectionKind) | `rate_limited`, `cost_above_burst`, `circuit_open`, `half_open_full`, `recovering`, `timed_out`, `request_timed_out`, `expired`, `no_key`, `no_peer_address`, `bulkhead_full`, `queue_timeout` |
//! | [`FailureKind`] | `error`, `response`, `throttled`, `unsent`, `timeout`, `request_timeout`, `permanent`, `panic`, `slow` |
//! | [`Suppression`] | `budget`, `deadline`, `elapsed`, `retry_after`, `not_idempotent`, `no_copy`, `full` |
//! | [`PolicyKind`](crate::registry::PolicyKind) | `timeout`, `rate_limit`, `circuit_breaker`, `bulkhead`, `retry`, `hedge`, `budget`, `fallback` |
//! | [`State`](crate::circuit_breaker::State) of a breaker | `closed`, `open`, `half_open`, `forced_open`, `recovering` |
//! | [`Mode`](crate::Mode) | `enforce`, `record_only`, `off` |
//! | [`Phase`](crate::serve::Phase) of a server | `serving`, `draining`, `closing`, `ended` |

mod gate;
mod listeners;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) mod notice;
#[cfg(feature = "tracing")]
pub(crate) mod trace;
#[cfg(not(feature = "tracing"))]
#[path = "untraced.rs"]
pub(crate) mod trace;

use std::fmt;
use std::time::Duration;

pub(crate) use listeners::Listeners;
pub use listeners::Subscription;
#[cfg(all(test, feature = "tracing"))]
pub(crate) use trace::tests::lines_of;

use crate::circuit_breaker::Transition;
use crate::config::{ConfigError, Name};
use crate::outcome::FailureKind;
use crate::rejection::Rejection;

/// Something that a policy did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The name of the policy.
    pub policy: &'a Name,
    /// What it did.
    pub kind: EventKind<'a>,
    /// The number of attempts that were made, in the terminal event of a policy that makes several.
    pub attempts: Option<u32>,
    /// The key of a policy of a [keyed](crate::keyed) one, if that
    /// [shows its keys](crate::keyed::Builder::show_keys). A limiter keeps no keys, so its events
    /// have none.
    pub key: Option<&'a str>,
}

/// What a policy did.
///
/// Every admission ends in exactly one `Ended` or `Rejected`, also if its future is dropped or the
/// call panics.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// An admitted call ended.
    Ended {
        /// How it ended.
        ending: Ending,
        /// The time from the admission to the end. For a limiter, the time that the caller waited.
        elapsed: Duration,
    },
    /// A call was rejected or cut short.
    Rejected(&'a Rejection),
    /// A call would have been rejected, but the policy is in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode. The call goes on, and its own terminal event
    /// follows.
    WouldReject(&'a Rejection),
    /// A new key of a [keyed](crate::keyed) policy found no idle entry, so the overflow policy
    /// serves this call. A limiter evicts a key in debt instead, and this call's key starts with
    /// that debt.
    Overflow,
    /// A call of a [keyed](crate::keyed) policy has no key: it is under the anonymous policy, skips
    /// the policies or is rejected, as configured.
    Keyless {
        /// Whether it is the first one. In debug builds `tracing` gets a warning then.
        first: bool,
    },
    /// The policy of this call's key could not be constructed, so the overflow policy serves this
    /// call.
    ConstructionFailed(&'a ConfigError),
    /// A hedge starts an extra attempt.
    Hedging {
        /// The number of the attempt; the first is 1.
        attempt: u32,
        /// The time since the call.
        delay: Duration,
    },
    /// A hedge would have started an extra attempt, but it is in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode.
    WouldHedge {
        /// The number of the attempt.
        attempt: u32,
        /// The time since the call.
        delay: Duration,
    },
    /// A circuit breaker changed its state.
    Transition(&'a Transition),
    /// An attempt failed, and another one follows. It belongs to the same call, whose terminal
    /// event follows later.
    Retrying {
        /// The number of the next attempt; the first is 1.
        attempt: u32,
        /// The wait before it.
        delay: Duration,
        /// How the last attempt failed.
        kind: FailureKind,
    },
    /// Another attempt was due and is not made. It belongs to a call whose terminal event follows.
    Suppressed {
        /// The number that the attempt would have had.
        attempt: u32,
        /// Why it is not made.
        reason: Suppression,
    },
    /// The budget of a retry or hedge would have suppressed an attempt, but the budget is in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode.
    WouldSuppress {
        /// The number of the attempt.
        attempt: u32,
        /// Why it would not be made.
        reason: Suppression,
    },
    /// Another attempt would have followed, but the policy is in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode. The call ends here, and its terminal event
    /// follows.
    WouldRetry {
        /// The number that the attempt would have had.
        attempt: u32,
        /// The wait that it would have had.
        delay: Duration,
        /// How the last attempt failed.
        kind: FailureKind,
    },
    /// A call failed or was rejected, and the fallback is called. The call's terminal event
    /// follows.
    FallingBack {
        /// How the call failed. None if it was rejected.
        kind: Option<FailureKind>,
    },
    /// The fallback would have been called, but it is in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode. The call's terminal event follows.
    WouldFallBack {
        /// How the call failed. None if it was rejected.
        kind: Option<FailureKind>,
    },
    /// A call failed or was rejected, and the fallback is not called. The call's terminal event
    /// follows.
    NoFallback {
        /// Why it is not called.
        reason: Suppression,
    },
}

/// Why an extra attempt of a retry or a hedge was not made, or a fallback was not called.
///
/// A call that has used all its attempts, or whose outcome is never retried, suppresses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suppression {
    /// The budget is spent.
    Budget,
    /// The attempt would have started after the deadline.
    Deadline,
    /// The attempt would have started after the retry's `max_elapsed`.
    Elapsed,
    /// The service requested a delay above the retry's cap, or no other call.
    RetryAfter,
    /// The request may have had its effect, and may not be sent more than once.
    NotIdempotent,
    /// The request has no copy.
    NoCopy,
    /// All permits of a fallback are in use.
    Full,
}

impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "the budget is spent",
            Self::Deadline => "it would start after the deadline",
            Self::Elapsed => "it would start after `max_elapsed`",
            Self::RetryAfter => "the service requested a longer delay, or no other call",
            Self::NotIdempotent => "the request may not be sent more than once",
            Self::NoCopy => "the request has no copy",
            Self::Full => "all permits of the fallback are in use",
        })
    }
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// A limiter admitted the call. What the call did is not the limiter's concern.
    Admitted,
    /// The call completed, with any response or error: within its timeout, or under a bulkhead.
    Completed,
    /// A policy below a timeout or a fallback rejected the call.
    Rejected,
    /// The call failed or was rejected, and the fallback answered it.
    FellBack,
    /// The call completed and was classified as a success.
    Success,
    /// The call completed and was classified as a failure.
    Failure(FailureKind),
    /// The call completed and says nothing about the service's health.
    Ignored,
    /// The caller dropped the call before it completed, or while it waited.
    Dropped,
    /// The call panicked.
    Panicked,
}

impl Suppression {
    /// Each at the index that its number is.
    pub(crate) const ALL: [Self; 7] = [
        Self::Budget,
        Self::Deadline,
        Self::Elapsed,
        Self::RetryAfter,
        Self::NotIdempotent,
        Self::NoCopy,
        Self::Full,
    ];

    /// A short text that never changes; the [table](crate::event#labels) has all.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Elapsed => "elapsed",
            Self::RetryAfter => "retry_after",
            Self::NotIdempotent => "not_idempotent",
            Self::NoCopy => "no_copy",
            Self::Full => "full",
        }
    }
}

impl Ending {
    /// A short text that never changes; the [table](crate::event#labels) has all.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::FellBack => "fell_back",
            Self::Success => "success",
            Self::Failure(_) => "failure",
            Self::Ignored => "ignored",
            Self::Dropped => "dropped",
            Self::Panicked => "panicked",
        }
    }
}

impl EventKind<'_> {
    /// A short text that never changes; the [table](crate::event#labels) has all.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "ended",
            Self::Rejected(_) => "rejected",
            Self::WouldReject(_) => "would_reject",
            Self::Overflow => "overflow",
            Self::Keyless { .. } => "keyless",
            Self::ConstructionFailed(_) => "construction_failed",
            Self::Hedging { .. } => "hedging",
            Self::WouldHedge { .. } => "would_hedge",
            Self::Transition(_) => "transition",
            Self::Retrying { .. } => "retrying",
            Self::Suppressed { .. } => "suppressed",
            Self::WouldSuppress { .. } => "would_suppress",
            Self::WouldRetry { .. } => "would_retry",
            Self::FallingBack { .. } => "falling_back",
            Self::WouldFallBack { .. } => "would_fall_back",
            Self::NoFallback { .. } => "no_fallback",
        }
    }
}

crate::macros::serialize_label!(Suppression, Ending);
