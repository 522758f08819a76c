//! The bulkhead's machine: one word, and a queue of waiters under a lock.
//!
//! The word counts the calls in flight and the waiters, beside the limit and the mode, so that one
//! compare-exchange decides. A call that is admitted at once, and a call that ends while none
//! waits, touch nothing else. A call that has to wait takes the lock of the queue, and so does a
//! call that ends while others wait: it hands its permit to a waiter instead of freeing it. So no
//! permit is free while a call waits, and no call overtakes the queue.
//!
//! An admitted waiter collects its permit at its next poll. A permit that is not collected by the
//! end of the wait is taken over for the next waiter: the future that was admitted may share a task
//! with one that waits, and not be polled. A waiter that is in neither `waiters` nor `admitted` has
//! lost its permit in this way.
//!
//! # Memory ordering
//!
//! - Calls are admitted and end by compare-exchange on the word, so the count is exact
//!   (model: `two_calls_never_share_the_last_permit`).
//! - The end of a call is a Release and an admission an Acquire: what a call did under its permit
//!   is visible to the next call under that permit. Both are read-modify-writes, so calls between
//!   them do not break the release sequence (models: `a_permit_carries_what_its_call_did`,
//!   `a_permit_without_a_waiter_carries_what_its_call_did`). A waiter has acquired, when it
//!   queued, what was done under all permits released before. A later release holds the lock of
//!   the queue, which carries it to the waiter that gets the permit, also when a change of limit
//!   admits it (model: `a_permit_of_a_raised_limit_carries_what_its_call_did`).
//! - A waiter is counted by an exchange that succeeds only while there is no permit. A call that
//!   ends later exchanges the same word, sees the waiter counted and takes the lock, which is held
//!   until the waiter is in the queue
//!   (models: `a_new_waiter_gets_a_permit_that_is_released`, `a_raised_limit_wakes_the_waiter`).
//! - While a call waits the word is written only under the lock, so queue and count agree (models:
//!   `a_cancelled_waiter_passes_its_permit_on`,
//!   `a_waiter_cancelled_during_a_change_releases_its_permit`,
//!   `a_bulkhead_closed_and_reopened_leaves_no_waiter_asleep`).
//! - A change of limit or mode uses the same word and lock
//!   (models: `a_lowered_limit_admits_no_waiter`, `a_closed_bulkhead_wakes_its_waiters`,
//!   `a_switched_off_bulkhead_admits_its_waiters`).
//! - A permit is collected and taken over under the lock of the queue, so one of the two happens
//!   (model: `a_permit_is_collected_or_taken_over`).
//!
//! The functions return the wakers, and the caller wakes them. Wakers are dropped outside the lock
//! too: a waker may run any code.

#[cfg(all(test, seawall_loom))]
mod loom;
mod order;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod word;

use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;

use crate::config::Mode;
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::Tick;

pub use order::Order;
use word::MAX_IN_FLIGHT;
pub(super) use word::{MAX_QUEUED, Word};

/// The part of the configuration that the machine itself needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) limit: u32,
    pub(super) mode: Mode,
    pub(super) order: Order,
}

/// A waiter's number; a later waiter has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterId(u64);

/// The decision on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call that is admitted has to be released"]
pub(super) enum Admission {
    /// It is admitted and counted.
    Admitted,
    /// It is admitted and counted above the limit, because rejections are only recorded.
    AboveLimit(Word),
    /// It is admitted and not counted.
    Uncounted,
    /// It waits in the queue.
    Queued(WaiterId),
    /// It is rejected: no permit is free, and the queue is full.
    Full(Word),
}

/// The state of a waiter at its poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a waiter that is admitted has to be released"]
pub(super) enum WaiterState {
    /// It has collected the permit that was handed to it.
    Admitted,
    /// It is in the queue.
    Waiting,
    /// The bulkhead was closed. The waiter is no longer in the queue.
    Closed(Word),
    /// It was admitted and not polled until its wait ended. Its permit was taken over.
    TakenOver(Word),
}

pub(super) struct Machine {
    word: CachePadded<AtomicU64>,
    queue: Mutex<Queue>,
}

struct Queue {
    next: WaiterId,
    order: Order,
    /// By ascending number, whatever the order.
    waiters: VecDeque<Entry>,
    /// The admitted waiters that have not collected their permit, by ascending number.
    admitted: VecDeque<(WaiterId, Tick)>,
    /// When the first wait of an admitted waiter ends, or earlier.
    first_end: Tick,
}

