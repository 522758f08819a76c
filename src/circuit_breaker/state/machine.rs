use std::collections::VecDeque;

use super::cause::Transition;
use super::word::{Flags, State, Word};
use crate::circuit_breaker::rules::Tripped;
use crate::config::Mode;
use crate::in_flight::catching;
use crate::sync::{AtomicU64, CachePadded, Mutex, Ordering};
use crate::time::Tick;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) word: CachePadded<AtomicU64>,
    /// Those of this generation and of the one before, by the generation's lowest bit.
    times: [Times; 2],
    /// When the last probe permit was taken. Stored under the lock, before the word that counts
    /// the probe.
    pub(super) last_probe: AtomicU64,
    pub(super) control: Mutex<Control>,
}

#[derive(Debug)]
struct Times {
    /// When the state was entered.
    since: AtomicU64,
    /// When the state may end: open, with the first probe; recovering, by closing. [`Tick::NEVER`]
    /// for the others.
    due: AtomicU64,
}

/// What only a transition reads and writes, under the lock.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// How often it has opened since it was last closed.
    pub(super) opened: u32,
    pub(super) last_trip: Option<(Tripped, Tick)>,
    /// Transitions that no listener has received yet, oldest first.
    pub(super) pending: VecDeque<Transition>,
    /// Whether a thread emits them.
    emitting: bool,
}

impl Machine {
    pub(crate) fn new(now: Tick, mode: Mode, flags: Flags) -> Self {
        let times = || Times {
            since: AtomicU64::new(now.0),
            due: AtomicU64::new(Tick::NEVER.0),
        };
        Self {
            word: CachePadded::new(AtomicU64::new(Word::new(0, State::Closed, mode, flags).0)),
            times: [times(), times()],
            last_probe: AtomicU64::new(now.0),
            control: Mutex::default(),
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// The word with the times of its own state: since when, and until when.
    pub(crate) fn timed_word(&self) -> (Word, Tick, Tick) {
        let mut word = Word(self.word.load(Ordering::Acquire));
        loop {
            let times = self.times(word.generation());
            let since = Tick(times.since.load(Ordering::Acquire));
            let due = Tick(times.due.load(Ordering::Acquire));
            let again = Word(self.word.load(Ordering::Acquire));
            if again.generation() == word.generation() {
                return (again, since, due);
            }
            word = again;
        }
    }

    fn times(&self, generation: u32) -> &Times {
        &self.times[generation as usize & 1]
    }

    /// Since when it is in the state of this generation. Under the lock.
    pub(super) fn since(&self, generation: u32) -> Tick {
        Tick(self.times(generation).since.load(Ordering::Relaxed))
    }

    /// Stores the times of a state that is about to be entered. Under the lock.
    pub(super) fn set_times(&self, generation: u32, since: Tick, due: Tick) {
        let times = self.times(generation);
        times.since.store(since.0, Ordering::Release);
        times.due.store(due.0, Ordering::Release);
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        let control = self.control.lock();
        self.exchange(Ordering::Relaxed, |word| word.with(mode, word.flags()));
        drop(control);
    }

    /// Sets the flags to what `flags` returns. The last of several concurrent changes is the last
    /// to set them.
    pub(crate) fn set_flags(&self, flags: impl FnOnce() -> Flags) {
        let control = self.control.lock();
        let flags = flags();
        self.exchange(Ordering::Relaxed, |word| word.with(word.mode(), flags));
        drop(control);
    }

    /// Under the lock, where only probes change the word besides.
    pub(super) fn exchange(&self, order: Ordering, next: impl Fn(Word) -> Word) {
        let mut word = self.word();
        loop {
            let exchanged =
                (self.word).compare_exchange_weak(word.0, next(word).0, order, Ordering::Relaxed);
            match exchanged {
                Ok(_) => return,
                Err(now) => word = Word(now),
            }
        }
    }

    pub(crate) fn last_trip(&self) -> Option<(Tripped, Tick)> {
        self.control.lock().last_trip.clone()
    }

    /// Emits the pending transitions in their order, one at a time and outside the lock. A thread
    /// that finds another one emitting leaves its own to that thread.
    pub(crate) fn emit_pending(&self, emit: impl Fn(&Transition)) {
        let mut control = self.control.lock();
        if control.emitting {
            return;
        }
        while let Some(transition) = control.pending.pop_front() {
            control.emitting = true;
            drop(control);
            // Listeners may panic, and a subscriber of `tracing` too.
            catching(
                &mut &*self,
                || emit(&transition),
                |machine| {
                    machine.control.lock().emitting = false;
                },
            );
            control = self.control.lock();
        }
        control.emitting = false;
    }
}
