//! The pause of one key.

use super::{KeyHandle, Table};
use crate::rate_limit::state::config::{Config, Grant, LAST};
use crate::time::Tick;

impl Table {
    /// Admits nothing of a key until `until`; then one token is available, and no burst. Earlier
    /// charges of the key can no longer be given back. Returns whether a key in debt was evicted.
    ///
    /// A pause is a debt: a change of quota or of the key's tier keeps it in tokens, not its
    /// instant, and it ends no later than the latest instant that a word holds. With a quota of
    /// zero no token is available until the quota changes. A key without a limit is not paused.
    pub(crate) fn pause(&self, now: Tick, key: KeyHandle, until: Tick) -> bool {
        let paused = |config: &Config, end| Ok(config.paused(end, until));
        while until > now && !self.current(key.tier, now).is_unlimited() {
            // Parted, because a refund of an earlier charge would shorten the pause.
            if let Some(charge) = self.assign(now, key, true, &paused) {
                return charge.is_ok_and(|charge| charge.evicted);
            }
        }
        false
    }
}

impl Config {
    /// A debt up to `end` at least, with no token before `until`.
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
