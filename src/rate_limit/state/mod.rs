//! The bucket: a token bucket kept as the one instant at which its debt is repaid.
//!
//! This is GCRA, the generic cell rate algorithm of ATM (ITU-T I.371), in its virtual
//! scheduling form. The word holds the theoretical arrival time (TAT): the instant at which the
//! bucket is full again. A charge moves it on by cost × interval, from now if it lies in the
//! past, and is granted as soon as it is no further ahead than the burst. Refilling is the
//! passing of time, so there is nothing to update and nothing to lose.
//!
//! Time is in units of 1/32 ns since an origin that belongs to the configuration. An origin
//! lasts for two years and is then moved on, with the debt as it is, by whoever comes next.
//! A debt beyond four years (only a change of rate can make one) is kept as four years.
//!
//! # Orderings
//!
//! The word names, by its two low bits, which of two slots it was made with. A change writes the
//! slot that is not named, then moves the word over to it. Changes are serialised by a mutex;
//! admissions take no lock.
//!
//! - The word is moved to a new generation with Release and loaded with Acquire (also where an
//!   exchange fails): who sees a generation sees its slot's values. Admissions and refunds
//!   exchange the word with Relaxed: they publish nothing, and being read-modify-writes they
//!   continue the release sequence of the change before them. Models: `change_against_admission`,
//!   `change_against_refusal_by_empty_stripes`.
//! - A slot is stored with Release and loaded with Acquire. A slow reader may find in its slot
//!   values of the generation after next. That store came after the exchange to the generation
//!   between, and having seen the one the reader must see the other: its exchange fails, or, where
//!   it has nothing to exchange, its second look at the word tells. Models:
//!   `two_changes_against_admission`, `two_changes_against_refusal`,
//!   `two_changes_against_refusal_by_empty_stripes`.
//! - That an exchange succeeds means that the word is what was read, and so is its generation,
//!   unless four changes came between, all within one call, and the debt then ended at the same
//!   1/32 ns. The charge would then be as long as it was at the rate of four changes ago: the
//!   price of two bits, and what a fifth word read by every admission would save.
//! - A charge carries the whole count of changes, so that it is never returned to a debt that
//!   was rescaled. The count is read from the slot, like the rest, and proven by the exchange.
//!   Models: `refund_against_admission`, `refund_against_change`.
//! - A pause is a change like any other. Model: `pause_against_admission`.

mod admit;
mod changes;
pub(super) mod config;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
mod leases;
#[cfg(all(test, seawall_loom))]
mod loom;
mod shortfall;
mod stripes;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
pub(super) mod word;

use std::fmt;
use std::time::Duration;

use self::changes::Control;
use self::config::{Config, Grant};
pub(crate) use self::shortfall::Shortfall;
pub(crate) use self::stripes::Striped;
use self::stripes::Stripes;
use self::word::{Slot, Word};
use super::quota::Quota;
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::Tick;

/// Tokens taken. It may be given back once, with [`Bucket::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// The instant granted: now, or when the tokens will be there.
    pub(crate) at: Tick,
    /// Where the debt ended with it.
    end: u64,
    /// What it added, in units; 0 if there is nothing to give back.
    units: u64,
    /// The configuration it was made with.
    changes: u64,
    /// How many tokens came out of the stripes, beside the units.
    ahead: u32,
}

impl Charge {
    fn new(grant: &Grant, config: &Config, ahead: u32) -> Self {
        Self {
            at: grant.at,
            end: grant.end,
            units: grant.units,
            changes: config.changes,
            ahead,
        }
    }
}

/// A rate limit's state. Every decision takes `now`; none takes a lock.
pub(crate) struct Bucket {
    /// See [`Word`]. Written by every admission, so on a line of its own.
    word: CachePadded<AtomicU64>,
    slots: [Slot; 2],
    stripes: Stripes,
    control: Mutex<Control>,
    /// Exchanges that failed, to prove that a test had any.
    #[cfg(all(test, not(seawall_loom)))]
    collisions: AtomicU64,
}

impl Bucket {
    /// A full bucket without stripes. The quota has been checked.
    pub(crate) fn new(now: Tick, quota: Quota) -> Self {
        Self::striped(now, quota, Striped::Never)
    }

    /// A full bucket. The quota has been checked. If it is not one for stripes it has none, nor
    /// with any later quota.
    pub(crate) fn striped(now: Tick, quota: Quota, striped: Striped) -> Self {
        let striped = match Config::first(now, quota, striped).stripes {
            (0, _) => Striped::Never,
            _ => striped,
        };
        let config = Config::first(now, quota, striped);
        let (tat, tokens) = config.spread(0, now);
        let stripes = Stripes::new(striped.count());
        if config.stripes.0 > 0 {
            stripes.open(config.stripes.0, tokens);
        }
        Self {
            word: CachePadded::new(AtomicU64::new(Word::new(tat, config.changes).0)),
            slots: [Slot::new(&config), Slot::new(&config)],
            stripes,
            control: Mutex::new(Control {
                quota,
                pause: None,
                striped,
            }),
            #[cfg(all(test, not(seawall_loom)))]
            collisions: AtomicU64::new(0),
        }
    }

