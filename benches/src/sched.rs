//! What the scheduler did to a thread, so that a turn in which the thread did not run can be dropped.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A reading of the calling thread's times.
#[derive(Clone, Copy, Default)]
pub struct Times {
    /// On a processor.
    pub ran: Duration,
    /// Able to run, and waiting for a processor.
    pub waited: Duration,
}

impl Times {
    /// On systems that do not report the wait, no turn is dropped for it.
    #[must_use]
    pub fn read() -> Self {
        let ran = clock_gettime(ClockId::ThreadCPUTime);
        Self {
            ran: Duration::try_from(ran).unwrap_or_default(),
            ..Self::stat("/proc/thread-self/schedstat")
        }
    }

    /// The times of another thread of this process, by the id from [`this_thread`]. The time that it ran is exact
    /// to a tick of the scheduler.
    #[must_use]
    pub fn of(thread: i32) -> Self {
        Self::stat(&format!("/proc/self/task/{thread}/schedstat"))
    }

    fn stat(file: &str) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut words = text.split_whitespace().map(|word| word.parse().ok());
        let mut next = || Duration::from_nanos(words.next().flatten().unwrap_or(0));
        Self {
            ran: next(),
            waited: next(),
        }
    }

    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// The calling thread's id.
#[must_use]
pub fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}
