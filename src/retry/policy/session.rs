//! One call with all its attempts.

use std::time::Duration;

use super::Retry;
use super::config::{Config, Settings};
use crate::attempt::Attempt;
use crate::budget::{Sent, Withdrawal};
use crate::classify::{Kind, Outcome};
use crate::deadline::Ambient;
use crate::event::{Ending, What};
use crate::guard::catching;
use crate::policy::Mode;
use crate::sync::{Arc, Ordering};
use crate::time::{self, Tick};

/// One call with all its attempts, and its one terminal event.
#[derive(Debug)]
pub(in crate::retry) struct Session {
    call: Call,
    /// The number of the attempt that is being made, from 1.
    number: u32,
    /// What the attempt that is being made carries down.
    attempt: Attempt,
    /// Whether this call may retry at all.
    retries: bool,
    /// The delay before the attempt that is being made.
    previous: Duration,
    /// Leave for the attempt that is to be made; drops back if it is not.
    withdrawal: Option<Withdrawal>,
    /// The extra attempt under way.
    sent: Option<Sent>,
}

/// What there is to tell of a call.
#[derive(Debug)]
struct Call {
    config: Arc<Config>,
    /// Zero where nobody needs to know.
    start: Tick,
    /// How many attempts have been made: one whose service does not get ready is not.
    made: u32,
    /// Whether its terminal event is still owed.
    open: bool,
}

impl Session {
    /// A call that starts here. `resend` says whether it may be made more than once.
    pub(in crate::retry) fn start(retry: &Retry, resend: impl FnOnce() -> bool) -> Self {
        let config = retry.0.config.load_full();
        let settings = &config.settings;
        let off = settings.mode == Mode::Off;
        let budget = match off {
            true => None,
            false => settings.spending.budget(),
        };
        if let Some(budget) = &budget {
            budget.on_call();
        }
        let timed = settings.max_elapsed.is_some() || config.core.listeners.any();
        let nests = Ambient::current().extra && !settings.nested;
        Self {
            number: 1,
            attempt: Attempt::new(1, budget),
            retries: !off && !nests && settings.max_attempts > 1 && resend(),
            previous: Duration::ZERO,
            withdrawal: None,
            sent: None,
            call: Call {
                start: if timed { time::now() } else { Tick::ZERO },
                made: 1,
                open: !off,
                config,
            },
        }
    }

    fn settings(&self) -> &Settings {
        &self.call.config.settings
    }

    /// The number of the attempt that is being made.
    pub(in crate::retry) fn number(&self) -> u32 {
        self.number
    }

    /// Whether an attempt may follow the one that is being made: whether to copy the request.
    pub(in crate::retry) fn may_go_on(&self) -> bool {
        self.retries && self.number < self.settings().max_attempts
    }

    /// Runs the user's code as part of the attempt.
    pub(in crate::retry) fn enter<T>(&mut self, code: impl FnOnce() -> T) -> T {
        if self.settings().mode == Mode::Off {
            return code();
        }
        let _entered = self.attempt.enter();
        catching(&mut self.call, code, |call| call.end(Ending::Panicked))
    }

    /// What becomes of an attempt that ended like this: when the next one is due, or none if
    /// this is the end. A next one has been given leave.
    pub(in crate::retry) fn again(&mut self, outcome: Outcome) -> Option<Tick> {
        let Outcome::Failure(kind, retry_after) = outcome else {
            return None;
        };
        let lasting = matches!(kind, Kind::Permanent | Kind::Slow);
        if lasting || !self.may_go_on() {
            return None;
        }
        let ambient = Ambient::current();
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
        self.tell(What::Retrying {
            attempt: self.number,
            delay,
            kind,
        });
        Some(until)
    }

    /// How long to wait; none if the failure asks for longer than anybody waits.
    fn delay(&self, kind: Kind, retry_after: Option<Duration>) -> Option<Duration> {
        let settings = self.settings();
        if retry_after > Some(settings.retry_after_cap) {
            return None;
        }
        let backoff = match kind {
            Kind::Throttled => settings.backoff.raised_to(settings.throttled_base),
            _ => settings.backoff,
        };
        let fraction = self.call.config.core.jitter.fraction();
        let delay = backoff.step(self.number, self.previous, fraction);
        Some(match retry_after {
            None => delay,
            // All who failed together were asked to come back together.
            Some(floor) if backoff.is_jittered() => floor.saturating_add(delay),
            Some(floor) => delay.max(floor),
        })
    }

    fn take_leave(&mut self, kind: Kind, delay: Duration) -> Option<()> {
        // One whose service did not get ready has not used its own.
        self.withdrawal = None;
        let core = &self.call.config.core;
        let withdrawal = self.attempt.budget().map(|budget| budget.withdraw());
        if let Some(None) = withdrawal {
            core.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if self.settings().mode == Mode::RecordOnly {
            core.would_retry.fetch_add(1, Ordering::Relaxed);
            self.tell(What::WouldRetry {
                attempt: self.number + 1,
                delay,
                kind,
            });
            return None;
        }
        self.withdrawal = withdrawal.flatten();
        Some(())
    }

    /// The backoff is over: what runs from here on runs as the next attempt.
    pub(in crate::retry) fn wake(&mut self) {
        let budget = self.attempt.budget().cloned();
        self.attempt = Attempt::new(self.number, budget);
    }

    /// The attempt is made.
    pub(in crate::retry) fn sent(&mut self) {
        self.sent = self.withdrawal.take().map(Withdrawal::send);
        self.call.made += 1;
        self.call
            .config
            .core
            .retried
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A policy below refused the attempt under way: it was not made.
    pub(in crate::retry) fn refused(&mut self) {
        if self.call.made < 2 {
            return;
        }
        if let Some(sent) = self.sent.take() {
            sent.refused();
        }
        self.call.made -= 1;
        let retried = &self.call.config.core.retried;
        retried.fetch_sub(1, Ordering::Relaxed);
    }

    /// The call ends, and this is what it comes to.
    pub(in crate::retry) fn finish(&mut self, outcome: Outcome) {
        // What was taken for an attempt that was not made goes back before anybody is told.
        self.withdrawal = None;
        if let (Outcome::Success, Some(budget)) = (outcome, self.attempt.budget()) {
            budget.on_success();
        }
        self.call.end(match outcome {
            Outcome::Success => Ending::Success,
            Outcome::Failure(kind, _) => Ending::Failure(kind),
            Outcome::Ignore => Ending::Ignored,
        });
    }

    fn tell(&self, what: What<'_>) {
        let core = &self.call.config.core;
        core.listeners.tell(&core.name, what);
    }
}

impl Call {
    fn end(&mut self, ending: Ending) {
        let core = &self.config.core;
        if !std::mem::replace(&mut self.open, false) || !core.listeners.any() {
            return;
        }
        let elapsed = match self.start {
            // Nobody listened when it started.
            Tick::ZERO => Duration::ZERO,
            start => time::now().since(start),
        };
        let what = What::Ended { ending, elapsed };
        core.listeners.tell_after(&core.name, what, self.made);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.withdrawal = None;
        self.call.end(Ending::Dropped);
    }
}