    /// Takes `cost` tokens, for use not before `not_before`, if they are there by `latest` at
    /// the latest; else takes nothing. Made as if at `not_before`, so that several buckets can
    /// be charged for one instant.
    #[inline]
    pub(crate) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        let start = now.max(not_before);
        loop {
            let (word, config) = self.view_for(now, cost);
            let decided = config.grant(word.tat(), now, not_before, cost);
            let at_once = decided.as_ref().is_ok_and(|grant| grant.at <= start);
            let tokens = if at_once { 0 } else { self.stripes.tokens() };
            let decided = if tokens == 0 {
                decided
            } else {
                let (granted, _) = config.grant_with(word.tat(), now, not_before, cost, tokens);
                if granted.is_ok_and(|grant| grant.at <= latest) {
                    return self.take_with_stripes(now, not_before, cost, latest);
                }
                granted
            };
            let decided = decided.and_then(|grant| grant.by(now, latest));
            if self.settle(word, &decided) {
                return decided.map(|grant| Charge::new(&grant, &config, 0));
            }
        }
    }

    /// When a charge of `cost`, for use not before `not_before`, would be granted. Takes
    /// nothing.
    pub(crate) fn probe(&self, now: Tick, not_before: Tick, cost: u32) -> Result<Tick, Shortfall> {
        loop {
            let (word, config) = self.view_for(now, cost);
            let tokens = self.stripes.tokens();
            let (granted, _) = config.grant_with(word.tat(), now, not_before, cost, tokens);
            if self.is_still(word) {
                return granted?.by(now, Tick::NEVER).map(|grant| grant.at);
            }
        }
    }

    /// What [`admit`](Self::admit) would say. Takes nothing.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn peek(&self, now: Tick, cost: u32) -> Result<(), Shortfall> {
        match self.probe(now, now, cost)? {
            at if at > now => Err(Shortfall::until(at, now)),
            _ => Ok(()),
        }
    }

    /// The tokens that are there; `u32::MAX` if there is no limit. Takes nothing.
    pub(crate) fn available(&self, now: Tick) -> u32 {
        self.look(now, |tat, config| {
            let tokens = self.stripes.tokens();
            config.available(tat, now).saturating_add(tokens)
        })
    }

    /// Gives a charge back: whole if none was made after it that has not been given back, else
    /// not at all, and not to another configuration.
    ///
    /// `golang.org/x/time/rate` also returns a part where less was charged after it than it
    /// cost. That is not sound: with several cancelled, or one cancelled late, the later ones
    /// come to stand where there is room for fewer, and more pass in a window than the burst
    /// and the rate allow. Here the charges that stand always lie end to end.
    ///
    /// What came out of the stripes goes back to them, by the same rule.
    pub(crate) fn cancel(&self, charge: &Charge) {
        if charge.ahead > 0 {
            self.give_back(charge);
        }
        if charge.units == 0 {
            return;
        }
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            let changes = self.slot(word.generation()).read().changes;
            if changes != charge.changes || word.tat() != charge.end {
                return;
            }
            let back = Word::new(charge.end - charge.units, word.generation());
            if self.exchange(word, back) {
                return;
            }
        }
    }

    /// How long a pause still lasts.
    pub(crate) fn pause_left(&self, now: Tick) -> Option<Duration> {
        self.look(now, |_, config| config.pause_left(now))
    }

    /// Tokens per second, as they are kept.
    pub(crate) fn rate(&self) -> f64 {
        self.look(Tick::ZERO, |_, config| config.rate())
    }

    /// The word and the configuration that it names; it may be torn, which the exchange or
    /// [`is_still`](Self::is_still) finds.
    #[inline]
    fn view(&self, now: Tick) -> (Word, Config) {
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            let config = self.slot(word.generation()).read();
            if !config.is_stale(now) {
                return (word, config);
            }
            self.rebase(now);
        }
    }

    fn look<T>(&self, now: Tick, f: impl Fn(u64, &Config) -> T) -> T {
        loop {
            let (word, config) = self.view(now);
            let seen = f(word.tat(), &config);
            if self.is_still(word) {
                return seen;
            }
        }
    }

    /// Whether no change has come between. The loads of the slot, being Acquire, come before.
    #[inline]
    fn is_still(&self, word: Word) -> bool {
        Word(self.word.load(Ordering::Relaxed)).generation() == word.generation()
    }

    #[inline]
    fn exchange(&self, from: Word, to: Word) -> bool {
        // Relaxed on success, and what failed is loaded anew with Acquire; see `# Orderings`.
        let done = self
            .word
            .compare_exchange_weak(from.0, to.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        #[cfg(all(test, not(seawall_loom)))]
        self.collisions
            .fetch_add(u64::from(!done), Ordering::Relaxed);
        done
    }

    #[inline]
    fn slot(&self, changes: u64) -> &Slot {
        &self.slots[usize::from(changes & 1 == 1)]
    }

    /// A charge that is granted is made; for a refusal the word need only be what it was.
    fn settle(&self, word: Word, decided: &Result<Grant, Shortfall>) -> bool {
        match decided {
            Ok(grant) if grant.units > 0 => {
                self.exchange(word, Word::new(grant.end, word.generation()))
            }
            _ => self.is_still(word),
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.look(Tick::ZERO, |_, config| *config);
        if config.is_unlimited() {
            return f.write_str("Unlimited");
        }
        let mut bucket = f.debug_struct(if config.is_stopped() {
            "Stopped"
        } else {
            "Bucket"
        });
        if !config.is_stopped() {
            bucket.field("per_second", &config.rate());
        }
        bucket
            .field("burst", &config.burst())
            .finish_non_exhaustive()
    }
}
