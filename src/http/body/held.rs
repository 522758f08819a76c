//! What a response body holds for its call until the body ends.

use std::any::Any;

use crate::attempts::Win;
use crate::budget::Deposit;
use crate::classify::{FailureKind, Outcome};
use crate::context::{CallContext, Enforcing};
use crate::event::Ending;
use crate::hedge::Latency;
use crate::in_flight::Settle;
use crate::rejection::Rejection;
use crate::time::Tick;
use crate::timeout::TimedCall;
use crate::{bulkhead, circuit_breaker};

/// How a body ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// It was read to its end, or failed.
    Ended(Outcome),
    Panicked,
    /// The reader dropped it.
    Dropped,
}

/// The permits and clocks of one call.
pub(super) struct Held {
    permits: Slot<bulkhead::Permit>,
    /// Only of calls whose head was a success: any other outcome stands already.
    verdicts: Slot<circuit_breaker::Permit>,
    deposits: Slot<Deposit>,
    wins: Slot<Win>,
    latencies: Slot<Latency>,
    timeouts: Slot<TimedCall>,
}

impl Held {
    pub(super) const fn new() -> Self {
        Self {
            permits: Slot::EMPTY,
            verdicts: Slot::EMPTY,
            deposits: Slot::EMPTY,
            wins: Slot::EMPTY,
            latencies: Slot::EMPTY,
            timeouts: Slot::EMPTY,
        }
    }

    /// Takes `held` over if it is of a kind that a body can hold, and returns it otherwise.
    pub(super) fn add<T: Any>(&mut self, held: T) -> Option<T> {
        let mut held = Some(held);
        let any: &mut dyn Any = &mut held;
        if let Some(permit) = any.downcast_mut() {
            self.permits.add(permit);
        } else if let Some(permit) = any.downcast_mut() {
            self.verdicts.add(permit);
        } else if let Some(deposit) = any.downcast_mut() {
            self.deposits.add(deposit);
        } else if let Some(win) = any.downcast_mut() {
            self.wins.add(win);
        } else if let Some(latency) = any.downcast_mut() {
            self.latencies.add(latency);
        } else if let Some(call) = any.downcast_mut() {
            self.timeouts.add(call);
        }
        held
    }

    /// Whether a circuit breaker, budget or hedge waits for the end of the body.
    pub(super) fn is_judged(&self) -> bool {
        let budgets = self.deposits.is_empty() && self.wins.is_empty();
        !(self.verdicts.is_empty() && budgets && self.latencies.is_empty())
    }

    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        !self.timeouts.is_empty()
    }

    /// Sets the deadline of the call for the service's code until the guard is dropped.
    #[inline]
    pub(super) fn enter(&self) -> Option<Enforcing> {
        let deadline = self.timeouts.least(TimedCall::enforced)?;
        Some(CallContext::enforce(deadline))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.permits.is_empty() && self.timeouts.is_empty() && !self.is_judged()
    }

    /// When the first of the timeouts ends the call.
    #[inline]
    pub(super) fn due(&self) -> Tick {
        self.timeouts.least(TimedCall::due).unwrap_or(Tick::NEVER)
    }

    /// The rejection by the first timeout that has passed. None if there is none, or if it only
    /// records.
    pub(super) fn cut(&mut self, now: Tick) -> Option<Rejection> {
        let passed = self.timeouts.iter_mut().filter(|call| call.due() <= now);
        passed.filter_map(|call| call.cut(now)).next()
    }

    /// Settles the verdicts alone.
    pub(super) fn judge(&mut self, outcome: Outcome) {
        self.verdicts.drain(|permit| permit.finish(outcome));
        self.judge_attempts(outcome);
    }

    /// What budgets and hedges learn.
    fn judge_attempts(&mut self, outcome: Outcome) {
        self.deposits.drain(|deposit| deposit.judge(outcome));
        self.wins.drain(|win| win.judge(outcome));
        self.latencies.drain(|latency| latency.judge(outcome));
    }

    pub(super) fn settle(&mut self, end: End) {
        match end {
            End::Ended(outcome) => {
                self.judge(outcome);
                self.permits.drain(bulkhead::Permit::release);
                self.timeouts.drain(|mut call| call.end(Ending::Completed));
            }
            End::Panicked => {
                self.verdicts.drain(Settle::panicked);
                self.judge_attempts(Outcome::failure(FailureKind::Panic));
                self.permits.drain(Settle::panicked);
                self.timeouts.drain(|mut call| call.end(Ending::Panicked));
            }
            End::Dropped => {
                // As the head said.
                self.judge(Outcome::Success);
                self.permits.drain(drop);
                self.timeouts.drain(drop);
            }
        }
    }
}

/// One value, and more only where two layers of one kind hold the same body.
struct Slot<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> Slot<T> {
    const EMPTY: Self = Self {
        first: None,
        more: Vec::new(),
    };

    #[inline]
    fn add(&mut self, value: &mut Option<T>) {
        match self.first {
            None => self.first = value.take(),
            Some(_) => self.more.extend(value.take()),
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        // The first is taken first, and with it all others.
        self.first.is_none()
    }

    /// The least of what `of` says of each. A chain of iterators would not be inlined.
    #[inline]
    fn least(&self, of: impl Fn(&T) -> Tick) -> Option<Tick> {
        let first = of(self.first.as_ref()?);
        Some(self.more.iter().map(of).fold(first, Tick::min))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.more)
    }

    #[inline]
    fn drain(&mut self, mut settle: impl FnMut(T)) {
        if let Some(first) = self.first.take() {
            settle(first);
            if !self.more.is_empty() {
                std::mem::take(&mut self.more).into_iter().for_each(settle);
            }
        }
    }
}
