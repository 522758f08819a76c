//! The naive table: buckets in numbers that cannot overflow, in sets of eight that are searched
//! from end to end. Times and debts are in units of 1/32 ns since tick 0.

use super::{KeyHandle, WAYS};
use crate::rate_limit::quota::{Quota, SPAN, UNITS};
use crate::rate_limit::{Shortfall, state::config};
use crate::time::Tick;

const PER_NANO: i128 = UNITS as i128;
/// The latest time that a word holds, after the origin.
const LAST: i128 = config::LAST as i128;
const STALE: i128 = 1 << 61;
const MINUTE: u64 = 60 * 1_000_000_000;
const DAY: u64 = 24 * 3_600 * 1_000_000_000;

/// One configuration of a tier.
#[derive(Clone, Copy)]
pub(super) struct Tier {
    pub(super) quota: Quota,
    interval: i128,
    tolerance: i128,
    /// Before this the clock stands still.
    origin: u64,
    /// Where the clock stands still, with a quota of zero.
    frozen: Option<u64>,
    changes: u64,
}

fn ceil(n: i128, by: i128) -> i128 {
    (n + by - 1).div_euclid(by)
}

impl Tier {
    fn new(now: Tick, quota: Quota) -> Self {
        let none = Self {
            quota,
            interval: PER_NANO * 1_000_000_000,
            tolerance: 0,
            origin: 0,
            frozen: None,
            changes: 0,
        };
        none.next(now, quota)
    }

    fn next(&self, now: Tick, quota: Quota) -> Self {
        let burst = i128::from(quota.max_burst());
        let stops = quota.count() == 0 && !quota.is_unlimited();
        let interval = if quota.is_unlimited() {
            self.interval
        } else if stops {
            self.interval.min(i128::from(SPAN) / burst.max(1))
        } else {
            let units = quota.period().as_nanos() as i128 * PER_NANO;
            ceil(units, i128::from(quota.count())).max(1)
        };
        Self {
            quota,
            interval,
            tolerance: interval * burst,
            origin: now.0.saturating_sub(DAY),
            frozen: stops.then_some(now.0),
            changes: self.changes + 1,
        }
    }

    fn begins(&self) -> i128 {
        i128::from(self.origin) * PER_NANO
    }

    fn clock(&self, now: u64) -> i128 {
        let shows = i128::from(self.frozen.unwrap_or(now)) * PER_NANO;
        shows.clamp(self.begins(), self.begins() + LAST / PER_NANO * PER_NANO)
    }

    /// A debt of the configuration before, in tokens.
    fn carried(&self, from: &Self, end: i128, now: Tick) -> i128 {
        let (here, there) = (from.clock(now.0), self.clock(now.0));
        let owed = ceil((end - here).max(0) * self.interval, from.interval);
        (there + owed).min(self.begins() + LAST)
    }
}

#[derive(Clone, Default)]
struct Bucket {
    /// None if the entry is empty.
    hash: Option<u64>,
    tier: u8,
    end: i128,
    /// Where the debt ended with the first charge.
    first: i128,
    /// 0 if the key was new with that charge, 1 if it was charged before, 2 also after a refill time.
    least: u32,
    /// The id, the configuration, where the debt ended with it, and where it ends without it.
    charges: Vec<(usize, u64, i128, i128)>,
}

impl Bucket {
    fn standing(&self, tier: &Tier) -> u32 {
        let again = self.end > self.first;
        let established = self.end > self.first + tier.tolerance && !tier.quota.is_unlimited();
        self.least.max(u32::from(again) + u32::from(established))
    }
}

#[derive(Clone)]
struct Set {
    entries: Vec<Bucket>,
    /// For each tier, where the largest debt ended that was evicted.
    evicted: Vec<i128>,
}

pub(super) struct Naive {
    pub(super) tiers: Vec<Tier>,
    sets: Vec<Set>,
    pub(super) evicted: u64,
}

impl Naive {
    pub(super) fn new(now: Tick, capacity: usize, quotas: &[Quota]) -> Self {
        let tiers: Vec<_> = quotas.iter().map(|quota| Tier::new(now, *quota)).collect();
        let set = Set {
            entries: vec![Bucket::default(); WAYS],
            evicted: tiers.iter().map(Tier::begins).collect(),
        };
        Self {
            tiers,
            sets: vec![set; capacity.div_ceil(WAYS)],
            evicted: 0,
        }
    }

