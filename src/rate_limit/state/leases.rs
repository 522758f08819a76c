//! How the tokens of all stripes come back to the word: where it lacks tokens, and for good where a
//! charge needs what the stripes may hold.

use super::bucket::Bucket;
use super::config::Config;
use super::word::Word;
use crate::time::Tick;

impl Bucket {
    /// Moves the tokens in the stripes to the word, as far as that has a debt. Returns whether it
    /// moved any. A charge does this before it waits, so that no later call spends those tokens
    /// meanwhile.
    ///
    /// A stripe is owned before the word is read, so that no lease is fetched for it in between.
    #[cold]
    pub(in crate::rate_limit) fn drain_stripes(&self, now: Tick) -> bool {
        let mut moved = 0;
        for index in 0..self.stripes.len() {
            let (_, before) = self.view(now);
            let Some((owned, tokens)) = self.stripes.empty(index) else {
                continue;
            };
            let left = loop {
                let (word, config) = self.view(now);
                // Tokens of another configuration were counted by its change.
                if config.changes != before.changes {
                    break tokens;
                }
                let here = config.clock(now);
                let room = word.tat().saturating_sub(here).div_ceil(config.interval);
                let fits = tokens.min(u32::try_from(room).unwrap_or(u32::MAX));
                if fits == 0 {
                    break tokens;
                }
                let back = u64::from(fits) * config.interval;
                let end = word.tat().saturating_sub(back).max(here);
                if self.exchange(word, Word::new(end, word.generation())) {
                    moved += fits;
                    break tokens - fits;
                }
            };
            self.stripes.fill(owned, left);
        }
        moved > 0
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
