//! Several limits as one: all admit, or none is charged.

use std::time::Duration;

use super::denied::Denied;
use super::limit::{Ask, Charges};
use super::policy::{Limit, MAX_MEMBERS, RateLimiter};
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
pub(super) fn take<'a>(limiter: &'a RateLimiter, ask: &Ask) -> Result<Charges, Denied<'a>> {
    let ask = &ask.of(limiter.key.or(ask.key));
    let (members, cost, now) = (limiter.members(), ask.cost, ask.now);
    'retry: loop {
        let mut looks = limiter.look(ask);
        let due = limiter.due_of(&looks, ask);
        let at = match due.and_then(|due| due.in_time(ask)) {
            Ok(due) => due.at,
            Err(denied) => {
                if !ask.quiet {
                    emit_rejections(members, ask, &looks);
                }
                return Err(denied);
            }
        };
        let enforced = |member: &&RateLimiter| member.mode() == Mode::Enforce;
        for member in members.iter().filter(enforced).filter(|_| at > now) {
            let fits = member.tokens(ask.key).probe(ask, at, 0);
            fits.map_err(|shortfall| member.denied(cost, shortfall))?;
        }
        let mut charges = [None; MAX_MEMBERS];
        for (index, member) in members.iter().enumerate() {
            let by = match member.mode() {
                Mode::Enforce => at,
                Mode::RecordOnly => ask.latest,
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
            give_back(members, ask.key, &Charges::Joint(at, Box::new(charges)));
            let mut charged = members[..index].iter();
            if !charged.any(|other| Arc::ptr_eq(&other.shared, &member.shared)) {
                continue 'retry;
            }
            // Another key of the same limiter. If this key was new, it has evicted that one and
            // inherits the debt, and would do so again.
            looks[index] = Some(Err(shortfall));
            if !ask.quiet {
                emit_rejections(members, ask, &looks);
            }
            return Err(member.denied(cost, shortfall));
        }
        // Some members may only record theirs.
        emit_rejections(members, ask, &looks);
        return Ok(match ask.keep || at > now {
            true => Charges::Joint(at, Box::new(charges)),
            false => Charges::None,
        });
    }
}

/// When each member would have the tokens for a call; none for one that is off.
type Looks = [Option<Result<Tick, Shortfall>>; MAX_MEMBERS];

/// Emits the rejections of the members that lack tokens.
fn emit_rejections(members: &[RateLimiter], ask: &Ask, looks: &Looks) {
    for (member, look) in members.iter().zip(looks) {
        let shortfall = match *look {
            Some(Ok(at)) if at > ask.latest => Shortfall::until(at, ask.now),
            Some(Err(shortfall)) => shortfall,
            Some(Ok(_)) | None => continue,
        };
        let rejection = || member.denied(ask.cost, shortfall).rejection();
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

impl RateLimiter {
    /// When a call could have its tokens of all members, if no other call comes first. Takes nothing.
    pub(super) fn due(&self, ask: &Ask) -> Result<Due<'_>, Denied<'_>> {
        self.due_of(&self.look(ask), ask)
    }

    fn is_joint(&self) -> bool {
        matches!(self.shared.limit, Limit::Joint(_))
    }

    fn look(&self, ask: &Ask) -> Looks {
        let ask = &ask.of(self.key.or(ask.key));
        let mut looks = [None; MAX_MEMBERS];
        for (index, member) in self.members().iter().enumerate() {
            if !self.is_joint() || member.mode() != Mode::Off {
                let in_front = member.in_front(index, ask);
                looks[index] = Some(member.tokens(ask.key).probe(ask, ask.now, in_front));
            }
        }
        looks
    }

    fn due_of(&self, looks: &Looks, ask: &Ask) -> Result<Due<'_>, Denied<'_>> {
        let mut due = Due {
            at: ask.now,
            by: self,
            member: 0,
        };
        let mut never: Option<Denied<'_>> = None;
        for (index, (by, look)) in self.members().iter().zip(looks).enumerate() {
            // A member that only records delays no call.
            if self.is_joint() && by.mode() != Mode::Enforce {
                continue;
            }
            match *look {
                Some(Ok(at)) if at > due.at => {
                    let member = index;
                    due = Due { at, by, member };
                }
                Some(Err(shortfall)) => {
                    let is_first = |other: &Denied<'_>| shortfall.is_longer(other.shortfall);
                    if never.as_ref().is_none_or(is_first) {
                        never = Some(by.denied(ask.cost, shortfall));
                    }
                }
                Some(Ok(_)) | None => {}
            }
        }
        match never {
            Some(never) => Err(never),
            None => Ok(due),
        }
    }

    /// When the call that was denied could have its tokens. The error is the denial if it never can.
    pub(super) fn due_after<'a>(
        &'a self,
        denied: Denied<'a>,
        now: Tick,
    ) -> Result<Due<'a>, Denied<'a>> {
        let by = denied.by;
        let is_by = |member: &Self| std::ptr::eq(member, by);
        match denied.shortfall.wait() {
            // Two keys of one limiter may share an entry that has tokens for each of them, but not for
            // both. Later, so that its waiter does not try again at once.
            Some(wait) => Ok(Due {
                at: now.after(wait.max(Duration::from_nanos(1))),
                by,
                member: self.members().iter().position(is_by).unwrap_or(0),
            }),
            None => Err(denied),
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
