use std::time::Duration;

use super::policy::Fallback;
use super::state::Cause;
use crate::config::Mode;
use crate::context::ClockReading;
use crate::counters::Count;
use crate::event::{Ending, EventKind};
use crate::in_flight::Settle;
use crate::outcome::Outcome;
use crate::rejection::RejectionKind;
use crate::sync::Ordering;
use crate::time::{self, Tick};

/// One call under a fallback, from its start to its one terminal event.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) fallback: Fallback,
    /// The mode when the call started.
    mode: Mode,
    /// Zero where there was no listener.
    start: Tick,
    /// How the call failed, once it has.
    pub(super) ending: Ending,
    open: bool,
}

impl Permit {
    #[inline]
    pub(super) fn start(fallback: &Fallback, clock: &mut ClockReading) -> Self {
        let mode = fallback.mode();
        let open = mode != Mode::Off;
        if open {
            fallback.common().admitted();
        }
        let start = match open && fallback.common().observed() {
            true => clock.now(),
            false => Tick::ZERO,
        };
        Self {
            fallback: fallback.clone(),
            mode,
            start,
            ending: Ending::Success,
            open,
        }
    }

    /// Whether the call may be answered by the fallback: whether to copy the request.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn may_answer(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// The call has succeeded.
    #[inline]
    pub(super) fn succeeded(&mut self) {
        self.end(Ending::Success);
    }

    /// The call has not succeeded. Why the fallback is to be called; none if the call ends.
    #[cold]
    pub(super) fn failed(
        &mut self,
        outcome: Outcome,
        rejection: Option<RejectionKind>,
    ) -> Option<Cause> {
        self.ending = match (outcome, rejection) {
            (Outcome::Failure { kind, .. }, _) => Ending::Failure(kind),
            (_, Some(_)) => Ending::Rejected,
            _ => Ending::Ignored,
        };
        let fallback = &self.fallback;
        let mut cause = None;
        if self.mode != Mode::Off {
            cause = fallback.0.settings.load().cause(outcome, rejection);
        }
        if let (Some(cause), Mode::RecordOnly) = (cause, self.mode) {
            let kind = cause.failure;
            fallback.common().cells().count(Count::WOULD_MAKE);
            fallback.common().emit(EventKind::WouldFallBack { kind });
        }
        if self.mode != Mode::Enforce {
            cause = None;
        }
        if cause.is_none() {
            self.end(self.ending);
        }
        cause
    }

    /// The fallback was called, and has `answered` or failed too.
    pub(super) fn answered(&mut self, answered: bool) {
        let fallback = &self.fallback;
        match answered {
            true => {
                fallback.common().cells().count(Count::WON);
                self.end(Ending::FellBack);
            }
            false => {
                fallback.0.failed.fetch_add(1, Ordering::Relaxed);
                self.end(self.ending);
            }
        }
    }

    #[inline]
    pub(super) fn end(&mut self, ending: Ending) {
        let fallback = &self.fallback;
        if std::mem::replace(&mut self.open, false) {
            fallback.common().ended(ending, || match self.start {
                Tick::ZERO => Duration::ZERO,
                start => time::now().since(start),
            });
        }
    }
}

impl Settle for Permit {
    fn panicked(mut self) {
        self.end(Ending::Panicked);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}
