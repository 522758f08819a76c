use std::time::Duration;

use super::action::Action;
use super::call::Admitted;
use super::policy::Fallback;
use super::state::Cause;
use crate::common::Listed;
use crate::config::Mode;
use crate::context::ClockReading;
use crate::counters::Count;
use crate::event::{Ending, EventKind, Suppression};
use crate::in_flight::Settle;
use crate::outcome::Outcome;
use crate::rejection::RejectionKind;
#[cfg(feature = "tower")]
use crate::sync::Arc;
use crate::time::{self, Tick};

/// One call under a fallback, from its start to its one terminal event.
#[derive(Debug)]
pub(super) struct Permit<H: AsRef<Fallback>> {
    holder: H,
    /// The mode when the call started.
    mode: Mode,
    /// Zero where there was no listener.
    start: Tick,
    /// How the call failed, once it has.
    ending: Ending,
    open: bool,
}

impl<H: AsRef<Fallback>> Permit<H> {
    #[inline]
    pub(super) fn start(holder: H, clock: &mut ClockReading) -> Self {
        let fallback = holder.as_ref();
        let mode = fallback.mode();
        let open = mode != Mode::Off;
        if open {
            fallback.base().admitted();
        }
        let start = match open && fallback.observed() {
            true => clock.now(),
            false => Tick::ZERO,
        };
        Self {
            holder,
            mode,
            start,
            ending: Ending::Success,
            open,
        }
    }

    #[cfg(feature = "tower")]
    pub(super) fn holder(&self) -> &H {
        &self.holder
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
        let fallback = self.holder.as_ref();
        let mut cause = None;
        if self.mode != Mode::Off {
            cause = fallback.cause(outcome, rejection);
        }
        if let (Some(cause), Mode::RecordOnly) = (cause, self.mode) {
            fallback.record(cause);
        }
        if self.mode != Mode::Enforce {
            cause = None;
        }
        if cause.is_none() {
            self.end(self.ending);
        }
        cause
    }

    /// Admits a call of the fallback. If it is not to be called, the call ends with its failure.
    pub(super) fn fall_back<K, A, T, E>(
        &mut self,
        action: &A,
        kept: Option<K>,
        cause: Cause,
    ) -> Option<(Admitted, K)>
    where
        A: Action<K, T, E>,
    {
        let fallback = self.holder.as_ref();
        let admitted = kept.ok_or(Suppression::NoCopy).and_then(|kept| {
            let admitted = Admitted::new(fallback, action, &kept, cause)?;
            Ok((admitted, kept))
        });
        match admitted {
            Ok(admitted) => {
                let kind = cause.failure;
                fallback.base().cells().count(Count::EXTRA);
                fallback.emit(EventKind::FallingBack { kind });
                Some(admitted)
            }
            Err(reason) => {
                fallback.suppress(reason);
                self.end(self.ending);
                None
            }
        }
    }

    /// The fallback was called, and has `answered` or failed too.
    pub(super) fn answered(&mut self, answered: bool) {
        self.holder.as_ref().count_answer(answered);
        self.end(match answered {
            true => Ending::FellBack,
            false => self.ending,
        });
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        let fallback = self.holder.as_ref();
        if std::mem::replace(&mut self.open, false) {
            fallback.base().ended(ending, || match self.start {
                Tick::ZERO => Duration::ZERO,
                start => time::now().since(start),
            });
        }
    }
}

impl<H: AsRef<Fallback>> Settle for Permit<H> {
    fn panicked(mut self) {
        self.end(Ending::Panicked);
    }
}

impl<H: AsRef<Fallback>> Drop for Permit<H> {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

/// What the calls of a layer share.
#[cfg(feature = "tower")]
#[derive(Debug)]
pub(super) struct Rules<A> {
    pub(super) fallback: Fallback,
    pub(super) action: A,
}

/// What the calls share. A call clones one reference.
#[cfg(feature = "tower")]
#[derive(Debug)]
#[allow(unreachable_pub)] // Only the future, which names it, makes it reachable.
pub struct Shared<A>(pub(super) Arc<Rules<A>>);

#[cfg(feature = "tower")]
impl<A> Clone for Shared<A> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(feature = "tower")]
impl<A> AsRef<Fallback> for Shared<A> {
    #[inline]
    fn as_ref(&self) -> &Fallback {
        &self.0.fallback
    }
}
