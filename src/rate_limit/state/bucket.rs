use std::fmt;
use std::time::Duration;

use super::config::{Config, Grant, Pause, TIMER, When};
use super::refunds::Refunds;
use super::shortfall::Shortfall;
use super::stripes::{Striped, Stripes};
use super::word::{Slot, Word};
#[cfg(feature = "tower")]
use crate::context::Remainder;
use crate::rate_limit::quota::Quota;
use crate::rate_limit::table::Tag;
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::Tick;

/// Tokens taken from a bucket, or from an entry of a table. They can be returned once, by the one
/// that they were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// The instant granted: now, or when the tokens will be available.
    pub(crate) at: Tick,
    /// The end of the debt with it.
    pub(in crate::rate_limit) end: u64,
    /// What it added to the debt, in units; 0 if nothing can be returned.
    pub(in crate::rate_limit) units: u64,
    /// The configuration it was made with.
    pub(in crate::rate_limit) changes: u64,
    /// The tokens that came out of the stripes, in addition to the units.
    pub(in crate::rate_limit) leased: u32,
    /// The units that had been refunded before it was made, if it is kept.
    pub(in crate::rate_limit) refunded: u64,
    /// The tag of the entry of a table.
    pub(in crate::rate_limit) tag: Tag,
    /// Whether a key in debt was evicted for it.
    pub(in crate::rate_limit) evicted: bool,
}

impl Charge {
    #[inline]
    pub(in crate::rate_limit) fn new(grant: &Grant, config: &Config) -> Self {
        Self {
            at: grant.at,
            end: grant.end,
            units: grant.units,
            changes: config.changes,
            leased: 0,
            refunded: 0,
            tag: Tag::NONE,
            evicted: false,
        }
    }
}

/// A rate limit's state. Every decision takes `now`; none takes a lock.
pub(crate) struct Bucket {
    /// See [`Word`]. Written by every admission, so on a cache line of its own.
    pub(super) word: CachePadded<AtomicU64>,
    slots: [Slot; 2],
    pub(super) stripes: Stripes,
    pub(in crate::rate_limit) control: Mutex<Control>,
    pub(super) refunds: Refunds,
    /// Exchanges that failed, to prove that a test had any.
    #[cfg(all(test, not(seawall_loom)))]
    pub(super) collisions: AtomicU64,
}

/// The part that only changes use.
#[derive(Debug)]
pub(in crate::rate_limit) struct Control {
    pub(in crate::rate_limit) quota: Quota,
    pub(super) pause: Option<Pause>,
    pub(super) striped: Striped,
}

impl Bucket {
    /// A full bucket without stripes, with a valid quota.
    pub(crate) fn new(now: Tick, quota: Quota) -> Self {
        Self::striped(now, quota, Striped::Never)
    }

