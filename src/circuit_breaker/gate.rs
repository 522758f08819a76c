//! Who waits at a shut readiness gate.

use std::task::{Context, Waker};

use crate::sync::{AtomicU64, Mutex, Ordering};

/// The tasks to wake when the breaker has moved or a probe slot is free. Touched only while a
/// breaker is not closed.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Nothing but itself: relaxed.
    next: AtomicU64,
    waiting: Mutex<Vec<(u64, Waker)>>,
}

impl Gate {
    /// A number for one service, under which it waits at most once.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits. Look at the breaker again after this: whoever moves it wakes after the move, and
    /// the lock orders the two, so that either he sees this waiter or the waiter sees the move.
    pub(super) fn wait(&self, number: u64, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        let mut waiting = self.waiting.lock();
        let before = match waiting.iter_mut().find(|(other, _)| *other == number) {
            Some((_, before)) => Some(std::mem::replace(before, waker)),
            None => {
                waiting.push((number, waker));
                None
            }
        };
        // The last waker of a task drops the task, which may wait here too: outside the lock.
        drop(waiting);
        drop(before);
    }

    pub(super) fn leave(&self, number: u64) {
        let mut waiting = self.waiting.lock();
        let at = waiting.iter().position(|(other, _)| *other == number);
        let left = at.map(|at| waiting.remove(at));
        // Outside the lock, as in `wait`.
        drop(waiting);
        drop(left);
    }

    #[cfg(all(test, feature = "test-util", not(seawall_loom)))]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    pub(super) fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}
