//! How long a reader waits for a body, and what ends the wait.

use std::fmt;
use std::time::Duration;

use bytes::Buf;

use crate::config::Mode;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::Tick;
use crate::timeout::Timeout;

/// The limits of the bodies of one service.
#[derive(Clone, Debug)]
pub(in crate::http) struct Limits<P> {
    /// Until the first chunk. Without it `idle` holds from the start.
    pub(in crate::http) first_chunk: Option<Timeout>,
    /// Without progress.
    pub(in crate::http) idle: Option<Timeout>,
    pub(in crate::http) judge_within: Duration,
    pub(in crate::http) progress: P,
}

impl<P> Limits<P> {
    /// The limit of the wait for the next chunk.
    pub(super) fn of_wait(&self, began: bool) -> Option<&Timeout> {
        let first = self.first_chunk.as_ref().filter(|_| !began);
        first.or(self.idle.as_ref())
    }
}

/// The wait of a reader for the next progress of a body.
#[derive(Debug)]
pub(in crate::http) struct WaitForChunk {
    /// Whether there has been a chunk.
    began: bool,
    /// When the reader first had to wait since the last progress; never before that. A body that is
    /// always ready needs no clock.
    since: Tick,
    /// Whether record-only mode has recorded this wait.
    recorded: bool,
}

impl WaitForChunk {
    pub(in crate::http) const NEW: Self = Self {
        began: false,
        since: Tick::NEVER,
        recorded: false,
    };

    /// The reader waits.
    pub(in crate::http) fn wait(&mut self, now: impl FnOnce() -> Tick) {
        if self.since.is_never() {
            self.since = now();
        }
    }

    pub(in crate::http) fn progress(&mut self) {
        *self = Self {
            began: true,
            ..Self::NEW
        };
    }

    /// When the wait is too long.
    pub(in crate::http) fn due<P>(&self, limits: &Limits<P>) -> Tick {
        let limit = limits.of_wait(self.began).filter(|_| !self.recorded);
        match limit {
            Some(limit) if limit.mode() != Mode::Off => self.since.after(limit.limit()),
            _ => Tick::NEVER,
        }
    }

    /// The rejection, if the wait is too long. None as well if the limit only records.
    pub(in crate::http) fn cut<P>(
        &mut self,
        limits: &Limits<P>,
        now: Tick,
        kind: impl FnOnce(Duration, Duration) -> RejectionKind,
    ) -> Option<Rejection> {
        if now < self.due(limits) {
            return None;
        }
        let limit = limits.of_wait(self.began)?;
        self.recorded = true;
        limit.cut(self.since, now, kind)
    }
}

/// Which chunks of a body count as progress, for its idle timeout.
pub trait Progress<D> {
    /// Whether this chunk is progress.
    fn is_progress(&self, chunk: &D) -> bool;
}

/// Every chunk that is not empty is progress: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct EveryChunk;

impl<D: Buf> Progress<D> for EveryChunk {
    fn is_progress(&self, chunk: &D) -> bool {
        chunk.has_remaining()
    }
}

/// The chunks for which a closure is true are progress; made by
/// [`BodyLayer::progress`](super::BodyLayer::progress).
#[derive(Clone, Copy)]
pub struct ChunksBy<F>(pub(super) F);

impl<D, F: Fn(&D) -> bool> Progress<D> for ChunksBy<F> {
    fn is_progress(&self, chunk: &D) -> bool {
        (self.0)(chunk)
    }
}

impl<F> fmt::Debug for ChunksBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunksBy(..)")
    }
}
