//! The operations on one bucket: a limiter's own, or that of a key.

use std::task::Waker;

use super::policy::{Limit, MAX_MEMBERS, RateLimiter};
use super::queue::WaiterId;
use super::state::{self, Shortfall};
use super::table::{self, KeyHandle};
#[cfg(feature = "tower")]
use crate::context::Remainder;
use crate::event::EventKind;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::Tick;

/// What a call wants of a limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// How many tokens; 0 is free.
    pub(super) cost: u32,
    /// The key whose bucket is charged, where the handle has none of its own.
    pub(super) key: Option<KeyHandle>,
    /// Whether the members of a joint limiter emit no rejection: one that waits, or is only
    /// recorded, is no rejection of theirs.
    pub(super) quiet: bool,
    /// Whether the call will wait for them.
    pub(super) waits: bool,
}

impl Ask {
    #[inline]
    pub(crate) fn now(cost: u32) -> Self {
        Self {
            cost,
            key: None,
            quiet: false,
            waits: false,
        }
    }

    #[inline]
    pub(crate) fn of(self, key: Option<KeyHandle>) -> Self {
        Self { key, ..self }
    }

    #[inline]
    pub(super) fn waiting(self) -> Self {
        Self {
            quiet: true,
            waits: true,
            ..self
        }
    }

    #[inline]
    pub(super) fn quietly(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }
}

/// The limiter that lacks tokens, and why.
pub(super) struct Denied<'a> {
    pub(super) by: &'a RateLimiter,
    pub(super) cost: u32,
    pub(super) shortfall: Shortfall,
}

impl Denied<'_> {
    #[cold]
    pub(super) fn rejection(&self) -> Rejection {
        let kind = match self.shortfall.above_burst {
            Some(burst) => RejectionKind::CostAboveBurst {
                cost: self.cost,
                burst,
            },
            None => RejectionKind::RateLimited,
        };
        Rejection::new(kind, self.by.name().clone()).with_retry_after(self.shortfall.wait)
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

/// For which instants tokens are of use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) now: Tick,
    pub(super) latest: Tick,
    pub(super) by: Asker,
    /// Whether the charge is kept, to be settled or returned. One for a later instant always is.
    pub(super) keep: bool,
}

impl Span {
    #[inline]
    pub(super) fn at(now: Tick) -> Self {
        Self {
            now,
            latest: now,
            by: Asker::Caller,
            keep: false,
        }
    }
}

/// Tokens taken from one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Charge {
    One(state::Charge),
    Keyed(table::Charge),
}

impl Charge {
    /// The instant granted.
    pub(super) fn at(&self) -> Tick {
        match self {
            Self::One(charge) => charge.at,
            Self::Keyed(charge) => charge.at,
        }
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
            Self::One(charge) => Some(charge.at()),
            Self::Joint(at, _) => Some(*at),
        }
    }
}

/// The entry of a call without a key: only a joint limiter with a keyed member can be called so.
const NO_KEY: KeyHandle = KeyHandle { hash: 0, tier: 0 };

const MEMBERS: &str = "a joint limiter is charged member by member";

/// These are called on the [members](RateLimiter::members) of a limiter, never on a joint one.
impl RateLimiter {
    /// The entry of `key`, or of this handle's own key.
    #[inline]
    pub(super) fn handle(&self, key: Option<KeyHandle>) -> KeyHandle {
        self.key.or(key).unwrap_or(NO_KEY)
    }

    /// Takes `cost` tokens, if they are available by the end of the span and no waiter is
    /// overtaken; otherwise takes nothing.
    #[inline]
    pub(super) fn charge(
        &self,
        key: Option<KeyHandle>,
        cost: u32,
        span: Span,
    ) -> Result<Charge, Shortfall> {
        if self.shared.queues.any() && span.by.is_behind_queue() {
            self.check_queue(key, cost, span)?;
        }
        self.charge_from(key, cost, span.now, span)
    }

