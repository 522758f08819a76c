//! What a call wants of a limiter, and the operations on one bucket: its own, or that of a key.
//!
//! - [`Ask`] says all that a call wants: how many tokens, of which key, for which instants, by which kind of call.
//! - [`RateLimiter::decide`] has the one fast path: a limiter with one bucket, enforced, without a
//!   queue. All else goes through [`RateLimiter::take`]: one bucket, or several in `joint`.
//! - A bucket and an entry of a table are [`Tokens`], with the same operations and one [`Charge`].
//! - [`RateLimiter::enforced`] makes a rejection or a record of a denial, for every entry point.
//! - What an admission holds is `Granted`, `Reservation` or `OpenCharge`, and settles once.

use std::task::Waker;

use super::policy::{Limit, MAX_MEMBERS, RateLimiter};
use super::queue::WaiterId;
use super::quota::Quota;
use super::state::config::{Config, Grant};
use super::state::{Bucket, Charge, Return, Shortfall};
use super::table::{KeyHandle, Table};
#[cfg(feature = "tower")]
use crate::context::Remainder;
use crate::event::EventKind;
use crate::time::Tick;

/// What a call wants of a limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// How many tokens; 0 is free.
    pub(super) cost: u32,
    /// The key whose bucket is charged, where the handle has none of its own.
    pub(super) key: Option<KeyHandle>,
    pub(super) by: Asker,
    /// Whether the members of a joint limiter emit no rejection: one that waits, or is only
    /// recorded, is no rejection of theirs.
    pub(super) quiet: bool,
    /// Whether the charge is kept, to be settled or returned. One for a later instant always is.
    pub(super) keep: bool,
    /// From now to `latest` the tokens are of use. Read from the clock only where they are needed.
    pub(super) now: Tick,
    pub(super) latest: Tick,
}

impl Ask {
    #[inline]
    pub(crate) fn now(cost: u32) -> Self {
        Self {
            cost,
            key: None,
            by: Asker::Caller,
            quiet: false,
            keep: false,
            now: Tick::ZERO,
            latest: Tick::ZERO,
        }
    }

    #[inline]
    pub(crate) fn of(self, key: Option<KeyHandle>) -> Self {
        Self { key, ..self }
    }

    #[inline]
    pub(super) fn at(self, now: Tick) -> Self {
        let latest = now;
        Self {
            now,
            latest,
            ..self
        }
    }

    #[inline]
    pub(super) fn waiting(self) -> Self {
        Self {
            quiet: true,
            by: Asker::Comer,
            ..self
        }
    }
}

/// Where a waiter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The member in whose queue it is.
    pub(super) member: usize,
    pub(super) id: WaiterId,
    /// The tokens that those in front of it want.
    pub(super) in_front: u64,
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// One that does not wait.
    Caller,
    /// One that will wait. Like a waiter it gets tokens that fell due while a timer had not yet
    /// fired.
    Comer,
    /// One that has waited, in the queue of one member.
    Waiter(Standing),
    /// A waiter that need not wait, because the mode rejects nothing. It takes the tokens that it
    /// would have waited for; the others in its queue do the same.
    Released,
}

/// The charges of a call.
#[derive(Debug)]
pub(super) enum Charges {
    /// Nothing was charged, or it is spent.
    None,
    One(Charge),
    /// By member, if any is to be kept. A call that waits or keeps its charge may allocate once.
    Joint(Tick, Box<[Option<Charge>; MAX_MEMBERS]>),
}

impl Charges {
    /// The charge of the member with this index.
    pub(super) fn of(&self, index: usize) -> Option<&Charge> {
        match self {
            Self::None => None,
            Self::One(charge) => Some(charge),
            Self::Joint(_, charges) => charges[index].as_ref(),
        }
    }

    /// The instant granted, unless nothing was charged.
    pub(super) fn at(&self) -> Option<Tick> {
        match self {
            Self::None => None,
            Self::One(charge) => Some(charge.at),
            Self::Joint(at, _) => Some(*at),
        }
    }
}

