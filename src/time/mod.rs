//! The one clock reader, the one sleeper, and the ticks that all other code counts in.
//!
//! In a normal build time comes from a raw counter where the platform has one (through `quanta`) and
//! the operating system trusts it; otherwise from the system's monotonic clock. Each thread compares
//! the two once a second, and where they are a second apart the whole process switches over.
//! With the feature `test-util` it comes from `tokio::time::Instant`, so that a test that pauses
//! tokio's clock controls every policy. Durations go to tokio's timers, never instants, because the
//! two clocks may drift apart.
#![allow(clippy::disallowed_methods)]

mod clock;
#[cfg(feature = "tokio")]
mod sleep;
#[cfg(any(test, not(feature = "test-util")))]
mod switch;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod tick;

use std::cell::Cell;
use std::time::{Duration, Instant};

#[cfg(feature = "tokio")]
pub(crate) use sleep::Sleep;
pub(crate) use tick::{Tick, nanos};

/// Reads the clock. On one thread it never goes back.
#[inline]
pub(crate) fn now() -> Tick {
    let now = clock::now();
    RECENT.with(|recent| recent.keep(now))
}

/// The same for a listener: outside of the path of calls that no listener observes.
#[cold]
pub(crate) fn now_observed() -> Tick {
    now()
}

/// Reads the system's monotonic clock from now on, in the whole process, instead of the processor's
/// counter.
///
/// The counter is used only where the operating system itself trusts it, and given up by itself
/// where it differs from the system's clock by more than a second. Call this at the start of a
/// program for machines whose counters are known to be wrong; `--cfg seawall_system_clock` in
/// `RUSTFLAGS` does it at build time. A reading then takes about 20 ns instead of 10. Nothing steps
/// back. With the feature `test-util` it does nothing.
pub fn use_system_clock() {
    clock::use_system_clock();
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
    /// When the clock is checked next.
    check: Cell<Tick>,
}

thread_local! {
    static RECENT: Recent = const {
        Recent { tick: Cell::new(Tick::ZERO), uses_left: Cell::new(0), check: Cell::new(Tick::ZERO) }
    };
}

impl Recent {
    const USES: u32 = 15;
    const CHECK_EVERY: Duration = Duration::from_secs(1);

    /// Keeps a reading, and returns it or what it must be.
    #[inline]
    fn keep(&self, mut now: Tick) -> Tick {
        // The clock of tests is not checked.
        if !cfg!(feature = "test-util") && (now < self.tick.get() || now >= self.check.get()) {
            now = self.checked();
        }
        self.tick.set(now);
        self.uses_left.set(Self::USES);
        now
    }

    #[cold]
    fn checked(&self) -> Tick {
        let now = clock::checked(self.tick.get());
        self.check.set(now.after(Self::CHECK_EVERY));
        now
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
