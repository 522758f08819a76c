use std::time::Duration;

use super::policy::Config;
use super::state::Failed;
#[cfg(feature = "tower")]
use crate::attempts::Earned;
use crate::attempts::{AttemptSpan, CallLedger, ExtraPermit, Opened, SentExtra};
use crate::config::Mode;
use crate::context::{CallContext, ClockReading, Due};
use crate::counters::Count;
use crate::event::{Ending, EventKind, Suppression};
use crate::outcome::Outcome;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Tick};

/// One call under a retry, with all its attempts. Dropping it ends the call.
///
/// `H` keeps the configuration, and may keep more: it is the one reference that a call counts.
#[derive(Debug)]
pub(super) struct Permit<H: AsRef<Config>> {
    holder: H,
    ledger: CallLedger,
    /// The number of the attempt that is being made, from 1.
    number: u32,
    /// Whether this call may retry at all.
    retries: bool,
    /// The delay before the attempt that is being made.
    previous: Duration,
    extra: Extra,
}

/// The extra attempt that is to be made, or is under way.
#[derive(Debug)]
enum Extra {
    None,
    Permitted(ExtraPermit),
    Sent(SentExtra),
}

/// A call before its first attempt, of which its permit is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) call: Opened,
    /// Whether this call may retry at all.
    pub(super) retries: bool,
}

impl First {
    /// A call that starts here, and is not admitted yet.
    #[inline(always)]
    pub(super) fn here(config: &Config, clock: &mut ClockReading) -> Self {
        let Config { settings, plan, .. } = config;
        let call = Opened::here(plan, true, settings.max_elapsed.is_some(), clock);
        let nests = CallContext::extra() && !settings.nested;
        let retries = call.mode() != Mode::Off && !nests && settings.max_attempts > 1;
        Self { call, retries }
    }
}

impl<H: AsRef<Config>> Permit<H> {
    /// The permit of a call that starts here.
    pub(super) fn start(holder: H, clock: &mut ClockReading) -> Self {
        let config = holder.as_ref();
        let first = First::here(config, clock);
        let span = first.call.span(&config.plan);
        first.call.admit(&config.plan);
        Self::after_first(first, span, holder)
    }

    /// The permit of a call whose first attempt has been made. `holder` has the configuration that
    /// the attempt was made by.
    #[inline(always)]
    pub(super) fn after_first(first: First, span: AttemptSpan, holder: H) -> Self {
        Self {
            holder,
            ledger: first.call.ledger(span),
            number: 1,
            retries: first.retries,
            previous: Duration::ZERO,
            extra: Extra::None,
        }
    }

    #[cfg(feature = "tower")]
    pub(super) fn holder(&self) -> &H {
        &self.holder
    }

    /// The number of the attempt that is being made.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether an attempt may follow the one that is being made: whether to copy the request.
    pub(super) fn may_go_on(&self) -> bool {
        self.retries && self.number < self.holder.as_ref().settings.max_attempts
    }

    /// Runs the user's code as part of the attempt.
    #[inline(always)]
    pub(super) fn enter<T>(&mut self, code: impl FnOnce() -> T) -> T {
        self.ledger.enter(&self.holder.as_ref().plan, code)
    }

    /// The attempt has an outcome. `rejection` is the label of the kind, if a layer below rejected
    /// it or cut it short.
    #[inline]
    pub(super) fn ended(
        &mut self,
        outcome: Outcome,
        rejection: impl FnOnce() -> Option<&'static str>,
    ) {
        self.ledger.span.end(outcome, rejection);
    }

    /// Decides after an attempt with this outcome. Returns when the next attempt starts, which
    /// has a permit then; none if the call ends. `may_resend` is whether the request may be sent
    /// again after this failure.
    #[inline]
    pub(super) fn after(
        &mut self,
        outcome: Outcome,
        may_resend: impl FnOnce(&H) -> Result<(), Suppression>,
    ) -> Option<Tick> {
        let Outcome::Failure { kind, retry_after } = outcome else {
            return None;
        };
        let failed = Failed {
            number: self.number,
            kind,
            retry_after,
            previous: self.previous,
        };
        if !self.may_go_on() || failed.is_lasting() {
            return None;
        }
        let may_resend = may_resend(&self.holder);
        match may_resend.and_then(|()| self.after_failure(failed)) {
            Ok(until) => until,
            Err(reason) => {
                let ledger = &self.holder.as_ref().plan.ledger;
                ledger.suppress(self.number + 1, reason);
                None
            }
        }
    }