/// The tokens of one bucket.
#[derive(Clone, Copy)]
pub(super) enum Tokens<'a> {
    One(&'a Bucket),
    Keyed(&'a Table, KeyHandle),
}

impl Tokens<'_> {
    /// Makes the charge of `cost` tokens that `decide` grants, given the configuration and where the
    /// debt ends.
    #[inline]
    fn charge(
        self,
        now: Tick,
        cost: u32,
        decide: &impl Fn(&Config, u64) -> Result<Grant, Shortfall>,
    ) -> Result<Charge, Shortfall> {
        match self {
            Self::One(bucket) => bucket.charge(now, cost, decide),
            Self::Keyed(table, key) => table.charge(now, key, cost, decide),
        }
    }

    /// What `read` makes of where the debt ends, its configuration and the tokens in the stripes, for
    /// a charge of `cost`. Takes nothing.
    fn read<T>(self, now: Tick, cost: u32, read: impl Fn(u64, &Config, u32) -> T) -> T {
        match self {
            Self::One(bucket) => bucket.read(now, cost, read),
            Self::Keyed(table, key) => table.read(now, key, |tat, config| read(tat, config, 0)),
        }
    }

    /// Takes tokens for use not before `not_before`, if they are available by the latest instant of
    /// use; otherwise takes nothing. The charge is made as if at `not_before`, so that several
    /// buckets can be charged for one instant.
    #[inline]
    pub(super) fn take(self, not_before: Tick, ask: &Ask) -> Result<Charge, Shortfall> {
        let Ask { cost, now, .. } = *ask;
        self.charge(now, cost, &|config: &Config, tat| {
            let start = match ask.by {
                Asker::Caller | Asker::Released => now.max(not_before),
                // As if its timer had fired when the tokens fell due.
                Asker::Comer => config.as_of(tat, now, false),
                Asker::Waiter(_) => config.as_of(tat, now, true),
            };
            config.grant(tat, start, cost)?.by(now, ask.latest)
        })
    }

    /// The instant at which a charge would be granted, after one of `in_front` tokens.
    pub(super) fn probe(
        self,
        ask: &Ask,
        not_before: Tick,
        in_front: u64,
    ) -> Result<Tick, Shortfall> {
        let Ask { now, cost, .. } = *ask;
        self.read(now, cost, |tat, config, tokens| {
            config.probe(tat, (now, not_before), cost, in_front, tokens)
        })
    }

    /// The available tokens; `u32::MAX` if there is no limit.
    pub(super) fn available(self, now: Tick) -> u32 {
        self.read(now, 0, |tat, config, tokens| {
            config.available(tat, now).saturating_add(tokens)
        })
    }

    /// What is left after `charge`, or now; none if there is no limit.
    #[cfg(feature = "tower")]
    pub(super) fn remainder(self, now: Tick, charge: Option<&Charge>) -> Option<Remainder> {
        self.read(now, 0, |tat, config, tokens| {
            let charge = charge.filter(|charge| charge.changes == config.changes);
            config.remainder(charge.map_or(tat, |charge| charge.end), now, tokens)
        })
    }

    /// The quota of a key's tier.
    pub(super) fn quota_of_tier(self) -> Option<Quota> {
        match self {
            Self::One(_) => None,
            Self::Keyed(table, key) => Some(table.quota(key.tier)),
        }
    }

    /// Tokens per second, as they are kept.
    pub(super) fn rate(self, now: Tick) -> f64 {
        self.read(now, 0, |_, config, _| config.rate())
    }

    /// Admits nothing until `until`. Returns whether a key in debt was evicted.
    pub(super) fn pause(self, now: Tick, until: Tick) -> bool {
        match self {
            Self::One(bucket) => bucket.pause(now, until),
            Self::Keyed(table, key) => return table.pause(now, key, until),
        }
        false
    }

    /// Takes tokens that need not be there: what is missing is a debt. Returns whether a key in
    /// debt was evicted.
    pub(super) fn owe(self, tokens: u32, now: Tick) -> bool {
        let decide = |config: &Config, tat| Ok(config.owed(tat, now, tokens));
        let owed = self.charge(now, tokens, &decide);
        if let Self::One(bucket) = self {
            // They would be spent before the debt is repaid.
            bucket.drain_stripes(now);
        }
        owed.is_ok_and(|charge| charge.evicted)
    }

    /// Returns a charge, unless its quota or the owner of its entry has changed since.
    pub(super) fn give_back(self, charge: &Charge, back: Return) {
        match self {
            Self::One(bucket) => bucket.give_back(charge, back),
            Self::Keyed(table, key) => table.give_back(key, charge, back),
        }
    }

    fn queue_key(self) -> u64 {
        match self {
            Self::One(_) => 0,
            Self::Keyed(_, key) => key.hash,
        }
    }
}

