//! What a connection does, and until when it may go on so.

use super::config::Config;
use crate::sync::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::time::Tick;

/// A write on HTTP/2 that is no longer has nothing of a response: an answer to a ping, a ping of the
/// server, a window update, or some of them.
const CONTROL: usize = 64;

/// What ends a connection that makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is idle: close it gracefully.
    Close,
    /// A head takes too long, or it did not close: cut it.
    Cut,
}

/// What a connection does. Its task reads it, and the requests and the stream write it.
///
/// # Memory ordering
///
/// The end of a request publishes its time (Release) to the task that finds no request in flight
/// (Acquire). All else publishes nothing: relaxed.
#[derive(Debug)]
pub(super) struct Activity {
    in_flight: AtomicU64,
    /// When a part of a response was last written, or the last request ended.
    progress: AtomicU64,
    /// When the head began that is being read; 0 if none is.
    head: AtomicU64,
    is_http2: AtomicBool,
    /// Whether bytes were written that have not all left.
    unflushed: AtomicBool,
}

impl Activity {
    /// A connection that was accepted now. The first head is expected from now on.
    pub(super) fn new(now: Tick) -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            progress: AtomicU64::new(now.0),
            head: AtomicU64::new(now.0),
            is_http2: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
        }
    }

    /// A head was read whole.
    pub(super) fn start_request(&self, is_http2: bool) {
        self.in_flight.fetch_add(1, Relaxed);
        self.head.store(0, Relaxed);
        self.is_http2.store(is_http2, Relaxed);
    }

    /// A response, with its body, was handed to hyper or given up.
    pub(super) fn end_request(&self, now: Tick) {
        self.progress.store(now.0, Relaxed);
        self.in_flight.fetch_sub(1, Release);
    }

    /// Bytes were read. Between two requests of HTTP/1 they are of the next head; on HTTP/2 they may
    /// be a ping.
    pub(super) fn has_read(&self, now: impl FnOnce() -> Tick) {
        let starts = self.head.load(Relaxed) == 0
            && self.in_flight.load(Relaxed) == 0
            && !self.is_http2.load(Relaxed);
        if starts {
            self.head.store(now().0, Relaxed);
        }
    }

    /// Bytes were written. Without a request in flight, pings on HTTP/2 are no progress: they would
    /// keep an idle connection open.
    pub(super) fn has_written(&self, bytes: usize, now: impl FnOnce() -> Tick) {
        let is_control =
            bytes <= CONTROL && self.is_http2.load(Relaxed) && self.in_flight.load(Relaxed) == 0;
        if !is_control {
            self.progress.store(now().0, Relaxed);
        }
        self.unflushed.store(true, Relaxed);
    }

    pub(super) fn has_flushed(&self) {
        self.unflushed.store(false, Relaxed);
    }

    /// How many requests a cut would lose.
    pub(super) fn unfinished(&self) -> u64 {
        let in_flight = self.in_flight.load(Acquire);
        in_flight.max(self.unflushed.load(Relaxed).into())
    }

    /// Until when the connection may go on without progress, and what happens then. None while a
    /// request is in flight, which is bounded by the layers, unless its reader takes nothing: then
    /// no layer is polled. `closing` is since when the connection has been closing.
    pub(super) fn deadline(&self, limits: &Config, closing: Option<Tick>) -> Option<(Tick, Due)> {
        if self.in_flight.load(Acquire) > 0 && !self.unflushed.load(Relaxed) {
            return None;
        }
        let head = self.head.load(Relaxed);
        if head > 0 {
            return Some((Tick(head).after(limits.header_timeout), Due::Cut));
        }
        let progress = Tick(self.progress.load(Relaxed));
        Some(match closing {
            None => (progress.after(limits.idle_timeout), Due::Close),
            Some(since) => (progress.max(since).after(limits.header_timeout), Due::Cut),
        })
    }
}