    /// When the next attempt starts. None where retries do not nest, in record-only mode, and if
    /// the budget is spent, which has its event.
    #[cold]
    fn after_failure(&mut self, failed: Failed) -> Result<Option<Tick>, Suppression> {
        let Config {
            settings,
            plan,
            jitter,
        } = self.holder.as_ref();
        // Checked again: behind a buffer, `start` saw another context.
        if CallContext::extra() && !settings.nested {
            return Ok(None);
        }
        let delay = settings.delay(failed, || jitter.fraction());
        let delay = delay.ok_or(Suppression::RetryAfter)?;
        let until = time::now().after(delay);
        let limit = settings.max_elapsed;
        if limit.is_some_and(|limit| until > self.ledger.start.after(limit)) {
            return Err(Suppression::Elapsed);
        }
        if until >= self.ledger.deadline() {
            return Err(Suppression::Deadline);
        }
        // An attempt whose service did not become ready gives its permit back first.
        self.extra = Extra::None;
        let (attempt, kind) = (self.number + 1, failed.kind);
        let would = || EventKind::WouldRetry {
            attempt,
            delay,
            kind,
        };
        let Some(permit) = self.ledger.withdraw(plan, attempt, Some(kind), would) else {
            return Ok(None);
        };
        self.extra = Extra::Permitted(permit);
        self.number = attempt;
        self.previous = delay;
        plan.ledger.common.cells().count(Count::retried(kind));
        plan.ledger.common.emit(EventKind::Retrying {
            attempt,
            delay,
            kind,
        });
        Ok(Some(until))
    }

    /// Whether the next attempt may start at `now`.
    pub(super) fn due(&self, now: Tick) -> Due {
        self.ledger.due(now)
    }

    /// Whether the call has a deadline at which no timer ends it.
    #[cfg(feature = "tower")]
    pub(super) fn is_unenforced(&self) -> bool {
        self.ledger.deadline() < CallContext::enforced()
    }

    /// The next attempt became due after the deadline, and is not made.
    #[cold]
    pub(super) fn too_late(&mut self) {
        self.give_back();
        let ledger = &self.holder.as_ref().plan.ledger;
        ledger.suppress(self.number, Suppression::Deadline);
    }

    pub(super) fn expired(&self) -> Rejection {
        let name = self.holder.as_ref().plan.ledger.common.name();
        Rejection::new(RejectionKind::Expired, name.clone())
    }

    /// The backoff is over: code runs as part of the next attempt from here on.
    pub(super) fn wake(&mut self) {
        let plan = &self.holder.as_ref().plan;
        self.ledger.number(plan, self.number, self.previous);
    }

    /// The attempt is made.
    pub(super) fn send(&mut self) {
        let plan = &self.holder.as_ref().plan;
        if let Extra::Permitted(permit) = std::mem::replace(&mut self.extra, Extra::None) {
            self.extra = Extra::Sent(self.ledger.send(plan, permit));
        }
    }

    /// A layer below rejected the attempt under way: it was not made.
    #[cold]
    pub(super) fn rejected(&mut self) {
        let plan = &self.holder.as_ref().plan;
        if let Extra::Sent(sent) = std::mem::replace(&mut self.extra, Extra::None) {
            self.ledger.rejected(plan, sent);
        }
    }

    /// The call ends with the success of the attempt under way.
    #[cfg(feature = "tower")]
    #[inline(always)]
    pub(super) fn succeed(&mut self) {
        let plan = &self.holder.as_ref().plan;
        self.ledger.succeed(plan, self.number);
    }

    /// The call ends with this outcome.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        self.give_back();
        let plan = &self.holder.as_ref().plan;
        self.ledger.finish(plan, self.number, outcome);
    }

    /// The call ends with a success by its head. What it earns is known at the end of its body.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn finish_head(&mut self) -> Earned {
        let plan = &self.holder.as_ref().plan;
        self.ledger.finish_head(plan, self.number)
    }

    #[cold]
    fn dropped(&mut self) {
        self.give_back();
        let plan = &self.holder.as_ref().plan;
        self.ledger.end(plan, Ending::Dropped);
    }

    /// Gives the permit of an attempt back that was not made, before the terminal event.
    fn give_back(&mut self) {
        if matches!(self.extra, Extra::Permitted(_)) {
            self.extra = Extra::None;
        }
    }
}

impl<H: AsRef<Config>> Drop for Permit<H> {
    #[inline]
    fn drop(&mut self) {
        if self.ledger.is_open() {
            self.dropped();
        }
    }
}
