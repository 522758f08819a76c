//! The table told naively: buckets that are kept by plain division, in sets of eight that are
//! searched from end to end.

use std::time::Duration;

use super::rate::TOKEN;
use super::{Place, WAYS};
use crate::rate_limit::{Quota, Refused};
use crate::time::Tick;

/// A tier whose clock is a quotient, in units since the tier was made.
pub(super) struct Tier {
    pub(super) quota: Quota,
    from: i128,
    since: u64,
    /// Units in nanoseconds.
    rate: (i128, i128),
    changes: u64,
}

impl Tier {
    fn new(now: Tick, quota: Quota) -> Self {
        let mut tier = Self {
            quota,
            from: 0,
            since: now.0,
            rate: (0, 1),
            changes: 0,
        };
        tier.set(quota);
        tier
    }

    fn set(&mut self, quota: Quota) {
        self.quota = quota;
        if !quota.is_unlimited() {
            let n = i128::from(quota.count()) * i128::from(TOKEN);
            self.rate = (n, quota.period().as_nanos() as i128);
        }
    }

    pub(super) fn change(&mut self, now: Tick, quota: Quota) {
        let (rate, clock) = (self.rate, self.clock(now.0).0);
        self.changes += 1;
        self.set(quota);
        if rate.0 * self.rate.1 != self.rate.0 * rate.1 {
            (self.from, self.since) = (clock, now.0);
        }
    }

    /// Rounded down and up.
    fn clock(&self, now: u64) -> (i128, i128) {
        let product = (i128::from(now) - i128::from(self.since)) * self.rate.0;
        let down = product.div_euclid(self.rate.1);
        let up = down + i128::from(product.rem_euclid(self.rate.1) != 0);
        (self.from + down, self.from + up)
    }

    fn tolerance(&self) -> i128 {
        i128::from(self.quota.max_burst()) * i128::from(TOKEN)
    }

