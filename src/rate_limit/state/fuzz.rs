//! The bucket against a ledger: any operation at any time, with a clock that goes anywhere.

use std::time::Duration;

use super::{Bucket, Charge, Shortfall, Striped};
use crate::config::Problems;
use crate::fuzzing::{Bytes, Granted, check_windows};
use crate::rate_limit::quota::{Quota, SPAN, UNITS};
use crate::time::Tick;

/// What the word holds: 4.5 years after the origin.
const LAST: i128 = (1 << 62) - 1;
/// After two years the origin is moved on.
const STALE: i128 = 1 << 61;
const DAY: u64 = 24 * 3_600 * 1_000_000_000;

/// A naive bucket: no word and no generations, time in units since its start, in numbers that
/// cannot overflow.
struct Ledger {
    quota: Quota,
    interval: i128,
    tolerance: i128,
    /// Before it time stands still.
    origin: u64,
    frozen: u64,
    paused: u64,
    /// Where the debt ends.
    end: i128,
    /// The charges of this configuration, oldest first.
    charges: Vec<Charged>,
    /// The units refunded so far.
    refunded: i128,
    /// The latest instant that is reserved.
    reserved: u64,
    /// The end of the debt without the pause and with it.
    pause: Option<(i128, i128)>,
    /// The grants of this configuration, by id; a pause does not start another one.
    grants: Vec<(usize, Granted)>,
}

struct Charged {
    id: usize,
    at: u64,
    /// The end of the debt with it.
    end: i128,
    units: i128,
    /// The units refunded before it.
    refunded: i128,
}

enum RejectionKind {
    Change,
    Pause,
    Resume,
}

fn ceil(n: i128, by: i128) -> i128 {
    (n + by - 1).div_euclid(by)
}

impl Ledger {
    fn new(now: u64, quota: Quota) -> Self {
        let mut ledger = Self {
            quota,
            interval: i128::from(UNITS) * 1_000_000_000,
            tolerance: 0,
            origin: now,
            frozen: u64::MAX,
            paused: 0,
            end: i128::from(now) * i128::from(UNITS),
            charges: Vec::new(),
            refunded: 0,
            reserved: 0,
            pause: None,
            grants: Vec::new(),
        };
        ledger.install(now, quota, 0, &RejectionKind::Change);
        // A new bucket is full at any time that its clock shows.
        ledger.end = ledger.begins();
        ledger
    }

    fn begins(&self) -> i128 {
        i128::from(self.origin) * i128::from(UNITS)
    }

    /// The clock, as far as the word goes.
    fn units(&self, time: u64) -> i128 {
        let passed = i128::from(time.saturating_sub(self.origin));
        self.begins() + passed.min(LAST / i128::from(UNITS)) * i128::from(UNITS)
    }

    fn clock(&self, now: u64) -> i128 {
        self.units(if self.runs() { now } else { self.frozen })
    }

    fn runs(&self) -> bool {
        self.frozen == u64::MAX
    }

    fn is_unlimited(&self) -> bool {
        self.quota.is_unlimited()
    }

    /// The first step of every decision.
    fn age(&mut self, now: u64) {
        if self.clock(now) - self.begins() >= STALE {
            self.install(now, self.quota, self.paused, &RejectionKind::Change);
        }
    }

    /// The charge before it is made: its instant, its units, the end of the debt.
    fn grant(&self, now: u64, not_before: u64, cost: u32) -> Result<(u64, i128, i128), Shortfall> {
        let start = now.max(not_before);
        if cost == 0 {
            return Ok((start, 0, self.end));
        }
        if self.is_unlimited() {
            return Ok((start.max(self.paused), 0, self.end));
        }
        let units = i128::from(cost) * self.interval;
        let never = Shortfall::Unknown;
        if units > self.tolerance {
            let most = u64::try_from(self.tolerance / self.interval).unwrap();
            return Err(match self.runs() {
                true => Shortfall::AboveBurst(most),
                false => never,
            });
        }
        let from = self.clock(start);
        let after = self.end.max(from) + units;
        if after - self.tolerance <= from {
            return Ok((start, units, after));
        }
        let due = ceil(after - self.tolerance, i128::from(UNITS));
        if !self.runs() || due > i128::from(u64::MAX) {
            return Err(never);
        }
        let after = self.end.max(due * i128::from(UNITS)) + units;
        Ok((due as u64, after - self.end, after))
    }

