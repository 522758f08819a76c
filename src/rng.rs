//! Random numbers for jitter: seedable, shared by threads, without a lock.

use std::hash::{BuildHasher, RandomState};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::sync::{AtomicU64, Ordering};

/// A source of fractions in `[0, 1)` for any number of threads.
///
/// The n-th draw depends only on the seed and n: the state is a count, and each draw seeds a
/// generator.
#[derive(Debug)]
pub(crate) struct Jitter {
    seed: u64,
    /// Relaxed: it publishes no other memory.
    drawn: AtomicU64,
}

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            seed,
            drawn: AtomicU64::new(0),
        }
    }

    /// A source that differs from all others of this process, and from those of other processes.
    pub(crate) fn from_entropy() -> Self {
        // The keys of std's hash maps are the one source of entropy without a dependency.
        Self::seeded(RandomState::new().hash_one(0))
    }

    pub(crate) fn fraction(&self) -> f64 {
        fraction(self.seed, self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// The `n`-th fraction from `seed`, in `[0, 1)`.
pub(crate) fn fraction(seed: u64, n: u64) -> f64 {
    // An odd factor, so that two draws never share a seed.
    let seed = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    SmallRng::seed_from_u64(seed).random()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::Jitter;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let jitter = Jitter::seeded(seed);
            (0..100).map(|_| jitter.fraction()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|f| (0.0..1.0).contains(f)));
    }

    #[test]
    fn two_sources_of_one_process_differ() {
        let draw = || Jitter::from_entropy().fraction();
        assert_ne!((draw(), draw()), (draw(), draw()));
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
