//! The bulkhead's machine: one word, and a line of those who wait under a lock.
//!
//! The word counts who is in flight and who queues, beside the limit and the mode, so that one
//! exchange decides. A call that finds a place, and one that leaves with nobody waiting, touch
//! nothing else. Who finds none takes the lock of the line, and so does who leaves while
//! somebody waits: he does not give his place up but hands it over. A place that is free while
//! somebody waits is therefore never seen, and nobody overtakes.
//!
//! Whose ticket is not in the line any more has been handed a place.
//!
//! # Orderings
//!
//! - A call goes ahead, and leaves, by compare-exchange on the word, so their number is exact
//!   (model: `two_calls_never_share_the_last_place`).
//! - Leaving is Release and going ahead Acquire: what was done in a place is seen by whoever gets
//!   it next. Both are read-modify-writes, so a call between them breaks no release sequence
//!   (models: `a_place_carries_what_was_done_in_it`,
//!   `a_place_that_nobody_waits_for_any_more_carries_what_was_done_in_it`). Who queues has
//!   acquired, by queueing, what was done in all places left before; whoever leaves later does
//!   it under the lock of the line, which carries it to who is handed the place, also by a change
//!   of limit (model: `a_place_that_is_raised_again_carries_what_was_done_in_it`).
//! - Who queues says so in the word, by an exchange that succeeds only while there is no place.
//!   Whoever leaves later exchanges the same word, finds the waiter counted and goes to the
//!   lock, which is held until the waiter stands in the line
//!   (models: `who_queues_is_not_forgotten`, `a_change_of_limit_wakes_who_queues`).
//! - While somebody queues the word is written only under the lock, so what is taken from the line
//!   and what the word counts are the same (models: `who_quits_passes_his_place_on`,
//!   `who_quits_beside_a_change_leaves_the_place_he_was_handed`,
//!   `opened_again_nobody_is_left_asleep`).
//! - Raising, lowering and closing go by the same word and lock
//!   (models: `lowering_against_leaving_hands_nothing_over`, `closing_tells_who_queues`,
//!   `switched_off_nobody_is_left_in_the_queue`).
//! - `most_queued` decides nothing but whether the next one queues: relaxed.
//!
//! Wakers are returned and woken by the caller, and dropped outside the lock: a waker may run
//! anything.

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod word;

use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;

use crate::config::Mode;
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};

use word::MOST_IN_FLIGHT;
pub(super) use word::{MOST_QUEUED, Word};

/// Who of those that queue goes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// Who came first.
    #[default]
    Fifo,
    /// Who came last: under overload the newest caller is the one who still wants the answer.
    Lifo,
}

/// What becomes of a call that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call that goes ahead has to leave"]
pub(super) enum Answer {
    /// It goes ahead, and is counted.
    Ahead,
    /// It goes ahead and is counted, though there was no place: refusals are only recorded.
    Above(Word),
    /// It goes ahead and is not counted.
    Unseen,
    /// It has this ticket in the line.
    Queued(u64),
    /// There is no place, not in the line either.
    Full(Word),
}

/// What has become of somebody who queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "who was handed a place has to leave it"]
pub(super) enum Turn {
    /// He is in flight.
    Handed,
    /// He still queues.
    Waits,
    /// He queues no more: the bulkhead was closed.
    Closed(Word),
}

pub(super) struct Machine {
    word: CachePadded<AtomicU64>,
    /// How many may queue. Nothing but itself: relaxed.
    most_queued: AtomicU64,
    line: Mutex<Line>,
}

/// Who queues, by ascending ticket: who comes stands at the back, whatever the order. A waker is
/// there from the first time that somebody waited for the turn.
struct Line {
    next: u64,
    order: Order,
    waiting: VecDeque<(u64, Option<Waker>)>,
}

impl Line {
    fn find(&self, ticket: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |(t, _)| *t).ok()
    }

    /// Takes the next one out.
    fn call_up(&mut self) -> Option<Waker> {
        let next = match self.order {
            Order::Fifo => self.waiting.pop_front(),
            Order::Lifo => self.waiting.pop_back(),
        };
        next.and_then(|(_, waker)| waker)
    }
}

