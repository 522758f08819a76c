//! What a bucket does with the tokens of all its stripes: takes from them, returns to them, and
//! takes them away for good.

use super::config::Config;
use super::stripes::{Held, MOST};
use super::word::Word;
use super::{Bucket, Charge, Shortfall};
use crate::time::Tick;

impl Bucket {
    /// As [`take`](Self::take), where the word alone does not grant it at once. The tokens in
    /// the stripes are taken first, so that nobody comes before who waits for the rest.
    #[cold]
    pub(super) fn take_with_stripes(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        loop {
            let (_, before) = self.view(now);
            let mut held: Held = [None; MOST];
            let tokens = self.stripes.hold(&mut held, false);
            let (word, config) = self.view_for(now, cost);
            let (granted, ahead) = config.grant_with(word.tat(), now, not_before, cost, tokens);
            let decided = granted.and_then(|grant| grant.by(now, latest));
            // What was held of another configuration was spent there, and is not to be given
            // back to this one.
            let settled = before.changes == config.changes && self.settle(word, &decided);
            let spent = if settled && decided.is_ok() { ahead } else { 0 };
            self.stripes.release(&held, spent);
            if settled {
                return decided.map(|grant| Charge::new(&grant, &config, ahead));
            }
        }
    }

    /// Gives back what a charge had from the stripes, if the word has not been charged since:
    /// then nothing was leased since either, and there is room for it. The stripes are owned
    /// before the word is looked at, so that nothing is leased to them meanwhile.
    #[cold]
    pub(super) fn give_back(&self, charge: &Charge) {
        let mut held: Held = [None; MOST];
        self.stripes.hold(&mut held, true);
        let (tat, changes, lease) = self.look(Tick::ZERO, |tat, config| {
            (tat, config.changes, config.stripes.0)
        });
        let is_last = changes == charge.changes && tat == charge.end;
        let more = if is_last { charge.ahead } else { 0 };
        self.stripes.refill(&held, lease, more);
    }

    /// As [`view`](Self::view), of a configuration in which `cost` can be had, if it is within
    /// the burst. A cost that needs what is kept for the stripes takes it away from them for
    /// good: the bucket is exact from then on.
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
