//! What a configuration has left, for the caller to see.

use std::time::Duration;

use super::config::Config;
use crate::context::Remainder;
use crate::rate_limit::quota::UNITS;
use crate::time::Tick;

impl Config {
    /// What is left if the debt ends at `tat` and the stripes hold `tokens`. None if there is no
    /// limit.
    pub(crate) fn remainder(&self, tat: u64, now: Tick, tokens: u32) -> Option<Remainder> {
        if self.is_unlimited() {
            return None;
        }
        let from = self.clock(now);
        let (debt, ready) = (tat.saturating_sub(from), self.ready());
        let free = ready.saturating_sub(debt);
        let (left, burst) = (
            self.available(tat, now).saturating_add(tokens),
            self.burst(),
        );
        // From a debt above the bound, the first token comes an interval after that.
        let to_next = debt.saturating_sub(ready) + self.interval - free % self.interval;
        let time = |units: u64| Duration::from_nanos(units.div_ceil(UNITS));
        // The interval was rounded up. In whole seconds that would be one too many.
        let rounded = u64::from(burst);
        let moves = !self.is_stopped();
        Some(Remainder {
            burst,
            window: moves.then(|| time(self.tolerance.saturating_sub(rounded))),
            left: left.min(burst),
            next: (moves && left < burst).then(|| time(to_next)),
            full: moves.then(|| time(debt.saturating_sub(rounded))),
        })
    }
}
