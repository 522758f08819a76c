//! The call that ends with a body.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use pin_project_lite::pin_project;

use super::held::{End, Held};
use super::limits::{Limits, WaitForChunk};
use crate::classify::{Codes, FailureKind, Outcome};
use crate::context::Enforcing;
use crate::http::trailers::of_grpc;
use crate::per_thread::{Kept, kept};
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Sleep, Tick};

/// A body that holds its call hands out no larger chunks: a host such as hyper drops a body as soon
/// as it has taken the last chunk, and stops to take chunks when it cannot write them.
const CHUNK: usize = 64 * 1024;

kept! {
    /// The states of calls that have ended on this thread, as new.
    ENDED: State
}

pin_project! {
    #[project = Parts]
    struct State {
        held: Held,
        wait: WaitForChunk,
        // When the head decides if the body has not ended. None before the first wait.
        judge_at: Option<Tick>,
        // What is left of a large chunk.
        rest: Bytes,
        // What the body has said so far, for a body that ends without an error.
        outcome: Outcome,
        // How the gRPC status in the trailers counts. None if this is no gRPC.
        codes: Option<Codes>,
        // None before the first wait that has an end.
        #[pin]
        timer: Option<Sleep>,
    }
}

impl State {
    const fn new() -> Self {
        Self {
            held: Held::new(),
            wait: WaitForChunk::NEW,
            judge_at: None,
            rest: Bytes::new(),
            outcome: Outcome::Success,
            codes: None,
            timer: None,
        }
    }
}

/// The call that ends with a body. Dropped, it ends as for a body that was dropped by its reader.
///
/// A response moves through every layer, and what a call holds is larger than most responses. So it
/// is in a box, which the thread uses for its next calls as well, so that they allocate none.
pub(super) struct Call(
    // None once the body has ended, and for one that no service has made.
    Option<Pin<Box<State>>>,
);

impl Call {
    pub(super) const ENDED: Self = Self(None);

    #[inline]
    pub(super) fn begin() -> Self {
        #[allow(clippy::disallowed_methods)] // Once for many calls.
        let new = || Box::pin(State::new());
        Self(Some(Kept::take(&ENDED).unwrap_or_else(new)))
    }

