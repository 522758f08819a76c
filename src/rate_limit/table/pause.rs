//! Stopping one key.

use super::clock::{Config, Grant};
use super::{Place, Table};
use crate::time::Tick;

impl Table {
    /// Admits nothing of a key's until `until`; one token is there then, or a unit of the clock
    /// later, and no burst. What was charged before is not given back.
    ///
    /// It is a debt: a change of quota or of the key's tier meanwhile keeps the tokens that are
    /// owed, and not the instant. It lasts no longer than a debt can. With a quota of zero
    /// nothing is there until it changes, and a key without a limit is not paused.
    pub(crate) fn pause(&self, now: Tick, key: Place, until: Tick, dropped: &mut bool) {
        loop {
            let config = self.config(key.tier, now);
            if until <= now || config.is_unlimited() {
                return;
            }
            let decide = |end| Ok(config.paused(end, until));
            // Parted from the charges before, or the debt would fall below the pause with what is
            // given back.
            if self
                .rewrite(now, key, &config, true, &decide, dropped)
                .is_some()
            {
                return;
            }
        }
    }
}

impl Config {
    /// A debt up to `end`, and nothing before `until`.
    fn paused(&self, end: u64, until: Tick) -> Grant {
        Grant {
            at: until,
            units: 0,
            end: end.max(self.but_one_token(until)),
        }
    }
}
