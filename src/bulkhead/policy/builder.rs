//! Making a bulkhead.

use std::panic::Location;
use std::time::Duration;

use super::{Bulkhead, Inner, MAX_WAIT};
use crate::bulkhead::state::{MOST_QUEUED, Machine, Order};
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::event::{Event, Listeners};
use crate::sync::{Arc, AtomicU64};
use crate::time;

/// The longest queue that has a bound: beyond it, ask for an unbounded one by that name.
const LONGEST: u32 = 1_000_000;

/// Makes a [`Bulkhead`]; made by [`Bulkhead::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `.build()`"]
pub struct Builder {
    name: Name,
    limit: u32,
    queue: Option<u32>,
    max_wait: Duration,
    order: Order,
    mode: Mode,
    listeners: Listeners,
}

impl Bulkhead {
    /// A bulkhead of at most `limit` calls at once, with options.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::Bulkhead;
    ///
    /// let bulkhead = Bulkhead::builder(64)
    ///     .name("search api")
    ///     .queue(128)
    ///     .max_wait(Duration::from_millis(50))
    ///     .build()?;
    /// # let _ = bulkhead;
    /// # Ok::<(), seawall::ConfigError>(())
    /// ```
    #[track_caller]
    pub fn builder(limit: u32) -> Builder {
        Builder {
            name: Name::at("bulkhead", Location::caller()),
            limit,
            queue: Some(0),
            max_wait: MAX_WAIT,
            order: Order::Fifo,
            mode: Mode::Enforce,
            listeners: Listeners::default(),
        }
    }

    pub(super) fn of(limit: u16, place: &Location<'_>) -> Self {
        let name = Name::at("bulkhead", place);
        let machine = Machine::new(limit, Mode::Enforce, 0, Order::Fifo);
        Self::made(name, machine, MAX_WAIT, Listeners::default())
    }

    fn made(name: Name, machine: Machine, max_wait: Duration, listeners: Listeners) -> Self {
        Self(Arc::new(Inner {
            name,
            machine,
            max_wait: AtomicU64::new(time::nanos(max_wait)),
            listeners,
            would_reject: AtomicU64::new(0),
        }))
    }
}

/// What a queue of such a length is to the machine.
pub(super) fn most_queued(queue: Option<u32>) -> u32 {
    queue.unwrap_or(MOST_QUEUED)
}

pub(super) fn check_queue(queue: u32, problems: &mut Problems) {
    let allowed = "at most 1,000,000, or an unbounded queue";
    problems.check(queue <= LONGEST, "queue", queue, allowed);
}

impl Builder {
    /// The name, in rejections and events; `bulkhead@` and the place of the builder if not set.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// How many calls it admits at once, in place of what the builder was begun with; 0 is
    /// closed.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// How many calls may queue, of those that ask to wait; 0 if not set: to be refused at once
    /// is what a caller can act on. At most 1,000,000.
    pub fn queue(mut self, len: u32) -> Self {
        self.queue = Some(len);
        self
    }

    /// Lets any number of calls queue, up to the four million that the bulkhead can count.
    ///
    /// Every one of them holds its memory and its caller, so this only moves the overload: it is
    /// for callers that are bounded elsewhere, such as the workers of a batch.
    pub fn unbounded_queue(mut self) -> Self {
        self.queue = None;
        self
    }

    /// For how long a call queues at most; 100 ms if not set: longer serves callers who have
    /// given up. The [deadline](crate::Deadline) in force bounds it too. Zero is allowed, and
    /// then nobody waits.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Who of those that queue goes next; [`Order::Fifo`] if not set.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Who came last goes next: under lasting overload some callers are served in time, in
    /// place of all too late.
    pub fn lifo(self) -> Self {
        self.order(Order::Lifo)
    }

    /// The mode to start in; [`Mode::Enforce`] if not set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Adds a listener for as long as the bulkhead lives; it runs on the thread of the call.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// Makes the bulkhead, empty.
    ///
    /// # Errors
    /// With every problem at once: a limit above 65,535, a queue above 1,000,000 that is not
    /// asked for as unbounded.
    pub fn build(self) -> Result<Bulkhead, ConfigError> {
        let mut problems = Problems::default();
        let limit = u16::try_from(self.limit);
        problems.check(limit.is_ok(), "limit", self.limit, "at most 65,535");
        check_queue(self.queue.unwrap_or(0), &mut problems);
        problems.finish(&self.name)?;
        let limit = limit.unwrap_or(u16::MAX);
        let machine = Machine::new(limit, self.mode, most_queued(self.queue), self.order);
        Ok(Bulkhead::made(
            self.name,
            machine,
            self.max_wait,
            self.listeners,
        ))
    }

    /// For how long a call queues at most, if any may.
    #[cfg(feature = "tower")]
    pub(crate) fn longest_queueing(&self) -> Option<Duration> {
        (self.queue != Some(0)).then_some(self.max_wait)
    }

    /// The mode to start in.
    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.mode
    }

    /// Changes `bulkhead` to what this one, which has no problem, would build; name, mode and
    /// listeners stay.
    #[cfg(feature = "tower")]
    pub(crate) fn change(&self, bulkhead: &Bulkhead) {
        let machine = &bulkhead.0.machine;
        machine.set_most_queued(most_queued(self.queue));
        machine.set_order(self.order);
        bulkhead.set_max_wait(self.max_wait);
        bulkhead.set_limit(u16::try_from(self.limit).unwrap_or(u16::MAX));
    }
}