impl Machine {
    pub(super) fn new(limit: u16, mode: Mode, most_queued: u32, order: Order) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(Word::new(limit, mode).0)),
            most_queued: AtomicU64::new(u64::from(most_queued)),
            line: Mutex::new(Line {
                next: 0,
                order,
                waiting: VecDeque::new(),
            }),
        }
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    pub(super) fn most_queued(&self) -> u32 {
        // It is stored as one.
        self.most_queued.load(Ordering::Relaxed) as u32
    }

    pub(super) fn set_most_queued(&self, most: u32) {
        self.most_queued.store(u64::from(most), Ordering::Relaxed);
    }

    pub(super) fn order(&self) -> Order {
        self.line.lock().order
    }

    pub(super) fn set_order(&self, order: Order) {
        self.line.lock().order = order;
    }

    /// Asks for a place. Takes no lock.
    #[inline]
    pub(super) fn admit(&self) -> Answer {
        let mut word = self.word();
        loop {
            let answer = Self::answer(word);
            match answer {
                Answer::Ahead | Answer::Above(_) => {}
                other => return other,
            }
            match self.exchange(word, word.one_in(), Ordering::Acquire) {
                Ok(()) => return answer,
                Err(now) => word = now,
            }
        }
    }

    /// Asks for a place, or for one in the line.
    #[inline]
    pub(super) fn admit_or_queue(&self) -> Answer {
        let answer = self.admit();
        match answer {
            // Without the lock, which the overloaded would otherwise crowd.
            Answer::Full(word) if word.refuses(self.most_queued()) => answer,
            Answer::Full(_) => self.queue(),
            _ => answer,
        }
    }

    #[cold]
    fn queue(&self) -> Answer {
        let mut line = self.line.lock();
        let mut word = self.word();
        loop {
            let (next, answer) = match Self::answer(word) {
                Answer::Full(_) if word.refuses(self.most_queued()) => return Answer::Full(word),
                Answer::Full(_) => (word.one_queues(), Answer::Queued(line.next)),
                answer @ (Answer::Ahead | Answer::Above(_)) => (word.one_in(), answer),
                answer => return answer,
            };
            match self.exchange(word, next, Ordering::Acquire) {
                Ok(()) => {
                    if let Answer::Queued(ticket) = answer {
                        line.waiting.push_back((ticket, None));
                        line.next += 1;
                    }
                    return answer;
                }
                Err(now) => word = now,
            }
        }
    }

    #[inline]
    fn answer(word: Word) -> Answer {
        match word.mode() {
            Mode::Off => Answer::Unseen,
            _ if word.has_room() => Answer::Ahead,
            Mode::Enforce => Answer::Full(word),
            Mode::RecordOnly if word.in_flight() == MOST_IN_FLIGHT => Answer::Unseen,
            Mode::RecordOnly => Answer::Above(word),
        }
    }

    /// A counted call leaves its place: to the one that is to be woken, if somebody queues.
    #[inline]
    #[must_use = "whose turn it is has to be woken"]
    pub(super) fn leave(&self) -> Option<Waker> {
        let mut word = self.word();
        while word.queued() == 0 {
            match self.exchange(word, word.one_out(), Ordering::Release) {
                Ok(()) => return None,
                Err(now) => word = now,
            }
        }
        self.hand_over()
    }

    #[cold]
    fn hand_over(&self) -> Option<Waker> {
        let mut line = self.line.lock();
        // Who queued may have left the line before it was locked, and the limit may have been
        // lowered: then the place is given up.
        let (before, after) = self.update(Ordering::Release, |word| {
            let left = word.one_out();
            left.handed(left.free().min(1))
        });
        match before.queued() == after.queued() {
            true => None,
            false => line.call_up(),
        }
    }

    /// Looks whether it is the turn of `ticket`. If not, `waker` is woken when it is.
    pub(super) fn look(&self, ticket: u64, waker: &Waker) -> Turn {
        let mut line = self.line.lock();
        let Some(at) = line.find(ticket) else {
            return Turn::Handed;
        };
        let (turn, old) = if self.word().limit() == 0 {
            let (word, _) = self.update(Ordering::Relaxed, Word::one_quits);
            let old = line.waiting.remove(at).and_then(|(_, waker)| waker);
            (Turn::Closed(word), old)
        } else {
            let known = &mut line.waiting[at].1;
            let old = match known {
                Some(known) if known.will_wake(waker) => None,
                _ => known.replace(waker.clone()),
            };
            (Turn::Waits, old)
        };
        drop(line);
        drop(old);
        turn
    }

    /// `ticket` leaves the line. None if it was handed a place before.
    #[must_use = "who was handed a place has to leave it"]
    pub(super) fn quit(&self, ticket: u64) -> Option<Word> {
        let mut line = self.line.lock();
        let at = line.find(ticket)?;
        let removed = line.waiting.remove(at);
        let (word, _) = self.update(Ordering::Relaxed, Word::one_quits);
        drop(line);
        drop(removed);
        Some(word)
    }

    /// Changes the limit, and returns whom to wake: as many as there are new places for, or all,
    /// to be told, if it is closed.
    #[must_use = "whose turn it is has to be woken"]
    pub(super) fn set_limit(&self, limit: u16) -> Vec<Waker> {
        self.change(|word| word.with_limit(limit))
    }

    /// Changes the mode, and returns whom to wake: all, unless it is enforced.
    #[must_use = "whose turn it is has to be woken"]
    pub(super) fn set_mode(&self, mode: Mode) -> Vec<Waker> {
        self.change(|word| word.with_mode(mode))
    }

    fn change(&self, change: impl Fn(Word) -> Word) -> Vec<Waker> {
        let mut line = self.line.lock();
        let (before, after) = self.update(Ordering::Relaxed, |word| {
            let changed = change(word);
            changed.handed(changed.free())
        });
        let handed = before.queued() - after.queued();
        let mut wakers: Vec<Waker> = (0..handed).filter_map(|_| line.call_up()).collect();
        if after.limit() == 0 {
            let left = line.waiting.iter_mut();
            wakers.extend(left.filter_map(|(_, waker)| waker.take()));
        }
        wakers
    }

    /// Moves the word, and returns it as it was and as it is.
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
