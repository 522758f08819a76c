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
use super::state::{Bucket, Charge, Shortfall, When};
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

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// One that does not wait.
    Caller,
    /// One that will wait. Like a waiter it gets tokens that fell due while a timer had not yet
    /// fired.
    Comer,
    /// The head of a queue, which overtakes no other.
    Head,
    /// A waiter that need not wait, because the mode rejects nothing. It takes the tokens that it
    /// would have waited for; the others in its queue do the same.
    Released,
}

impl Asker {
    /// Whether the waiters of the queue have their tokens first.
    pub(super) fn is_behind_queue(self) -> bool {
        matches!(self, Self::Caller | Self::Comer)
    }
}

/// The charges of a call.
#[derive(Debug)]
pub(super) enum Charges {
    /// Nothing was charged, or it is spent.
    None,
    One(Charge),
    /// By member, if any is to be kept. A call that waits or keeps its charge may allocate once.
    Joint(Tick, Box<JointCharge>),
}

pub(super) type JointCharge = [Option<Charge>; MAX_MEMBERS];

impl Charges {
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
    /// Takes tokens for use not before `not_before`, if they are available by the latest instant of
    /// use; otherwise takes nothing.
    #[inline]
    fn take(self, not_before: Tick, ask: &Ask) -> Result<Charge, Shortfall> {
        let when = match ask.by {
            Asker::Caller | Asker::Released => When::Within {
                not_before,
                latest: ask.latest,
            },
            Asker::Comer | Asker::Head => When::Late {
                has_waited: ask.by == Asker::Head,
            },
        };
        match self {
            Self::One(bucket) => bucket.take_when(ask.now, when, ask.cost),
            Self::Keyed(table, key) => {
                let is_kept = ask.keep || ask.latest > ask.now;
                let refunded = is_kept.then(|| table.refunded(key));
                let mut charge = table.take_when(ask.now, key, when, ask.cost)?;
                charge.refunded = refunded.unwrap_or(0);
                Ok(charge)
            }
        }
    }

    /// The instant at which a charge would be granted, after one of `in_front` tokens. Takes nothing.
    pub(super) fn probe(
        self,
        ask: &Ask,
        not_before: Tick,
        in_front: u64,
    ) -> Result<Tick, Shortfall> {
        let Ask { now, cost, .. } = *ask;
        match self {
            Self::One(bucket) => bucket.probe_behind(now, not_before, cost, in_front),
            Self::Keyed(table, key) => table.probe_behind(now, not_before, key, cost, in_front),
        }
    }

    pub(super) fn available(self, now: Tick) -> u32 {
        match self {
            Self::One(bucket) => bucket.available(now),
            Self::Keyed(table, key) => table.available(now, key),
        }
    }

    /// What is left after `charge`, or now; none if there is no limit.
    #[cfg(feature = "tower")]
    pub(super) fn remainder(self, now: Tick, charge: Option<&Charge>) -> Option<Remainder> {
        match self {
            Self::One(bucket) => bucket.remainder(now, charge),
            Self::Keyed(table, key) => table.remainder(now, key, charge),
        }
    }

    /// The quota of a key's tier.
    pub(super) fn quota_of_tier(self) -> Option<Quota> {
        match self {
            Self::One(_) => None,
            Self::Keyed(table, key) => Some(table.quota(key.tier)),
        }
    }

    /// Tokens per second, as they are kept.
    pub(super) fn rate(self) -> f64 {
        match self {
            Self::One(bucket) => bucket.rate(),
            Self::Keyed(table, key) => table.rate(key.tier),
        }
    }

    /// Admits nothing until `until`. Returns whether a key in debt was evicted.
    pub(super) fn pause(self, now: Tick, until: Tick) -> bool {
        match self {
            Self::One(bucket) => bucket.pause(now, until),
            Self::Keyed(table, key) => return table.pause(now, key, until),
        }
        false
    }

    /// Changes a charge of `from` tokens to one of `to`: returns as many tokens as time has not
    /// returned yet, or owes the rest. Returns whether a key in debt was evicted.
    fn settle(self, charge: &Charge, (from, to): (u32, u32), now: Tick) -> bool {
        match (self, from.checked_sub(to)) {
            (Self::One(bucket), Some(less)) => bucket.refund(charge, less, now),
            (Self::Keyed(table, key), Some(less)) => table.refund(key, charge, less, now),
            (_, None) => return self.owe(to - from, now),
        }
        false
    }

    /// Takes tokens that need not be there: what is missing is a debt. Returns whether a key in
    /// debt was evicted.
    fn owe(self, tokens: u32, now: Tick) -> bool {
        match self {
            Self::One(bucket) => bucket.owe(now, tokens),
            Self::Keyed(table, key) => return table.owe(now, key, tokens),
        }
        false
    }

    /// Returns a charge whole, if no later one depends on it. Otherwise returns nothing.
    fn cancel(self, charge: &Charge) {
        match self {
            Self::One(bucket) => bucket.cancel(charge),
            Self::Keyed(table, key) => table.cancel(key, charge),
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
        if self.shared.queues.any() && ask.by.is_behind_queue() {
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
        let in_front = self.in_front(ask.key, None, ask.now);
        if in_front == 0 || ask.cost == 0 {
            return Ok(());
        }
        let at = self.tokens(ask.key).probe(ask, ask.now, in_front)?;
        Err(Shortfall::until(at, ask.now))
    }

    /// The tokens that waiters want; those that came before `before`, or all.
    #[inline]
    pub(super) fn in_front(
        &self,
        key: Option<KeyHandle>,
        before: Option<WaiterId>,
        now: Tick,
    ) -> u64 {
        let queues = &self.shared.queues;
        match queues.any() {
            false => 0,
            true => queues.in_front(self.queue_key(key), before, now),
        }
    }

    /// The key of the queue of a bucket.
    pub(super) fn queue_key(&self, key: Option<KeyHandle>) -> u64 {
        self.tokens(key).queue_key()
    }

    /// Takes tokens that need not be there: what is missing is a debt.
    pub(super) fn owe(&self, key: Option<KeyHandle>, tokens: u32, now: Tick) {
        self.emit_eviction(self.tokens(key).owe(tokens, now));
    }

    /// Changes a charge of `from` tokens to one of `to`.
    pub(super) fn settle_one(
        &self,
        key: Option<KeyHandle>,
        charge: &Charge,
        cost: (u32, u32),
        now: Tick,
    ) {
        self.emit_eviction(self.tokens(key).settle(charge, cost, now));
        self.wake_head(key);
    }

    /// Returns a charge whole, if no later one depends on it. Otherwise returns nothing.
    pub(super) fn cancel(&self, key: Option<KeyHandle>, charge: &Charge) {
        self.tokens(key).cancel(charge);
        self.wake_head(key);
    }

    /// Wakes the head of the queue, after tokens were returned.
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
