//! The way to `tracing`, with the feature or without it.

use super::EventKind;
#[cfg(feature = "tracing")]
use super::trace;
use crate::config::Name;

/// Whether a rejection would reach `tracing`. Check it before a rejection is made only for an event.
#[inline]
pub(crate) fn traces_rejections() -> bool {
    #[cfg(feature = "tracing")]
    return trace::observes_rejections();
    #[cfg(not(feature = "tracing"))]
    false
}

/// Reports an event to `tracing`.
#[inline]
pub(crate) fn trace_event(policy: &Name, kind: EventKind<'_>) {
    #[cfg(feature = "tracing")]
    trace::emit(policy, kind);
    let _ = (policy, kind);
}
