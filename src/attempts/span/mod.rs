//! One attempt as a span of `tracing`. The span is made where a subscriber is interested in the
//! level debug, and costs one comparison where none is.

#[cfg(all(test, feature = "tracing", not(seawall_loom)))]
mod tests;

#[cfg(feature = "tracing")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

#[cfg(feature = "tracing")]
use tracing::field::Empty;
#[cfg(feature = "tracing")]
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
#[cfg(feature = "tracing")]
use tracing::span::Span;

use crate::config::Name;
use crate::outcome::Outcome;
use crate::rejection::RejectionKind;

/// The span of one attempt, if it has one. Dropping it ends the attempt as dropped.
// Boxed: without a subscriber a call carries one word, and with one the subscriber allocates too.
#[derive(Debug, Default)]
pub(crate) struct AttemptSpan(#[cfg(feature = "tracing")] Option<Box<AssertUnwindSafe<Span>>>);

/// While it is held, spans and events are part of the attempt.
#[must_use]
pub(crate) struct Entered<'s> {
    #[cfg(feature = "tracing")]
    span: Option<&'s Span>,
    #[cfg(not(feature = "tracing"))]
    _span: std::marker::PhantomData<&'s ()>,
}

impl AttemptSpan {
    /// An attempt that starts here, `delay` after the failure before it or after the call.
    #[inline]
    pub(super) fn start(policy: &Name, attempt: u32, delay: impl FnOnce() -> Duration) -> Self {
        #[cfg(feature = "tracing")]
        {
            let level = LevelFilter::DEBUG;
            if level <= STATIC_MAX_LEVEL && level <= LevelFilter::current() {
                return Self(observed(policy, attempt, delay()));
            }
        }
        let _ = (policy, attempt, delay);
        Self::default()
    }

    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered {
            #[cfg(feature = "tracing")]
            span: self.0.as_deref().map(|span| entered(span)),
            #[cfg(not(feature = "tracing"))]
            _span: std::marker::PhantomData,
        }
    }

    /// The attempt has an outcome. `rejection` is why a layer below rejected it or cut it short.
    #[inline]
    pub(crate) fn end(
        &mut self,
        outcome: Outcome,
        rejection: impl FnOnce() -> Option<RejectionKind>,
    ) {
        #[cfg(feature = "tracing")]
        if self.0.is_some() {
            return self.end_observed(outcome, rejection());
        }
        let _ = (outcome, rejection);
    }

    #[cfg(feature = "tracing")]
    #[cold]
    fn end_observed(&mut self, outcome: Outcome, rejection: Option<RejectionKind>) {
        if let Some(span) = self.0.take() {
            ended(&span, outcome, rejection);
        }
    }

    /// Whether the success of this extra attempt of a hedge is returned.
    pub(crate) fn won(&self, won: bool) {
        #[cfg(feature = "tracing")]
        if let Some(span) = &self.0 {
            span.record("resilience.hedge_won", won);
        }
        let _ = won;
    }

    /// The code of the attempt has panicked.
    pub(super) fn panicked(&mut self) {
        #[cfg(feature = "tracing")]
        if let Some(span) = self.0.take() {
            span.record("resilience.result", "panicked");
        }
    }
}

#[cfg(feature = "tracing")]
impl Drop for AttemptSpan {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            dropped(&span);
        }
    }
}

#[cfg(feature = "tracing")]
#[cold]
fn observed(policy: &Name, attempt: u32, delay: Duration) -> Option<Box<AssertUnwindSafe<Span>>> {
    let span = tracing::debug_span!(
        target: "seawall",
        "attempt",
        "resilience.policy" = %policy,
        "resilience.attempt" = attempt,
        "resilience.delay_ms" = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        "resilience.result" = Empty,
        "resilience.failure" = Empty,
        "resilience.rejection" = Empty,
        "resilience.hedge_won" = Empty,
    );
    let observed = !span.is_disabled();
    observed.then(|| Box::new(AssertUnwindSafe(span)))
}

#[cfg(feature = "tracing")]
impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.span {
            exit(span);
        }
    }
}

#[cfg(feature = "tracing")]
#[cold]
fn entered(span: &Span) -> &Span {
    span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
    span
}

/// A panic of the subscriber must not fail the call. And what cannot panic leaves what the code of
/// the attempt has made where it is: the drop after a panic would need it in memory.
#[cfg(feature = "tracing")]
#[cold]
fn exit(span: &Span) {
    let exit = || span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
    if let Err(panic) = catch_unwind(AssertUnwindSafe(exit)) {
        std::mem::forget(panic);
    }
}

#[cfg(feature = "tracing")]
fn ended(span: &Span, outcome: Outcome, rejection: Option<RejectionKind>) {
    let result = match outcome {
        Outcome::Success => "success",
        Outcome::Failure { kind, .. } => {
            span.record("resilience.failure", kind.label());
            "failure"
        }
        Outcome::Ignore => "ignored",
    };
    if let Some(kind) = rejection {
        span.record("resilience.rejection", kind.label());
    }
    span.record("resilience.result", result);
}

#[cfg(feature = "tracing")]
#[cold]
fn dropped(span: &Span) {
    let panics = std::thread::panicking();
    let result = if panics { "panicked" } else { "dropped" };
    span.record("resilience.result", result);
}
