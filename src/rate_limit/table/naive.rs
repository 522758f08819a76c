//! The table told naively: buckets in numbers that cannot overflow, in sets of eight that are
//! searched from end to end. Times and debts are in units of 1/32 ns since time began.

use std::time::Duration;

use super::{Place, WAYS};
use crate::rate_limit::quota::{Quota, SPAN, UNITS};
use crate::rate_limit::{Shortfall, state::config};
use crate::time::Tick;

const PER_NANO: i128 = UNITS as i128;
/// What a word holds after the origin.
const LAST: i128 = config::LAST as i128;
const STALE: i128 = 1 << 61;
const DAY: u64 = 24 * 3_600 * 1_000_000_000;

/// One configuration of a tier.
#[derive(Clone, Copy)]
pub(super) struct Tier {
    pub(super) quota: Quota,
    interval: i128,
    tolerance: i128,
    /// Before it time stands still.
    origin: u64,
    /// Where the clock stands still, if it does.
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

#[derive(Clone)]
struct Bucket {
    /// None without an owner.
    hash: Option<u64>,
    tier: u8,
    end: i128,
    /// By id: the configuration, the end with it, and the one that it goes back to.
    charges: Vec<(usize, u64, i128, i128)>,
}

#[derive(Clone)]
struct Set {
    entries: Vec<Bucket>,
    /// For each tier.
    dropped: Vec<i128>,
}

pub(super) struct Naive {
    pub(super) tiers: Vec<Tier>,
    sets: Vec<Set>,
    pub(super) evicted: u64,
}

impl Naive {
    pub(super) fn new(now: Tick, capacity: usize, quotas: &[Quota]) -> Self {
        let tiers: Vec<_> = quotas.iter().map(|quota| Tier::new(now, *quota)).collect();
        let unowned = Bucket {
            hash: None,
            tier: 0,
            end: 0,
            charges: Vec::new(),
        };
        let set = Set {
            entries: vec![unowned; WAYS],
            dropped: tiers.iter().map(Tier::begins).collect(),
        };
        Self {
            tiers,
            sets: vec![set; capacity.div_ceil(WAYS)],
            evicted: 0,
        }
    }

    /// Which set is a key's: the hash is a fraction of them.
    pub(super) fn index(&self, key: Place) -> usize {
        ((u128::from(key.hash) * self.sets.len() as u128) >> 64) as usize
    }

    fn find(&self, key: Place) -> Option<&Bucket> {
        let set = &self.sets[self.index(key)];
        set.entries
            .iter()
            .find(|entry| entry.hash == Some(key.hash))
    }

    pub(super) fn knows(&self, key: Place) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn change(&mut self, now: Tick, tier: u8, quota: Quota) {
        let old = self.tiers[usize::from(tier)];
        let new = old.next(now, quota);
        for set in &mut self.sets {
            let owned = set.entries.iter_mut().filter(|entry| entry.hash.is_some());
            for entry in owned.filter(|entry| entry.tier == tier) {
                entry.end = new.carried(&old, entry.end, now);
            }
            let dropped = &mut set.dropped[usize::from(tier)];
            *dropped = new.carried(&old, *dropped, now);
        }
        self.tiers[usize::from(tier)] = new;
    }

    /// What every question about a key does first: an origin lasts for two years.
    fn age(&mut self, now: Tick, key: Place) {
        let tier = self.tiers[usize::from(key.tier)];
        if tier.clock(now.0) - tier.begins() >= STALE {
            self.change(now, key.tier, tier.quota);
        }
    }

    /// When an entry's debt is repaid; none without an owner.
    fn idle_at(&self, bucket: &Bucket) -> Option<u64> {
        bucket.hash?;
        let tier = &self.tiers[usize::from(bucket.tier)];
        if tier.frozen.is_some() && bucket.end > tier.clock(0) {
            return Some(u64::MAX);
        }
        Some(u64::try_from(ceil(bucket.end, PER_NANO)).unwrap_or(u64::MAX))
    }

