//! The call context: what flows down a task from one layer to the next.
//!
//! It holds the deadline of the call, the number of its attempt, the budget that the attempt draws
//! on, and the last reading of the clock. It lives in one thread-local, which a future sets while
//! it makes or polls the call below it and restores after, also on panic.

mod attempting;
#[cfg(feature = "tower")]
pub(crate) mod authority_hash;
mod dropped;
#[cfg(feature = "tokio")]
mod enforcing;
#[cfg(all(feature = "http", feature = "tower"))]
mod exchange;
#[cfg(all(feature = "http", feature = "tower"))]
mod left;
#[cfg(all(feature = "http", feature = "tower"))]
mod offered;
pub(crate) mod path;
#[cfg(feature = "tokio")]
mod reading;
#[cfg(feature = "tower")]
mod remainder;
#[cfg(all(feature = "http", feature = "tower"))]
mod upload;

use std::cell::Cell;
use std::marker::PhantomData;
#[cfg(feature = "tokio")]
use std::pin::Pin;
#[cfg(feature = "tokio")]
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::policy_id::PolicyId;
use crate::time::Tick;
#[cfg(feature = "tokio")]
use crate::time::{self, Sleep};

#[cfg(feature = "tower")]
pub(crate) use attempting::Budgeted;
pub(crate) use dropped::{Expired, Overtaken};
#[cfg(feature = "tokio")]
pub(crate) use enforcing::Enforcing;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use left::Left;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use offered::{offer, offered};
#[cfg(feature = "tokio")]
pub(crate) use reading::ClockReading;
#[cfg(feature = "tower")]
pub(crate) use remainder::Remainder;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use upload::{Announced, AttemptClock, Upload};

/// The context of the code that runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallContext {
    /// The earliest deadline.
    pub(crate) deadline: Tick,
    /// The earliest deadline that a timeout or shield further up enforces with a timer. A deadline
    /// that was only inherited, by `scope`, is enforced by the first timeout under it.
    pub(crate) enforced: Tick,
    /// The number of the attempt, from 1; 0 outside of every retry and hedge.
    pub(crate) attempt: u32,
    /// Whether this attempt or one around it is an extra one. An extra attempt never queues in a
    /// bulkhead.
    pub(crate) extra: bool,
    /// The budget of the innermost retry or hedge.
    pub(crate) budget: Option<PolicyId>,
}

// In this order: the compiler would load two cells side by side at once, and such a load waits for
// the two stores of the layer above.
#[repr(C)]
struct Cells {
    deadline: Cell<Tick>,
    reading: Cell<Tick>,
    enforced: Cell<Tick>,
    attempt: Cell<u32>,
    extra: Cell<bool>,
    budget: Cell<Option<PolicyId>>,
    successes: Cell<u32>,
    /// The address of the service that the reading is for; zero if there is none.
    receiver: Cell<usize>,
    /// The length of that service's type name.
    receiver_type: Cell<usize>,
    overtaken: Cell<Option<Duration>>,
    expired: Cell<Tick>,
    /// Whether the call that expires is late through its caller.
    excused: Cell<bool>,
}

thread_local! {
    static CELLS: Cells = const { Cells {
        deadline: Cell::new(Tick::NEVER),
        enforced: Cell::new(Tick::NEVER),
        attempt: Cell::new(0),
        extra: Cell::new(false),
        budget: Cell::new(None),
        successes: Cell::new(0),
        reading: Cell::new(Tick::ZERO),
        receiver: Cell::new(0),
        receiver_type: Cell::new(0),
        overtaken: Cell::new(None),
        expired: Cell::new(Tick::NEVER),
        excused: Cell::new(false),
    } };
}

impl CallContext {
    /// Outside of every call.
    #[cfg(feature = "tokio")]
    pub(crate) const NONE: Self = Self {
        deadline: Tick::NEVER,
        enforced: Tick::NEVER,
        attempt: 0,
        extra: false,
        budget: None,
    };

    // One accessor for each part: most callers need one part only.
    #[inline(always)]
    pub(crate) fn deadline() -> Tick {
        CELLS.with(|cells| cells.deadline.get())
    }

    #[cfg(feature = "tokio")]
    #[inline(always)]
    pub(crate) fn enforced() -> Tick {
        CELLS.with(|cells| cells.enforced.get())
    }

