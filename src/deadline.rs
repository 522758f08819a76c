//! Deadline: the time that is left, readable by everything inside one task.
//!
//! ```text
//!  TimeoutLayer(5 s) ─> retry ─> queue ─> TimeoutLayer(800 ms) ─> handler
//!                       5 s      5 s                              800 ms, or what is left of 5 s
//! ```
//!
//! # What it does
//!
//! [`TimeoutLayer`](crate::TimeoutLayer) and [`Timeout::run`](crate::Timeout::run) set a deadline.
//! Whatever runs under them (queues, waits, attempts, your handler) reads the time left with
//! [`Deadline::remaining`]. The deadline is in force while the layers' `call` and `poll` run and is
//! restored after, so it needs no plumbing and works for any type of request. A deadline within a
//! deadline can only be earlier.
//!
//! ## What carries a deadline
//!
//! | where | is it in force? |
//! |---|---|
//! | the same task, at any depth, in `call` and in every poll | yes |
//! | branches of `select!`, `join!`, `FuturesUnordered` | yes; no branch sees what another one sets |
//! | a service behind `Buffer` | in polls of the response yes; in its `call` no, because that runs in the buffer's worker |
//! | `tokio::spawn` | no; use [`seawall::spawn`](crate::spawn), or `tokio::spawn(deadline.scope(fut))` |
//! | `spawn_blocking`, another thread | no; take [`Deadline::current`] there and [`enter`](Deadline::enter) it |
//! | a response body, after the head | no, unless the timeout lasts [until its end](crate::TimeoutLayer::until_body_end) |
//! | another process | no |
//!
//! The whole table, with what to do in each case, is in the guide: `seawall::guide::deadlines`.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use seawall::Deadline;
//!
//! assert_eq!(Deadline::remaining(), None);
//! Deadline::after(Duration::from_secs(5)).enter(|| {
//!     assert!(Deadline::remaining() <= Some(Duration::from_secs(5)));
//!     // A later one within it changes nothing.
//!     Deadline::after(Duration::from_secs(60)).enter(|| {
//!         assert!(Deadline::remaining() <= Some(Duration::from_secs(5)));
//!     });
//! });
//! ```
//!
//! # Without a service
//!
//! [`scope`](Deadline::scope) carries a deadline into a future, `seawall::spawn` (feature `tokio`)
//! into a task, [`enter`](Deadline::enter) into code that is not async. `Deadline::shield` (feature
//! `tokio`) runs a future outside the deadline, with its own bound.
//!
//! # Sharing
//!
//! A [`Deadline`] is a `Copy` instant, and means the same in every thread of the process.
//!
//! # Cancel safety
//!
//! The deadline is restored after every poll, also when that panics. A future that is dropped
//! because of its deadline is dropped outside of it: its destructors do not see it.
//!
//! # Errors
//!
//! None: a deadline only informs. Timeouts and waits enforce it. `Deadline::shield` resolves to a
//! [`Rejection`](crate::Rejection) if its bound passes first.
//!
//! # When not to use it
//!
//! To end a call: that is a [timeout](crate::Timeout), which sets a deadline as well.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::context::CallContext;
use crate::time::{self, Tick};

/// An instant by which a call has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Tick);

impl Deadline {
    /// The deadline `d` from now. More than 584 years means never.
    pub fn after(d: Duration) -> Self {
        Self(time::now().after(d))
    }

    /// The deadline in force here, if there is one.
    #[inline]
    pub fn current() -> Option<Self> {
        let deadline = CallContext::deadline();
        (!deadline.is_never()).then_some(Self(deadline))
    }

    /// The time left of the deadline in force here: zero once it has passed, none if there is no
    /// deadline.
    pub fn remaining() -> Option<Duration> {
        Self::current().map(|deadline| deadline.left())
    }

