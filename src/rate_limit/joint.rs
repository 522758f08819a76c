//! Several limits as one: all admit, or none is charged.

use super::limit::JointCharge;
use super::policy::{MAX_MEMBERS, RateLimiter};
use super::state::Shortfall;
use super::table::KeyHandle;
use crate::config::Mode;
use crate::rejection::Rejection;
use crate::time::Tick;

/// Takes `cost` tokens from every member for one common instant, which is returned, or from none.
///
/// The members are read first, and charged only when all of them would grant the same instant by
/// `latest`. If another call comes between, what was charged is returned and all starts again. A
/// charge that cannot be returned by then (see [`RateLimiter::cancel`]) is a token lost, never
/// one gained.
pub(super) fn take(
    members: &[RateLimiter],
    key: Option<KeyHandle>,
    cost: u32,
    now: Tick,
    latest: Tick,
) -> Result<(Tick, JointCharge), Rejection> {
    'retry: loop {
        let mut recorded = NOTHING;
        let at = common_instant(members, key, cost, now, latest, &mut recorded)?;
        let mut charges = [None; MAX_MEMBERS];
        for (member, charge) in members.iter().zip(&mut charges) {
            let by = match member.mode() {
                Mode::Enforce => at,
                Mode::RecordOnly => latest,
                Mode::Off => continue,
            };
            *charge = member.charge(key, cost, now, at, by).ok();
            if charge.is_none() && member.mode() == Mode::Enforce {
                give_back(members, key, &charges);
                continue 'retry;
            }
        }
        for (member, rejection) in members.iter().zip(recorded) {
            if let Some(rejection) = rejection {
                member.common().record_rejection(|| rejection);
            }
        }
        return Ok((at, charges));
    }
}

const NOTHING: [Option<Rejection>; MAX_MEMBERS] = [const { None }; MAX_MEMBERS];

/// What [`take`] would be rejected with. Takes nothing and emits nothing.
pub(super) fn peek(
    members: &[RateLimiter],
    key: Option<KeyHandle>,
    cost: u32,
    now: Tick,
    latest: Tick,
) -> Result<(), Rejection> {
    common_instant(members, key, cost, now, latest, &mut { NOTHING }).map(drop)
}

/// Returns what was taken, as far as no later charge depends on it.
pub(super) fn give_back(members: &[RateLimiter], key: Option<KeyHandle>, charges: &JointCharge) {
    for (member, charge) in members.iter().zip(charges) {
        if let Some(charge) = charge {
            member.cancel(key, charge);
        }
    }
}

/// The latest of the instants that the members would grant, or the rejection with the longest
/// wait. A member that only records delays no call; its rejection is left in `recorded`.
///
/// The latest instant suits all of them: what a bucket grants for an instant it grants for every
/// later one, up to the end of what it can count.
fn common_instant(
    members: &[RateLimiter],
    key: Option<KeyHandle>,
    cost: u32,
    now: Tick,
    latest: Tick,
    recorded: &mut [Option<Rejection>; MAX_MEMBERS],
) -> Result<Tick, Rejection> {
    let mut common = now;
    let mut longest: Option<Rejection> = None;
    for (member, recorded) in members.iter().zip(recorded) {
        let mode = member.mode();
        if mode == Mode::Off {
            continue;
        }
        let shortfall = match member.probe(key, cost, now, now) {
            Ok(at) if at <= latest => {
                if mode == Mode::Enforce {
                    common = common.max(at);
                }
                continue;
            }
            Ok(at) => Shortfall::until(at, now),
            Err(shortfall) => shortfall,
        };
        let rejection = member.rejection(cost, shortfall);
        if mode == Mode::RecordOnly {
            *recorded = Some(rejection);
        } else if longest
            .as_ref()
            .is_none_or(|other| is_longer(&rejection, other))
        {
            longest = Some(rejection);
        }
    }
    if let Some(longest) = longest {
        return Err(longest);
    }
    if common > now {
        for member in members
            .iter()
            .filter(|member| member.mode() == Mode::Enforce)
        {
            member
                .probe(key, cost, now, common)
                .map_err(|shortfall| member.rejection(cost, shortfall))?;
        }
    }
    Ok(common)
}

/// Whether the wait after `a` is longer than that after `b`; a wait without an end is the longest.
fn is_longer(a: &Rejection, b: &Rejection) -> bool {
    match (a.retry_after(), b.retry_after()) {
        (Some(a), Some(b)) => a > b,
        (a, b) => a.is_none() && b.is_some(),
    }
}
