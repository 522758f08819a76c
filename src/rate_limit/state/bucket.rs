use std::fmt;
use std::time::Duration;

use super::config::{Config, Grant, Pause, TIMER};
use super::grant::Shortfall;
use super::refunds::Refunds;
use super::stripes::{Striped, Stripes};
use super::word::{Slot, Word};
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

    /// Whether the bucket refills while a timer sleeps, so that waiting calls are decided in another way.
    #[inline]
    pub(crate) fn is_fast(&self) -> bool {
        let word = Word(self.word.load(Ordering::Acquire));
        self.slot(word.generation()).pace().tolerance < TIMER
    }

    /// Takes `cost` tokens if they are available.
    pub(crate) fn take_now(&self, now: Tick, cost: u32) -> Result<Charge, Shortfall> {
        let decide = |config: &Config, tat| config.grant(tat, now, cost)?.by(now, now);
        self.charge(now, cost, &decide)
    }

    /// Makes the charge of `cost` tokens that `decide` grants, given the configuration and where the
    /// debt ends.
    #[inline]
    pub(in crate::rate_limit) fn charge(
        &self,
        now: Tick,
        cost: u32,
        decide: &impl Fn(&Config, u64) -> Result<Grant, Shortfall>,
    ) -> Result<Charge, Shortfall> {
        // Before the word: see `Bucket::give_back`.
        let refunded = self.refunds.units();
        loop {
            let (word, config) = self.view_for(now, cost);
            let decided = decide(&config, word.tat());
            let at_once = decided.as_ref().is_ok_and(|grant| grant.at <= now);
            if !at_once && self.drain_stripes(now) {
                continue;
            }
            let done = match &decided {
                Ok(grant) if grant.units > 0 => {
                    self.refunds.granted(grant, now);
                    self.exchange(word, Word::new(grant.end, word.generation()))
                }
                // It takes nothing, and only needs the word to have stayed in its generation.
                _ => self.is_still(word),
            };
            if done {
                return decided.map(|grant| Charge {
                    refunded,
                    ..Charge::new(&grant, &config)
                });
            }
        }
    }

    /// What `read` makes of where the debt ends, its configuration and the tokens in the stripes, for
    /// a charge of `cost`.
    pub(in crate::rate_limit) fn read<T>(
        &self,
        now: Tick,
        cost: u32,
        read: impl Fn(u64, &Config, u32) -> T,
    ) -> T {
        loop {
            let (word, config) = self.view_for(now, cost);
            let seen = read(word.tat(), &config, self.stripes.tokens());
            if self.is_still(word) {
                return seen;
            }
        }
    }

    /// The rest of a pause.
    pub(crate) fn pause_left(&self, now: Tick) -> Option<Duration> {
        self.read(now, 0, |_, config, _| config.pause_left(now))
    }

    /// The exact rate, in tokens per second.
    pub(crate) fn rate(&self) -> f64 {
        self.read(Tick::ZERO, 0, |_, config, _| config.rate())
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
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.read(Tick::ZERO, 0, |_, config, _| *config);
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
