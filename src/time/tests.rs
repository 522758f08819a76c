use std::time::{Duration, Instant};

use std::cell::Cell;

use super::clock::Scale;
use super::{Recent, Tick, now, park_until, recent, tick_of};

fn block_until(until: Tick) {
    while now() < until {
        park_until(until);
    }
}

#[test]
fn the_clock_runs_at_the_rate_of_the_systems() {
    let (tick, instant) = (now(), Instant::now());
    block_until(tick.after(Duration::from_millis(20)));
    let (passed, real) = (now().since(tick), instant.elapsed());
    assert!(passed >= Duration::from_millis(20), "{passed:?}");
    let ratio = passed.as_secs_f64() / real.as_secs_f64();
    assert!((0.5..1.5).contains(&ratio), "{passed:?} against {real:?}");
}

#[test]
fn readings_never_go_back_on_one_thread() {
    let mut last = now();
    for _ in 0..10_000 {
        let next = now();
        assert!(next >= last);
        last = next;
    }
}

#[test]
fn a_recent_reading_is_returned_fifteen_times() {
    let recent = Recent {
        tick: Cell::new(Tick::ZERO),
        uses_left: Cell::new(0),
        check: Cell::new(Tick::NEVER),
    };
    assert_eq!(recent.get(), None);
    assert_eq!(recent.keep(Tick(7)), Tick(7));
    let returned = std::iter::from_fn(|| recent.get()).take(20);
    assert_eq!(returned.collect::<Vec<_>>(), [Tick(7); 15]);
}

#[test]
fn a_recent_reading_is_renewed_at_the_sixteenth_use() {
    let before = now();
    let readings: Vec<_> = (0..16).map(|_| recent()).collect();
    let after = now();
    assert!(readings.iter().all(|&tick| before <= tick && tick <= after));
    let first = now();
    block_until(first.after(Duration::from_millis(1)));
    let started = now();
    let readings: Vec<_> = (0..16).map(|_| recent()).collect();
    assert!(readings[15] > started);
}

/// From a kilohertz to more than one count in a nanosecond. A count of 62.5 MHz is exactly sixteen
/// nanoseconds, and 2^60 of those do not fit 64 bits.
#[test]
fn a_counter_of_any_frequency_is_converted_exactly() {
    let rates = [
        1_000,
        19_200_000,
        24_000_000,
        25_000_000,
        54_000_000,
        62_499_999,
        62_500_000,
        62_500_001,
        999_999_999,
        1_000_000_000,
        2_299_998_000,
        6_000_000_000,
    ];
    for hertz in rates {
        let exact = |counts: u64| u128::from(counts) * 1_000_000_000 / hertz;
        let scale = Scale::of(|counts| exact(counts) as u64);
        // From a second to ten years.
        for seconds in [1, 60, 86_400, 315_360_000] {
            let counts = seconds * hertz as u64 + 7;
            let (nanos, right) = (scale.nanos_after(0, counts), exact(counts) as u64);
            let off = nanos.abs_diff(right);
            assert!(
                off <= 1 + right / 1_000_000_000,
                "{hertz}: {nanos}, {right}"
            );
        }
    }
}

#[test]
fn ticks_stop_at_the_extremes() {
    assert_eq!(Tick::NEVER.after(Duration::MAX), Tick::NEVER);
    assert_eq!(Tick(5).after(Duration::MAX), Tick::NEVER);
    assert_eq!(Tick(5).since(Tick(9)), Duration::ZERO);
    assert_eq!(Tick(9).since(Tick(5)), Duration::from_nanos(4));
}

#[test]
fn an_instant_converts_both_ways_round_now() {
    let start = Instant::now();
    assert!(tick_of(start + Duration::from_secs(60)) > now());
    assert!(tick_of(start) <= now());
}

// D7
#[test]
fn d7_the_forced_system_clock_goes_on_from_the_counter() {
    let before = now();
    super::use_system_clock();
    let after = now();
    assert!(after >= before);
    assert!(after.since(before) < Duration::from_secs(60));
    block_until(after.after(Duration::from_millis(2)));
    assert!(now() > after);
}
