//! Seedable jitter without a lock.

use crate::sync::{AtomicU64, Ordering};

/// A source of fractions in `[0, 1)` that any number of threads may draw from.
///
/// The n-th draw depends on the seed and n alone. The state is a counter (nothing but itself:
/// relaxed), and the mixing is `fastrand`'s.
#[derive(Debug)]
pub(crate) struct Jitter {
    seed: u64,
    drawn: AtomicU64,
}

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            seed,
            drawn: AtomicU64::new(0),
        }
    }

    /// Two sources made in one process differ, and so do two processes.
    pub(crate) fn from_entropy() -> Self {
        Self::seeded(fastrand::u64(..))
    }

    pub(crate) fn fraction(&self) -> f64 {
        fraction(self.seed, self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// The `n`-th fraction from `seed`, in `[0, 1)`.
pub(crate) fn fraction(seed: u64, n: u64) -> f64 {
    // An odd multiplier keeps n -> seed one to one; the generator does the rest.
    let seed = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    fastrand::Rng::with_seed(seed).f64()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::Jitter;

    #[test]
    fn one_seed_gives_one_sequence_and_two_seeds_two() {
        let draw = |seed| {
            let jitter = Jitter::seeded(seed);
            (0..100).map(|_| jitter.fraction()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|f| (0.0..1.0).contains(f)));
    }

    #[test]
    fn draws_are_spread_evenly() {
        let jitter = Jitter::seeded(1);
        let mut tenths = [0u32; 10];
        for _ in 0..10_000 {
            tenths[(jitter.fraction() * 10.0) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|&n| (850..1150).contains(&n)),
            "{tenths:?}"
        );
    }
}
