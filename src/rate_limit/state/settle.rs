//! What a bucket does with a charge whose cost is known afterwards: it returns a part, or owes the
//! rest.
//!
//! Time returns the tokens of a charge too: a bucket that was full in between has lost them, and they
//! must not come back twice. What can be returned is the least debt that there was since the charge,
//! because that much less would have changed no decision. It is at least
//!
//! - the charge, less the time since
//! - what is left of the debt that ended with the charge, less all that was refunded since, which may
//!   have been charged before it.
//!
//! The time since ends now, or at the last instant that was granted in the future: that grant counts
//! on tokens which come until then.
//!
//! So a refund loses at most the tokens that came while the call ran, or that come until the last
//! reservation, and nothing while older charges are still owed. The limit holds for the charges that
//! remain, each with its final cost.

use super::bucket::{Bucket, Charge};
use super::config::Config;
use super::word::Word;
use crate::sync::Ordering;
use crate::time::Tick;

impl Bucket {
    /// Returns `tokens` of a charge, as far as time has not returned them yet. Returns nothing if
    /// the configuration has changed since.
    ///
    /// Tokens that came out of the stripes are returned only if it is the last charge.
    pub(crate) fn refund(&self, charge: &Charge, tokens: u32, now: Tick) {
        let _refunds = self.control.lock();
        let moved = self.refunds.units().wrapping_sub(charge.refunded);
        let leased = match moved {
            0 => self.return_leased(charge, tokens),
            _ => 0,
        };
        let tokens = tokens - leased;
        let returned = self.return_units(charge, |config, _| {
            if config.changes != charge.changes {
                return 0;
            }
            let debt = charge.end.saturating_sub(moved);
            let until = self.refunds.counted_on(now);
            config.returnable((charge.units, charge.at), tokens, debt, until)
        });
        self.refunds.add(returned);
    }

    /// Takes tokens, whether or not they are available. What is missing is a debt.
    pub(crate) fn owe(&self, now: Tick, tokens: u32) {
        loop {
            let (word, config) = self.view(now);
            let end = config.owed(word.tat(), now, tokens);
            let owed = self.exchange(word, Word::new(end, word.generation()));
            if owed {
                return;
            }
        }
    }

    /// Returns as many units of a charge as `units` says, under the mutex of changes.
    pub(super) fn return_units(&self, charge: &Charge, units: impl Fn(&Config, u64) -> u64) -> u64 {
        if charge.units == 0 {
            return 0;
        }
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            let config = self.slot(word.generation()).read();
            let units = units(&config, word.tat()).min(word.tat());
            let back = Word::new(word.tat() - units, word.generation());
            if units == 0 || self.exchange(word, back) {
                return units;
            }
        }
    }
}

impl Config {
    /// The units of `tokens` of a charge of `charged` at `at` that can be returned, if the debt with
    /// it ends at `end`, and grants count on the tokens that come until `until`.
    pub(crate) fn returnable(
        &self,
        (charged, at): (u64, Tick),
        tokens: u32,
        end: u64,
        until: Tick,
    ) -> u64 {
        let (charged_at, until) = (self.clock(at), self.clock(until));
        let own = charged.saturating_sub(until.saturating_sub(charged_at));
        let units = u64::from(tokens).saturating_mul(self.interval);
        units.min(charged).min(own.max(end.saturating_sub(until)))
    }

    /// Where the debt ends with `tokens` more.
    pub(crate) fn owed(&self, end: u64, now: Tick, tokens: u32) -> u64 {
        if self.is_unlimited() || tokens == 0 {
            return end;
        }
        let units = u64::from(tokens).saturating_mul(self.interval);
        end.max(self.clock(now))
            .saturating_add(units)
            .min(super::config::LAST)
    }
}
