//! The queue of the calls that wait for tokens of one bucket, in the order in which they came.
//!
//! The head of a queue takes its tokens by the same decision as any other call, and sleeps until
//! they are due if they are not there. All others sleep until it has left. Nothing is taken or
//! promised before, so a waiter that leaves costs the others nothing, and a changed limit reaches
//! all.
//!
//! A limiter has one queue, a keyed limiter one for each key that is waited for. The queues are in
//! shards, each behind a lock. A call that does not wait reads `waiting`, and takes a lock only if
//! another call waits in its shard.
//!
//! # Memory ordering
//!
//! - `waiting` is written under the shard's lock and read without it (Relaxed): a call that reads
//!   zero just before another starts to wait came first.
//! - A waiter stores its waker under the lock *before* it looks for tokens. What adds tokens wakes
//!   under the lock *after* it added them. So either the waiter sees the tokens or its waker is
//!   found (models: `a_refund_reaches_the_head`, `a_change_reaches_every_waiter`,
//!   `a_head_that_leaves_wakes_the_next`).
//!
//! No waker is woken under the lock. Most functions return it to their caller.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};
use crate::time::Tick;

/// By how much a timer may fire late.
const TIMER: Duration = Duration::from_millis(2);

/// When a waiter came, and a number that distinguishes it from others of the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterId {
    since: Tick,
    number: u64,
}

/// Where a waiter is in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Head,
    Behind {
        /// The tokens that the waiters in front want.
        in_front: u64,
        /// When the waiter directly in front has left, or can be removed for not being polled.
        until: Tick,
    },
    /// It was removed, because it was not polled before its wait ended.
    Removed,
}

struct Entry {
    id: WaiterId,
    cost: u32,
    /// When its wait ends.
    until: Tick,
    /// None before the first poll.
    waker: Option<Waker>,
}

impl Entry {
    /// Whether its wait has ended, and the timer that would poll it for that must have fired.
    fn is_over(&self, now: Tick) -> bool {
        self.over_at() <= now
    }

    fn over_at(&self) -> Tick {
        self.until.after(TIMER)
    }
}

/// The waiters of one bucket; never empty.
#[derive(Default)]
struct Queue {
    /// By ascending id.
    waiters: VecDeque<Entry>,
    /// The tokens that all of them want.
    cost: u64,
}

impl Queue {
    fn find(&self, id: WaiterId) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()
    }

    fn in_front(&self, at: usize) -> u64 {
        let in_front = self.waiters.iter().take(at);
        in_front.map(|entry| u64::from(entry.cost)).sum()
    }

    fn remove(&mut self, at: usize) -> Option<Waker> {
        let entry = self.waiters.remove(at)?;
        self.cost -= u64::from(entry.cost);
        entry.waker
    }

    fn head_waker(&self) -> Option<Waker> {
        self.waiters.front()?.waker.clone()
    }
}

#[derive(Default)]
struct Shard {
    /// The number of the next waiter.
    next: u64,
    /// By the bits of the key's hash; zero for a limiter without keys.
    queues: BTreeMap<u64, Queue>,
}

/// The queues of a limiter.
pub(super) struct Queues {
    /// How many calls wait.
    waiting: AtomicU64,
    shards: Box<[Mutex<Shard>]>,
}

impl Queues {
    /// With this number of shards, a power of two, or none if nothing ever waits here.
    pub(super) fn new(shards: usize) -> Self {
        Self {
            waiting: AtomicU64::new(0),
            shards: (0..shards).map(|_| Mutex::new(Shard::default())).collect(),
        }
    }

