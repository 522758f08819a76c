//! The clock itself: a raw counter, or tokio's clock with the feature `test-util`.
#![allow(clippy::disallowed_methods)]

/// A conversion of counts to nanoseconds: whole nanoseconds for each count, and the rest in units
/// of 2^-64. So the time is the high half of one product and two sums, without a shift or a branch.
/// Whatever a call does after it has read the clock waits for that.
#[cfg_attr(feature = "test-util", allow(dead_code))]
pub(super) struct Scale {
    whole: u64,
    rest: u64,
}

#[cfg_attr(feature = "test-util", allow(dead_code))]
impl Scale {
    /// The scale of a counter of which `nanos` converts counts, cut to 64 bits.
    pub(super) fn of(nanos: impl Fn(u64) -> u64) -> Self {
        const FEW: u32 = 32;
        // Enough to see whether a longer conversion was cut: a count is below four seconds.
        let few = nanos(1 << FEW);
        let fits = |many: &u32| (nanos(1 << many) >> (many - FEW)).abs_diff(few) <= 1;
        let many = (FEW..61).rev().find(fits).unwrap_or(FEW);
        let of_one = (u128::from(nanos(1 << many).max(1)) << u64::BITS) >> many;
        Self {
            whole: (of_one >> u64::BITS) as u64,
            rest: of_one as u64,
        }
    }

    #[inline]
    pub(super) fn nanos_after(&self, start: u64, counts: u64) -> u64 {
        let rest = (u128::from(counts) * u128::from(self.rest)) >> u64::BITS;
        let whole = counts.wrapping_mul(self.whole).wrapping_add(start);
        whole.wrapping_add(rest as u64)
    }
}

/// Where the first reading lies. A runtime that was paused before the first reading shows times
/// before it. With the origin a day earlier these are still different from one another.
const BIAS: u64 = 24 * 3_600 * 1_000_000_000;

#[cfg(not(feature = "test-util"))]
mod reader {
    use std::time::Instant;

    use super::{BIAS, Scale};
    use crate::sync::OnceLock;
    use crate::time::switch::{Reading, Switch};
    use crate::time::tick::{Tick, nanos};

    struct Clock {
        counter: quanta::Clock,
        scale: Scale,
        /// [`BIAS`]. As a constant it would be added last, after the product.
        bias: u64,
        switch: Switch,
        start: Instant,
    }

    static CLOCK: OnceLock<Clock> = OnceLock::new();

    impl Clock {
        fn new() -> Self {
            let counter = quanta::Clock::new();
            let scale = Scale::of(|counts| counter.delta_as_nanos(0, counts));
            let first = Tick(scale.nanos_after(BIAS, counter.raw()));
            let reading = Reading {
                before: 0,
                counter: first,
                after: 0,
            };
            let system = cfg!(seawall_system_clock) || !is_trusted();
            Self {
                counter,
                scale,
                bias: BIAS,
                switch: Switch::new(reading, system),
                start: Instant::now(),
            }
        }

        #[inline]
        fn counter(&self) -> Tick {
            // No counter runs for 584 years.
            Tick(self.scale.nanos_after(self.bias, self.counter.raw()))
        }

        fn system(&self) -> u64 {
            nanos(self.start.elapsed())
        }

        #[cold]
        fn system_tick(&self) -> Tick {
            self.switch.tick(self.system())
        }

        fn reading(&self) -> Reading {
            Reading {
                before: self.system(),
                counter: self.counter(),
                after: self.system(),
            }
        }
    }

    /// Whether the operating system keeps its own time by the counter. Linux gives it up where the
    /// counters of the cores differ.
    fn is_trusted() -> bool {
        const NAME: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        if !cfg!(target_os = "linux") {
            return true;
        }
        let name = std::fs::read_to_string(NAME);
        name.is_ok_and(|name| matches!(name.trim(), "tsc" | "arch_sys_counter"))
    }

    #[inline]
    fn clock() -> &'static Clock {
        CLOCK.get_or_init(Clock::new)
    }

    #[inline]
    pub(in crate::time) fn now() -> Tick {
        #[cfg(all(debug_assertions, feature = "tokio"))]
        super::drift::check();
        let clock = clock();
        match clock.switch.is_system() {
            false => clock.counter(),
            true => clock.system_tick(),
        }
    }

    /// Checks the clock on a thread whose last tick was `last`.
    #[cold]
    pub(in crate::time) fn checked(last: Tick) -> Tick {
        let clock = clock();
        let (tick, switched) = clock.switch.check(clock.reading(), last);
        if switched {
            const WARNING: &str = "the processor's counter is more than a second off the system's \
                                   clock; the system's clock is used from now on";
            #[cfg(feature = "tracing")]
            tracing::warn!(target: "seawall", "{WARNING}");
            #[cfg(not(feature = "tracing"))]
            eprintln!("seawall: {WARNING}");
        }
        tick
    }

    pub(in crate::time) fn use_system_clock() {
        let clock = clock();
        if !clock.switch.is_system() {
            let reading = clock.reading();
            clock.switch.to_system(reading.after, reading.counter);
        }
    }

    pub(in crate::time) fn std_now() -> Instant {
        Instant::now()
    }
}

#[cfg(feature = "test-util")]
mod reader {
    use super::BIAS;
    use crate::sync::OnceLock;
    use crate::time::tick::{Tick, nanos};

    #[inline]
    pub(in crate::time) fn now() -> Tick {
        static FIRST: OnceLock<tokio::time::Instant> = OnceLock::new();
        let now = tokio::time::Instant::now();
        let first = *FIRST.get_or_init(|| now);
        Tick(match now.checked_duration_since(first) {
            Some(passed) => BIAS.saturating_add(nanos(passed)),
            None => BIAS.saturating_sub(nanos(first - now)),
        })
    }

    /// The clock of tests is theirs: two paused runtimes differ.
    pub(in crate::time) fn checked(_: Tick) -> Tick {
        now()
    }

    pub(in crate::time) fn use_system_clock() {}

    pub(in crate::time) fn std_now() -> std::time::Instant {
        tokio::time::Instant::now().into_std()
    }
}

pub(super) use reader::{checked, now, std_now, use_system_clock};

/// Warns a test that advances tokio's clock when the policies do not follow it (CX17).
#[cfg(all(debug_assertions, feature = "tokio", not(feature = "test-util")))]
mod drift {
    use std::time::{Duration, Instant};

    use crate::sync::OnceLock;

    static WARNED: OnceLock<()> = OnceLock::new();

    pub(super) fn check() {
        if WARNED.get().is_some() {
            return;
        }
        // The two clocks agree unless tokio's was advanced. The real one is read last, so that a
        // thread that is suspended between the two readings sees no advance.
        let tokio = tokio::time::Instant::now().into_std();
        let real = Instant::now();
        if tokio > real + Duration::from_millis(1) {
            WARNED.get_or_init(|| {
                eprintln!(
                    "seawall: tokio's clock was advanced, but the policies read the real one. Add to \
                     Cargo.toml: [dev-dependencies] seawall = {{ version = \"*\", features = [\"test-util\"] }}"
                );
            });
        }
    }
}
