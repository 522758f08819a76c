//! Stopping one key.

use super::{Place, Table};
use crate::rate_limit::state::config::{Config, Grant, LAST};
use crate::time::Tick;

impl Table {
    /// Admits nothing of a key's until `until`; one token is there then, and no burst. What was
    /// charged before is not given back.
    ///
    /// It is a debt: a change of quota or of the key's tier meanwhile keeps the tokens that are
    /// owed, and not the instant. It lasts no longer than a debt can. With a quota of zero
    /// nothing is there until it changes, and a key without a limit is not paused.
    pub(crate) fn pause(&self, now: Tick, key: Place, until: Tick, dropped: &mut bool) {
        // Parted from the charges before, or the debt would fall below the pause with what is
        // given back.
        let paused = |config: &Config, end| Ok(config.paused(end, until));
        while until > now && !self.current(key.tier, now).is_unlimited() {
            if self.rewrite(now, key, true, &paused, dropped).is_some() {
                return;
            }
        }
    }
}

impl Config {
    /// A debt up to `end`, and nothing before `until`.
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
