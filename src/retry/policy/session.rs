//! One call with all its attempts.

use std::time::Duration;

use super::Retry;
use super::config::{Config, Settings};
use crate::budget::{Budget, Sent, Withdrawal};
use crate::classify::{FailureKind, Outcome};
use crate::config::Mode;
use crate::context::Attempt;
use crate::context::ClockReading;
use crate::context::{CallContext, Restore};
use crate::event::{Ending, EventKind};
use crate::in_flight::OnPanic;
use crate::registry::PolicyId;
use crate::sync::{Arc, Ordering};
use crate::time::{self, Tick};

/// One call with all its attempts, and its one terminal event. What it keeps the configuration
/// by may keep more: it is the one reference that a call counts.
#[derive(Debug)]
pub(in crate::retry) struct Session<H: AsRef<Config>> {
    call: Call<H>,
    /// The number of the attempt that is being made, from 1.
    number: u32,
    /// What the attempt that is being made carries down.
    attempt: Attempt,
    /// What it draws on in place of its own budget.
    inherited: Option<PolicyId>,
    /// Whether this call may retry at all.
    retries: bool,
    /// Whether what runs is told that it is part of an attempt: not where the retry is off.
    tells: bool,
    /// The delay before the attempt that is being made.
    previous: Duration,
    extra: Extra,
}

/// The extra attempt that is to be made, or is under way.
#[derive(Debug)]
enum Extra {
    None,
    /// Leave for it; drops back if it is not made.
    Leave(Option<Withdrawal>),
    Sent(Sent),
}

/// What there is to tell of a call.
#[derive(Debug)]
pub(in crate::retry) struct Call<H: AsRef<Config>> {
    holder: H,
    /// Zero where nobody needs to know.
    start: Tick,
    /// How many attempts have been made: one whose service does not get ready is not.
    made: u32,
    /// Whether its terminal event is still owed.
    open: bool,
}

impl Session<Arc<Config>> {
    /// A call without a service.
    pub(in crate::retry) fn of(retry: &Retry) -> Self {
        Self::start(
            retry.0.config.load_full(),
            || true,
            &mut ClockReading::none(),
        )
    }
}

impl<H: AsRef<Config>> Session<H> {
    /// A call that starts here. `resend` says whether it may be made more than once.
    #[inline]
    pub(in crate::retry) fn start(
        holder: H,
        resend: impl FnOnce() -> bool,
        clock: &mut ClockReading,
    ) -> Self {
        let config = holder.as_ref();
        let settings = &config.settings;
        let off = settings.mode == Mode::Off;
        let (own, inherited) = match off {
            true => (None, None),
            false => settings.spending.budget(),
        };
        // What is inherited earns nothing by calls inside an attempt.
        if let (Some(own), None) = (own, inherited) {
            own.on_call_at(clock);
        }
        let number = inherited;
        let timed = settings.max_elapsed.is_some() || config.core.listeners.any();
        let nests = CallContext::extra() && !settings.nested;
        Self {
            number: 1,
            attempt: Attempt {
                number: 1,
                budget: number.or(own.map(Budget::number)),
            },
            inherited,
            retries: !off && !nests && settings.max_attempts > 1 && resend(),
            tells: !off,
            previous: Duration::ZERO,
            extra: Extra::None,
            call: Call {
                start: if timed { clock.now() } else { Tick::ZERO },
                made: 1,
                open: !off,
                holder,
            },
        }
    }

    /// What keeps the configuration.
    #[cfg(feature = "tower")]
    pub(in crate::retry) fn holder(&self) -> &H {
        &self.call.holder
    }

    #[inline]
    fn settings(&self) -> &Settings {
        &self.call.holder.as_ref().settings
    }

    /// The number of the attempt that is being made.
    pub(in crate::retry) fn number(&self) -> u32 {
        self.number
    }

    /// Whether an attempt may follow the one that is being made: whether to copy the request.
    #[inline]
    pub(in crate::retry) fn may_go_on(&self) -> bool {
        self.retries && self.number < self.settings().max_attempts
    }

