//! What a bucket does with the tokens of all its stripes: takes from them, returns to them, and
//! takes them away for good.

use super::bucket::{Bucket, Charge};
use super::config::Config;
use super::shortfall::Shortfall;
use super::stripes::{Held, MOST};
use super::word::Word;
use crate::time::Tick;

impl Bucket {
    /// [`take`](Self::take) where the word alone does not grant the charge at once. The tokens in
    /// the stripes are taken first, so that no later call spends them while this one waits.
    #[cold]
    pub(super) fn take_with_stripes(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        let refunded = self.refunds.units();
        loop {
            let (_, before) = self.view(now);
            let mut held: Held = [None; MOST];
            let tokens = self.stripes.hold(&mut held, false);
            let (word, config) = self.view_for(now, cost);
            let (granted, leased) = config.grant_with(word.tat(), now, not_before, cost, tokens);
            let decided = granted.and_then(|grant| grant.by(now, latest));
            // Tokens of another configuration were counted by its change.
            let settled = before.changes == config.changes && self.settle(now, word, &decided);
            let spent = if settled && decided.is_ok() {
                leased
            } else {
                0
            };
            self.stripes.release(&held, spent);
            if settled {
                return decided.map(|grant| Charge {
                    leased,
                    refunded,
                    ..Charge::new(&grant, &config)
                });
            }
        }
    }

    /// Returns at most `most` of the tokens that a charge took from the stripes, if the word has not
    /// been charged since: then nothing was leased since either, and the stripes have room. The
    /// stripes are owned before the word is read, so that nothing is leased to them in between.
    /// Returns how many came back.
    #[cold]
    pub(super) fn return_leased(&self, charge: &Charge, most: u32) -> u32 {
        if charge.leased == 0 {
            return 0;
        }
        let mut held: Held = [None; MOST];
        self.stripes.hold(&mut held, true);
        let (tat, changes, lease) = self.look(Tick::ZERO, |tat, config| {
            (tat, config.changes, config.stripes.0)
        });
        let is_last = changes == charge.changes && tat == charge.end;
        let more = if is_last { charge.leased.min(most) } else { 0 };
        self.stripes.refill(&held, lease, more);
        more
    }

    /// [`view`](Self::view) for a charge of `cost`. A cost that needs the tokens kept for the
    /// stripes makes the bucket exact for good.
    #[inline]
    pub(super) fn view_for(&self, now: Tick, cost: u32) -> (Word, Config) {
        let (word, config) = self.view(now);
        if config.needs_all(cost) {
            self.without_stripes(now);
            return self.view(now);
        }
        (word, config)
    }
}
