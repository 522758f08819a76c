//! A bounded map from keys to policies, in shards with one lock each.
//!
//! The only user code that runs under a lock is `Eq` of a key, and `Clone` and text of the keys where all
//! entries are listed or shown. Policies are constructed before the lock is taken and dropped after it is
//! released, since both may run closures of the user's.
//!
//! The entries are counted over all shards, so that the whole capacity can be used, however the
//! keys hash. At capacity a new key evicts an idle entry.
//!
//! # Memory ordering
//!
//! - `len` publishes nothing: relaxed. It moves by compare-exchange and never passes `capacity`.
//!   Models: `the_capacity_is_never_exceeded`, `an_evicted_entry_can_be_used_again`,
//!   `a_new_key_inserted_twice_uses_one_entry`.
//! - `version` is increased (Release) after the configuration of new policies has changed, and
//!   read (Acquire) before a policy is constructed: one that is constructed under the new version
//!   has the new configuration. A change then visits every shard under its lock, and an insertion
//!   compares the version under the same lock: either the change sees the inserted policy, or the
//!   insertion sees the new version. Model: `a_change_reaches_a_policy_under_construction`.

use std::borrow::Borrow;

use hashbrown::HashTable;

use super::Idle;
use crate::sync::{
    AtomicU64, CachePadded, Mutex,
    Ordering::{Acquire, Relaxed, Release},
};

/// Few enough entries in a shard that a search through all of them stays short.
const PER_SHARD: usize = 8;
const MAX_SHARDS: usize = 64;

/// The most policies that one insertion checks for being idle.
const MAX_CHECKED: usize = 1_024;

type Locked<O, P> = CachePadded<Mutex<Shard<O, P>>>;

pub(crate) struct Map<O, P> {
    shards: Box<[Locked<O, P>]>,
    capacity: u64,
    len: AtomicU64,
    /// Counts the changes of all policies.
    version: AtomicU64,
}

struct Shard<O, P> {
    table: HashTable<Entry<O, P>>,
    /// Counts the lookups in this shard.
    lookups: u64,
}

struct Entry<O, P> {
    hash: u64,
    key: O,
    policy: P,
    /// The number of the lookup that found it last.
    last_used: u64,
    /// Whether it was looked up again after it was inserted.
    again: bool,
}

/// What an insertion has led to.
#[must_use]
pub(super) enum Inserted<P> {
    /// The key has this policy: the given one, or one that another thread inserted first.
    Entry(P),
    /// All policies have been changed since the given one was constructed: construct it again.
    Outdated,
    /// The map is full, and no entry is idle.
    Full,
}

/// One entry that is counted in `len`. Dropping it takes it out of the count again.
struct Counted<'a>(&'a AtomicU64);

impl Counted<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<O, P> Map<O, P> {
    pub(super) fn new(capacity: usize) -> Self {
        let shards = (capacity / PER_SHARD).clamp(1, MAX_SHARDS);
        let shard = || {
            let table = HashTable::new();
            CachePadded::new(Mutex::new(Shard { table, lookups: 0 }))
        };
        Self {
            shards: (0..shards.next_power_of_two()).map(|_| shard()).collect(),
            capacity: capacity as u64,
            len: AtomicU64::new(0),
            version: AtomicU64::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.len.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// To be read before a policy is constructed, and given to [`insert`](Self::insert) with it.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    fn shard(&self, index: usize) -> &Mutex<Shard<O, P>> {
        &self.shards[index & (self.shards.len() - 1)]
    }

    /// From the bits that the tables of the shards use least.
    fn shard_index(hash: u64) -> usize {
        (hash >> 40) as usize & (MAX_SHARDS - 1)
    }
}

impl<O, P: Clone> Map<O, P> {
    /// The policy of `key`, if it has one.
    pub(super) fn find<K>(&self, hash: u64, key: &K) -> Option<P>
    where
        K: ?Sized + Eq,
        O: Borrow<K>,
    {
        self.shard(Self::shard_index(hash)).lock().find(hash, key)
    }

    /// Inserts `policy` for `key`, unless the key has got one in the meantime.
    pub(super) fn insert<K>(
        &self,
        hash: u64,
        key: &K,
        policy: P,
        version: u64,
        idle: impl Fn(&P) -> Idle,
    ) -> Inserted<P>
    where
        K: ?Sized + Eq + ToOwned<Owned = O>,
        O: Borrow<K>,
    {
        // Declared before a lock is taken, so dropped after it is released.
        let owned = key.to_owned();
        let (mut counted, mut _evicted) = (None, None);
        let index = Self::shard_index(hash);
        let mut searched = false;
        loop {
            let mut shard = self.shard(index).lock();
            if let Some(found) = shard.find(hash, key) {
                return Inserted::Entry(found);
            }
            if self.version.load(Relaxed) != version {
                return Inserted::Outdated;
            }
            // Counted only now that the key is known to be new: two threads with the same new key
            // would count it twice, and another key could be rejected for that.
            counted = counted.or_else(|| self.count_one());
            if let Some(counted) = counted {
                shard.insert(hash, owned, policy.clone());
                counted.keep();
                return Inserted::Entry(policy);
            }
            drop(shard);
            if searched {
                return Inserted::Full;
            }
            searched = true;
            (counted, _evicted) = self.evict_idle(index, &idle).unzip();
        }
    }