    /// A full bucket with a valid quota. If that is too small for stripes the bucket never has any.
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
            refunds: Refunds::default(),
            #[cfg(all(test, not(seawall_loom)))]
            collisions: AtomicU64::new(0),
        }
    }

    /// Takes `cost` tokens, for use not before `not_before`, if they are available by `latest`;
    /// otherwise takes nothing. The charge is made as if at `not_before`, so that several buckets
    /// can be charged for one instant.
    #[inline]
    pub(crate) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        self.take_when(now, When::Within { not_before, latest }, cost)
    }

    /// Whether the bucket refills while a timer sleeps, so that waiting calls are decided in another way.
    #[inline]
    pub(crate) fn is_fast(&self) -> bool {
        let word = Word(self.word.load(Ordering::Acquire));
        self.slot(word.generation()).pace().tolerance < TIMER
    }

    /// Takes `cost` tokens for the earliest of the instants.
    #[inline]
    pub(crate) fn take_when(&self, now: Tick, when: When, cost: u32) -> Result<Charge, Shortfall> {
        // Before the word: see `Bucket::refund`.
        let refunded = self.refunds.units();
        loop {
            let (word, config) = self.view_for(now, cost);
            let (start, latest) = config.instants(when, word.tat(), now);
            let decided = config.grant(word.tat(), start, cost);
            let at_once = decided.as_ref().is_ok_and(|grant| grant.at <= start);
            let tokens = if at_once { 0 } else { self.stripes.tokens() };
            let decided = if tokens == 0 {
                decided
            } else {
                let (granted, _) = config.grant_with(word.tat(), now, start, cost, tokens);
                if granted.is_ok_and(|grant| grant.at <= latest) {
                    return self.take_with_stripes(now, start, cost, latest);
                }
                granted
            };
            let decided = decided.and_then(|grant| grant.by(now, latest));
            if self.settle(now, word, &decided) {
                return decided.map(|grant| Charge {
                    refunded,
                    ..Charge::new(&grant, &config)
                });
            }
        }
    }

    /// The instant at which a charge of `cost`, for use not before `not_before`, would be granted
    /// behind calls that will take `in_front` tokens as they come. Takes nothing.
    pub(crate) fn probe_behind(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        in_front: u64,
    ) -> Result<Tick, Shortfall> {
        loop {
            let (word, config) = self.view_for(now, cost);
            let tokens = self.stripes.tokens();
            let tat = config.behind(word.tat(), now, in_front.saturating_sub(u64::from(tokens)));
            let left = u64::from(tokens).saturating_sub(in_front);
            // At most `tokens`.
            let (granted, _) = config.grant_with(tat, now, not_before, cost, left as u32);
            if self.is_still(word) {
                return granted?.by(now, Tick::NEVER).map(|grant| grant.at);
            }
        }
    }

    /// The available tokens; `u32::MAX` if there is no limit.
    pub(crate) fn available(&self, now: Tick) -> u32 {
        self.look(now, |tat, config| {
            let tokens = self.stripes.tokens();
            config.available(tat, now).saturating_add(tokens)
        })
    }

    /// What is left after `charge`, or now; none if there is no limit.
    #[cfg(feature = "tower")]
    pub(crate) fn remainder(&self, now: Tick, charge: Option<&Charge>) -> Option<Remainder> {
        self.look(now, |tat, config| {
            let charge = charge.filter(|charge| charge.changes == config.changes);
            let tat = charge.map_or(tat, |charge| charge.end);
            config.remainder(tat, now, self.stripes.tokens())
        })
    }

    /// Returns a charge whole, if all later charges have been returned and the configuration is
    /// the same; otherwise returns nothing.
    ///
    /// `golang.org/x/time/rate` also returns a part of a charge if the later ones were smaller.
    /// That breaks the limit: with several charges cancelled, or one cancelled late, more calls
    /// pass in a window than burst and rate allow. Here the charges that remain are always
    /// adjacent.
    ///
    /// Tokens that came out of the stripes return to them by the same rule.
    pub(crate) fn cancel(&self, charge: &Charge) {
        let _refunds = self.control.lock();
        if self.refunds.units() != charge.refunded {
            return;
        }
        self.return_leased(charge, u32::MAX);
        self.return_units(charge, |config, tat| {
            let is_last = config.changes == charge.changes && tat == charge.end;
            if is_last { charge.units } else { 0 }
        });
    }

    /// The rest of a pause.
    pub(crate) fn pause_left(&self, now: Tick) -> Option<Duration> {
        self.look(now, |_, config| config.pause_left(now))
    }

    /// The exact rate, in tokens per second.
    pub(crate) fn rate(&self) -> f64 {
        self.look(Tick::ZERO, |_, config| config.rate())
    }

    /// The word and its configuration, which may be torn: the exchange or
    /// [`is_still`](Self::is_still) finds out.
    #[inline]
    pub(super) fn view(&self, now: Tick) -> (Word, Config) {
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            let config = self.slot(word.generation()).read();
            if !config.is_stale(now) {
                return (word, config);
            }
            self.rebase(now);
        }
    }

    /// What `f` makes of a word and its configuration that belong together.
    pub(super) fn look<T>(&self, now: Tick, f: impl Fn(u64, &Config) -> T) -> T {
        loop {
            let (word, config) = self.view(now);
            let seen = f(word.tat(), &config);
            if self.is_still(word) {
                return seen;
            }
        }
    }

    /// Whether there was no change since. The loads of the slot are Acquire, so they come before.
    #[inline]
    pub(super) fn is_still(&self, word: Word) -> bool {
        Word(self.word.load(Ordering::Relaxed)).generation() == word.generation()
    }

    #[inline]
    pub(super) fn exchange(&self, from: Word, to: Word) -> bool {
        // Relaxed: after a failure the word is loaded again with Acquire; see `# Orderings`.
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
    pub(super) fn slot(&self, changes: u64) -> &Slot {
        &self.slots[usize::from(changes & 1 == 1)]
    }

    /// Makes a charge that is granted. A decision that takes nothing only needs the word to have
    /// stayed in its generation.
    pub(super) fn settle(&self, now: Tick, word: Word, decided: &Result<Grant, Shortfall>) -> bool {
        match decided {
            Ok(grant) if grant.units > 0 => {
                self.refunds.granted(grant, now);
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
