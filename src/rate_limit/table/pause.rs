//! Pausing one key.

use super::{KeyId, Table};
use crate::rate_limit::state::config::{Config, Grant, LAST};
use crate::time::Tick;

impl Table {
    /// Admits nothing of a key until `until`; one token is available then, not a burst. Charges
    /// from before are not returned.
    ///
    /// The pause is a debt: a change of quota or tier keeps its tokens, not its end. It lasts no
    /// longer than a debt can. With a quota of zero nothing is available until the quota changes,
    /// and an unlimited key is not paused.
    pub(crate) fn pause(&self, now: Tick, key: KeyId, until: Tick, evicted: &mut bool) {
        // Separated from the charges before. If these were returned, the debt would fall below the
        // pause.
        let paused = |config: &Config, end| Ok(config.paused(end, until));
        while until > now && !self.current(key.tier, now).is_unlimited() {
            if self.rewrite(now, key, true, &paused, evicted).is_some() {
                return;
            }
        }
    }
}

impl Config {
    /// A debt up to `end`, and no token before `until`.
    fn paused(&self, end: u64, until: Tick) -> Grant {
        let token = if self.is_stopped() { 0 } else { self.interval };
        let paused = self.clock(until) + self.tolerance.saturating_sub(token);
        Grant {
            at: until,
            units: 0,
            end: end.max(paused).min(LAST),
        }
    }
}
