//! Rejections for a `tracing` subscriber that does not want each of them.

use std::fmt::Write;
use std::time::Duration;

use crate::config::Name;
use crate::counters::Totals;
use crate::event::trace;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::time::{self, Tick};

/// Long enough that a log stays readable, short enough that an outage is seen in its first minute.
const EVERY: Duration = Duration::from_secs(10);

/// When the last summary was, and what had been counted then.
#[derive(Debug, Default)]
pub(crate) struct Summaries {
    /// The next is due then. Relaxed: the lock orders what it guards.
    due: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    at: Option<Tick>,
    rejected: Vec<u64>,
}

impl Summaries {
    #[cold]
    pub(super) fn report(&self, policy: &Name, totals: impl FnOnce() -> Totals) {
        let now = time::now();
        let due = self.due.load(Ordering::Relaxed);
        let next = now.after(EVERY).0;
        let taken = |due, next| {
            let order = Ordering::Relaxed;
            self.due.compare_exchange(due, next, order, order).is_ok()
        };
        // Another thread that takes it reports the call of this one, or the next summary does.
        if now.0 < due || !taken(due, next) {
            return;
        }
        let totals = totals();
        let mut last = self.last.lock();
        let mut by_reason = String::new();
        let mut calls = 0;
        let before = std::mem::take(&mut last.rejected);
        for (at, (label, count)) in totals.rejections().enumerate() {
            last.rejected.push(count);
            let new = count.saturating_sub(before.get(at).copied().unwrap_or(0));
            if new > 0 {
                let comma = if calls == 0 { "" } else { ", " };
                // Writing to a string does not fail.
                let _ = write!(by_reason, "{comma}{label} {new}");
                calls += new;
            }
        }
        let since = last.at.replace(now).map(|at| now.since(at));
        drop(last);
        if calls > 0 {
            trace::summarise(policy, calls, since, &by_reason);
        }
    }
}