    /// The time left of this deadline; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.0.since(time::now())
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        time::now() >= self.0
    }

    /// Runs `f` with this deadline in force, or the one already in force if that is earlier. For
    /// code that is not async; the deadline does not interrupt it.
    #[inline]
    pub fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        let _restore = CallContext::current().within(self.0).enter();
        f()
    }

    /// Carries this deadline into `future`, also across `tokio::spawn`.
    ///
    /// It informs and does not enforce. The first [`Timeout`](crate::Timeout) inside enforces it,
    /// and every wait inside ends by it; a future with neither runs on. A deadline already in force
    /// where the future is polled stays in force if it is earlier.
    pub fn scope<F: Future>(&self, future: F) -> Scope<F> {
        Scope {
            future,
            deadline: self.0,
        }
    }

    /// Runs `future` outside the deadline in force, for at most `max` from this call: for clean-up
    /// after the deadline, and for work that several callers share and that must not end with the
    /// deadline of the first.
    ///
    /// It outlives the deadline and not the task. Spawn work that has to continue after its caller
    /// is dropped.
    ///
    /// Resolves to a [`Rejection`](crate::Rejection) with
    /// [`RejectionKind::TimedOut`](crate::RejectionKind::TimedOut) if `max` passes first. The
    /// future is dropped before that.
    ///
    /// # Panics
    /// When a pending future is polled outside of a tokio runtime with time enabled.
    #[cfg(feature = "tokio")]
    #[track_caller]
    pub fn shield<F: Future>(max: Duration, future: F) -> Shield<F> {
        shield::Shield::new(max, future, std::panic::Location::caller())
    }
}

pin_project! {
    /// A future with a deadline in force; made by [`Deadline::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        #[pin]
        future: F,
        deadline: Tick,
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _restore = CallContext::current().within(*this.deadline).enter();
        this.future.poll(cx)
    }
}

#[cfg(feature = "tokio")]
pub use shield::Shield;

#[cfg(feature = "tokio")]
mod shield {
    use std::future::Future;
    use std::panic::Location;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use std::time::Duration;

    use pin_project_lite::pin_project;

    use crate::config::Name;
    use crate::context::{CallContext, Expired};
    use crate::rejection::{Rejection, RejectionKind};
    use crate::time::{self, Sleep, Tick};

    pin_project! {
        /// A future that outlives the deadline in force, within its own bound; made by
        /// [`Deadline::shield`](super::Deadline::shield).
        #[derive(Debug)]
        #[must_use = "futures do nothing unless polled"]
        pub struct Shield<F> {
            // None once the bound has passed: it is dropped before the rejection is returned.
            #[pin]
            future: Option<F>,
            #[pin]
            sleep: Sleep,
            start: Tick,
            site: &'static Location<'static>,
        }
    }

    impl<F: Future> Shield<F> {
        pub(super) fn new(max: Duration, future: F, site: &'static Location<'static>) -> Self {
            let start = time::now();
            Self {
                future: Some(future),
                sleep: Sleep::until(start.after(max)),
                start,
                site,
            }
        }
    }

    impl<F: Future> Future for Shield<F> {
        type Output = Result<F::Output, Rejection>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let mut this = self.project();
            let until = this.sleep.deadline();
            {
                let _restore = CallContext::NONE.enforcing(until).enter();
                let future = this.future.as_mut().as_pin_mut();
                let future = future.expect("polled after it was ready");
                if let Poll::Ready(output) = future.poll(cx) {
                    return Poll::Ready(Ok(output));
                }
            }
            let now = ready!(this.sleep.poll_elapsed(cx));
            let expired = Expired::at(until);
            this.future.set(None);
            drop(expired);
            let kind = RejectionKind::TimedOut {
                limit: until.since(*this.start),
                elapsed: now.since(*this.start),
            };
            let rejection = Rejection::new(kind, Name::at("shield", this.site));
            Poll::Ready(Err(rejection))
        }
    }
}

/// Spawns `future` on the current tokio runtime, with the deadline in force here. The deadline
/// informs and does not enforce: a call that has to end by it runs in a
/// [`Timeout`](crate::Timeout), or reads [`Deadline::remaining`].
///
/// # Panics
/// Outside of a tokio runtime, as `tokio::spawn` does.
#[cfg(feature = "tokio")]
#[allow(clippy::disallowed_methods)] // The task is the user's; no policy spawns one.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let deadline = CallContext::deadline();
    tokio::spawn(Deadline(deadline).scope(future))
}
