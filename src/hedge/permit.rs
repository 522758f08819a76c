use std::time::Duration;

use super::policy::Config;
#[cfg(feature = "tower")]
use super::quantile::Latencies;
use crate::attempts::{AttemptSpan, CallLedger, ExtraPermit, Opened, SentExtra};
use crate::config::Mode;
use crate::context::{CallContext, ClockReading, Overtaken};
use crate::event::EventKind;
use crate::outcome::Outcome;
#[cfg(feature = "tower")]
use crate::sync::Arc;
use crate::time::{self, Tick};

/// The time to the head of a response, until it is known how its body ends.
#[cfg(feature = "tower")]
#[derive(Debug)]
pub(crate) struct Latency {
    latencies: Arc<Latencies>,
    took: Duration,
}

#[cfg(feature = "tower")]
impl Latency {
    /// The call has ended. One that failed could have taken longer to succeed.
    pub(crate) fn judge(self, outcome: Outcome) {
        if outcome != Outcome::Ignore {
            let censored = outcome != Outcome::Success;
            self.latencies.record(time::now(), self.took, censored);
        }
    }
}

/// One call under a hedge: the attempts that it may have, and its one end.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) ledger: CallLedger,
    /// How many extra attempts may still start.
    left: u32,
    /// After how long without an answer the next one starts.
    delay: Duration,
    /// Whether its latencies are samples.
    sampled: bool,
}

/// A call before its first attempt, of which its permit is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) call: Opened,
    /// How many extra attempts may start.
    extra: u32,
    /// After how long without an answer the first of them starts.
    delay: Duration,
    /// Whether its latencies are samples.
    sampled: bool,
}

impl First {
    /// A call that starts here, and is not admitted yet. `safe` is whether it may be sent more
    /// than once; `delay` is the request's own delay, instead of the hedge's.
    #[inline(always)]
    pub(super) fn here(
        config: &Config,
        safe: bool,
        delay: impl FnOnce() -> Option<Duration>,
        clock: &mut ClockReading,
    ) -> Self {
        // Only first attempts hedge.
        let joins = CallContext::attempt() <= 1 && !CallContext::extra();
        let call = Opened::here(&config.plan, joins, true, clock);
        let on = call.mode() != Mode::Off;
        let in_time = |delay: &Duration| call.start.after(*delay) < CallContext::deadline();
        let delay = match on && joins && safe {
            true => delay().or_else(|| config.delay(call.start)).filter(in_time),
            false => None,
        };
        Self {
            call,
            extra: delay.map_or(0, |_| config.settings.max_extra),
            delay: delay.unwrap_or_default(),
            sampled: on && safe && config.settings.is_by_quantile(),
        }
    }

    /// Whether extra attempts need a copy of the request.
    #[cfg(feature = "tower")]
    pub(super) fn needs_copy(&self) -> bool {
        self.extra > 0 && self.call.mode() == Mode::Enforce
    }
}

impl Permit {
    /// The permit of a call whose first attempt is made.
    #[inline(always)]
    pub(super) fn after_first(first: First, span: AttemptSpan) -> Self {
        Self {
            ledger: first.call.ledger(span),
            left: first.extra,
            delay: first.delay,
            sampled: first.sampled,
        }
    }

    /// No other attempt starts.
    pub(super) fn stop(&mut self) {
        self.left = 0;
    }

    /// Whether another attempt may start.
    #[inline]
    pub(super) fn may_start(&self) -> bool {
        // The context is checked again: behind a buffer, `start` saw another one.
        self.left > 0 && !CallContext::extra()
    }

    /// Whether the next attempt is the last that may start.
    pub(super) fn is_last(&self) -> bool {
        self.left == 1
    }

    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// Takes the extra attempt with this number from the budget. None if it is not to be made.
    pub(super) fn withdraw(&mut self, config: &Config, number: u32) -> Option<ExtraPermit> {
        let start = self.ledger.start;
        let would = || EventKind::WouldHedge {
            attempt: number,
            delay: time::now().since(start),
        };
        self.ledger.withdraw(&config.plan, number, None, would)
    }

    /// An extra attempt starts. The next one follows after `delay`, or the hedge's delay.
    pub(super) fn start_extra(&mut self, config: &Config, now: Tick, delay: Option<Duration>) {
        self.left -= 1;
        match delay.or_else(|| config.delay(now)) {
            Some(delay) => self.delay = delay,
            None => self.left = 0,
        }
    }

    /// The extra attempt with this number is made.
    pub(super) fn send(&mut self, config: &Config, number: u32, permit: ExtraPermit) -> SentExtra {
        let sent = self.ledger.send(&config.plan, permit);
        let common = &config.plan.ledger.common;
        if common.observed() {
            common.emit(EventKind::Hedging {
                attempt: number,
                delay: self.ledger.elapsed(),
            });
        }
        sent
    }

    /// Records the latency of an attempt that did not succeed. One that failed could have taken
    /// longer to succeed; one that was rejected has no latency.
    #[inline]
    pub(super) fn record_lost(&self, config: &Config, start: Tick, outcome: Outcome) {
        if let Outcome::Failure { .. } = outcome {
            self.sample(config, start, true);
        }
    }

    #[inline]
    pub(super) fn record_won(&self, config: &Config, start: Tick) {
        self.sample(config, start, false);
    }

    /// The latency of an attempt whose head is a success.
    #[cfg(feature = "tower")]
    pub(super) fn latency(&self, config: &Config, start: Tick) -> Option<Latency> {
        let latencies = config.latencies.as_ref().filter(|_| self.sampled)?;
        Some(Latency {
            latencies: Arc::clone(latencies),
            took: time::now().since(start),
        })
    }

    /// Records the latency of an attempt that is dropped: it would have taken longer.
    pub(super) fn record_dropped(&self, config: &Config, start: Tick) {
        self.sample(config, start, true);
    }

    /// While an attempt that started at `start` is dropped: if another has `won` after this one
    /// took at least the hedge's delay, that is known to the layers below.
    pub(super) fn overtaken(&self, won: bool, start: Tick) -> Option<Overtaken> {
        // Without a delay every attempt but the first to answer would be late.
        let late = won && !self.delay.is_zero() && time::now().since(start) >= self.delay;
        late.then(|| Overtaken::after(self.delay))
    }

    #[inline]
    fn sample(&self, config: &Config, start: Tick, censored: bool) {
        if let Some(latencies) = config.latencies.as_ref().filter(|_| self.sampled) {
            let now = time::now();
            latencies.record(now, now.since(start), censored);
        }
    }
}