struct Entry {
    id: WaiterId,
    /// When its wait ends.
    until: Tick,
    /// There once it was polled.
    waker: Option<Waker>,
}

impl Queue {
    fn find(&self, waiter: WaiterId) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&waiter, |entry| entry.id)
            .ok()
    }

    fn push(&mut self, until: Tick) {
        self.waiters.push_back(Entry {
            id: self.next,
            until,
            waker: None,
        });
        self.next = WaiterId(self.next.0 + 1);
    }

    /// Admits the next waiter.
    fn pop(&mut self) -> Option<Waker> {
        let next = match self.order {
            Order::Fifo => self.waiters.pop_front(),
            Order::Lifo => self.waiters.pop_back(),
        }?;
        let at = self.admitted.partition_point(|(id, _)| *id < next.id);
        self.admitted.insert(at, (next.id, next.until));
        self.first_end = self.first_end.min(next.until);
        next.waker
    }

    /// Collects the permit of an admitted waiter. False if it was taken over.
    fn collect(&mut self, waiter: WaiterId) -> bool {
        let found = self.admitted.binary_search_by_key(&waiter, |(id, _)| *id);
        found.is_ok_and(|at| self.admitted.remove(at).is_some())
    }

    /// Takes back one permit that was not collected by the end of the wait, unless it is this
    /// waiter's. False if there is none.
    fn take_back(&mut self, now: Tick, except: Option<WaiterId>) -> bool {
        if now < self.first_end {
            return false;
        }
        let late = |(id, end): &(WaiterId, Tick)| *end <= now && Some(*id) != except;
        if let Some(at) = self.admitted.iter().position(late) {
            return self.admitted.remove(at).is_some();
        }
        let ends = self.admitted.iter().map(|(_, end)| *end);
        self.first_end = ends.min().unwrap_or(Tick::NEVER);
        false
    }
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(Word::new(settings.limit, settings.mode).0)),
            queue: Mutex::new(Queue {
                next: WaiterId(0),
                order: settings.order,
                waiters: VecDeque::new(),
                admitted: VecDeque::new(),
                first_end: Tick::NEVER,
            }),
        }
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// Admits a call if a permit is free. Takes no lock.
    #[inline]
    pub(super) fn admit(&self) -> Admission {
        let mut word = self.word();
        loop {
            let admission = Self::decide(word);
            match admission {
                Admission::Admitted | Admission::AboveLimit(_) => {}
                uncounted => return uncounted,
            }
            match self.exchange(word, word.call_admitted(), Ordering::Acquire) {
                Ok(()) => return admission,
                Err(now) => word = now,
            }
        }
    }

    /// Admits a call, or queues it until `until` if fewer than `max_queued` wait.
    pub(super) fn admit_or_queue(&self, max_queued: u32, until: Tick) -> Admission {
        let admission = self.admit();
        match admission {
            // Without the lock, for which rejected calls would otherwise contend.
            Admission::Full(word) if word.rejects(max_queued) => admission,
            Admission::Full(_) => self.queue(max_queued, until),
            admitted => admitted,
        }
    }

    #[cold]
    fn queue(&self, max_queued: u32, until: Tick) -> Admission {
        let mut queue = self.queue.lock();
        let mut word = self.word();
        loop {
            let (next, admission) = match Self::decide(word) {
                full @ Admission::Full(_) if word.rejects(max_queued) => return full,
                Admission::Full(_) => (word.waiter_queued(), Admission::Queued(queue.next)),
                Admission::Uncounted => return Admission::Uncounted,
                admitted => (word.call_admitted(), admitted),
            };
            match self.exchange(word, next, Ordering::Acquire) {
                Ok(()) => {
                    if let Admission::Queued(_) = admission {
                        queue.push(until);
                    }
                    return admission;
                }
                Err(now) => word = now,
            }
        }
    }

    #[inline]
    fn decide(word: Word) -> Admission {
        match word.mode() {
            Mode::Off => Admission::Uncounted,
            _ if word.has_permit() => Admission::Admitted,
            Mode::Enforce => Admission::Full(word),
            Mode::RecordOnly if word.in_flight() == MAX_IN_FLIGHT => Admission::Uncounted,
            Mode::RecordOnly => Admission::AboveLimit(word),
        }
    }

    /// Ends a counted call. Its permit goes to the waiter that is to be woken, if there is one.
    #[inline]
    #[must_use = "the waiter that was admitted has to be woken"]
    pub(super) fn release(&self) -> Option<Waker> {
        let mut word = self.word();
        while word.queued() == 0 {
            match self.exchange(word, word.call_ended(), Ordering::Release) {
                Ok(()) => return None,
                Err(now) => word = now,
            }
        }
        self.hand_over()
    }

    #[cold]
    fn hand_over(&self) -> Option<Waker> {
        self.pass_on(&mut self.queue.lock())
    }

    fn pass_on(&self, queue: &mut Queue) -> Option<Waker> {
        // Before the lock was taken the waiter may have been cancelled or the limit lowered. The
        // permit is freed then.
        let (before, after) = self.update(Ordering::Release, |word| {
            let ended = word.call_ended();
            ended.waiters_admitted(ended.admissible().min(1))
        });
        match before.queued() == after.queued() {
            true => None,
            false => queue.pop(),
        }
    }

    /// Passes on the permits of admitted waiters that were not polled until their wait ended, except
    /// that of this waiter.
    #[must_use = "the waiters that were admitted have to be woken"]
    pub(super) fn take_over(&self, now: Tick, except: Option<WaiterId>) -> Vec<Waker> {
        let mut queue = self.queue.lock();
        let mut wakers = Vec::new();
        while queue.take_back(now, except) {
            wakers.extend(self.pass_on(&mut queue));
        }
        wakers
    }

    /// The state of a waiter, which waits until `until`. `waker` is woken when the state changes.
    pub(super) fn poll_waiter(&self, waiter: WaiterId, until: Tick, waker: &Waker) -> WaiterState {
        let mut queue = self.queue.lock();
        let Some(at) = queue.find(waiter) else {
            return match queue.collect(waiter) {
                true => WaiterState::Admitted,
                false => WaiterState::TakenOver(self.word()),
            };
        };
        let (state, old_waker) = if self.word().limit() == 0 {
            let (word, _) = self.update(Ordering::Relaxed, Word::waiter_cancelled);
            let removed = queue.waiters.remove(at);
            let old = removed.and_then(|entry| entry.waker);
            (WaiterState::Closed(word), old)
        } else {
            let entry = &mut queue.waiters[at];
            entry.until = until;
            let old = match &entry.waker {
                Some(known) if known.will_wake(waker) => None,
                _ => entry.waker.replace(waker.clone()),
            };
            (WaiterState::Waiting, old)
        };
        drop(queue);
        drop(old_waker);
        state
    }

    /// Ends a wait. None if the waiter was admitted before: the permit is collected then.
    #[must_use = "a waiter that is admitted has to be released"]
    pub(super) fn cancel(&self, waiter: WaiterId) -> Option<Word> {
        let mut queue = self.queue.lock();
        let Some(at) = queue.find(waiter) else {
            return (!queue.collect(waiter)).then(|| self.word());
        };
        let removed = queue.waiters.remove(at);
        let (word, _) = self.update(Ordering::Relaxed, Word::waiter_cancelled);
        drop(queue);
        drop(removed);
        Some(word)
    }

    /// Changes the settings, and returns the waiters to wake: those that are admitted now, or all
    /// of them if the bulkhead is closed.
    ///
    /// `settings` runs under the lock. It reads the newest configuration, so that the last of
    /// several concurrent changes to get here installs what the last of them made.
    #[must_use = "the waiters that were admitted have to be woken"]
    pub(super) fn apply(&self, settings: impl FnOnce() -> Settings) -> Vec<Waker> {
        let mut queue = self.queue.lock();
        let Settings { limit, mode, order } = settings();
        queue.order = order;
        let (before, after) = self.update(Ordering::Relaxed, |word| {
            let changed = word.with(limit, mode);
            changed.waiters_admitted(changed.admissible())
        });
        let admitted = before.queued() - after.queued();
        let mut wakers: Vec<Waker> = (0..admitted).filter_map(|_| queue.pop()).collect();
        if after.limit() == 0 {
            let rest = queue.waiters.iter_mut();
            wakers.extend(rest.filter_map(|entry| entry.waker.take()));
        }
        wakers
    }

    /// Changes the word, and returns it as it was and as it is.
    fn update(&self, order: Ordering, f: impl Fn(Word) -> Word) -> (Word, Word) {
        let mut word = self.word();
        loop {
            let next = f(word);
            match self.exchange(word, next, order) {
                Ok(()) => return (word, next),
                Err(now) => word = now,
            }
        }
    }

    #[inline]
    fn exchange(&self, from: Word, to: Word, order: Ordering) -> Result<(), Word> {
        self.word
            .compare_exchange_weak(from.0, to.0, order, Ordering::Relaxed)
            .map(drop)
            .map_err(Word)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.word().fmt(f)
    }
}
