//! Several limits asked as one.

use super::asked::{Asked, Charged};
use super::{RateLimiter, Refusal};
use crate::config::Mode;
use crate::rate_limit::state::Refused;
use crate::rate_limit::table::Place;
use crate::time::Tick;

/// The most limits in one: their charges stand on the stack.
pub(super) const MOST: usize = 8;

pub(super) type Joint = [Option<Charged>; MOST];

pub(super) const NONE: Joint = [None; MOST];

/// Takes `cost` from every limit for one common instant, which is returned, or from none.
///
/// The limits are read first, and charged only when all would grant the same instant by
/// `latest`. If somebody comes between, what was charged is given back and all begins again;
/// what cannot be given back then (see [`Asked::cancel`]) is a token too few, never one too
/// many.
pub(super) fn take<'a>(
    members: &'a [RateLimiter],
    place: Option<Place>,
    now: Tick,
    cost: u32,
    latest: Tick,
    charges: &mut Joint,
) -> Result<Tick, Refusal<'a>> {
    'anew: loop {
        let mut recorded = [None; MOST];
        let at = common(members, place, now, cost, latest, &mut recorded)?;
        for (i, member, bucket) in asked(members, place) {
            let enforced = member.mode() == Mode::Enforce;
            let by = if enforced { at } else { latest };
            match bucket.take(now, at, cost, by) {
                Ok(charge) => charges[i] = Some(charge),
                Err(_) if !enforced => {}
                Err(_) => {
                    give_back(members, place, charges);
                    continue 'anew;
                }
            }
        }
        for (member, refused) in members.iter().zip(recorded) {
            if let Some(refused) = refused {
                member.record(&refusal(member, cost, refused));
            }
        }
        return Ok(at);
    }
}

/// The earliest refusal-free instant, which must be now. Takes nothing, tells nobody.
pub(super) fn peek(
    members: &[RateLimiter],
    place: Option<Place>,
    now: Tick,
    cost: u32,
) -> Result<(), Refusal<'_>> {
    common(members, place, now, cost, now, &mut [None; MOST]).map(drop)
}

/// Gives back what was taken, as far as it can be.
pub(super) fn give_back(members: &[RateLimiter], place: Option<Place>, charges: &mut Joint) {
    for (i, _, bucket) in each(members, place) {
        if let Some(charge) = charges[i].take() {
            bucket.cancel(&charge);
        }
    }
}

/// The latest of the instants that the limits would grant, or else the refusal with the
/// longest wait. A limit that only records delays nobody.
///
/// The latest is good for all of them: what a bucket grants for an instant it grants for every
/// later one, unless that is further ahead than it can count.
fn common<'a>(
    members: &'a [RateLimiter],
    place: Option<Place>,
    now: Tick,
    cost: u32,
    latest: Tick,
    recorded: &mut [Option<Refused>; MOST],
) -> Result<Tick, Refusal<'a>> {
    let mut common = now;
    let mut tightest: Option<Refusal<'a>> = None;
    for (i, member, bucket) in asked(members, place) {
        let enforced = member.mode() == Mode::Enforce;
        let refused = match bucket.probe(now, now, cost) {
            Ok(at) if at <= latest => {
                if enforced {
                    common = common.max(at);
                }
                continue;
            }
            Ok(at) => Refused {
                wait: Some(at.since(now)),
                impossible: None,
            },
            Err(refused) => refused,
        };
        if !enforced {
            recorded[i] = Some(refused);
        } else if tightest.is_none_or(|other| is_longer(&refused, &other.refused)) {
            tightest = Some(refusal(member, cost, refused));
        }
    }
    if let Some(tightest) = tightest {
        return Err(tightest);
    }
    if common > now {
        for (_, member, bucket) in asked(members, place) {
            let refused = bucket.probe(now, common, cost).err();
            if let Some(refused) = refused.filter(|_| member.mode() == Mode::Enforce) {
                return Err(refusal(member, cost, refused));
            }
        }
    }
    Ok(common)
}

/// Whether `a` lasts longer than `b`; what has no end lasts longest.
fn is_longer(a: &Refused, b: &Refused) -> bool {
    match (a.wait, b.wait) {
        (Some(a), Some(b)) => a > b,
        (a, b) => a.is_none() && b.is_some(),
    }
}

fn refusal(by: &RateLimiter, cost: u32, refused: Refused) -> Refusal<'_> {
    Refusal { by, cost, refused }
}

fn asked(
    members: &[RateLimiter],
    place: Option<Place>,
) -> impl Iterator<Item = (usize, &RateLimiter, Asked<'_>)> {
    each(members, place).filter(|(_, member, _)| member.mode() != Mode::Off)
}

/// Each limit with its bucket; of a keyed one its own key's, or else that of whoever asks.
fn each(
    members: &[RateLimiter],
    place: Option<Place>,
) -> impl Iterator<Item = (usize, &RateLimiter, Asked<'_>)> {
    let each = members.iter().enumerate();
    each.map(move |(i, member)| (i, member, member.asked(member.1.or(place))))
}
