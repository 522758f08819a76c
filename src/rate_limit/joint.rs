//! Several limits as one: all admit, or none is charged.

use super::denied::Denied;
use super::limit::{Ask, Charges};
use super::policy::{Limit, MAX_MEMBERS, RateLimiter};
use super::queue::WaiterId;
use super::state::{Return, Shortfall};
use super::table::KeyHandle;
use crate::config::Mode;
use crate::rejection::Rejection;
use crate::sync::Arc;
use crate::time::Tick;

/// Takes tokens from every member for one common instant, or from none.
///
/// The members are read first, and charged only when all of them would grant the same instant
/// within the span. If another call comes between, what was charged is returned and all starts
/// again. A charge that cannot be returned by then (see [`Return::Whole`]) is a token lost,
/// never one gained.
///
/// The latest of the instants that the members would grant suits all of them: what a bucket grants
/// for an instant it grants for every later one, up to the end of what it can count. A member that
/// only records delays no call.
pub(super) fn take<'a>(members: &'a [RateLimiter], ask: &Ask) -> Result<Charges, Denied<'a>> {
    let Ask {
        cost,
        key,
        now,
        latest,
        ..
    } = *ask;
    'retry: loop {
        let mut short = [None; MAX_MEMBERS];
        let mut tightest: Option<(&RateLimiter, Shortfall)> = None;
        let mut at = now;
        for (member, short) in members.iter().zip(&mut short) {
            let mode = member.mode();
            if mode == Mode::Off {
                continue;
            }
            let in_front = match ask.by.is_behind_queue() {
                true => member.in_front(key, None, now),
                false => 0,
            };
            let shortfall = match member.tokens(key).probe(ask, now, in_front) {
                Ok(due) if due <= latest => {
                    if mode == Mode::Enforce {
                        at = at.max(due);
                    }
                    continue;
                }
                Ok(due) => Shortfall::until(due, now),
                Err(shortfall) => shortfall,
            };
            *short = Some(shortfall);
            let is_tighter = || tightest.is_none_or(|(_, other)| shortfall.is_longer(other));
            if mode == Mode::Enforce && is_tighter() {
                tightest = Some((member, shortfall));
            }
        }
        if let Some((by, shortfall)) = tightest {
            if !ask.quiet {
                emit_rejections(members, cost, &short);
            }
            return Err(by.denied(cost, shortfall));
        }
        let enforced = |member: &&RateLimiter| member.mode() == Mode::Enforce;
        for member in members.iter().filter(enforced).filter(|_| at > now) {
            let fits = member.tokens(key).probe(ask, at, 0);
            fits.map_err(|shortfall| member.denied(cost, shortfall))?;
        }
        let mut charges = [None; MAX_MEMBERS];
        for (index, member) in members.iter().enumerate() {
            let by = match member.mode() {
                Mode::Enforce => at,
                Mode::RecordOnly => latest,
                Mode::Off => continue,
            };
            let member_ask = Ask { latest: by, ..*ask };
            let shortfall = match member.charge_from(at, &member_ask) {
                Ok(charged) => {
                    charges[index] = Some(charged);
                    continue;
                }
                Err(shortfall) => shortfall,
            };
            if member.mode() != Mode::Enforce {
                continue;
            }
            give_back(members, key, &Charges::Joint(at, Box::new(charges)));
            let mut charged = members[..index].iter();
            if !charged.any(|other| Arc::ptr_eq(&other.shared, &member.shared)) {
                continue 'retry;
            }
            // Another key of the same limiter. If this key was new, it has evicted that one and
            // inherits the debt, and would do so again.
            short[index] = Some(shortfall);
            if !ask.quiet {
                emit_rejections(members, cost, &short);
            }
            return Err(member.denied(cost, shortfall));
        }
        if short != [None; MAX_MEMBERS] {
            // A member that only records.
            emit_rejections(members, cost, &short);
        }
        return Ok(match ask.keep || at > now {
            true => Charges::Joint(at, Box::new(charges)),
            false => Charges::None,
        });
    }
}

/// Emits the rejections of the members that lack tokens.
#[cold]
fn emit_rejections(members: &[RateLimiter], cost: u32, short: &[Option<Shortfall>; MAX_MEMBERS]) {
    for (member, shortfall) in members.iter().zip(short) {
        let Some(shortfall) = shortfall else {
            continue;
        };
        let rejection = || member.denied(cost, *shortfall).rejection();
        match member.mode() {
            Mode::Enforce => drop(member.common().rejected(rejection())),
            Mode::RecordOnly => member.common().record_rejection(rejection),
            _ => {}
        }
    }
}

/// Returns what was taken, as far as no later charge depends on it.
pub(super) fn give_back(members: &[RateLimiter], key: Option<KeyHandle>, charges: &Charges) {
    for (index, member) in members.iter().enumerate() {
        if let Some(charge) = charges.of(index) {
            member.give_back(key, charge, Return::Whole);
        }
    }
}

/// When a call could have its tokens.
pub(super) struct Due<'a> {
    pub(super) at: Tick,
    /// The member that is the last to have them, and its number.
    pub(super) by: &'a RateLimiter,
    pub(super) member: usize,
}

impl<'a> Due<'a> {
    /// # Errors
    /// If the tokens are not there by the latest instant of use.
    pub(super) fn in_time(self, ask: &Ask) -> Result<Self, Denied<'a>> {
        match self.at > ask.latest {
            true => Err(self.late(ask)),
            false => Ok(self),
        }
    }

    pub(super) fn late(&self, ask: &Ask) -> Denied<'a> {
        let shortfall = Shortfall::until(self.at, ask.now);
        self.by.denied(ask.cost, shortfall)
    }
}

/// A waiter, in the queue of one member.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) member: usize,
    pub(super) id: WaiterId,
    /// The tokens that those in front of it want.
    pub(super) in_front: u64,
}

impl RateLimiter {
    /// When a call could have its tokens of all members, if no other call comes first: a new call,
    /// or a waiter. Takes nothing.
    pub(super) fn due(&self, ask: &Ask, waiter: Option<Standing>) -> Result<Due<'_>, Denied<'_>> {
        let (key, now) = (self.key.or(ask.key), ask.now);
        let mut due = Due {
            at: now,
            by: self,
            member: 0,
        };
        let mut never: Option<Denied<'_>> = None;
        let is_joint = matches!(self.shared.limit, Limit::Joint(_));
        for (index, member) in self.members().iter().enumerate() {
            // A member that only records delays no call.
            if is_joint && member.mode() != Mode::Enforce {
                continue;
            }
            let in_front = match waiter {
                Some(waiter) if waiter.member == index => waiter.in_front,
                waiter => member.in_front(key, waiter.map(|waiter| waiter.id), now),
            };
            match member.tokens(key).probe(ask, now, in_front) {
                Ok(at) if at > due.at => {
                    due = Due {
                        at,
                        by: member,
                        member: index,
                    };
                }
                Ok(_) => {}
                Err(shortfall) => {
                    let is_first = |other: &Denied<'_>| shortfall.is_longer(other.shortfall);
                    if never.as_ref().is_none_or(is_first) {
                        never = Some(member.denied(ask.cost, shortfall));
                    }
                }
            }
        }
        match never {
            Some(never) => Err(never),
            None => Ok(due),
        }
    }

    /// Emits a rejection, as that of a joint limiter's member too.
    pub(super) fn deny(&self, denied: &Denied<'_>) -> Rejection {
        let rejection = self.reject(denied);
        match Arc::ptr_eq(&self.shared, &denied.by.shared) {
            true => rejection,
            false => denied.by.common().rejected(rejection),
        }
    }
}
