//! Charges that are given back, in whole or in part, and debts, as in
//! [`state::settle`](crate::rate_limit::state).

use super::set::Owner;
use super::{KeyHandle, Table};
use crate::rate_limit::Charge;
use crate::rate_limit::state::Refunds;
use crate::rate_limit::state::config::{Config, Grant};
use crate::rate_limit::state::word::Word;
use crate::time::Tick;

impl Table {
    /// Gives a charge back whole, if it is the key's last one that was not given back. Otherwise
    /// does nothing; also if the quota changed since, or the key was evicted, charged in another
    /// tier or paused.
    pub(crate) fn cancel(&self, key: KeyHandle, charge: &Charge) {
        let _refunds = self.locks[self.index(key)].lock();
        if self.refunds(key).units() == charge.refunded {
            let is_last = |_: &Config, end| if end == charge.end { charge.units } else { 0 };
            self.return_units(key, charge, is_last);
        }
    }

    /// Returns `tokens` of a charge, as far as time has not returned them yet. Returns nothing if
    /// the quota changed since, or the key was evicted, charged in another tier or paused.
    pub(crate) fn refund(&self, key: KeyHandle, charge: &Charge, tokens: u32, now: Tick) {
        let _refunds = self.locks[self.index(key)].lock();
        let refunds = self.refunds(key);
        let refunded = refunds.units();
        let debt = charge
            .end
            .saturating_sub(refunded.wrapping_sub(charge.refunded));
        let returned = self.return_units(key, charge, |config, _| {
            let until = refunds.counted_on(now);
            config.returnable((charge.units, charge.at), tokens, debt, until)
        });
        refunds.add(returned);
    }

    /// Takes tokens, whether or not they are available. What is missing is a debt. Returns whether
    /// a key in debt was evicted.
    pub(crate) fn owe(&self, now: Tick, key: KeyHandle, tokens: u32) -> bool {
        let owed = self.charge(now, key, tokens, &|config: &Config, end| {
            let owed = config.owed(end, now, tokens);
            Ok(Grant {
                at: now,
                units: owed.saturating_sub(end),
                end: owed,
            })
        });
        owed.is_ok_and(|charge| charge.evicted)
    }

    /// The units refunded so far; to be read before a charge that is kept.
    pub(crate) fn refunded(&self, key: KeyHandle) -> u64 {
        self.refunds(key).units()
    }

    pub(super) fn refunds(&self, key: KeyHandle) -> &Refunds {
        // By the lowest bits; the set is chosen by the upper ones.
        let way = key.hash as usize % super::set::WAYS;
        &self.refunds[self.index(key) * super::set::WAYS + way]
    }

    /// Gives back as many units as `units` says, if the charge's configuration and entry are still
    /// the same. Under the set's lock.
    fn return_units(
        &self,
        key: KeyHandle,
        charge: &Charge,
        units: impl Fn(&Config, u64) -> u64,
    ) -> u64 {
        let (set, tier) = (self.set(key), self.tier(key.tier));
        while let Some((way, tag)) = set.find(Owner::new(key)) {
            let word = set.word(way);
            let config = tier.config_of(word);
            // The tag identifies the charges of an owner, and with it the end that of one charge:
            // the end moves on with each charge.
            if charge.units == 0 || tag != charge.tag || config.changes != charge.changes {
                return 0;
            }
            let units = units(&config, word.tat()).min(word.tat());
            let back = Word::new(word.tat() - units, charge.changes);
            if units == 0 || set.charge(way, word, back) {
                return units;
            }
        }
        0
    }
}