    /// The deadline in force, if no timer further up enforces it; never otherwise.
    ///
    /// A wait or a call takes it over at its first poll: behind a buffer it was made where the
    /// deadline could not be seen. An enforced deadline is not taken over. It may belong to a
    /// caller that polls the future by reference, and end before the future does.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn unenforced() -> Tick {
        let deadline = Self::deadline();
        match deadline < Self::enforced() {
            true => deadline,
            false => Tick::NEVER,
        }
    }

    /// Whether this poll comes after a deadline that a timer further up enforces, and before
    /// `own`, that of the polled wait. Nothing starts in such a poll: the timer ends the poller,
    /// and the wait goes on if another caller polls it.
    #[cfg(feature = "tokio")]
    pub(crate) fn poller_is_late(own: Tick) -> bool {
        let enforced = Self::enforced();
        enforced < own && time::now() >= enforced
    }

    /// Whether a call with the deadline `own` may start something at `now`.
    #[cfg(feature = "tokio")]
    pub(crate) fn due(own: Tick, now: Tick) -> Due {
        match now {
            now if now >= own.min(Self::unenforced()) => Due::Never,
            now if now >= Self::enforced() => Due::PollerLate,
            _ => Due::Now,
        }
    }

    /// The same for now. Reads the clock only under a deadline.
    #[cfg(feature = "tokio")]
    pub(crate) fn due_now(own: Tick) -> Due {
        match own.min(Self::deadline()).is_never() {
            true => Due::Now,
            false => Self::due(own, time::now()),
        }
    }

    /// Whether a call with the deadline `own` may start something. Ready in a poll that decides it:
    /// `hold` wakes the call if its poller is [late](Due::PollerLate).
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_due(
        own: Tick,
        mut hold: Pin<&mut Option<Sleep>>,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        loop {
            match Self::due_now(own) {
                Due::Now => return Poll::Ready(true),
                Due::Never => return Poll::Ready(false),
                Due::PollerLate => hold.set(Some(Sleep::step(time::now()))),
            }
            let hold = hold.as_mut().as_pin_mut().expect("it was set above");
            ready!(hold.poll_elapsed(cx));
        }
    }

    #[inline(always)]
    pub(crate) fn attempt() -> u32 {
        CELLS.with(|cells| cells.attempt.get())
    }

    #[inline(always)]
    pub(crate) fn extra() -> bool {
        CELLS.with(|cells| cells.extra.get())
    }

    #[inline(always)]
    pub(crate) fn budget() -> Option<PolicyId> {
        CELLS.with(|cells| cells.budget.get())
    }

    /// A call that draws on the budget of the context has succeeded.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn add_success() {
        CELLS.with(|cells| cells.successes.set(cells.successes.get() + 1));
    }

    #[inline]
    pub(crate) fn current() -> Self {
        CELLS.with(|cells| Self {
            deadline: cells.deadline.get(),
            enforced: cells.enforced.get(),
            attempt: cells.attempt.get(),
            extra: cells.extra.get(),
            budget: cells.budget.get(),
        })
    }

    #[inline]
    fn set(self) {
        CELLS.with(|cells| {
            cells.deadline.set(self.deadline);
            cells.enforced.set(self.enforced);
            cells.attempt.set(self.attempt);
            cells.extra.set(self.extra);
            cells.budget.set(self.budget);
        });
    }

    /// Sets this context until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Restore {
        let before = Self::current();
        self.set();
        Restore {
            before,
            not_send: PhantomData,
        }
    }

    /// The same with a deadline that is not later than `deadline`.
    #[inline]
    #[must_use]
    pub(crate) fn within(self, deadline: Tick) -> Self {
        Self {
            deadline: self.deadline.min(deadline),
            ..self
        }
    }

    /// The same with a deadline that the caller enforces with a timer.
    #[cfg(feature = "tokio")]
    #[inline]
    #[must_use]
    pub(crate) fn enforcing(self, deadline: Tick) -> Self {
        Self {
            deadline: self.deadline.min(deadline),
            enforced: self.enforced.min(deadline),
            ..self
        }
    }

    /// The same for an extra attempt of a caller in another process.
    #[cfg(all(feature = "http", feature = "tower"))]
    #[must_use]
    pub(crate) fn arriving(self, attempt: u32) -> Self {
        Self {
            attempt,
            extra: true,
            ..self
        }
    }

    /// The same inside of one attempt.
    #[inline]
    #[must_use]
    pub(crate) fn attempting(self, attempt: Attempt) -> Self {
        Self {
            attempt: attempt.number,
            extra: self.extra || attempt.number > 1,
            budget: match attempt.only {
                true => attempt.budget,
                false => self.budget.or(attempt.budget),
            },
            ..self
        }
    }
}

/// Whether a call may start something in the poll that runs now.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    /// Its deadline has passed.
    Never,
    /// Not in this poll, which comes after a deadline of the poller that a timer enforces: see
    /// [`CallContext::poller_is_late`].
    PollerLate,
}

/// One attempt of a retry or a hedge: its number, from 1, and the budget that it draws on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) budget: Option<PolicyId>,
    /// Whether it draws on this budget also where another one is in force.
    pub(crate) only: bool,
}

impl Attempt {
    #[inline]
    pub(crate) fn new(number: u32, budget: Option<PolicyId>) -> Self {
        Self {
            number,
            budget,
            only: true,
        }
    }
}

/// Restores the context that was there before.
#[must_use]
pub(crate) struct Restore {
    before: CallContext,
    // A context belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for Restore {
    #[inline]
    fn drop(&mut self) {
        self.before.set();
    }
}

/// The number of the attempt that this code runs in, from 1; none outside of every retry and
/// hedge.
///
/// ```
/// use seawall::{Backoff, Retry};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let retry = Retry::new(Backoff::constant(Duration::from_millis(1)));
/// let number = retry.run(|_| async { Ok::<_, std::io::Error>(seawall::attempt().unwrap_or(0)) }).await;
/// assert_eq!(number.unwrap(), 1);
/// assert_eq!(seawall::attempt(), None);
/// # }
/// ```
#[inline]
pub fn attempt() -> Option<u32> {
    let attempt = CallContext::attempt();
    (attempt > 0).then_some(attempt)
}

#[cfg(all(test, feature = "tokio", not(seawall_loom)))]
mod tests;
