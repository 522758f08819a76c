//! One call under a timeout: its clock, its deadline, its terminal event.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::policy::Timeout;
use crate::config::Mode;
use crate::context::path::Inside;
#[cfg(all(feature = "http", feature = "tower"))]
use crate::context::{self, AttemptClock};
use crate::context::{CallContext, ClockReading, Enforcing, Expired};
use crate::event::Ending;
use crate::in_flight::OnPanic;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{Sleep, Tick, nanos};

/// 146 years, in nanoseconds. A limit is cut to it, so that a deadline is never [`Tick::NEVER`].
const LONGEST: u64 = u64::MAX >> 2;

/// The request body of an attempt, if its timeout waits for that.
#[cfg(all(feature = "http", feature = "tower"))]
type Upload = Option<AttemptClock>;
#[cfg(not(all(feature = "http", feature = "tower")))]
type Upload = ();

/// What holds for a call from its start on.
#[derive(Clone, Copy)]
struct Terms {
    /// The mode at the start.
    mode: Mode,
    start: Tick,
    /// When the limit ends; never in [`Mode::Off`], and once record-only mode has recorded.
    limit_end: Tick,
    /// The deadline of the call: the end of the limit, or an earlier deadline in force at `call`.
    deadline: Tick,
    /// Whether it never lasts until the end of a body.
    #[cfg(feature = "tower")]
    ends_with_head: bool,
    /// Whether its limit is the timeout's, and not one of its own.
    #[cfg(debug_assertions)]
    is_common: bool,
}

impl Terms {
    /// The deadline for the user's code.
    #[inline]
    fn enforced(&self) -> Tick {
        match self.mode {
            Mode::Enforce => self.deadline,
            Mode::RecordOnly | Mode::Off => Tick::NEVER,
        }
    }

    /// Sets the deadline for the user's code until the guards are dropped.
    #[inline(always)]
    fn enter(&self, timeout: &Timeout) -> (Enforcing, Inside) {
        #[cfg(debug_assertions)]
        let counts = self.is_common && self.mode != Mode::Off;
        #[cfg(not(debug_assertions))]
        let counts = false;
        let inside = Inside::enter(counts.then(|| timeout.common()));
        (CallContext::enforce(self.enforced()), inside)
    }
}

/// A call that was started and is not made yet.
// Without a drop, so that its parts stay in registers, and are written once to where the future of
// the call keeps them.
pub(crate) struct Started {
    timeout: Timeout,
    terms: Terms,
}

impl Started {
    /// Starts the clock, or counts from `since`. A call whose deadline has passed is rejected.
    #[inline(always)]
    pub(crate) fn new(
        timeout: &Timeout,
        limit: Option<Duration>,
        since: Option<Tick>,
        clock: &mut ClockReading,
    ) -> Result<Self, Rejection> {
        let mode = match limit {
            Some(Duration::MAX) => Mode::Off,
            _ => timeout.mode(),
        };
        let mut terms = Terms {
            mode,
            start: Tick::ZERO,
            limit_end: Tick::NEVER,
            deadline: Tick::NEVER,
            #[cfg(feature = "tower")]
            ends_with_head: false,
            #[cfg(debug_assertions)]
            is_common: limit.is_none(),
        };
        if mode != Mode::Off {
            let now = clock.now();
            terms.start = since.unwrap_or(now);
            let limit = limit.map_or_else(|| timeout.nanos(), nanos).min(LONGEST);
            terms.limit_end = Tick(terms.start.0.saturating_add(limit));
            terms.deadline = terms.limit_end.min(CallContext::deadline());
            if terms.deadline <= now {
                if let Some(rejection) = timeout.expired(mode) {
                    return Err(rejection);
                }
                (terms.limit_end, terms.deadline) = (Tick::NEVER, Tick::NEVER);
            }
            timeout.common().admitted();
        }
        Ok(Self {
            timeout: timeout.clone(),
            terms,
        })
    }

    /// Whether it never lasts until the end of a body.
    #[cfg(feature = "tower")]
    #[inline(always)]
    #[must_use]
    pub(super) fn ends_with_head(mut self, ends: bool) -> Self {
        self.terms.ends_with_head = ends;
        self
    }
}

