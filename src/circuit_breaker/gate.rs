//! The tasks that wait at a shut readiness gate.

use std::task::{Context, Waker};

use crate::sync::{AtomicU64, Mutex, Ordering};

/// What admits a call.
#[derive(Clone, Copy)]
pub(super) enum Pass {
    Breaker,
    /// A gate, with a draw on the ramp of this generation.
    Ramp(u32),
    /// A gate that is ready because too many of its set are shut.
    Set,
}

/// The tasks to wake after a transition, or when a probe permit is free. Used only while a breaker
/// is not closed.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Publishes nothing: relaxed.
    next: AtomicU64,
    waiting: Mutex<Vec<(u64, Waker)>>,
}

impl Gate {
    /// An id for one service, which waits at most once.
    pub(super) fn id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits. Check the breaker again after this. A thread that makes a transition wakes the gate
    /// after it, and the lock orders the two: either that thread finds this waiter, or the check
    /// sees the transition.
    pub(super) fn wait(&self, id: u64, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        let mut waiting = self.waiting.lock();
        let before = match waiting.iter_mut().find(|(other, _)| *other == id) {
            Some((_, before)) => Some(std::mem::replace(before, waker)),
            None => {
                waiting.push((id, waker));
                None
            }
        };
        // The last waker of a task drops the task, which may wait here too: outside the lock.
        drop(waiting);
        drop(before);
    }

    /// Waits no longer.
    pub(super) fn cancel(&self, id: u64) {
        let mut waiting = self.waiting.lock();
        let at = waiting.iter().position(|(other, _)| *other == id);
        let cancelled = at.map(|at| waiting.remove(at));
        // Outside the lock, as in `wait`.
        drop(waiting);
        drop(cancelled);
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
