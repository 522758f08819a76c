//! One call under a hedge: what it may have, and what becomes of it.

use std::borrow::Cow;
use std::time::Duration;

use super::{Hedge, Setting};
use crate::budget::{Budget, Sent, Withdrawal};
use crate::classify::Outcome;
use crate::config::Mode;
use crate::context::Attempt;
use crate::context::CallContext;
use crate::context::ClockReading;
use crate::event::{Ending, EventKind};
use crate::registry::PolicyId;
use crate::sync::Ordering;
use crate::time::{self, Tick};

/// What one call knows of its hedge.
#[derive(Debug)]
pub(in crate::hedge) struct Call {
    /// A [`Setting`], packed: taken apart only for an extra attempt.
    setting: u64,
    pub(in crate::hedge) start: Tick,
    /// What it carries down; none inside an attempt that is not hedged, whose number stays.
    pub(in crate::hedge) attempt: Option<Attempt>,
    /// What it draws on in place of the hedge's own budget.
    inherited: Option<PolicyId>,
    /// How many extra attempts it may still have.
    pub(in crate::hedge) left: u32,
    /// After how long without an answer the next begins.
    pub(in crate::hedge) delay: Duration,
    /// Whether its latencies are samples.
    sampled: bool,
    /// Whether its one terminal event is still owed.
    open: bool,
}

impl Call {
    /// Whether its end is still to be told.
    #[inline]
    pub(in crate::hedge) fn is_open(&self) -> bool {
        self.open
    }
}

#[cfg(feature = "tower")]
impl Call {
    /// Whether the request has to be copied for extra attempts.
    pub(in crate::hedge) fn needs_copy(&self) -> bool {
        self.left > 0 && Mode::from_bits(self.setting) == Mode::Enforce
    }
}

impl Hedge {
    /// An original call. `safe` is whether it may be sent twice; `delay` the delay that the
    /// request asks for in place of the hedge's own.
    #[inline]
    pub(in crate::hedge) fn call(
        &self,
        safe: bool,
        delay: impl FnOnce() -> Option<Duration>,
        clock: &mut ClockReading,
    ) -> Call {
        let setting = self.0.setting.load(Ordering::Relaxed);
        let open = Mode::from_bits(setting) != Mode::Off;
        let mut start = Tick::ZERO;
        let (mut attempt, mut inherited) = (None, None);
        let (mut left, mut delayed) = (0, Duration::ZERO);
        if open {
            start = clock.now();
            if CallContext::attempt() <= 1 && !CallContext::extra() {
                inherited = match self.0.budget_given {
                    true => None,
                    false => CallContext::budget(),
                };
                // What is inherited earns nothing by calls inside an attempt.
                let number = match inherited {
                    Some(inherited) => inherited,
                    None => {
                        self.0.budget.on_call_at(clock);
                        self.0.budget.number()
                    }
                };
                attempt = Some(Attempt::new(1, Some(number)));
                if safe {
                    let delay = delay().or_else(|| self.delay_of(start, setting));
                    let deadline = CallContext::deadline();
                    let in_time = |delay: &Duration| start.after(*delay) < deadline;
                    if let Some(delay) = delay.filter(in_time) {
                        delayed = delay;
                        left = Setting::max_extra_of(setting);
                    }
                }
            }
        }
        // As one literal: a copy of what was just stored in parts waits for them.
        Call {
            setting,
            start,
            attempt,
            inherited,
            left,
            delay: delayed,
            sampled: open && safe && Setting::is_by_quantile(setting),
            open,
        }
    }

    fn budget_of(&self, call: &Call) -> Cow<'_, Budget> {
        match call.inherited.and_then(Budget::numbered) {
            Some(budget) => Cow::Owned(budget),
            None => Cow::Borrowed(&self.0.budget),
        }
    }

    /// The delay of a call's next attempt, where its request asks for none.
    pub(in crate::hedge) fn own_delay(&self, call: &Call, now: Tick) -> Option<Duration> {
        self.delay_of(now, call.setting)
    }

    /// Leave for the extra attempt of this number; none if there is to be none.
    pub(in crate::hedge) fn withdraw(&self, call: &Call, number: u32) -> Option<Withdrawal> {
        call.attempt?;
        let Some(withdrawal) = self.budget_of(call).withdraw() else {
            self.0.counts.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if Mode::from_bits(call.setting) == Mode::Enforce {
            return Some(withdrawal);
        }
        self.0.counts.would_hedge.fetch_add(1, Ordering::Relaxed);
        self.tell_late(call, |delay| EventKind::WouldHedge {
            attempt: number,
            delay,
        });
        None
    }

    /// The extra attempt of this number is made.
    pub(in crate::hedge) fn made(&self, call: &Call, number: u32, leave: Withdrawal) -> Sent {
        let sent = leave.send();
        self.0.counts.made.fetch_add(1, Ordering::Relaxed);
        self.tell_late(call, |delay| EventKind::Hedging {
            attempt: number,
            delay,
        });
        sent
    }

    /// A policy below refused an extra attempt: it was not made.
    pub(in crate::hedge) fn refused(&self, sent: Sent) {
        sent.refused();
        self.0.counts.made.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the latency of an attempt that ended like this says. One that failed might have
    /// taken longer to succeed; one that was refused says nothing.
    #[inline]
    pub(in crate::hedge) fn sample(&self, call: &Call, start: Tick, outcome: Outcome) {
        match outcome {
            Outcome::Success => self.record(call, start, false),
            Outcome::Failure { .. } => self.record(call, start, true),
            Outcome::Ignore => {}
        }
    }

    /// An attempt was dropped: it would have taken longer.
    pub(in crate::hedge) fn sample_dropped(&self, call: &Call, start: Tick) {
        self.record(call, start, true);
    }

    #[inline]
    fn record(&self, call: &Call, start: Tick, censored: bool) {
        if call.sampled {
            let now = time::now();
            self.latencies().record(now, now.since(start), censored);
        }
    }

    /// The call ends with the answer of attempt number `by`.
    #[inline]
    pub(in crate::hedge) fn answered(&self, call: &mut Call, by: u32, outcome: Outcome) {
        if outcome == Outcome::Success {
            // Inside the attempt that it is inherited from nothing is earned.
            let earns = call.inherited.is_none() || CallContext::attempt() == 0;
            if call.attempt.is_some() && earns {
                self.budget_of(call).on_success();
            }
            if by > 1 {
                self.0.counts.won.fetch_add(1, Ordering::Relaxed);
            }
        }
        let ending = match outcome {
            Outcome::Success => Ending::Success,
            Outcome::Failure { kind, .. } => Ending::Failure(kind),
            Outcome::Ignore => Ending::Ignored,
        };
        self.end(call, ending);
    }

    /// Tells the end of a call, once.
    #[inline]
    pub(in crate::hedge) fn end(&self, call: &mut Call, ending: Ending) {
        if std::mem::replace(&mut call.open, false) {
            self.tell_late(call, |elapsed| EventKind::Ended { ending, elapsed });
        }
    }

    /// Tells what has to do with how long ago the call was made.
    #[inline]
    fn tell_late(&self, call: &Call, kind: impl FnOnce(Duration) -> EventKind<'static>) {
        if self.0.listeners.any() {
            self.emit(kind(time::now().since(call.start)));
        }
    }
}
