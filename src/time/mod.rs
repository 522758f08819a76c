//! The one clock reader, the one sleeper, and the ticks that all other code counts in.
//!
//! In a normal build time comes from a raw counter where the platform has one (through `quanta`).
//! With the feature `test-util` it comes from `tokio::time::Instant`, so that a test that pauses
//! tokio's clock controls every policy. Durations go to tokio's timers, never instants, because the
//! two clocks may drift apart.
#![allow(clippy::disallowed_methods)]

mod clock;
#[cfg(feature = "tokio")]
mod sleep;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod tick;

use std::cell::Cell;
use std::time::Instant;

#[cfg(feature = "tokio")]
pub(crate) use sleep::Sleep;
pub(crate) use tick::{Tick, nanos};

/// Reads the clock.
#[inline]
pub(crate) fn now() -> Tick {
    let now = clock::now();
    RECENT.with(|recent| recent.keep(now));
    now
}

/// The last reading of this thread. It is renewed for every sixteenth use, and with `test-util` for
/// each, because a paused clock advances by any time at once.
///
/// For decisions in seconds to which an old reading does no harm: in a thread that has slept it is
/// as old as the sleep.
#[inline]
pub(crate) fn recent() -> Tick {
    if cfg!(feature = "test-util") {
        return now();
    }
    RECENT.with(Recent::get).unwrap_or_else(now)
}

struct Recent {
    tick: Cell<Tick>,
    uses_left: Cell<u32>,
}

thread_local! {
    static RECENT: Recent = const {
        Recent { tick: Cell::new(Tick::ZERO), uses_left: Cell::new(0) }
    };
}

impl Recent {
    const USES: u32 = 15;

    #[inline]
    fn keep(&self, now: Tick) {
        self.tick.set(now);
        self.uses_left.set(Self::USES);
    }

    /// None if it has to be renewed.
    #[inline]
    fn get(&self) -> Option<Tick> {
        let left = self.uses_left.get().checked_sub(1)?;
        self.uses_left.set(left);
        Some(self.tick.get())
    }
}

/// The tick at which the clock will show `instant`.
pub(crate) fn tick_of(instant: Instant) -> Tick {
    let now = now();
    let std_now = clock::std_now();
    match instant.checked_duration_since(std_now) {
        Some(left) => now.after(left),
        None => Tick(now.0.saturating_sub(nanos(std_now - instant))),
    }
}

/// The time of day, for dates in headers. It measures nothing.
#[cfg(feature = "http")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Blocks this thread until the clock shows `until`, or until it is unparked. It may also return
/// for no reason.
pub(crate) fn park_until(until: Tick) {
    match until.is_never() {
        true => std::thread::park(),
        false => std::thread::park_timeout(until.since(now())),
    }
}

/// A waker that unparks this thread.
pub(crate) fn unparker() -> std::task::Waker {
    struct Unpark(std::thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }

    std::sync::Arc::new(Unpark(std::thread::current())).into()
}