    /// The entry in its set that a new key gets, and where its debt begins.
    fn newcomer(&self, key: Place) -> (usize, i128) {
        let set = &self.sets[self.index(key)];
        let idle = set.entries.iter().map(|entry| self.idle_at(entry));
        let first = idle.enumerate().min_by_key(|&(way, idle)| (idle, way));
        let way = first.map_or(0, |(way, _)| way);
        let (dropped, first) = (set.dropped[usize::from(key.tier)], &set.entries[way]);
        match first.tier == key.tier {
            true => (way, dropped.max(first.end)),
            false => (way, dropped),
        }
    }

    fn end(&self, now: Tick, key: Place) -> i128 {
        match self.find(key) {
            None => self.newcomer(key).1,
            Some(bucket) if bucket.tier == key.tier => bucket.end,
            Some(bucket) => {
                let from = &self.tiers[usize::from(bucket.tier)];
                self.tiers[usize::from(key.tier)].carried(from, bucket.end, now)
            }
        }
    }

    /// Whether a new key takes an entry from another key.
    fn evicts(&self, key: Place) -> bool {
        let set = &self.sets[self.index(key)];
        !self.knows(key) && set.entries[self.newcomer(key).0].hash.is_some()
    }

    /// A key's entry, given to it now if it has none.
    fn entry(&mut self, now: Tick, key: Place) -> &mut Bucket {
        let (way, end) = self.newcomer(key);
        let (known, index) = (self.knows(key), self.index(key));
        if !known {
            let gone = &self.sets[index].entries[way];
            self.evicted += u64::from(self.idle_at(gone) > Some(now.0));
            let set = &mut self.sets[index];
            let gone = std::mem::replace(
                &mut set.entries[way],
                Bucket {
                    hash: Some(key.hash),
                    tier: key.tier,
                    end,
                    charges: Vec::new(),
                },
            );
            if gone.hash.is_some() {
                let dropped = &mut set.dropped[usize::from(gone.tier)];
                *dropped = (*dropped).max(gone.end);
            }
        }
        let mut entries = self.sets[index].entries.iter_mut();
        let entry = entries.find(|entry| entry.hash == Some(key.hash)).unwrap();
        if entry.tier != key.tier {
            entry.charges.clear();
        }
        entry.tier = key.tier;
        entry
    }

    pub(super) fn take(
        &mut self,
        id: usize,
        now: Tick,
        start: Tick,
        key: Place,
        cost: u32,
        latest: Tick,
    ) -> Result<u64, Option<u64>> {
        self.age(now, key);
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
        let bucket = self.entry(now, key);
        bucket.end = begins + units;
        bucket.charges.push((id, tier.changes, bucket.end, back));
        Ok(granted)
    }

    pub(super) fn cancel(&mut self, id: usize, key: Place) {
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

    pub(super) fn pause(&mut self, now: Tick, key: Place, until: Tick) {
        self.age(now, key);
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
        let bucket = self.entry(now, key);
        bucket.charges.clear();
        bucket.end = end.max(paused).min(tier.begins() + LAST);
    }

    pub(super) fn available(&mut self, now: Tick, key: Place) -> u32 {
        self.age(now, key);
        let tier = &self.tiers[usize::from(key.tier)];
        if tier.quota.is_unlimited() {
            return u32::MAX;
        }
        let debt = (self.end(now, key) - tier.clock(now.0)).max(0);
        ((tier.tolerance - debt).max(0) / tier.interval) as u32
    }
}

/// Whether the table answers as it is told: the instant, or the one to come back at.
pub(super) fn same(
    ours: Result<u64, Shortfall>,
    told: Result<u64, Option<u64>>,
    now: Tick,
) -> bool {
    let due = |wait: Duration| now.after(wait).0;
    ours.map_err(|refused| refused.wait.map(due)) == told
}