/// A call under a timeout, from its start to its one terminal event.
pub(crate) struct TimedCall {
    timeout: Timeout,
    terms: Terms,
    /// Whether the terminal event is still to be emitted.
    open: bool,
    /// Whether the call has been pending.
    pending: bool,
}

impl TimedCall {
    /// The deadline for the user's code.
    #[cfg(all(feature = "http", feature = "tower"))]
    pub(crate) fn enforced(&self) -> Tick {
        self.terms.enforced()
    }

    /// Counts the limit from when the request body had been sent, if that was later than the call.
    /// False if the limit has passed since then.
    #[cfg(all(feature = "http", feature = "tower"))]
    fn extends(&mut self, upload: &mut Upload, now: Tick) -> bool {
        let Some(upload) = upload.as_mut().filter(|_| self.terms.limit_end <= now) else {
            return false;
        };
        let limit = self.terms.limit_end.since(self.terms.start);
        let Some(start) = upload.start(now).filter(|start| start.after(limit) > now) else {
            return false;
        };
        self.terms.start = start;
        self.terms.limit_end = start.after(limit);
        self.terms.deadline = self.terms.limit_end.min(CallContext::deadline());
        true
    }

    #[cfg(not(all(feature = "http", feature = "tower")))]
    fn extends(&mut self, (): &mut Upload, _: Tick) -> bool {
        false
    }

    /// When the timer of a pending call fires. A deadline that a timeout further up enforces ends
    /// the call under the name of that timeout, so the timer is for the limit. It is always set:
    /// this future may outlive that timeout without another poll, in a `FuturesUnordered` or a
    /// local task.
    #[inline]
    pub(crate) fn due(&self) -> Tick {
        match self.terms.deadline == CallContext::enforced() {
            true => self.terms.limit_end,
            false => self.terms.deadline,
        }
    }

    /// The rejection of a call that is past its [`due`](Self::due). Record-only mode counts it and
    /// lets the call go on.
    #[cold]
    fn time_is_up(&mut self, now: Tick) -> Option<Rejection> {
        let start = self.terms.start;
        let (limit, elapsed) = (self.due().since(start), now.since(start));
        let kind = RejectionKind::TimedOut { limit, elapsed };
        if self.terms.mode == Mode::RecordOnly {
            self.timeout.record_rejection(kind);
            (self.terms.limit_end, self.terms.deadline) = (Tick::NEVER, Tick::NEVER);
            return None;
        }
        Some(self.timeout.rejection(kind))
    }

    /// Ends a call that has no time left.
    fn reject(&mut self, rejection: &Rejection) {
        if std::mem::replace(&mut self.open, false) {
            if let RejectionKind::TimedOut { elapsed, .. } = rejection.kind() {
                self.timeout.common().cells().time(elapsed);
            }
            self.timeout.common().emit_rejected(rejection);
        }
    }

    /// Moves the call to where it ends later, if it is under a limit.
    #[cfg(feature = "tower")]
    pub(super) fn hold(&mut self, hold: impl FnOnce(Self) -> Option<Self>) {
        if self.open && !self.terms.ends_with_head {
            // A deadline that a timeout further up enforces is for the head, or that timeout holds
            // the body as well.
            let deadline = self.due();
            let moved = Self {
                timeout: self.timeout.clone(),
                terms: Terms {
                    deadline,
                    ..self.terms
                },
                open: true,
                pending: true,
            };
            self.open = false;
            if let Some(mut returned) = hold(moved) {
                returned.end(Ending::Completed);
            }
        }
    }

    /// The rejection of a call that is past its [`due`](Self::due), which is emitted.
    #[cfg(all(feature = "http", feature = "tower"))]
    pub(crate) fn cut(&mut self, now: Tick) -> Option<Rejection> {
        let rejection = self.time_is_up(now)?;
        self.reject(&rejection);
        Some(rejection)
    }

    #[inline]
    pub(super) fn completed(&mut self, rejected: impl FnOnce() -> bool) {
        self.end(match self.open && rejected() {
            true => Ending::Rejected,
            false => Ending::Completed,
        });
    }

