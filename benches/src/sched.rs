//! What the scheduler did to a thread, so that a turn in which it was not let run can be dropped.

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
    /// Where the system does not say who waited, no turn is dropped for it.
    pub fn read() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited = text.split_whitespace().nth(1);
        let waited = waited.and_then(|word| word.parse().ok()).unwrap_or(0);
        let ran = clock_gettime(ClockId::ThreadCPUTime);
        Self {
            ran: Duration::try_from(ran).unwrap_or_default(),
            waited: Duration::from_nanos(waited),
        }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}