    /// The instant, searched for; none before the end of time.
    fn instant(&self, due: i128, after: u64) -> Option<u64> {
        let (mut low, mut high) = (after, u64::MAX);
        if self.clock(high).0 < due {
            return None;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.clock(middle).0 < due {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }
}

/// Where a debt ends that nobody has made: a turn of the table's clock before its beginning.
const NONE: i128 = -(1 << 55);

#[derive(Clone)]
struct Bucket {
    /// None for nobody's.
    hash: Option<u64>,
    tier: u8,
    end: i128,
    /// By id: where it was made, the configuration, and the end before it.
    charges: Vec<(usize, u8, u64, i128)>,
}

#[derive(Clone)]
struct Set {
    capacity: Vec<Bucket>,
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
        let nobody = Bucket {
            hash: None,
            tier: 0,
            end: NONE,
            charges: Vec::new(),
        };
        let set = Set {
            capacity: vec![nobody; WAYS],
            dropped: vec![NONE; quotas.len()],
        };
        Self {
            tiers: quotas.iter().map(|quota| Tier::new(now, *quota)).collect(),
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
        set.capacity
            .iter()
            .find(|place| place.hash == Some(key.hash))
    }

    pub(super) fn knows(&self, key: Place) -> bool {
        self.find(key).is_some()
    }

    /// When a place's debt is repaid; none for nobody's.
    fn rests_at(&self, bucket: &Bucket) -> Option<u64> {
        bucket.hash?;
        let tier = &self.tiers[usize::from(bucket.tier)];
        let owed = bucket.end - tier.from;
        Some(match tier.rate.0 {
            0 if owed > 0 => u64::MAX,
            0 => tier.since,
            n => {
                let passed = (owed * tier.rate.1).div_euclid(n);
                let more = i128::from((owed * tier.rate.1).rem_euclid(n) != 0);
                let at = i128::from(tier.since) + passed + more;
                u64::try_from(at.max(0)).unwrap_or(u64::MAX)
            }
        })
    }

    /// The place in its set that a new key gets, and where its debt begins.
    fn newcomer(&self, key: Place) -> (usize, i128) {
        let set = &self.sets[self.index(key)];
        let rests = set.capacity.iter().map(|place| self.rests_at(place));
        let first = rests.enumerate().min_by_key(|&(way, rests)| (rests, way));
        let way = first.map_or(0, |(way, _)| way);
        let (dropped, first) = (set.dropped[usize::from(key.tier)], &set.capacity[way]);
        match first.tier == key.tier {
            true => (way, dropped.max(first.end)),
            false => (way, dropped),
        }
    }

    fn end(&self, now: Tick, key: Place) -> i128 {
        let to = self.tiers[usize::from(key.tier)].clock(now.0);
        match self.find(key) {
            None => self.newcomer(key).1,
            Some(bucket) if bucket.tier == key.tier => bucket.end,
            Some(bucket) => {
                let debt = bucket.end - self.tiers[usize::from(bucket.tier)].clock(now.0).0;
                if debt > 0 { to.1 + debt } else { to.0 }
            }
        }
    }

    /// A key's place, given to it now if it has none.
    /// Whether another key lost it.
    fn place(&mut self, now: Tick, key: Place) -> (&mut Bucket, bool) {
        let (way, end) = self.newcomer(key);
        let (known, index) = (self.knows(key), self.index(key));
        let mut evicts = false;
        if !known {
            let gone = &self.sets[index].capacity[way];
            evicts = gone.hash.is_some();
            self.evicted += u64::from(self.rests_at(gone) > Some(now.0));
            let set = &mut self.sets[index];
            let gone = std::mem::replace(
                &mut set.capacity[way],
                Bucket {
                    hash: Some(key.hash),
                    tier: key.tier,
                    end,
                    charges: Vec::new(),
                },
            );
            let dropped = &mut set.dropped[usize::from(gone.tier)];
            *dropped = (*dropped).max(gone.end);
        }
        let mut capacity = self.sets[index].capacity.iter_mut();
        let place = capacity.find(|place| place.hash == Some(key.hash)).unwrap();
        if place.tier != key.tier {
            place.charges.clear();
        }
        place.tier = key.tier;
        (place, evicts)
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
        let end = self.end(now, key);
        let tier = &self.tiers[usize::from(key.tier)];
        if cost == 0 || tier.quota.is_unlimited() {
            return Ok(start.0);
        }
        let units = i128::from(cost) * i128::from(TOKEN);
        if units > tier.tolerance() {
            return Err(None);
        }
        let due = end + units - tier.tolerance();
        let granted = match due <= tier.clock(start.0).0 {
            true => start.0,
            false if tier.rate.0 == 0 => return Err(None),
            false => tier.instant(due, start.0).ok_or(None)?,
        };
        if granted > latest.0 {
            return Err(Some(granted));
        }
        let begins = end.max(tier.clock(granted).1);
        let changes = tier.changes;
        let (bucket, evicts) = self.place(now, key);
        bucket.end = begins + units;
        // The last unit of the first charge is not given back.
        let before = end + i128::from(evicts);
        bucket.charges.push((id, key.tier, changes, before));
        Ok(granted)
    }

    pub(super) fn cancel(&mut self, id: usize, key: Place) {
        let index = self.index(key);
        let mut capacity = self.sets[index].capacity.iter_mut();
        let Some(bucket) = capacity.find(|place| place.hash == Some(key.hash)) else {
            return;
        };
        if let Some(&(last, tier, changes, before)) = bucket.charges.last() {
            if last == id && changes == self.tiers[usize::from(tier)].changes {
                bucket.charges.pop();
                bucket.end = before;
            }
        }
    }

    pub(super) fn pause(&mut self, now: Tick, key: Place, until: Tick) {
        let tier = &self.tiers[usize::from(key.tier)];
        if until <= now || tier.quota.is_unlimited() {
            return;
        }
        let left = i128::from(if tier.rate.0 == 0 { 0 } else { TOKEN });
        let but_one = (tier.tolerance() - left).max(0);
        let paused = self.end(now, key).max(tier.clock(until.0).1 + but_one);
        let word = (!self.knows(key)).then(|| self.newcomer(key).0);
        let before = word.map(|way| {
            let gone = &self.sets[self.index(key)].capacity[way];
            (gone.tier, gone.end)
        });
        let (bucket, evicts) = self.place(now, key);
        bucket.charges.clear();
        let same = evicts && before == Some((key.tier, paused));
        bucket.end = paused + i128::from(same);
    }

    pub(super) fn available(&self, now: Tick, key: Place) -> u32 {
        let tier = &self.tiers[usize::from(key.tier)];
        if tier.quota.is_unlimited() {
            return u32::MAX;
        }
        let debt = (self.end(now, key) - tier.clock(now.0).0).max(0);
        ((tier.tolerance() - debt).max(0) / i128::from(TOKEN)) as u32
    }
}

/// Whether the table answers as it is told: the instant, or the one to come back at.
pub(super) fn same(ours: Result<u64, Refused>, told: Result<u64, Option<u64>>, now: Tick) -> bool {
    let due = |wait: Duration| now.after(wait).0;
    ours.map_err(|refused| refused.wait.map(due)) == told
}