    /// The same for use not before `not_before`, without a look at the queue.
    #[inline]
    pub(super) fn charge_from(
        &self,
        key: Option<KeyHandle>,
        cost: u32,
        not_before: Tick,
        span: Span,
    ) -> Result<Charge, Shortfall> {
        let Span {
            now, latest, by, ..
        } = span;
        let has_waited = by == Asker::Head;
        match &self.shared.limit {
            Limit::One(bucket) => match by {
                Asker::Caller | Asker::Released => bucket.take(now, not_before, cost, latest),
                Asker::Comer | Asker::Head => bucket.take_late(now, cost, has_waited),
            }
            .map(Charge::One),
            Limit::Keyed(table) => {
                let key = self.handle(key);
                let refunded = match span.keep || latest > now {
                    true => table.refunded(key),
                    false => 0,
                };
                let mut charge = match by {
                    Asker::Caller | Asker::Released => {
                        table.take(now, not_before, key, cost, latest)
                    }
                    Asker::Comer | Asker::Head => table.take_late(now, key, cost, has_waited),
                }?;
                charge.refunded = refunded;
                self.emit_eviction(charge.evicted);
                Ok(Charge::Keyed(charge))
            }
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// # Errors
    /// If calls wait: the time until they have their tokens and this one could have its own.
    #[cold]
    fn check_queue(&self, key: Option<KeyHandle>, cost: u32, span: Span) -> Result<(), Shortfall> {
        let in_front = self.in_front(key, None, span.now);
        if in_front == 0 || cost == 0 {
            return Ok(());
        }
        let at = self.probe(key, cost, in_front, span.now, span.now)?;
        Err(Shortfall::until(at, span.now))
    }

    /// The instant at which a charge would be granted, after one of `in_front` tokens. Takes nothing.
    pub(super) fn probe(
        &self,
        key: Option<KeyHandle>,
        cost: u32,
        in_front: u64,
        now: Tick,
        not_before: Tick,
    ) -> Result<Tick, Shortfall> {
        match &self.shared.limit {
            Limit::One(bucket) => bucket.probe_behind(now, not_before, cost, in_front),
            Limit::Keyed(table) => {
                table.probe_behind(now, not_before, self.handle(key), cost, in_front)
            }
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
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
        match &self.shared.limit {
            Limit::Keyed(_) => self.handle(key).hash,
            _ => 0,
        }
    }

    /// The available tokens.
    pub(super) fn tokens(&self, key: Option<KeyHandle>, now: Tick) -> u32 {
        match &self.shared.limit {
            Limit::One(bucket) => bucket.available(now),
            Limit::Keyed(table) => table.available(now, self.handle(key)),
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// What is left after `charge`, or now; none if there is no limit.
    #[cfg(feature = "tower")]
    pub(super) fn remainder(
        &self,
        key: Option<KeyHandle>,
        charge: Option<&Charge>,
        now: Tick,
    ) -> Option<Remainder> {
        match &self.shared.limit {
            Limit::One(bucket) => {
                let charge = charge.and_then(|charge| match charge {
                    Charge::One(charge) => Some(charge),
                    Charge::Keyed(_) => None,
                });
                bucket.remainder(now, charge)
            }
            Limit::Keyed(table) => {
                let charge = charge.and_then(|charge| match charge {
                    Charge::Keyed(charge) => Some(charge),
                    Charge::One(_) => None,
                });
                table.remainder(now, self.handle(key), charge)
            }
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// Returns as many tokens of a charge as time has not returned yet, at most `tokens`.
    fn refund(&self, key: Option<KeyHandle>, charge: &Charge, tokens: u32, now: Tick) {
        match (&self.shared.limit, charge) {
            (Limit::One(bucket), Charge::One(charge)) => bucket.refund(charge, tokens, now),
            (Limit::Keyed(table), Charge::Keyed(charge)) => {
                table.refund(self.handle(key), charge, tokens, now);
            }
            _ => unreachable!("a charge is returned to the bucket it was taken from"),
        }
        self.wake_head(key);
    }

    /// Takes tokens that need not be there: what is missing is a debt.
    pub(super) fn owe(&self, key: Option<KeyHandle>, tokens: u32, now: Tick) {
        match &self.shared.limit {
            Limit::One(bucket) => bucket.owe(now, tokens),
            Limit::Keyed(table) => {
                self.emit_eviction(table.owe(now, self.handle(key), tokens));
            }
            Limit::Joint(_) => unreachable!("{MEMBERS}"),
        }
    }

    /// Changes a charge of `from` tokens to one of `to`.
    pub(super) fn settle_one(
        &self,
        key: Option<KeyHandle>,
        charge: &Charge,
        (from, to): (u32, u32),
        now: Tick,
    ) {
        match to < from {
            true => self.refund(key, charge, from - to, now),
            false => self.owe(key, to - from, now),
        }
    }

    /// Returns a charge whole, if no later one depends on it. Otherwise returns nothing.
    pub(super) fn cancel(&self, key: Option<KeyHandle>, charge: &Charge) {
        match (&self.shared.limit, charge) {
            (Limit::One(bucket), Charge::One(charge)) => bucket.cancel(charge),
            (Limit::Keyed(table), Charge::Keyed(charge)) => table.cancel(self.handle(key), charge),
            _ => unreachable!("a charge is returned to the bucket it was taken from"),
        }
        self.wake_head(key);
    }

    /// Wakes the head of the queue, after tokens were returned.
    pub(super) fn wake_head(&self, key: Option<KeyHandle>) {
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
