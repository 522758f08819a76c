//! The way to `tracing`, with the feature or without it.

#[cfg(feature = "tracing")]
use std::time::Duration;

use super::EventKind;
#[cfg(feature = "tracing")]
use super::trace;
use crate::config::Name;

/// Whether a rejection may reach a subscriber of `tracing`: one load, before all that it needs.
#[inline]
pub(crate) fn may_trace() -> bool {
    #[cfg(feature = "tracing")]
    return trace::is_on();
    #[cfg(not(feature = "tracing"))]
    false
}

/// Whether a rejection would reach `tracing`. Check it before a rejection is made only for an event.
pub(crate) fn traces_rejections() -> bool {
    #[cfg(feature = "tracing")]
    return trace::observes_rejections();
    #[cfg(not(feature = "tracing"))]
    false
}

/// Reports an event to `tracing`, also without a subscriber: with its feature `log` it has a logger
/// then.
#[inline]
pub(crate) fn trace_event(policy: &Name, kind: EventKind<'_>) {
    #[cfg(feature = "tracing")]
    trace::emit(policy, kind);
    let _ = (policy, kind);
}

/// Whether a summary of rejections would reach `tracing`. Where each rejection does, none is made.
#[cfg(feature = "tracing")]
pub(crate) fn wants_summaries() -> bool {
    trace::wants_summaries()
}

/// Reports to `tracing` what was rejected since the last summary.
#[cfg(feature = "tracing")]
pub(crate) fn summarise(policy: &Name, calls: u64, since: Option<Duration>, by_reason: &str) {
    trace::summarise(policy, calls, since, by_reason);
}