    /// The number of a key's set.
    pub(super) fn index(&self, key: KeyHandle) -> usize {
        ((u128::from(key.hash) * self.sets.len() as u128) >> 64) as usize
    }

    fn find(&self, key: KeyHandle) -> Option<&Bucket> {
        let set = &self.sets[self.index(key)];
        set.entries
            .iter()
            .find(|entry| entry.hash == Some(key.hash))
    }

    pub(super) fn contains(&self, key: KeyHandle) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn change(&mut self, now: Tick, tier: u8, quota: Quota) {
        let old = self.tiers[usize::from(tier)];
        let new = old.next(now, quota);
        for set in &mut self.sets {
            let owned = set.entries.iter_mut().filter(|entry| entry.hash.is_some());
            for entry in owned.filter(|entry| entry.tier == tier) {
                entry.least = entry.standing(&old);
                entry.first = new.carried(&old, entry.first, now);
                entry.end = new.carried(&old, entry.end, now);
            }
            let evicted = &mut set.evicted[usize::from(tier)];
            *evicted = new.carried(&old, *evicted, now);
        }
        self.tiers[usize::from(tier)] = new;
    }

    /// Comes before every decision: an origin lasts for two years.
    fn rebase(&mut self, now: Tick, key: KeyHandle) {
        let tier = self.tiers[usize::from(key.tier)];
        if tier.clock(now.0) - tier.begins() >= STALE {
            self.change(now, key.tier, tier.quota);
        }
    }

    /// When an entry's debt is repaid. None for an empty entry.
    fn idle_at(&self, bucket: &Bucket) -> Option<u64> {
        bucket.hash?;
        let tier = &self.tiers[usize::from(bucket.tier)];
        if tier.frozen.is_some() && bucket.end > tier.clock(0) {
            return Some(u64::MAX);
        }
        Some(u64::try_from(ceil(bucket.end, PER_NANO)).unwrap_or(u64::MAX))
    }

    /// From when on an entry is evicted, and the standing of its owner: each step protects it for a
    /// minute and the time of a burst. None for an empty entry.
    fn evictable_at(&self, bucket: &Bucket) -> Option<(u64, u32)> {
        let tier = &self.tiers[usize::from(bucket.tier)];
        let standing = bucket.standing(tier);
        let burst = match tier.quota.is_unlimited() {
            true => 0,
            false => (tier.tolerance / PER_NANO) as u64,
        };
        let protected = (burst + MINUTE) * u64::from(standing);
        Some((self.idle_at(bucket)?.saturating_add(protected), standing))
    }

    /// The entry that a new key gets, and where its debt starts.
    fn victim(&self, key: KeyHandle) -> (usize, i128) {
        let set = &self.sets[self.index(key)];
        let order = set.entries.iter().map(|entry| self.evictable_at(entry));
        let first = order.enumerate().min_by_key(|&(way, order)| (order, way));
        let way = first.map_or(0, |(way, _)| way);
        let (evicted, victim) = (set.evicted[usize::from(key.tier)], &set.entries[way]);
        match victim.tier == key.tier {
            true => (way, evicted.max(victim.end)),
            false => (way, evicted),
        }
    }

    fn end(&self, now: Tick, key: KeyHandle) -> i128 {
        match self.find(key) {
            None => self.victim(key).1,
            Some(bucket) if bucket.tier == key.tier => bucket.end,
            Some(bucket) => {
                let from = &self.tiers[usize::from(bucket.tier)];
                self.tiers[usize::from(key.tier)].carried(from, bucket.end, now)
            }
        }
    }

    /// Whether a call of this key evicts another key.
    fn evicts(&self, key: KeyHandle) -> bool {
        let set = &self.sets[self.index(key)];
        !self.contains(key) && set.entries[self.victim(key).0].hash.is_some()
    }