    fn take(
        &mut self,
        id: usize,
        (now, not_before, latest): (u64, u64, u64),
        cost: u32,
    ) -> Result<u64, Shortfall> {
        self.age(now);
        let (at, units, end) = self.grant(now, not_before, cost)?;
        if at > latest || end - self.begins() > LAST {
            return Err(Shortfall::For(at.saturating_sub(now)));
        }
        if units > 0 {
            if at > now {
                self.reserved = self.reserved.max(at);
            }
            self.end = end;
            let refunded = self.refunded;
            self.charges.push(Charged {
                id,
                at,
                end,
                units,
                refunded,
            });
            self.grants.push((id, (at, cost)));
        }
        Ok(at)
    }

    /// A debt of `tokens`.
    fn owe(&mut self, now: u64, tokens: u32) {
        self.age(now);
        if tokens > 0 {
            let end = self.end.max(self.clock(now)) + i128::from(tokens) * self.interval;
            self.end = end.min(self.begins() + LAST);
        }
    }

    /// A debt of `tokens` in a bound. What the word cannot hold for a long pause is owed after it.
    fn owe_at_least(&mut self, now: u64, tokens: u32) {
        self.age(now);
        let here = self.clock(now);
        let before = self.end.max(here);
        self.owe(now, tokens);
        let lost = i128::from(tokens) * self.interval - (self.end - before);
        if let Some((without, _)) = &mut self.pause {
            *without = (*without).max(here) + lost.max(0);
        }
    }

    fn cancel(&mut self, id: usize) {
        self.grants.retain(|(granted, _)| *granted != id);
        if let Some(last) = self.charges.last() {
            let since = self.refunded - last.refunded;
            if last.id == id && last.end == self.end && since == 0 {
                self.end -= last.units;
                self.charges.pop();
            }
        }
    }

    /// Returns the tokens of a charge that time has not returned: at most the charge less the time
    /// since, or what is left of the debt that ended with it. Tokens that come until the last
    /// reservation are its own.
    fn refund(&mut self, id: usize, tokens: u32, now: u64) {
        settle(&mut self.grants, id, tokens);
        let Some(at) = self.charges.iter().position(|charge| charge.id == id) else {
            return;
        };
        let charge = self.charges.remove(at);
        let until = self.clock(now.max(self.reserved));
        let own = charge.units - (until - self.clock(charge.at)).max(0);
        let left = charge.end - (self.refunded - charge.refunded) - until;
        let most = own.max(left).max(0);
        let back = most
            .min(charge.units)
            .min(i128::from(tokens) * self.interval);
        self.end -= back;
        self.refunded += back;
    }