/// The entry of a call without a key: only a joint limiter with a keyed member can be called so.
const NO_KEY: KeyHandle = KeyHandle { hash: 0, tier: 0 };

/// These are called on the [members](RateLimiter::members) of a limiter, never on a joint one.
impl RateLimiter {
    /// The bucket of `key`, or of this handle's own key.
    #[inline]
    pub(super) fn tokens(&self, key: Option<KeyHandle>) -> Tokens<'_> {
        match &self.shared.limit {
            Limit::One(bucket) => Tokens::One(bucket),
            Limit::Keyed(table) => Tokens::Keyed(table, self.key_of(key)),
            Limit::Joint(_) => unreachable!("a joint limiter is charged member by member"),
        }
    }

    /// The key whose entry is charged.
    #[inline]
    pub(super) fn key_of(&self, key: Option<KeyHandle>) -> KeyHandle {
        self.key.or(key).unwrap_or(NO_KEY)
    }

    /// Takes tokens, if they are available by the latest instant of use and no waiter is overtaken;
    /// otherwise takes nothing.
    #[inline]
    pub(super) fn charge(&self, ask: &Ask) -> Result<Charge, Shortfall> {
        if self.shared.queues.any() {
            self.check_queue(ask)?;
        }
        self.charge_from(ask.now, ask)
    }

    /// The same for use not before `not_before`, without a look at the queue.
    #[inline]
    pub(super) fn charge_from(&self, not_before: Tick, ask: &Ask) -> Result<Charge, Shortfall> {
        let charge = self.tokens(ask.key).take(not_before, ask)?;
        self.emit_eviction(charge.evicted);
        Ok(charge)
    }

    /// # Errors
    /// If calls wait: the time until they have their tokens and this one could have its own.
    #[cold]
    fn check_queue(&self, ask: &Ask) -> Result<(), Shortfall> {
        let in_front = self.in_front(0, ask);
        if in_front == 0 || ask.cost == 0 {
            return Ok(());
        }
        let at = self.tokens(ask.key).probe(ask, ask.now, in_front)?;
        Err(Shortfall::until(at, ask.now))
    }

    /// The tokens of this member that waiters get before this call. `index` is that of the member.
    pub(super) fn in_front(&self, index: usize, ask: &Ask) -> u64 {
        let before = match ask.by {
            Asker::Waiter(waiter) if waiter.member == index => return waiter.in_front,
            Asker::Waiter(waiter) => Some(waiter.id),
            Asker::Caller | Asker::Comer => None,
            Asker::Released => return 0,
        };
        let key = self.queue_key(ask.key);
        self.shared.queues.in_front(key, before, ask.now)
    }

    /// The key of the queue of a bucket.
    pub(super) fn queue_key(&self, key: Option<KeyHandle>) -> u64 {
        self.tokens(key).queue_key()
    }

    /// Takes tokens that need not be there: what is missing is a debt.
    pub(super) fn owe(&self, key: Option<KeyHandle>, tokens: u32, now: Tick) {
        self.emit_eviction(self.tokens(key).owe(tokens, now));
    }

    /// Changes a charge of `from` tokens to one of `to`: returns as many tokens as time has not
    /// returned yet, or owes the rest.
    pub(super) fn settle_one(
        &self,
        key: Option<KeyHandle>,
        charge: &Charge,
        (from, to): (u32, u32),
        now: Tick,
    ) {
        match from.checked_sub(to) {
            Some(tokens) => self.give_back(key, charge, Return::Part { tokens, now }),
            None => self.owe(key, to - from, now),
        }
    }

    /// Returns a charge, and wakes the head of the queue.
    pub(super) fn give_back(&self, key: Option<KeyHandle>, charge: &Charge, back: Return) {
        self.tokens(key).give_back(charge, back);
        self.wake_head(key);
    }

    fn wake_head(&self, key: Option<KeyHandle>) {
        let head = self.shared.queues.head(self.queue_key(key));
        head.into_iter().for_each(Waker::wake);
    }

    /// Wakes all waiters, after the limit was changed.
    pub(super) fn wake_all(&self) {
        self.shared.queues.all().into_iter().for_each(Waker::wake);
    }

    /// Emits an event if a key in debt was evicted.
    #[inline]
    pub(super) fn emit_eviction(&self, evicted: bool) {
        if evicted {
            self.emit(EventKind::Overflow);
        }
    }
}