    /// Lets a key's debt end at `end`, in its entry or in another key's. Its earlier charges are
    /// parted from this one if they were made in another tier.
    fn charge(&mut self, now: Tick, key: KeyHandle, end: i128, parted: bool) -> &mut Bucket {
        let (index, (way, _)) = (self.index(key), self.victim(key));
        let new = Bucket {
            hash: Some(key.hash),
            tier: key.tier,
            end,
            first: end,
            ..Bucket::default()
        };
        let Some(own) = self.find(key) else {
            let gone = &self.sets[index].entries[way];
            self.evicted += u64::from(self.idle_at(gone) > Some(now.0));
            let set = &mut self.sets[index];
            let gone = std::mem::replace(&mut set.entries[way], new);
            if gone.hash.is_some() {
                let evicted = &mut set.evicted[usize::from(gone.tier)];
                *evicted = (*evicted).max(gone.end);
            }
            return &mut set.entries[way];
        };
        let (parted, standing) = (
            parted || own.tier != key.tier,
            own.standing(&self.tiers[usize::from(own.tier)]),
        );
        let mut entries = self.sets[index].entries.iter_mut();
        let own = entries.find(|entry| entry.hash == Some(key.hash)).unwrap();
        if parted {
            *own = new;
            own.least = standing.max(1);
        }
        own.end = end;
        own
    }

    pub(super) fn take(
        &mut self,
        id: usize,
        now: Tick,
        start: Tick,
        key: KeyHandle,
        cost: u32,
        latest: Tick,
    ) -> Result<u64, Option<u64>> {
        self.rebase(now, key);
        let end = self.end(now, key);
        let tier = self.tiers[usize::from(key.tier)];
        if cost == 0 || tier.quota.is_unlimited() {
            return Ok(start.0);
        }
        let units = i128::from(cost) * tier.interval;
        if units > tier.tolerance {
            return Err(None);
        }
        let from = tier.clock(start.0);
        let (granted, begins, back) = match end.max(from) + units - tier.tolerance {
            due if due <= from => (start.0, end.max(from), end.max(from)),
            _ if tier.frozen.is_some() => return Err(None),
            due => {
                let at = ceil(due, PER_NANO);
                let granted = u64::try_from(at).map_err(|_| None)?;
                (granted, end.max(at * PER_NANO), end)
            }
        };
        if granted > latest.0 || begins + units > tier.begins() + LAST {
            return Err(Some(granted));
        }
        // The last unit of the first charge of an evicting key is not given back.
        let back = back + i128::from(self.evicts(key));
        let bucket = self.charge(now, key, begins + units, false);
        bucket.charges.push((id, tier.changes, bucket.end, back));
        Ok(granted)
    }

    pub(super) fn cancel(&mut self, id: usize, key: KeyHandle) {
        let (index, changes) = (self.index(key), self.tiers[usize::from(key.tier)].changes);
        let mut entries = self.sets[index].entries.iter_mut();
        let Some(bucket) = entries.find(|entry| entry.hash == Some(key.hash)) else {
            return;
        };
        if let Some(&(last, made, end, back)) = bucket.charges.last() {
            if last == id && made == changes && end == bucket.end && bucket.tier == key.tier {
                bucket.charges.pop();
                bucket.end = back;
            }
        }
    }

    pub(super) fn pause(&mut self, now: Tick, key: KeyHandle, until: Tick) {
        self.rebase(now, key);
        let tier = self.tiers[usize::from(key.tier)];
        if until <= now || tier.quota.is_unlimited() {
            return;
        }
        let token = if tier.frozen.is_some() {
            0
        } else {
            tier.interval
        };
        let but_one = (tier.tolerance - token).max(0);
        let paused = tier.clock(until.0) + but_one;
        let end = self.end(now, key) + i128::from(self.evicts(key));
        let end = end.max(paused).min(tier.begins() + LAST);
        self.charge(now, key, end, true);
    }

    pub(super) fn available(&mut self, now: Tick, key: KeyHandle) -> u32 {
        self.rebase(now, key);
        let tier = &self.tiers[usize::from(key.tier)];
        if tier.quota.is_unlimited() {
            return u32::MAX;
        }
        let debt = (self.end(now, key) - tier.clock(now.0)).max(0);
        ((tier.tolerance - debt).max(0) / tier.interval) as u32
    }
}

/// The table's decision in the form of the naive one: the instant granted, or the one to come back
/// at.
pub(super) fn instants(ours: Result<u64, Shortfall>, now: Tick) -> Result<u64, Option<u64>> {
    ours.map_err(|shortfall| shortfall.wait().map(|wait| now.after(wait).0))
}