    #[inline]
    pub(crate) fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.open, false) {
            let start = self.terms.start;
            self.timeout.emit_ended(ending, start, self.pending);
        }
    }
}

impl Drop for TimedCall {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

pin_project! {
    /// A call under a timeout. `M` makes a rejection the service's own outcome.
    ///
    /// Not `Unpin`: it holds its timer itself, without a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct Timed<F, M> {
        // None once the call has timed out: it is dropped before the rejection is returned.
        #[pin]
        future: Option<F>,
        // None before the first poll that was pending.
        #[pin]
        sleep: Option<Sleep>,
        call: TimedCall,
        upload: Upload,
        pub(super) format: M,
    }
}

impl<F, M> Timed<F, M> {
    /// Makes the call, with its deadline in force.
    // Inlined, so that the call is built where it stays: passing it through another function
    // copies the request once more.
    #[inline(always)]
    pub(crate) fn new(started: Started, make: impl FnOnce() -> F, format: M) -> Self {
        let Started { timeout, terms } = started;
        let entered = terms.enter(&timeout);
        #[cfg(all(feature = "http", feature = "tower"))]
        let announced = terms.ends_with_head.then(context::Upload::listen);
        let mut at_panic = (&timeout, terms.mode, terms.start);
        let guard = OnPanic::new(&mut at_panic, |(timeout, mode, start)| {
            if *mode != Mode::Off {
                timeout.emit_ended(Ending::Panicked, *start, false);
            }
        });
        let future = Some(make());
        guard.done();
        drop(entered);
        #[cfg(all(feature = "http", feature = "tower"))]
        let upload = announced.and_then(context::Announced::take);
        #[cfg(not(all(feature = "http", feature = "tower")))]
        let upload = ();
        Self {
            future,
            sleep: None,
            upload,
            call: TimedCall {
                timeout,
                terms,
                open: terms.mode != Mode::Off,
                pending: false,
            },
            format,
        }
    }

    /// Polls the call alone. `end` ends it, or moves what ends it into its output.
    #[inline]
    pub(crate) fn poll_call(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        end: impl FnOnce(&mut TimedCall, &M, &mut F::Output),
    ) -> Poll<F::Output>
    where
        F: Future,
    {
        let this = self.project();
        let terms = &mut this.call.terms;
        // The first poll takes over a deadline that no timer further up enforces.
        if this.sleep.is_none() && !terms.deadline.is_never() {
            terms.deadline = terms.deadline.min(CallContext::unenforced());
        }
        let future = this.future.as_pin_mut();
        let future = future.expect("polled after it was ready");
        let entered = this.call.terms.enter(&this.call.timeout);
        let guard = OnPanic::new(this.call, |call| call.end(Ending::Panicked));
        let mut polled = future.poll(cx);
        guard.done();
        drop(entered);
        if let Poll::Ready(output) = &mut polled {
            end(this.call, this.format, output);
        }
        polled
    }

    /// Polls the timer of a call that is pending. Once it has fired, drops the call and resolves
    /// to the rejection.
    #[inline(never)]
    pub(crate) fn poll_timer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Rejection> {
        let mut this = self.project();
        let (call, mut sleep) = (this.call, this.sleep);
        call.pending = true;
        let now = loop {
            // At every poll, because the future may have moved out of an earlier deadline.
            let due = call.due();
            let armed = sleep.as_ref().get_ref().as_ref().map(Sleep::deadline);
            if armed != Some(due) {
                sleep.set(Some(Sleep::until(due)));
            }
            let timer = sleep.as_mut().as_pin_mut().expect("it was set above");
            let now = ready!(timer.poll_elapsed(cx));
            if !call.extends(this.upload, now) {
                break now;
            }
        };
        let Some(rejection) = call.time_is_up(now) else {
            return Poll::Pending;
        };
        let expired = Expired::at(call.terms.deadline);
        let guard = OnPanic::new(call, |call| call.end(Ending::Panicked));
        this.future.set(None);
        guard.done();
        drop(expired);
        call.reject(&rejection);
        Poll::Ready(rejection)
    }
}
