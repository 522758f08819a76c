//! Which key is evicted for a new one.
//!
//! A new key gets an empty entry if there is one. Otherwise the key is evicted that is idle first or
//! has been idle for the longest. A key that was charged again counts as idle later, by its
//! [protection](PROTECTION). So keys that were charged once evict each other, and a flood of made-up
//! keys evicts no key that is in use.
//!
//! This is the insight of 2Q, SLRU and [S3-FIFO]: most keys that come once do not come again, so a
//! key has to come twice to be kept. Those caches move or mark an entry on a hit, as [SIEVE] does,
//! and TinyLFU counts it in a sketch. Here a charge moves the end of the debt anyway, so the word
//! differs from the [first one](Origin) and a call of an existing key writes nothing more. There is
//! no memory of evicted keys, like the ghost queue of S3-FIFO or the sketch of TinyLFU: to recognise
//! a client that is new during a flood it would have to hold all keys that are made up between two
//! calls of the client, many times the capacity.
//!
//! [S3-FIFO]: https://dl.acm.org/doi/10.1145/3600006.3613147
//! [SIEVE]: https://www.usenix.org/conference/nsdi24/presentation/zhang-yazhuo

use std::time::Duration;

use super::Table;
use super::set::{Set, Tag, WAYS};
use super::standing::Origin;
use crate::rate_limit::quota::UNITS;
use crate::rate_limit::state::config::Config;
use crate::rate_limit::state::word::Word;
use crate::sync::Ordering;
use crate::time::Tick;

/// How long a key is protected after its debt is repaid, for each step of its standing, in addition
/// to the refill time of a whole burst, which new keys may owe. Clients that call once a minute are
/// protected; an entry that is not used any more is evicted soon after.
const PROTECTION: Duration = Duration::from_secs(60);

impl Table {
    /// The entry that a new key gets, and its tag.
    pub(super) fn victim(&self, set: &Set, origins: &[Origin; WAYS]) -> (usize, Tag) {
        // By instant, so that the choice does not depend on the time: a rejected key that comes
        // back gets the entry that its wait was computed with.
        let evictable_at = |way: usize| {
            let (tag, word) = (set.tag(way), set.word(way));
            if tag.is_empty() {
                return None;
            }
            let config = self.tier(tag.owner().tier()).config_of(word);
            let standing = origins[way].standing(word.tat(), &config);
            let protected = (config.refill_time() + PROTECTION) * standing as u32;
            Some((config.idle_at(word.tat()).after(protected), standing))
        };
        let way = (0..WAYS).min_by_key(|way| evictable_at(*way)).unwrap_or(0);
        (way, set.tag(way))
    }

    /// Keeps the debt of an evicted key. Returns whether it was still in debt.
    pub(super) fn evict(&self, index: usize, tag: Tag, word: Word, now: Tick) -> bool {
        let tier = tag.owner().tier();
        if self.evicted_debt(index, tier).tat() < word.tat() {
            self.set_evicted_debt(index, tier, word);
        }
        let in_debt = self.tier(tier).config_of(word).idle_at(word.tat()) > now;
        if in_debt {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        in_debt
    }
}

impl Config {
    /// When a debt is repaid: in the past if it is.
    fn idle_at(&self, end: u64) -> Tick {
        if self.is_stopped() && end > self.clock(Tick::ZERO) {
            return Tick::NEVER;
        }
        Tick(self.origin.0.saturating_add(end.div_ceil(UNITS)))
    }

    /// How long a debt of the whole burst takes to be repaid. Zero without a limit.
    fn refill_time(&self) -> Duration {
        match self.is_unlimited() {
            true => Duration::ZERO,
            false => Duration::from_nanos(self.tolerance / UNITS),
        }
    }
}
