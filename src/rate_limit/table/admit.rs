//! Admission now: of an existing key by the pace of its tier, otherwise as any charge.

use super::set::{KeyHandle, Owner};
use super::{Config, Shortfall, Table};
use crate::rate_limit::state::word::Word;
#[cfg(all(test, not(seawall_loom)))]
use crate::sync::Ordering;
use crate::time::Tick;

impl Table {
    /// Takes `cost` tokens of a key if they are available. A cost of 0 is free. Returns whether a
    /// key in debt was evicted.
    ///
    /// The clock is read while the tags come, which are seldom in a cache.
    #[inline]
    pub(crate) fn admit_now(
        &self,
        mut clock: impl FnMut() -> Tick,
        key: KeyHandle,
        cost: u32,
    ) -> Result<bool, Shortfall> {
        let (set, owner) = (self.set(key), Owner::new(key));
        let mut found = set.find(owner);
        let now = clock();
        while let Some((way, tag)) = found.filter(|_| cost > 0) {
            let word = set.word(way);
            let pace = self.tier(key.tier).pace_of(word);
            let Some(decided) = pace.charge(word.tat(), now, cost) else {
                break;
            };
            // As `Table::charge` does: a tag that has changed may have another owner's word.
            let is_made = set.tag(way) == tag
                && match decided {
                    Ok(end) => set.charge(way, word, Word::new(end, word.generation())),
                    Err(_) => set.word(way).generation() == word.generation(),
                };
            if is_made {
                return decided.map(|_| false);
            }
            #[cfg(all(test, not(seawall_loom)))]
            self.collisions.fetch_add(1, Ordering::Relaxed);
            found = set.find(owner);
        }
        self.admit_otherwise(now, key, cost)
    }

    /// The same for a new key, and where the pace alone does not decide.
    #[cold]
    #[inline(never)]
    fn admit_otherwise(&self, now: Tick, key: KeyHandle, cost: u32) -> Result<bool, Shortfall> {
        let decide = |config: &Config, tat| config.grant(tat, now, cost)?.by(now, now);
        self.charge(now, key, cost, &decide)
            .map(|charge| charge.evicted)
    }
}