    /// Whether any call waits, for any key.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        // The upper bits choose the set of a keyed limiter's table; any bits do here.
        &self.shards[key as usize & (self.shards.len() - 1)]
    }

    /// How many tokens the waiters of `key` want that came before `before`; all of them for none.
    ///
    /// Heads whose wait has ended without a poll are removed. A call that does not wait would
    /// otherwise be rejected for as long as a future is kept and not polled.
    pub(super) fn in_front(&self, key: u64, before: Option<WaiterId>, now: Tick) -> u64 {
        if !self.any() {
            return 0;
        }
        let mut shard = self.shard(key).lock();
        let Some(queue) = shard.queues.get_mut(&key) else {
            return 0;
        };
        let mut dropped = Vec::new();
        while queue.waiters.front().is_some_and(|head| head.is_over(now)) {
            dropped.push(queue.remove(0));
            self.waiting.fetch_sub(1, Relaxed);
        }
        let in_front = match before {
            None => queue.cost,
            Some(id) => {
                let earlier = |entry: &Entry| entry.id.since < id.since;
                queue.in_front(queue.waiters.partition_point(earlier))
            }
        };
        let next = queue.head_waker().filter(|_| !dropped.is_empty());
        if queue.waiters.is_empty() {
            shard.queues.remove(&key);
        }
        drop(shard);
        drop(dropped);
        next.into_iter().for_each(Waker::wake);
        in_front
    }

    /// Puts a waiter that came at `since` behind those that came no later.
    pub(super) fn push(&self, key: u64, since: Tick, cost: u32, until: Tick) -> WaiterId {
        let mut shard = self.shard(key).lock();
        let number = shard.next;
        shard.next += 1;
        let id = WaiterId { since, number };
        let entry = Entry {
            id,
            cost,
            until,
            waker: None,
        };
        let queue = shard.queues.entry(key).or_default();
        let at = queue.waiters.partition_point(|other| other.id < id);
        queue.cost += u64::from(cost);
        queue.waiters.insert(at, entry);
        self.waiting.fetch_add(1, Relaxed);
        id
    }

    /// The turn of a waiter, which waits until `until`. `waker` is woken when that may have changed.
    /// Waiters in front whose wait has ended without a poll are removed, because they hold it up. If
    /// this one's ends now, that is without the time that their timers may be late.
    ///
    /// Returns the waker of the next head too, if that is another waiter.
    #[must_use = "the new head has to be woken"]
    pub(super) fn poll(
        &self,
        key: u64,
        id: WaiterId,
        until: Tick,
        waker: &Waker,
        now: Tick,
    ) -> (Turn, Option<Waker>) {
        let mut shard = self.shard(key).lock();
        let found = shard.queues.get_mut(&key).and_then(|queue| {
            let at = queue.find(id)?;
            Some((queue, at))
        });
        let Some((queue, mut at)) = found else {
            return (Turn::Removed, None);
        };
        let mut dropped = Vec::new();
        queue.waiters[at].until = until;
        let ends = until <= now;
        for front in (0..at).rev() {
            let other = &queue.waiters[front];
            if other.is_over(now) || ends && other.until <= now {
                dropped.push(queue.remove(front));
                self.waiting.fetch_sub(1, Relaxed);
                at -= 1;
            }
        }
        let entry = &mut queue.waiters[at];
        let old = match &entry.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => entry.waker.replace(waker.clone()),
        };
        let turn = match at.checked_sub(1) {
            None => Turn::Head,
            Some(front) => Turn::Behind {
                in_front: queue.in_front(at),
                until: queue.waiters[front].over_at(),
            },
        };
        let next = queue.head_waker().filter(|_| at > 0 && !dropped.is_empty());
        drop(shard);
        // A waker runs any code when it is dropped.
        drop((old, dropped));
        (turn, next)
    }

    /// Removes a waiter, if it is still there. Returns the waker of the next one if it was the
    /// head.
    #[must_use = "the next waiter has to be woken"]
    pub(super) fn remove(&self, key: u64, id: WaiterId) -> Option<Waker> {
        let mut shard = self.shard(key).lock();
        let queue = shard.queues.get_mut(&key)?;
        let at = queue.find(id)?;
        let own = queue.remove(at);
        self.waiting.fetch_sub(1, Relaxed);
        let next = queue.head_waker().filter(|_| at == 0);
        if queue.waiters.is_empty() {
            shard.queues.remove(&key);
        }
        drop(shard);
        drop(own);
        next
    }

    /// The waker of the head, which may find more tokens than before.
    #[must_use = "the head has to be woken"]
    pub(super) fn head(&self, key: u64) -> Option<Waker> {
        if self.shards.is_empty() {
            return None;
        }
        self.shard(key).lock().queues.get(&key)?.head_waker()
    }

    /// The wakers of all waiters.
    #[must_use = "the waiters have to be woken"]
    pub(super) fn all(&self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let waiters = shard.queues.values().flat_map(|queue| &queue.waiters);
            wakers.extend(waiters.filter_map(|entry| entry.waker.clone()));
        }
        wakers
    }
}
