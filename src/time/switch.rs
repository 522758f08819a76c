//! Which clock the process reads: the raw counter, or the system's monotonic clock once the counter
//! was seen to be wrong.

use std::time::Duration;

use super::tick::{Tick, nanos};
use crate::sync::{Ordering, StaticBool, StaticU64};

/// How far a counter may be from the system's clock.
const TOLERANCE: u64 = 1_000_000_000;

/// The longest time between two readings that are taken for one.
const CLOSE: u64 = 1_000_000;

/// The state of one process. It only goes from the counter to the system's clock.
#[derive(Debug)]
pub(super) struct Switch {
    /// Whether the system's clock is read. Acquire and release: it publishes `offset`.
    system: StaticBool,
    /// What added to the system's time is the tick, as of the last check. Relaxed.
    offset: StaticU64,
    /// The system's time of the last check. Relaxed.
    checked: StaticU64,
}

/// A reading of the counter between two of the system's clock, in nanoseconds. A thread that is
/// suspended while it reads makes them far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) before: u64,
    pub(super) counter: Tick,
    pub(super) after: u64,
}

impl Switch {
    pub(super) fn new(first: Reading, system: bool) -> Self {
        Self {
            system: StaticBool::new(system),
            offset: StaticU64::new(first.counter.0.wrapping_sub(first.after)),
            checked: StaticU64::new(first.after),
        }
    }

    #[inline]
    pub(super) fn is_system(&self) -> bool {
        self.system.load(Ordering::Acquire)
    }

    /// The tick of a time of the system's clock.
    pub(super) fn tick(&self, system: u64) -> Tick {
        Tick(system.wrapping_add(self.offset.load(Ordering::Relaxed)))
    }

    /// Checks the counter of a thread whose last tick was `last`. Returns its tick, and whether this
    /// check has switched the process over.
    pub(super) fn check(&self, reading: Reading, last: Tick) -> (Tick, bool) {
        let Reading {
            before,
            counter,
            after,
        } = reading;
        if self.is_system() {
            return (self.tick(after).max(last), false);
        }
        // A counter that runs at another rate than the system's clock is not wrong: each check
        // starts from the last.
        let passed = after.saturating_sub(self.checked.load(Ordering::Relaxed));
        let tolerance = Duration::from_nanos(TOLERANCE + passed / 1_000);
        let earliest = self.tick(before).0.saturating_sub(nanos(tolerance));
        let latest = self.tick(after).after(tolerance);
        if counter.0 >= earliest && counter.max(last) <= latest {
            // Not where the thread was suspended: its counter may be as early as `before`.
            if after - before <= CLOSE {
                let offset = counter.0.wrapping_sub(after);
                self.offset.store(offset, Ordering::Relaxed);
                self.checked.store(after, Ordering::Relaxed);
            }
            return (counter.max(last), false);
        }
        self.to_system(after, counter.max(last))
    }

    /// Reads the system's clock from now on, which goes on from `tick` if that is ahead. So no
    /// thread that has read an earlier tick sees time step back; it may see it jump ahead.
    pub(super) fn to_system(&self, system: u64, tick: Tick) -> (Tick, bool) {
        let offset = tick.0.wrapping_sub(system);
        let before = self.offset.load(Ordering::Relaxed);
        if tick > Tick(system.wrapping_add(before)) {
            self.offset.store(offset, Ordering::Relaxed);
        }
        let first = !self.system.swap(true, Ordering::AcqRel);
        (self.tick(system).max(tick), first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const START: u64 = 24 * HOUR;

    fn at(system: u64, counter: u64) -> Reading {
        Reading {
            before: system,
            counter: Tick(counter),
            after: system,
        }
    }

    fn switch() -> Switch {
        Switch::new(at(0, START), false)
    }

    // Case 48: two threads on cores whose counters differ by an hour. A limiter that one of them
    // has charged is not shut for the other, and a timeout of 30 s takes 30 s.
    #[test]
    fn d7_two_counters_that_differ_by_an_hour_switch_the_process_over() {
        for ahead in [true, false] {
            let switch = switch();
            let (mut one, mut two) = (Tick(0), Tick(0));
            let other = match ahead {
                true => START + HOUR,
                false => START - HOUR,
            };
            let (tick, switched) = switch.check(at(SECOND, START + SECOND), one);
            assert_eq!((tick, switched), (Tick(START + SECOND), false));
            one = one.max(tick);
            let (tick, switched) = switch.check(at(2 * SECOND, other + 2 * SECOND), two);
            assert!(switched && switch.is_system() && tick > one);
            two = two.max(tick);
            // From now on there is one clock for both, and it runs on from the later one.
            for second in 3..40 {
                let system = second * SECOND;
                let first = switch.check(at(system, START + system), one);
                let second = switch.check(at(system, other + system), two);
                assert_eq!(first, second);
                assert!(first.0 > one && first.0 > two && !first.1);
                assert_eq!(first.0, switch.tick(system));
                (one, two) = (first.0, second.0);
            }
            // A timeout that starts on one of them and is polled on the other.
            let until = switch.tick(100 * SECOND).after(Duration::from_secs(30));
            assert!(switch.tick(129 * SECOND) < until && switch.tick(130 * SECOND) == until);
        }
    }

    #[test]
    fn d7_a_thread_that_moves_to_a_core_with_an_earlier_counter_does_not_go_back() {
        let switch = switch();
        let last = Tick(START + HOUR);
        let (tick, switched) = switch.check(at(SECOND, START + SECOND), last);
        assert!(switched);
        assert_eq!(tick, last);
        let (later, _) = switch.check(at(2 * SECOND, START + 2 * SECOND), tick);
        assert_eq!(later.since(tick), Duration::from_secs(1));
        // A few nanoseconds are no reason to switch.
        let switch = self::switch();
        let last = Tick(START + SECOND + 40);
        assert_eq!(
            switch.check(at(SECOND, START + SECOND), last),
            (last, false)
        );
    }

    #[test]
    fn d7_drift_and_a_suspended_thread_do_not_switch_the_process_over() {
        let switch = switch();
        let mut last = Tick(0);
        // 300 parts in a million too fast, for a hundred days, and checked once an hour.
        for hour in 1..2_400 {
            let system = hour * HOUR;
            let reading = at(system, START + system + system * 3 / 10_000);
            let (tick, switched) = switch.check(reading, last);
            assert!(!switched && tick > last, "{hour}");
            last = tick;
        }
        // Suspended for an hour between the first and the second reading, or after that.
        let switch = self::switch();
        for counter in [SECOND, HOUR] {
            let reading = Reading {
                before: SECOND,
                counter: Tick(START + counter),
                after: HOUR,
            };
            assert!(!switch.check(reading, Tick(0)).1);
            let next = at(HOUR + SECOND, START + HOUR + SECOND);
            assert!(!switch.check(next, Tick(0)).1);
        }
    }

    #[test]
    fn d7_the_system_clock_goes_on_where_the_counter_was() {
        let switch = switch();
        let forced = switch.to_system(SECOND, Tick(START + SECOND + 7));
        assert_eq!(forced, (Tick(START + SECOND + 7), true));
        // There is one warning.
        assert!(!switch.to_system(SECOND, Tick(START)).1);
        assert_eq!(switch.tick(2 * SECOND), Tick(START + 2 * SECOND + 7));
    }
}