    /// Removes the entry of `key` and returns its policy, if it had one.
    pub(super) fn remove<K>(&self, hash: u64, key: &K) -> Option<P>
    where
        K: ?Sized + Eq,
        O: Borrow<K>,
    {
        let mut shard = self.shard(Self::shard_index(hash)).lock();
        let same = |entry: &Entry<O, P>| entry.hash == hash && entry.key.borrow() == key;
        let entry = shard.table.find_entry(hash, same).ok()?.remove().0;
        drop(shard);
        drop(Counted(&self.len));
        Some(entry.policy)
    }

    /// All keys with their policies, shard by shard.
    pub(super) fn entries(&self) -> Vec<(O, P)>
    where
        O: Clone,
    {
        self.collect(|entry| (entry.key.clone(), entry.policy.clone()))
    }

    /// Calls `f` with each entry, under the lock of its shard.
    pub(super) fn each(&self, mut f: impl FnMut(&O, &P)) {
        for shard in &self.shards {
            let shard = shard.lock();
            shard
                .table
                .iter()
                .for_each(|entry| f(&entry.key, &entry.policy));
        }
    }

    /// All policies, to be changed. One that is under construction now will not be inserted.
    pub(super) fn start_change(&self) -> Vec<P> {
        self.version.fetch_add(1, Release);
        self.collect(|entry| entry.policy.clone())
    }

    fn collect<T>(&self, item: impl Fn(&Entry<O, P>) -> T) -> Vec<T> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().table.iter().map(&item));
        }
        all
    }

    fn count_one(&self) -> Option<Counted<'_>> {
        let next = |len| (len < self.capacity).then_some(len + 1);
        self.len.fetch_update(Relaxed, Relaxed, next).ok()?;
        Some(Counted(&self.len))
    }

    /// Evicts an idle entry, and returns it with its count. The search starts in the shard at
    /// `first` and goes on through the others, one lock at a time.
    fn evict_idle(
        &self,
        first: usize,
        idle: impl Fn(&P) -> Idle,
    ) -> Option<(Counted<'_>, Entry<O, P>)> {
        // A key that was seen once does not cost one that was seen again its history, if it can cost
        // another of its kind.
        let passes = [
            (Idle::Fresh, true),
            (Idle::WithHistory, false),
            (Idle::WithHistory, true),
        ];
        for (most, again) in passes {
            let mut checked = 0;
            for index in first..first + self.shards.len() {
                let mut shard = self.shard(index).lock();
                checked += shard.table.len();
                if let Some(entry) = shard.evict_idle(most, again, &idle) {
                    return Some((Counted(&self.len), entry));
                }
                if checked >= MAX_CHECKED {
                    break;
                }
            }
        }
        None
    }
}

impl<O, P: Clone> Shard<O, P> {
    fn find<K>(&mut self, hash: u64, key: &K) -> Option<P>
    where
        K: ?Sized + Eq,
        O: Borrow<K>,
    {
        let same = |entry: &Entry<O, P>| entry.hash == hash && entry.key.borrow() == key;
        let entry = self.table.find_mut(hash, same)?;
        self.lookups += 1;
        entry.last_used = self.lookups;
        entry.again = true;
        Some(entry.policy.clone())
    }

    fn insert(&mut self, hash: u64, key: O, policy: P) {
        self.lookups += 1;
        let entry = Entry {
            hash,
            key,
            policy,
            last_used: self.lookups,
            again: false,
        };
        self.table.insert_unique(hash, entry, |entry| entry.hash);
    }

    /// Removes the least recently used of the entries whose eviction loses `most` at most: of those
    /// that were seen once, or else, if `again`, of the others.
    fn evict_idle(
        &mut self,
        most: Idle,
        again: bool,
        idle: impl Fn(&P) -> Idle,
    ) -> Option<Entry<O, P>> {
        let (hash, last_used) = self
            .table
            .iter()
            .filter(|entry| (again || !entry.again) && idle(&entry.policy) <= most)
            .min_by_key(|entry| (entry.again, entry.last_used))
            .map(|entry| (entry.hash, entry.last_used))?;
        let same = |entry: &Entry<O, P>| entry.last_used == last_used;
        let found = self.table.find_entry(hash, same).ok()?;
        Some(found.remove().0)
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
