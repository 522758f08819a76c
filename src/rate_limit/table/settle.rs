//! Charges that are returned, as in [`state::settle`](crate::rate_limit::state).

use super::set::{Owner, WAYS};
use super::{KeyHandle, Table};
use crate::rate_limit::Charge;
use crate::rate_limit::state::word::Word;
use crate::rate_limit::state::{Refunds, Return};

impl Table {
    /// Returns a charge, unless the quota has changed since, or the key was evicted, charged in
    /// another tier or paused.
    pub(in crate::rate_limit) fn give_back(&self, key: KeyHandle, charge: &Charge, back: Return) {
        let _assigned = self.locks[self.index(key)].lock();
        let (set, tier, refunds) = (self.set(key), self.tier(key.tier), self.refunds(key));
        while let Some((way, tag)) = set.find(Owner::new(key)) {
            let word = set.word(way);
            let config = tier.config_of(word);
            // The tag identifies the charges of an owner, and with it the end that of one charge:
            // the end moves on with each charge.
            if charge.units == 0 || tag != charge.tag || config.changes != charge.changes {
                return;
            }
            let units = back.units(charge, &config, word.tat(), refunds);
            let to = Word::new(word.tat() - units, charge.changes);
            if units == 0 || set.charge(way, word, to) {
                return back.count(units, refunds);
            }
        }
    }

    pub(super) fn refunds(&self, key: KeyHandle) -> &Refunds {
        // By the lowest bits; the set is chosen by the upper ones.
        let way = key.hash as usize % WAYS;
        &self.refunds[self.index(key) * WAYS + way]
    }
}
