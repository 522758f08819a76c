//! Reading and changing a bulkhead while calls run.

use std::task::Waker;
use std::time::Duration;

use super::{Bulkhead, builder};
use crate::bulkhead::state::{MOST_QUEUED, Order};
use crate::config::{ConfigError, Mode, Problems};
use crate::event::{Event, Subscription};
use crate::sync::Ordering;
use crate::time;

/// What a bulkhead is and does, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many calls it admits at once.
    pub limit: u16,
    /// How many are in flight; more than the limit after it was lowered, and where refusals are
    /// only recorded. Calls that began while it was [off](Mode::Off) are not among them.
    pub in_flight: u32,
    /// How many queue.
    pub queued: u32,
    /// How many may queue; none if any number.
    pub queue: Option<u32>,
    /// Who of them goes next.
    pub order: Order,
    /// For how long a call queues at most.
    pub max_wait: Duration,
    /// The mode.
    pub mode: Mode,
    /// How many calls [`Mode::RecordOnly`] would have refused since the bulkhead was made.
    pub would_reject: u64,
}

impl Bulkhead {
    /// Changes the limit while calls run, without waiting for any of them. Raised, as many of
    /// those who queue go ahead as there are new places. Lowered, what is in flight goes on, and
    /// nobody else is admitted until it is below the limit. Zero closes: everybody is refused,
    /// those who queue too.
    pub fn set_limit(&self, limit: u16) {
        wake(self.0.machine.set_limit(limit));
    }

    /// The limit.
    pub fn limit(&self) -> u16 {
        self.0.machine.word().limit()
    }

    /// Changes how many calls may queue. Who queues already goes on queueing.
    ///
    /// # Errors
    /// As [`Builder::build`](super::Builder::build); nothing has changed then.
    pub fn set_queue(&self, len: u32) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        builder::check_queue(len, &mut problems);
        problems.finish(self.name())?;
        self.0.machine.set_most_queued(len);
        Ok(())
    }

    /// Lets any number of calls queue; see
    /// [`Builder::unbounded_queue`](super::Builder::unbounded_queue).
    pub fn set_unbounded_queue(&self) {
        self.0.machine.set_most_queued(MOST_QUEUED);
    }

    /// Changes for how long a call queues at most. Who queues already keeps what it began with.
    pub fn set_max_wait(&self, max_wait: Duration) {
        let nanos = time::nanos(max_wait);
        self.0.max_wait.store(nanos, Ordering::Relaxed);
    }

    /// Changes who of those that queue goes next.
    pub fn set_order(&self, order: Order) {
        self.0.machine.set_order(order);
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.0.machine.word().mode()
    }

    /// Changes the mode. Unless it is enforced everybody who queues goes ahead.
    ///
    /// Calls in flight stay counted until they end, so that it goes on from what is true; what
    /// begins while it is off is not.
    pub fn set_mode(&self, mode: Mode) {
        wake(self.0.machine.set_mode(mode));
    }

    /// What the bulkhead is and does now. Takes no place. Limit, mode and counts are of one
    /// moment.
    pub fn snapshot(&self) -> Snapshot {
        let machine = &self.0.machine;
        let word = machine.word();
        let most_queued = machine.most_queued();
        Snapshot {
            limit: word.limit(),
            in_flight: word.in_flight(),
            queued: word.queued(),
            queue: (most_queued != MOST_QUEUED).then_some(most_queued),
            order: machine.order(),
            max_wait: self.max_wait(),
            mode: word.mode(),
            would_reject: self.0.would_reject.load(Ordering::Relaxed),
        }
    }

    /// Adds a listener; it runs on the thread of the call, after the decision.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.listeners.add(listener)
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