    #[inline(always)]
    fn parts(&mut self) -> Option<Parts<'_>> {
        Some(self.0.as_mut()?.as_mut().project())
    }

    #[inline(always)]
    fn state(&self) -> Option<&State> {
        self.0.as_deref()
    }

    /// Whether it goes on, and nothing holds it yet.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.state().is_some_and(|state| state.held.is_empty())
    }

    /// Takes `held` over. Returns it if the call has ended, or if no body can hold it.
    #[inline]
    pub(super) fn hold<T: Any>(&mut self, held: T) -> Option<T> {
        match self.parts() {
            Some(parts) => parts.held.add(held),
            None => Some(held),
        }
    }

    /// The trailers may have a gRPC status, which counts by `codes`. If the head has none, they
    /// have to: a stream that ends without one was cut off.
    pub(super) fn expect_status(&mut self, codes: Codes, required: bool) {
        if let Some(parts) = self.parts() {
            *parts.codes = Some(codes);
            if required {
                *parts.outcome = Outcome::failure(FailureKind::Response);
            }
        }
    }

    /// These are the trailers, which may state the outcome.
    pub(super) fn status(&mut self, trailers: &HeaderMap) {
        if let Some(parts) = self.parts() {
            let codes = parts.codes.as_ref();
            if let Some(outcome) = codes.and_then(|codes| of_grpc(trailers, codes)) {
                *parts.outcome = outcome;
            }
        }
    }

    /// Whether a timeout lasts until the end of the body.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.state().is_some_and(|state| state.held.is_timed())
    }

    /// Sets the deadline of the call for the service's code until the guard is dropped.
    #[inline]
    pub(super) fn enter(&self) -> Option<Enforcing> {
        self.state()?.held.enter()
    }

    /// There was a chunk that is progress.
    #[inline]
    pub(super) fn progress(&mut self) {
        if let Some(parts) = self.parts() {
            parts.wait.progress();
        }
    }

    /// Whether its total has passed while its reader did not read. Such a reader may take any time
    /// between two chunks, so the clock is read for each.
    #[inline]
    pub(super) fn is_overdue(&self) -> bool {
        let due = self.state().map_or(Tick::NEVER, |state| state.held.due());
        // In the same instant the chunk wins.
        !due.is_never() && time::now() > due
    }

    /// The rejection of a call that is overdue.
    #[cold]
    pub(super) fn overdue(&mut self) -> Option<Rejection> {
        self.parts()?.held.cut(time::now())
    }

    /// Whether a chunk of this size is to be handed out in parts.
    #[inline]
    pub(super) fn splits(&self, length: usize) -> bool {
        length > CHUNK && self.state().is_some_and(|state| !state.held.is_empty())
    }

    /// Splits a large chunk. Returns its first part.
    pub(super) fn split(&mut self, mut chunk: Bytes) -> Bytes {
        let first = chunk.split_to(CHUNK);
        match self.parts() {
            Some(parts) => *parts.rest = chunk,
            None => unreachable!("a call that has ended splits nothing"),
        }
        first
    }

    /// The next part of a large chunk.
    #[inline]
    pub(super) fn next_part(&mut self) -> Option<Bytes> {
        if self.left() == 0 {
            return None;
        }
        let rest = self.parts()?.rest;
        Some(rest.split_to(rest.len().min(CHUNK)))
    }

    /// How many bytes of a large chunk are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.state().map_or(0, |state| state.rest.len())
    }

    /// Waits for the first limit of a body that is pending. Resolves to the rejection.
    pub(super) fn poll_cut<P>(
        &mut self,
        limits: &Limits<P>,
        cx: &mut Context<'_>,
    ) -> Poll<Rejection> {
        let Some(mut parts) = self.parts() else {
            return Poll::Pending;
        };
        parts.wait(limits);
        loop {
            let due = parts.due(limits);
            if due.is_never() {
                return Poll::Pending;
            }
            // A timer that is set for an earlier instant stays: each chunk moves the instant, and
            // the timer is set again when it fires.
            let armed = parts.timer.as_ref().get_ref().as_ref();
            if armed.is_none_or(|armed| armed.deadline() > due) {
                parts.timer.set(Some(Sleep::until(due)));
            }
            let sleep = parts.timer.as_mut().as_pin_mut();
            let now = ready!(sleep.expect("it was set above").poll_elapsed(cx));
            parts.timer.set(None);
            if let Some(rejection) = parts.cut(limits, now) {
                return Poll::Ready(rejection);
            }
        }
    }

    /// The body has ended without an error.
    #[inline]
    pub(super) fn end(&mut self) {
        let outcome = self.state().map(|state| state.outcome);
        self.end_with(outcome.unwrap_or(Outcome::Success));
    }

    /// The body has ended. One that has taken too long counts as its head said.
    #[inline]
    pub(super) fn end_with(&mut self, outcome: Outcome) {
        if let Some(parts) = self.parts() {
            let at = parts.judge_at.filter(|_| parts.held.is_judged());
            if at.is_some_and(|at| at <= time::now()) {
                parts.held.judge(Outcome::Success);
            }
        }
        self.settle(End::Ended(outcome));
    }

    pub(super) fn panicked(&mut self) {
        self.settle(End::Panicked);
    }

    /// Settles what the call holds, once.
    fn settle(&mut self, end: End) {
        let Some(mut state) = self.0.take() else {
            return;
        };
        state.as_mut().project().end(end);
        Kept::keep(&ENDED, state);
    }
}

impl Drop for Call {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.settle(End::Dropped);
        }
    }
}

impl Parts<'_> {
    /// Settles what the call holds. The state is as new.
    #[inline]
    fn end(mut self, end: End) {
        self.held.settle(end);
        *self.wait = WaitForChunk::NEW;
        *self.judge_at = None;
        if !self.rest.is_empty() {
            *self.rest = Bytes::new();
        }
        *self.outcome = Outcome::Success;
        *self.codes = None;
        if self.timer.is_some() {
            self.timer.set(None);
        }
    }

    /// The reader waits.
    fn wait<P>(&mut self, limits: &Limits<P>) {
        if limits.idle.is_some() || limits.first_chunk.is_some() {
            self.wait.wait(time::now);
        }
        if self.judge_at.is_none() && self.held.is_judged() {
            *self.judge_at = Some(time::now().after(limits.judge_within));
        }
    }

    /// When a wait for the next frame has to be looked at.
    fn due<P>(&self, limits: &Limits<P>) -> Tick {
        let judge_at = self.judge_at.filter(|_| self.held.is_judged());
        let due = self.held.due().min(judge_at.unwrap_or(Tick::NEVER));
        due.min(self.wait.due(limits))
    }

    /// The rejection that cuts the body short at `now`.
    fn cut<P>(&mut self, limits: &Limits<P>, now: Tick) -> Option<Rejection> {
        if self.judge_at.is_some_and(|at| at <= now) {
            self.held.judge(Outcome::Success);
        }
        let by_total = self.held.cut(now);
        let kind = |limit, elapsed| RejectionKind::TimedOut { limit, elapsed };
        by_total.or_else(|| self.wait.cut(limits, now, kind))
    }
}
