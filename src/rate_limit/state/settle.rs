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
use super::config::{Config, Grant};
use super::refunds::Refunds;
use super::word::Word;
use crate::sync::Ordering;
use crate::time::Tick;

/// How much of a charge is returned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Return {
    /// All of it, if all later charges have been returned, and otherwise nothing.
    ///
    /// `golang.org/x/time/rate` also returns a part of a charge if the later ones were smaller.
    /// That breaks the limit: with several charges cancelled, or one cancelled late, more calls
    /// pass in a window than burst and rate allow. Here the charges that remain are always
    /// adjacent.
    Whole,
    /// These tokens, as far as time has not returned them by now.
    Part { tokens: u32, now: Tick },
}

impl Return {
    /// The units of a charge to return, where the debt ends at `tat`.
    pub(in crate::rate_limit) fn units(
        self,
        charge: &Charge,
        config: &Config,
        tat: u64,
        refunds: &Refunds,
    ) -> u64 {
        let refunded = refunds.units().wrapping_sub(charge.refunded);
        let units = match self {
            Self::Whole if refunded == 0 && tat == charge.end => charge.units,
            Self::Whole => 0,
            Self::Part { tokens, now } => {
                let end = charge.end.saturating_sub(refunded);
                let until = refunds.counted_on(now);
                config.returnable((charge.units, charge.at), tokens, end, until)
            }
        };
        units.min(tat)
    }

    /// Counts units that were returned, unless there is no later charge to know of them.
    pub(in crate::rate_limit) fn count(self, units: u64, refunds: &Refunds) {
        if let Self::Part { .. } = self {
            refunds.add(units);
        }
    }
}

impl Bucket {
    /// Returns a charge, unless the configuration has changed since.
    pub(crate) fn give_back(&self, charge: &Charge, back: Return) {
        let _changes = self.control.lock();
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            let config = self.slot(word.generation()).read();
            if charge.units == 0 || config.changes != charge.changes {
                return;
            }
            let units = back.units(charge, &config, word.tat(), &self.refunds);
            let to = Word::new(word.tat() - units, word.generation());
            if units == 0 || self.exchange(word, to) {
                return back.count(units, &self.refunds);
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

    /// The charge of `tokens` that need not be available: what is missing is a debt.
    pub(in crate::rate_limit) fn owed(&self, tat: u64, now: Tick, tokens: u32) -> Grant {
        let end = match self.is_unlimited() || tokens == 0 {
            true => tat,
            false => self.behind(tat, now, tokens.into()),
        };
        Grant {
            at: now,
            units: end.saturating_sub(tat),
            end,
        }
    }
}
