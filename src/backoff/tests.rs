use std::time::Duration;

use proptest::prelude::*;

use super::{Backoff, Jitter};
use crate::config::Problems;
use crate::testing::ms;

#[test]
fn rt2_exponential_doubles_up_to_its_cap() {
    let backoff = Backoff::exponential(ms(50))
        .max(ms(300))
        .jitter(Jitter::None);
    let delays: Vec<_> = (1..=5).map(|n| backoff.delay(n, 0.9)).collect();
    assert_eq!(delays, [ms(50), ms(100), ms(200), ms(300), ms(300)]);
}

#[test]
fn rt2_constant_stays_the_same() {
    let backoff = Backoff::constant(ms(50)).jitter(Jitter::None);
    assert_eq!(backoff.delay(1, 0.0), ms(50));
    assert_eq!(backoff.delay(1_000, 0.0), ms(50));
}

#[test]
fn rt2_equal_jitter_keeps_half_and_full_jitter_keeps_nothing() {
    let backoff = Backoff::constant(ms(100));
    assert_eq!(backoff.jitter(Jitter::Equal).delay(1, 0.0), ms(50));
    assert_eq!(backoff.jitter(Jitter::Equal).delay(1, 0.5), ms(75));
    assert_eq!(backoff.jitter(Jitter::Full).delay(1, 0.0), ms(0));
    assert_eq!(backoff.jitter(Jitter::Full).delay(1, 0.5), ms(50));
}

#[test]
fn rt2_linear_adds_its_base() {
    let backoff = Backoff::linear(ms(50)).max(ms(120)).jitter(Jitter::None);
    let delays: Vec<_> = backoff.delays(1).take(4).collect();
    assert_eq!(delays, [ms(50), ms(100), ms(120), ms(120)]);
}

#[test]
fn rt2_decorrelated_depends_on_the_delay_before() {
    let backoff = Backoff::decorrelated(ms(50)).max(ms(600));
    assert_eq!(backoff.step(1, Duration::ZERO, 0.0), ms(50));
    assert_eq!(backoff.step(1, Duration::ZERO, 0.5), ms(100));
    assert_eq!(backoff.step(2, ms(100), 0.5), ms(175));
    // Drawn from the range below the cap, not cut to it.
    assert_eq!(backoff.step(3, ms(400), 0.5), ms(325));
    // Without the delay before: up to 50 ms x 3 x 3.
    assert_eq!(backoff.delay(2, 0.5), ms(250));
}

#[test]
fn cx15_an_invalid_backoff_is_a_problem() {
    let of = |backoff: Backoff| {
        let mut problems = Problems::default();
        backoff.check("backoff", &mut problems);
        problems.finish(&"test".into()).is_err()
    };
    assert!(of(Backoff::constant(Duration::ZERO)));
    assert!(of(Backoff::linear(ms(50)).max(ms(49))));
    assert!(of(Backoff::exponential(ms(50)).factor(f64::NAN)));
    assert!(of(Backoff::exponential(ms(50)).factor(0.9)));
    assert!(of(Backoff::decorrelated(ms(50)).max(ms(50))));
    for backoff in shapes(ms(50)) {
        assert!(!of(backoff), "{backoff:?}");
    }
    assert!(!of(Backoff::linear(ms(50)).max(ms(50))));
}

fn shapes(base: Duration) -> [Backoff; 4] {
    [
        Backoff::constant(base),
        Backoff::linear(base),
        Backoff::exponential(base),
        Backoff::decorrelated(base),
    ]
}

fn distinct(mut delays: Vec<Duration>) -> usize {
    delays.sort_unstable();
    delays.dedup();
    delays.len()
}

#[test]
fn rt2_a_thousand_seeds_differ_at_the_first_delay_and_at_the_cap() {
    for shape in shapes(ms(50)) {
        for backoff in [shape, shape.jitter(Jitter::Equal)] {
            for n in [0, 20] {
                let nth = |seed| backoff.delays(seed).nth(n).unwrap();
                let delays: Vec<_> = (0..1_000).map(nth).collect();
                assert!(distinct(delays) > 990, "{backoff:?}, delay {n}");
            }
            let first = |seed| backoff.delays(seed).take(20).collect::<Vec<_>>();
            assert_eq!(first(7), first(7));
            assert_ne!(first(7), first(8));
        }
    }
}

/// The shapes in whole nanoseconds, step by step.
fn whole(shape: usize, base: u64, cap: u64, n: u32) -> u64 {
    let mut whole = u128::from(base);
    for _ in 1..n {
        whole = match shape {
            0 => whole,
            1 => whole + u128::from(base),
            _ => whole * 2,
        };
        whole = whole.min(u128::from(u64::MAX));
    }
    u64::try_from(whole).unwrap().min(cap)
}

proptest! {
    #[test]
    fn rt2_delays_are_those_of_the_oracle(
        base in 1u64..10_000_000_000, cap in 1u64..100_000_000_000, n in 1u32..200,
        fraction in 0.0f64..1.0, shape in 0usize..3,
    ) {
        let whole = whole(shape, base, cap, n) as f64;
        let backoff = shapes(Duration::from_nanos(base))[shape].max(Duration::from_nanos(cap));
        for (jitter, expected) in [
            (Jitter::None, whole),
            (Jitter::Full, whole * fraction),
            (Jitter::Equal, whole / 2.0 * (1.0 + fraction)),
        ] {
            let delay = backoff.jitter(jitter).delay(n, fraction);
            prop_assert!(delay <= Duration::from_nanos(cap));
            let off = (delay.as_nanos() as f64 - expected).abs();
            prop_assert!(off <= 2.0 + expected * 1e-12, "{delay:?}, expected {expected} ns");
        }
    }

    #[test]
    fn rt2_no_delay_of_any_shape_is_above_the_cap(
        base in 0u64..=u64::MAX, cap in 0u64..=u64::MAX, seed in any::<u64>(), n in 0u32..=u32::MAX,
        fraction in 0.0f64..1.0, factor in any::<f64>(),
    ) {
        let cap = Duration::from_nanos(cap);
        for backoff in shapes(Duration::from_nanos(base)) {
            let backoff = backoff.max(cap).factor(factor);
            prop_assert!(backoff.delays(seed).take(50).all(|delay| delay <= cap));
            prop_assert!(backoff.delay(n, fraction) <= cap);
        }
    }

    #[test]
    fn rt2_decorrelated_stays_between_the_base_and_three_times_the_one_before(
        base in 1u64..10_000, more in 1u64..100_000, seed in any::<u64>(),
    ) {
        let cap = ms(base + more);
        let mut previous = ms(base);
        for delay in Backoff::decorrelated(ms(base)).max(cap).delays(seed).take(50) {
            prop_assert!(delay >= ms(base) && delay <= cap);
            prop_assert!(delay <= previous * 3 + Duration::from_nanos(2));
            previous = delay;
        }
    }

    #[test]
    fn rt2_no_delay_is_above_the_cap_or_below_its_share(
        base in 1u64..10_000, cap in 1u64..100_000, n in 0u32..=u32::MAX, fraction in 0.0f64..1.0,
    ) {
        let backoff = Backoff::exponential(ms(base)).max(ms(cap)).jitter(Jitter::Equal);
        let delay = backoff.delay(n, fraction);
        prop_assert!(delay <= ms(cap));
        prop_assert!(delay >= ms(base.min(cap)) / 2 - Duration::from_micros(1));
    }
}
