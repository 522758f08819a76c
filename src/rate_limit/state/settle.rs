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
//! The time since ends now, or at the last instant that was granted ahead of time: that grant counts
//! on tokens which come until then.
//!
//! So a refund loses at most the tokens that came while the call ran, or that come until the last
//! reservation, and nothing while older charges are still owed. The limit holds for the charges that
//! remain, each with its final cost.
//!
//! # Memory ordering
//!
//! The units refunded are increased after the word was exchanged, and a charge reads them before it
//! exchanges the word. So it may count a refund that came before, which makes its own smaller, and
//! misses none that comes after (model: `refund_against_charge`). An instant ahead is stored before
//! the word is exchanged, and a refund reads it after the word (model: `refund_against_reservation`).

use super::bucket::{Bucket, Charge};
use super::config::{Config, Grant};
use super::word::Word;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::time::Tick;

/// What a refund has to know of what happened since its charge.
#[derive(Debug, Default)]
pub(crate) struct Refunds {
    /// The units that were refunded from charges with others after them.
    units: AtomicU64,
    /// The latest instant that was granted ahead of time.
    ahead: AtomicU64,
}

impl Refunds {
    /// The units refunded so far; to be read before a charge that is kept.
    #[inline]
    pub(crate) fn units(&self) -> u64 {
        self.units.load(Ordering::Acquire)
    }

    /// Counts units that were returned. Under a lock.
    pub(crate) fn add(&self, units: u64) {
        let refunded = self.units.load(Ordering::Relaxed);
        // Pairs with the load before a charge.
        self.units
            .store(refunded.wrapping_add(units), Ordering::Release);
    }

    /// Comes before the charge of every grant.
    #[inline]
    pub(crate) fn granted(&self, grant: &Grant, now: Tick) {
        if grant.at > now {
            self.ahead.fetch_max(grant.at.0, Ordering::Relaxed);
            // The word is exchanged with Relaxed.
            fence(Ordering::Release);
        }
    }

    /// The instant up to which grants count on the tokens that come. To be read after the word.
    pub(crate) fn counted_on(&self, now: Tick) -> Tick {
        now.max(Tick(self.ahead.load(Ordering::Relaxed)))
    }
}

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