    /// Runs the user's code as part of the attempt.
    #[inline]
    pub(in crate::retry) fn enter<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let (_entered, guard) = self.watch();
        let output = code();
        guard.done();
        output
    }

    /// As [`enter`](Self::enter), for code that is not to pass through a closure.
    #[inline]
    pub(in crate::retry) fn watch(&mut self) -> (Option<Restore>, OnPanic<'_, Call<H>>) {
        let entered = self.tells.then(|| self.attempt.enter());
        let panicked = |call: &mut Call<H>| call.end(Ending::Panicked);
        (entered, OnPanic::new(&mut self.call, panicked))
    }

    /// What becomes of an attempt that ended like this: when the next one is due, or none if
    /// this is the end. A next one has been given leave.
    #[inline]
    pub(in crate::retry) fn again(&mut self, outcome: Outcome) -> Option<Tick> {
        match outcome {
            Outcome::Failure { kind, retry_after } => self.after_failure(kind, retry_after),
            Outcome::Success | Outcome::Ignore => None,
        }
    }

    #[cold]
    fn after_failure(&mut self, kind: FailureKind, retry_after: Option<Duration>) -> Option<Tick> {
        let lasting = matches!(kind, FailureKind::Permanent | FailureKind::Slow);
        if lasting || !self.may_go_on() {
            return None;
        }
        let ambient = CallContext::current();
        let settings = self.settings();
        // Asked again: behind a buffer the call does not know.
        if ambient.extra && !settings.nested {
            return None;
        }
        let delay = self.delay(kind, retry_after)?;
        let now = time::now();
        let until = now.after(delay);
        let too_long = settings
            .max_elapsed
            .is_some_and(|limit| until > self.call.start.after(limit));
        if too_long || until >= ambient.deadline {
            return None;
        }
        self.take_leave(kind, delay)?;
        self.number += 1;
        self.previous = delay;
        self.emit(EventKind::Retrying {
            attempt: self.number,
            delay,
            kind,
        });
        Some(until)
    }

    /// How long to wait; none if the failure asks for longer than anybody waits.
    fn delay(&self, kind: FailureKind, retry_after: Option<Duration>) -> Option<Duration> {
        let settings = self.settings();
        if retry_after > Some(settings.retry_after_cap) {
            return None;
        }
        let backoff = match kind {
            FailureKind::Throttled => settings.backoff.raised_to(settings.throttled_base),
            _ => settings.backoff,
        };
        let fraction = self.call.config().core.jitter.fraction();
        let delay = backoff.step(self.number, self.previous, fraction);
        Some(match retry_after {
            None => delay,
            // All who failed together were asked to come back together.
            Some(floor) if backoff.is_jittered() => floor.saturating_add(delay),
            Some(floor) => delay.max(floor),
        })
    }

    fn take_leave(&mut self, kind: FailureKind, delay: Duration) -> Option<()> {
        // One whose service did not get ready has not used its own.
        self.extra = Extra::None;
        let core = &self.call.config().core;
        let withdrawal = self.withdraw();
        if let Some(None) = withdrawal {
            core.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if self.settings().mode == Mode::RecordOnly {
            core.would_retry.fetch_add(1, Ordering::Relaxed);
            self.emit(EventKind::WouldRetry {
                attempt: self.number + 1,
                delay,
                kind,
            });
            return None;
        }
        self.extra = Extra::Leave(withdrawal.flatten());
        Some(())
    }

    /// From the budget that this call draws on, if there is one.
    fn withdraw(&self) -> Option<Option<Withdrawal>> {
        if let Some(budget) = self.inherited.and_then(Budget::numbered) {
            return Some(budget.withdraw());
        }
        self.own_budget().map(Budget::withdraw)
    }

    /// The backoff is over: what runs from here on runs as the next attempt.
    pub(in crate::retry) fn wake(&mut self) {
        self.attempt.number = self.number;
    }

    /// The attempt is made.
    pub(in crate::retry) fn sent(&mut self) {
        if let Extra::Leave(Some(withdrawal)) = std::mem::replace(&mut self.extra, Extra::None) {
            self.extra = Extra::Sent(withdrawal.send());
        }
        self.call.made += 1;
        let retried = &self.call.config().core.retried;
        retried.fetch_add(1, Ordering::Relaxed);
    }

    /// A policy below refused the attempt under way: it was not made.
    #[cold]
    pub(in crate::retry) fn refused(&mut self) {
        if self.call.made < 2 {
            return;
        }
        if let Extra::Sent(sent) = std::mem::replace(&mut self.extra, Extra::None) {
            sent.refused();
        }
        self.call.made -= 1;
        let retried = &self.call.config().core.retried;
        retried.fetch_sub(1, Ordering::Relaxed);
    }

    /// The call ends, and this is what it comes to.
    #[inline]
    pub(in crate::retry) fn finish(&mut self, outcome: Outcome) {
        self.take_back();
        if outcome == Outcome::Success {
            match self.inherited {
                None => {
                    if let Some(own) = self.own_budget() {
                        own.on_success();
                    }
                }
                // Inside the attempt nothing is earned; the call may have been moved out of it.
                Some(inherited) if CallContext::attempt() == 0 => {
                    if let Some(budget) = Budget::numbered(inherited) {
                        budget.on_success();
                    }
                }
                Some(_) => {}
            }
        }
        self.call.end(match outcome {
            Outcome::Success => Ending::Success,
            Outcome::Failure { kind, .. } => Ending::Failure(kind),
            Outcome::Ignore => Ending::Ignored,
        });
    }

    /// What was taken for an attempt that was not made goes back, before anybody is told.
    #[inline]
    fn take_back(&mut self) {
        if matches!(self.extra, Extra::Leave(_)) {
            self.extra = Extra::None;
        }
    }

    /// The budget that was set here; none if the retry was off when the call began.
    #[inline]
    fn own_budget(&self) -> Option<&Budget> {
        self.settings().spending.own().filter(|_| self.tells)
    }

    fn emit(&self, kind: EventKind<'_>) {
        let core = &self.call.config().core;
        core.listeners.emit(&core.name, kind);
    }
}

impl<H: AsRef<Config>> Call<H> {
    #[inline]
    fn config(&self) -> &Config {
        self.holder.as_ref()
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.open, false) && self.config().core.listeners.any() {
            self.emit_end(ending);
        }
    }

    #[cold]
    fn emit_end(&self, ending: Ending) {
        let core = &self.config().core;
        let elapsed = match self.start {
            // Nobody listened when it started.
            Tick::ZERO => Duration::ZERO,
            start => time::now().since(start),
        };
        let kind = EventKind::Ended { ending, elapsed };
        core.listeners.emit_after(&core.name, kind, self.made);
    }
}

impl<H: AsRef<Config>> Drop for Session<H> {
    #[inline]
    fn drop(&mut self) {
        self.take_back();
        self.call.end(Ending::Dropped);
    }
}