    fn available(&mut self, now: u64) -> u32 {
        self.age(now);
        if self.is_unlimited() {
            return if self.paused > now { 0 } else { u32::MAX };
        }
        let debt = (self.end - self.clock(now)).max(0);
        let free = (self.tolerance - debt).max(0) / self.interval;
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    fn change(&mut self, now: u64, quota: Quota) {
        self.install(now, quota, self.paused, &RejectionKind::Change);
    }

    fn pause(&mut self, now: u64, until: u64) {
        if until > now && until > self.paused {
            self.install(now, self.quota, until, &RejectionKind::Pause);
        }
    }

    fn resume(&mut self, now: u64) {
        if self.paused > now {
            self.install(now, self.quota, 0, &RejectionKind::Resume);
        }
    }

    /// The configuration that follows, with the same debt in tokens, rounded up.
    fn install(&mut self, now: u64, quota: Quota, paused: u64, kind: &RejectionKind) {
        // Before the origin time stands still, and goes on from `now` with the same debt, so an
        // instant granted before does not compare with those granted after.
        if matches!(kind, RejectionKind::Change) || now < self.origin {
            check(self.quota, &self.grants);
            self.grants.clear();
        }
        let here = self.clock(now);
        let (interval, was_paused) = (self.interval, self.paused > now);
        let one_is_there = here + self.tolerance - self.interval;
        self.quota = quota;
        let burst = u64::from(quota.max_burst());
        self.frozen = u64::MAX;
        if quota.is_unlimited() {
            self.tolerance = 1 << 64;
        } else if quota.count() == 0 {
            self.interval = interval.min(i128::from(SPAN / burst.max(1)));
            self.tolerance = self.interval * i128::from(burst);
            self.frozen = now.min(u64::MAX - 1);
        } else {
            self.interval = i128::from(quota.interval());
            self.tolerance = self.interval * i128::from(burst);
        }
        self.origin = now.saturating_sub(DAY);
        self.paused = if paused > now { paused } else { 0 };
        self.charges.clear();

        let there = self.clock(now);
        let last = self.begins() + LAST;
        let rescaled = |units: i128| ceil(units * self.interval, interval);
        let moved = |end: i128| (there + rescaled((end - here).max(0))).min(last);
        let (without, queued) = match self.pause {
            Some((without, with)) if was_paused => (without, (self.end - with).max(0)),
            _ => (self.end, 0),
        };
        let (without, with, queued) = match kind {
            RejectionKind::Change => (moved(without), moved(without), rescaled(queued)),
            _ if queued > 0 => (moved(self.end), moved(self.end), 0),
            RejectionKind::Pause => (moved(without), moved(self.end), 0),
            RejectionKind::Resume => {
                let end = moved(without.max(one_is_there.min(self.end)));
                (end, end, 0)
            }
        };
        let holds = self.paused > now && !quota.is_unlimited() && self.runs();
        let ends = if holds {
            self.units(self.paused) + self.tolerance - self.interval
        } else {
            there.min(with)
        };
        let with = with.max(ends).min(last);
        self.pause = holds.then_some((without, with));
        self.end = (with + queued).min(last);
    }
}

/// RL17: a grant of fewer tokens, which are its final cost.
fn settle(grants: &mut [(usize, Granted)], id: usize, returned: u32) {
    for (_, (_, cost)) in grants.iter_mut().filter(|(granted, _)| *granted == id) {
        *cost -= returned;
    }
}

/// RL1 over the charges that were not returned.
fn check(quota: Quota, grants: &[(usize, Granted)]) {
    let mut grants: Vec<Granted> = grants.iter().map(|(_, granted)| *granted).collect();
    if quota.count() > 0 && !quota.is_unlimited() {
        check_windows(quota, 1, &mut grants);
    } else if !quota.is_unlimited() {
        let all: u64 = grants.iter().map(|(_, cost)| u64::from(*cost)).sum();
        assert!(all <= u64::from(quota.max_burst()));
    }
}

fn quota(bytes: &mut Bytes<'_>) -> Option<Quota> {
    let quota = match bytes.byte() % 8 {
        0 => Quota::unlimited(),
        1 => Quota::per_second(0).burst(u32::from(bytes.byte() % 9)),
        2 => Quota::per_second(0).burst(bytes.magnitude() as u32),
        3 => Quota::per_second(10).burst(1 + u32::from(bytes.byte() % 16)),
        4 => Quota::per_day(1 + u32::from(bytes.byte())),
        _ => {
            let n = 1 + (bytes.magnitude() as u32 >> (bytes.byte() % 32));
            let period = Duration::from_nanos(1 + bytes.magnitude());
            Quota::new(n, period).burst(1 + (bytes.magnitude() as u32 >> (bytes.byte() % 32)))
        }
    };
    let mut problems = Problems::default();
    quota.check(&mut problems);
    let checked = problems.finish(&"fuzzed".into());
    checked.is_ok().then_some(quota)
}

/// Where the clock goes.
fn moved(now: u64, bytes: &mut Bytes<'_>) -> u64 {
    const MS: u64 = 1_000_000;
    match bytes.byte() % 16 {
        0 => now.saturating_sub(bytes.magnitude()),
        1 => now.saturating_sub(u64::from(bytes.word()) * 10_000),
        2 => now.saturating_add(bytes.magnitude()),
        3 => bytes.pick(&[0, 1, DAY, DAY + 1, u64::MAX / 2, u64::MAX - 1, u64::MAX]),
        4 => now.saturating_add(u64::from(bytes.byte())),
        5..=9 => now.saturating_add(u64::from(bytes.byte()) * 10 * MS),
        _ => now.saturating_add(u64::from(bytes.word()) * 10_000),
    }
}

fn cost(bytes: &mut Bytes<'_>) -> u32 {
    match bytes.byte() {
        0xFF => bytes.magnitude() as u32,
        n => u32::from(n % 8),
    }
}

/// How many tokens of a charge come back.
fn returned(cost: u32, bytes: &mut Bytes<'_>) -> u32 {
    match bytes.byte() % 4 {
        0 => cost,
        part => cost / 4 * u32::from(part),
    }
}

/// A bucket with stripes against the ledger, or by itself if reservations are returned. RL1, RL2: it
/// admits only what the ledger would, and rejects early no more than the stripes may hold. RL3,
/// RL10: `peek` returns what comes.
fn striped(mut bytes: Bytes<'_>) {
    let mut now = moved(DAY, &mut bytes).min(u64::MAX / 2);
    let Some(first) = quota(&mut bytes) else {
        return;
    };
    // The last instant that was looked at, or that a charge was made for.
    let mut last = now;
    let stripes = 1 + usize::from(bytes.byte() % 4);
    let form = bytes.pick(&[Striped::Always(stripes), Striped::IfLarge(stripes)]);
    let follows = bytes.byte() % 2 == 0;
    let bucket = Bucket::striped(Tick(now), first, form);
    let mut ledger = Ledger::new(now, first);
    let mut open: Vec<(usize, u32, Charge)> = Vec::new();
    let mut grants: Vec<(usize, Granted)> = Vec::new();
    // The bound of the debt above what the stripes lack. They may have just been emptied, so after a
    // change what they lacked and the next stripes do not need is a debt, and up to a token is lost
    // to rounding.
    let mut low = Ledger::new(now, first);
    let installed = |bucket: &Bucket| {
        bucket.read(Tick::ZERO, 0, |_, config, _| {
            (config.changes, config.stripes.1)
        })
    };
    let mut before = installed(&bucket);
    let owe_lacking = |bucket: &Bucket, low: &mut Ledger, before: &mut (u64, u32), now| {
        let after = installed(bucket);
        if after.0 != before.0 {
            low.owe_at_least(now, (before.1 + 1).saturating_sub(after.1));
        }
        *before = after;
    };
    let origin_of = |bucket: &Bucket| {
        bucket.read(Tick::ZERO, 0, |_, config, _| {
            (config.changes, config.origin.0)
        })
    };
    let mut id = 0;
    while !bytes.is_empty() {
        id += 1;
        let ((changes, origin), stood) = (origin_of(&bucket), grants.len());
        match bytes.byte() % 16 {
            0..=6 => {
                let (slot, times) = (bytes.byte(), bytes.byte());
                let (cost, times) = match times {
                    0..=63 => (cost(&mut bytes), 1),
                    64..=127 => (1, u32::from(times - 63) * 2),
                    _ => (1, u32::from(times % 8)),
                };
                for _ in 0..times {
                    let seen = bucket.peek(Tick(now), cost);
                    let decided = match cost {
                        0 => bucket.admit(Tick(now), cost),
                        _ => bucket.admit_from_stripe(slot.into(), || Tick(now), cost),
                    };
                    // A stripe reads no clock: it admits at an instant before those of its charges too.
                    let early = now < last && decided.is_ok();
                    assert!(decided == seen || early, "{id}: {decided:?}, {seen:?}");
                    if decided.is_ok() && cost > 0 {
                        grants.push((id, (now, cost)));
                    }
                    if !follows {
                        match decided {
                            Ok(()) => continue,
                            Err(_) => break,
                        }
                    }
                    if decided.is_ok() && !low.is_unlimited() {
                        low.owe(now, cost);
                    }
                    match (decided, ledger.take(0, (now, now, now), cost)) {
                        (Ok(()), expected) => assert!(expected.is_ok(), "{id}: {expected:?}"),
                        (Err(shortfall), Err(expected)) => {
                            assert_eq!(shortfall.above_burst(), expected.above_burst(), "{id}");
                        }
                        (Err(shortfall), Ok(_)) => {
                            assert_eq!(shortfall.above_burst(), None, "{id}");
                            owe_lacking(&bucket, &mut low, &mut before, now);
                            let (left, leased) = (low.available(now), before.1);
                            assert!(left <= cost + leased, "{id}: {left} for {cost}, {leased}");
                            ledger.cancel(0);
                            break;
                        }
                    }
                }
            }
            7 | 8 if !follows => {
                let cost = cost(&mut bytes);
                // Like a single limit, or like a joint one, which probes each member first.
                let seen = bucket.probe(Tick(now), Tick(now), cost);
                let (start, latest) = match (bytes.byte() % 2, seen) {
                    (0, _) | (_, Err(_)) => (now, moved(now, &mut bytes)),
                    (_, Ok(due)) => (due.0.max(now.saturating_add(u64::from(bytes.word()))), 0),
                };
                let latest = latest.max(start);
                match bucket.take(Tick(now), Tick(start), cost, Tick(latest)) {
                    Ok(charge) => {
                        assert!(start <= charge.at.0 && charge.at.0 <= latest, "{id}");
                        assert!(start > now || seen == Ok(charge.at), "{id}");
                        open.push((id, cost, charge));
                        last = last.max(charge.at.0);
                        if cost > 0 {
                            grants.push((id, (charge.at.0, cost)));
                        }
                    }
                    // Too late for this call, or for what the word can hold.
                    Err(shortfall) => {
                        let due = shortfall.wait().map(|wait| Tick(now).after(wait));
                        let later = |due: Tick| start > now && due.0 >= start;
                        let late = due.is_some_and(|due| seen == Ok(due) || later(due));
                        assert!(
                            late || seen == Err(shortfall),
                            "{id}: {seen:?} {shortfall:?}"
                        );
                    }
                }
            }
            9 | 10 if !open.is_empty() => {
                let which = bytes.below(open.len() as u32) as usize;
                let (id, _, charge) = open.remove(which);
                bucket.cancel(&charge);
                grants.retain(|(granted, _)| *granted != id);
            }
            11 => {
                if let Some(quota) = quota(&mut bytes) {
                    check(ledger.quota, &grants);
                    grants.clear();
                    bucket.change(Tick(now), quota);
                    ledger.change(now, quota);
                    low.change(now, quota);
                }
            }
            12 => match bytes.byte() % 3 {
                0 => {
                    bucket.resume(Tick(now));
                    ledger.resume(now);
                    low.resume(now);
                }
                _ => {
                    let until = moved(now, &mut bytes);
                    bucket.pause(Tick(now), Tick(until));
                    ledger.pause(now, until);
                    low.pause(now, until);
                }
            },
            13 if !open.is_empty() => {
                let which = bytes.below(open.len() as u32) as usize;
                let (id, cost, charge) = open.remove(which);
                let tokens = returned(cost, &mut bytes);
                bucket.refund(&charge, tokens, Tick(now));
                settle(&mut grants, id, tokens);
            }
            14 if !follows => bucket.owe(Tick(now), cost(&mut bytes)),
            _ => {
                let to = moved(now, &mut bytes).min(u64::MAX / 2);
                if to < now && follows {
                    // The stripes read no clock, so the ledger gets the same one.
                    continue;
                }
                if to < now {
                    check(ledger.quota, &grants);
                    grants.clear();
                }
                now = to;
                last = last.max(now);
            }
        }
        if now < origin && origin_of(&bucket).0 != changes {
            // Like the ledger does. A cost that needs the stripes' share moves the origin too, before
            // it is granted.
            let stood = stood.min(grants.len());
            check(ledger.quota, &grants[..stood]);
            grants.drain(..stood);
        }
        let there = bucket.available(Tick(now));
        owe_lacking(&bucket, &mut low, &mut before, now);
        assert!(!follows || there <= ledger.available(now), "{id}: {there}");
    }
    check(ledger.quota, &grants);
}

/// RL1, RL2, RL3, RL5, RL6, RL7, RL9, RL10, RL15, RL17: every decision is the ledger's.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    if bytes.byte() % 2 == 1 {
        return striped(bytes);
    }
    let mut now = moved(DAY, &mut bytes);
    let Some(first) = quota(&mut bytes) else {
        return;
    };
    let bucket = Bucket::new(Tick(now), first);
    let mut ledger = Ledger::new(now, first);
    let mut open: Vec<(usize, u32, Charge)> = Vec::new();
    let mut id = 0;
    while !bytes.is_empty() {
        id += 1;
        match bytes.byte() % 16 {
            0..=4 => {
                let cost = cost(&mut bytes);
                let seen = bucket.peek(Tick(now), cost);
                let decided = bucket.admit(Tick(now), cost);
                assert_eq!(decided, seen, "{id}");
                let expected = ledger.take(id, (now, now, now), cost);
                assert_eq!(decided, expected.map(drop), "{id}");
            }
            5..=8 => {
                let cost = cost(&mut bytes);
                let not_before = match bytes.byte() % 4 {
                    0 => moved(now, &mut bytes),
                    _ => now,
                };
                let latest = moved(now.max(not_before), &mut bytes);
                let seen = bucket.probe(Tick(now), Tick(not_before), cost);
                let taken = bucket.take(Tick(now), Tick(not_before), cost, Tick(latest));
                let expected = ledger.take(id, (now, not_before, latest), cost);
                assert_eq!(taken.map(|charge| charge.at.0), expected, "{id}");
                if let Ok(charge) = taken {
                    assert_eq!(seen, Ok(charge.at), "{id}");
                    assert!(not_before <= charge.at.0 && charge.at.0 <= latest, "{id}");
                    open.push((id, cost, charge));
                }
            }
            9 | 10 if !open.is_empty() => {
                let which = bytes.below(open.len() as u32) as usize;
                let (id, _, charge) = open.remove(which);
                bucket.cancel(&charge);
                ledger.cancel(id);
            }
            11 => {
                if let Some(quota) = quota(&mut bytes) {
                    bucket.change(Tick(now), quota);
                    ledger.change(now, quota);
                }
            }
            12 => match bytes.byte() % 3 {
                0 => {
                    bucket.resume(Tick(now));
                    ledger.resume(now);
                }
                _ => {
                    let until = moved(now, &mut bytes);
                    bucket.pause(Tick(now), Tick(until));
                    ledger.pause(now, until);
                }
            },
            13 if !open.is_empty() => {
                let which = bytes.below(open.len() as u32) as usize;
                let (id, cost, charge) = open.remove(which);
                let tokens = returned(cost, &mut bytes);
                bucket.refund(&charge, tokens, Tick(now));
                ledger.refund(id, tokens, now);
            }
            14 => {
                let tokens = cost(&mut bytes);
                bucket.owe(Tick(now), tokens);
                ledger.age(now);
                if !ledger.is_unlimited() {
                    ledger.owe(now, tokens);
                }
            }
            _ => now = moved(now, &mut bytes),
        }
        assert_eq!(bucket.available(Tick(now)), ledger.available(now), "{id}");
        let left = (ledger.paused > now).then(|| Duration::from_nanos(ledger.paused - now));
        assert_eq!(bucket.pause_left(Tick(now)), left, "{id}");
        assert_eq!(bucket.quota(), ledger.quota, "{id}");
    }
    check(ledger.quota, &ledger.grants);
}
