//! What a listener's calls pass through, so that none begins, or is still running, once it was
//! removed.

use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// Set once the listener was removed. The rest of the word is the number of calls that run.
const REMOVED: u64 = 1 << 63;

/// # Memory ordering
///
/// The end of a call is a release, and the removal acquires it: what the listener has done is
/// visible to the thread that removed it. A call that begins publishes nothing.
#[derive(Debug, Default)]
pub(super) struct Gate {
    word: AtomicU64,
    /// Held while the word is checked before a wait, and by the call that ends the wait.
    waits: Mutex<()>,
    ended: Condvar,
}

/// A call of a listener. Dropping it ends the call.
#[must_use]
pub(super) struct Passing<'g>(&'g Gate);

impl Gate {
    /// Begins a call. None if the listener was removed.
    pub(super) fn pass(&self) -> Option<Passing<'_>> {
        let passing = Passing(self);
        let before = self.word.fetch_add(1, Ordering::Relaxed);
        (before & REMOVED == 0).then_some(passing)
    }

    /// No call begins after this.
    pub(super) fn remove(&self) {
        self.word.fetch_or(REMOVED, Ordering::Relaxed);
    }

    /// Waits until the calls that run have ended.
    pub(super) fn wait(&self) {
        let mut waits = self.waits.lock();
        while self.word.load(Ordering::Acquire) != REMOVED {
            waits = self.ended.wait(waits);
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let before = self.0.word.fetch_sub(1, Ordering::Release);
        if before == REMOVED + 1 {
            // Under the lock, so that it comes after the check of a thread that goes to wait.
            let _waits = self.0.waits.lock();
            self.0.ended.notify_all();
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::Gate;

    // The cell stands for what the listener uses: loom finds an access that is not ordered after
    // the calls, and a wait that does not end.
    #[test]
    fn cx14_loom_no_call_runs_after_the_removal() {
        loom::model(|| {
            let gate = Arc::new(Gate::default());
            let used = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
            let callers: Vec<_> = (0..2)
                .map(|caller| {
                    let (gate, used) = (Arc::clone(&gate), Arc::clone(&used));
                    thread::spawn(move || {
                        if let Some(_passing) = gate.pass() {
                            used[caller].with(|_| ());
                        }
                    })
                })
                .collect();
            gate.remove();
            gate.wait();
            for cell in &*used {
                cell.with_mut(|_| ());
            }
            assert!(gate.pass().is_none());
            for caller in callers {
                caller.join().unwrap();
            }
        });
    }
}
