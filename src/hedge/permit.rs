use std::time::Duration;

use super::policy::Config;
#[cfg(feature = "tower")]
use super::quantile::Latencies;
use crate::attempts::{AttemptSpan, CallLedger, ExtraPermit, Opened};
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
    pub(super) extra: Extras,
}

/// A call before its first attempt, of which its permit is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) call: Opened,
    extra: Extras,
}

/// The extra attempts of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extras {
    /// How many may still start.
    pub(super) left: u32,
    /// After how long without an answer the next one starts.
    pub(super) delay: Duration,
    /// Whether the latencies of the call are samples.
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
        let on = call.mode != Mode::Off;
        let in_time = |delay: &Duration| call.start.after(*delay) < CallContext::deadline();
        let delay = match on && joins && safe {
            true => delay().or_else(|| config.delay(call.start)).filter(in_time),
            false => None,
        };
        let extra = Extras {
            left: delay.map_or(0, |_| config.settings.max_extra),
            delay: delay.unwrap_or_default(),
            sampled: on && safe && config.settings.is_by_quantile(),
        };
        Self { call, extra }
    }

    /// With no more extra attempts than this.
    pub(super) fn up_to(mut self, extra: u32) -> Self {
        self.extra.left = self.extra.left.min(extra);
        self
    }

    /// Whether extra attempts need a copy of the request.
    #[cfg(feature = "tower")]
    pub(super) fn needs_copy(&self) -> bool {
        self.extra.left > 0 && self.call.mode == Mode::Enforce
    }
}

impl Permit {
    /// The permit of a call whose first attempt is made.
    #[inline(always)]
    pub(super) fn after_first(first: First, span: AttemptSpan) -> Self {
        Self {
            ledger: CallLedger::new(first.call, span),
            extra: first.extra,
        }
    }

    /// Whether another attempt may start.
    #[inline]
    pub(super) fn may_start(&self) -> bool {
        // The context is checked again: behind a buffer, `start` saw another one.
        self.extra.left > 0 && !CallContext::extra()
    }

    /// Takes the extra attempt with this number from the budget. None if it is not to be made.
    pub(super) fn withdraw(&mut self, config: &Config, number: u32) -> Option<ExtraPermit> {
        let start = self.ledger.call.start;
        let would = || EventKind::WouldHedge {
            attempt: number,
            delay: time::now().since(start),
        };
        self.ledger.withdraw(&config.plan, number, None, would)
    }

    /// An extra attempt starts. The next one follows after `delay`, or the hedge's delay.
    pub(super) fn start_extra(&mut self, config: &Config, now: Tick, delay: Option<Duration>) {
        self.extra.left -= 1;
        match delay.or_else(|| config.delay(now)) {
            Some(delay) => self.extra.delay = delay,
            None => self.extra.left = 0,
        }
    }

    /// The extra attempt with this number is made.
    pub(super) fn send(&mut self, config: &Config, number: u32, permit: &mut ExtraPermit) {
        self.ledger.send(&config.plan, permit);
        let common = &config.plan.ledger.common;
        if common.observed() {
            common.emit(EventKind::Hedging {
                attempt: number,
                delay: self.ledger.elapsed(),
            });
        }
    }

    /// Records the latency of an attempt that did not succeed. One that failed could have taken
    /// longer to succeed; one that was rejected has no latency.
    #[inline]
    pub(super) fn sample_lost(&self, config: &Config, start: Tick, outcome: Outcome) {
        if let Outcome::Failure { .. } = outcome {
            self.sample(config, start, true);
        }
    }

    /// The latency of an attempt whose head is a success.
    #[cfg(feature = "tower")]
    pub(super) fn latency(&self, config: &Config, start: Tick) -> Option<Latency> {
        let latencies = config.latencies.as_ref().filter(|_| self.extra.sampled)?;
        Some(Latency {
            latencies: Arc::clone(latencies),
            took: time::now().since(start),
        })
    }

    /// While an attempt that started at `start` is dropped: if another has `won` after this one
    /// took at least the hedge's delay, that is known to the layers below.
    pub(super) fn overtaken(&self, won: bool, start: Tick) -> Option<Overtaken> {
        // Without a delay every attempt but the first to answer would be late.
        let late =
            won && !self.extra.delay.is_zero() && time::now().since(start) >= self.extra.delay;
        late.then(|| Overtaken::after(self.extra.delay))
    }

    /// Records the latency of an attempt, which is `censored` if it is known to be longer.
    #[inline]
    pub(super) fn sample(&self, config: &Config, start: Tick, censored: bool) {
        if let Some(latencies) = config.latencies.as_ref().filter(|_| self.extra.sampled) {
            let now = time::now();
            latencies.record(now, now.since(start), censored);
        }
    }
}
