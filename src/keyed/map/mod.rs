//! A bounded map from keys to policies, in shards with a lock each.
//!
//! Nothing of a user's runs under a lock but `Eq` of his keys, and `Clone` where all are listed:
//! policies are made before it and dropped after it, since both may run closures of his.
//!
//! A place is taken by counting up to `places`, over all shards; so all of them can be used,
//! however the keys fall. Where none is left, a policy that rests gives way.
//!
//! # Orderings
//!
//! The count publishes nothing but itself: relaxed. It is moved by compare-exchange, so that it
//! never passes `places` (models: `never_more_than_its_places`,
//! `a_place_given_back_is_there_again`, `one_place_for_one_key`).

use std::borrow::Borrow;

use hashbrown::HashTable;

use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering::Relaxed};

/// How ready a policy is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// It would lose nothing.
    Sound,
    /// It would lose counts that decide nothing yet.
    Light,
    /// It is in use, or holds what must not be forgotten.
    None,
}

/// One of the places, that is counted as taken; given back unless somebody keeps it.
struct Place<'a>(&'a AtomicU64);

impl Place<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// About as many places to a shard, so that a look at all of them stays short.
const PER_SHARD: usize = 8;
const MOST_SHARDS: usize = 64;

/// How many policies are asked at most whether one of them rests.
const MOST_ASKED: usize = 1_024;

type Locked<O, P> = CachePadded<Mutex<Shard<O, P>>>;

pub(crate) struct Map<O, P> {
    shards: Box<[Locked<O, P>]>,
    capacity: u64,
    /// How many are taken.
    used: AtomicU64,
}

struct Shard<O, P> {
    table: HashTable<Entry<O, P>>,
    /// Counts the looks at this shard.
    looks: u64,
}

struct Entry<O, P> {
    hash: u64,
    key: O,
    policy: P,
    /// The look that found it last.
    looked: u64,
}

impl<O, P> Map<O, P> {
    pub(crate) fn new(capacity: usize) -> Self {
        let shards = (capacity / PER_SHARD).clamp(1, MOST_SHARDS);
        let shard = || {
            let table = HashTable::new();
            CachePadded::new(Mutex::new(Shard { table, looks: 0 }))
        };
        Self {
            shards: (0..shards.next_power_of_two()).map(|_| shard()).collect(),
            capacity: capacity as u64,
            used: AtomicU64::new(0),
        }
    }

    /// How many keys have a policy.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    fn shard(&self, number: usize) -> &Mutex<Shard<O, P>> {
        &self.shards[number & (self.shards.len() - 1)]
    }

    /// From the bits that the tables below use least.
    fn number(hash: u64) -> usize {
        (hash >> 40) as usize & (MOST_SHARDS - 1)
    }
}

impl<O, P: Clone> Map<O, P> {
    /// The policy of `key`, if it has one.
    pub(crate) fn find<K>(&self, hash: u64, key: &K) -> Option<P>
    where
        K: ?Sized + Eq,
        O: Borrow<K>,
    {
        let mut shard = self.shard(Self::number(hash)).lock();
        shard.find(hash, key)
    }

    /// Gives `key` the policy `made`, unless it has got one meanwhile, which is returned then.
    /// None if there is no place, and nobody who may give way.
    pub(crate) fn insert<K>(
        &self,
        hash: u64,
        key: &K,
        made: P,
        rest: impl Fn(&P) -> Rest,
    ) -> Option<P>
    where
        K: ?Sized + Eq + ToOwned<Owned = O>,
        O: Borrow<K>,
    {
        // Declared before a lock is taken, so dropped after it.
        let owned = key.to_owned();
        let (mut place, mut _gave_way) = (None, None);
        let number = Self::number(hash);
        let mut asked = false;
        loop {
            let mut shard = self.shard(number).lock();
            if let Some(found) = shard.find(hash, key) {
                return Some(found);
            }
            if place.is_none() {
                // Only here, where it is known that there is no such key: two who bring the same
                // one would take two, and a third be refused for it.
                place = self.take_place();
            }
            if let Some(place) = place {
                shard.insert(hash, owned, made.clone());
                place.keep();
                return Some(made);
            }
            drop(shard);
            if asked {
                return None;
            }
            asked = true;
            (place, _gave_way) = self.forget_one(number, &rest).unzip();
        }
    }

    /// Forgets `key`; its policy, if it had one.
    pub(crate) fn remove<K>(&self, hash: u64, key: &K) -> Option<P>
    where
        K: ?Sized + Eq,
        O: Borrow<K>,
    {
        let mut shard = self.shard(Self::number(hash)).lock();
        let same = |entry: &Entry<O, P>| entry.hash == hash && entry.key.borrow() == key;
        let entry = shard.table.find_entry(hash, same).ok()?.remove().0;
        drop(shard);
        self.used.fetch_sub(1, Relaxed);
        Some(entry.policy)
    }

    /// All keys with their policies, shard by shard.
    pub(crate) fn all(&self) -> Vec<(O, P)>
    where
        O: Clone,
    {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let pairs = shard.table.iter();
            all.extend(pairs.map(|entry| (entry.key.clone(), entry.policy.clone())));
        }
        all
    }

    fn take_place(&self) -> Option<Place<'_>> {
        let next = |used| (used < self.capacity).then_some(used + 1);
        self.used.fetch_update(Relaxed, Relaxed, next).ok()?;
        Some(Place(&self.used))
    }

    /// Takes out somebody who rests; his place stays taken, for whoever comes in his stead. The
    /// own shard is asked first, then those after it: one lock at a time.
    fn forget_one(
        &self,
        first: usize,
        rest: impl Fn(&P) -> Rest,
    ) -> Option<(Place<'_>, Entry<O, P>)> {
        for most in [Rest::Sound, Rest::Light] {
            let mut asked = 0;
            for number in first..first + self.shards.len() {
                let mut shard = self.shard(number).lock();
                asked += shard.table.len();
                if let Some(entry) = shard.forget_one(most, &rest) {
                    return Some((Place(&self.used), entry));
                }
                if asked >= MOST_ASKED {
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
        self.looks += 1;
        entry.looked = self.looks;
        Some(entry.policy.clone())
    }

    fn insert(&mut self, hash: u64, key: O, policy: P) {
        self.looks += 1;
        let entry = Entry {
            hash,
            key,
            policy,
            looked: self.looks,
        };
        self.table.insert_unique(hash, entry, |entry| entry.hash);
    }

    /// Takes out the one that was not looked at for longest, of those that rest so well.
    fn forget_one(&mut self, most: Rest, rest: impl Fn(&P) -> Rest) -> Option<Entry<O, P>> {
        let resting = self
            .table
            .iter()
            .filter(|entry| rest(&entry.policy) <= most);
        let (hash, looked) = resting
            .map(|entry| (entry.hash, entry.looked))
            .min_by_key(|(_, looked)| *looked)?;
        let same = |entry: &Entry<O, P>| entry.looked == looked;
        let found = self.table.find_entry(hash, same).ok()?;
        Some(found.remove().0)
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
