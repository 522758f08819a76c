//! Retry throttling by gRPC's retry design
//! (<https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs>).
//!
//! # Memory ordering
//!
//! The word publishes nothing but itself: relaxed. Each step is a compare-exchange, so that no
//! failure and no success is lost.

use super::ONE;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// The tokens of one server, in thousandths.
#[derive(Debug)]
pub(in crate::budget) struct Throttle(AtomicU64);

impl Throttle {
    pub(in crate::budget) fn full(most: u64) -> Self {
        Self(AtomicU64::new(most * ONE))
    }

    /// Returns what it was.
    fn update(&self, step: impl Fn(u64) -> u64) -> u64 {
        let mut tokens = self.0.load(Relaxed);
        while let Err(now) = (self.0).compare_exchange_weak(tokens, step(tokens), Relaxed, Relaxed)
        {
            tokens = now;
        }
        tokens
    }

    /// Fills it: throttling starts, with at most `most` tokens.
    pub(in crate::budget) fn fill(&self, most: u64) {
        self.update(|_| most * ONE);
    }

    /// A failure takes a token. Returns what there was to take.
    pub(in crate::budget) fn fail(&self) -> u64 {
        self.update(|tokens| tokens.saturating_sub(ONE)).min(ONE)
    }

    /// A success gives `ratio` thousandths of one, and a failure that is counted elsewhere gives
    /// back what it took.
    pub(in crate::budget) fn succeed(&self, ratio: u64, most: u64) {
        self.update(|tokens| (tokens + ratio).min(most * ONE));
    }

    /// Whether there are extra attempts: more than half of the tokens are left.
    pub(in crate::budget) fn admits(&self, most: u64) -> bool {
        self.tokens(most) * 2 > most * ONE
    }

    /// The tokens left, in thousandths.
    pub(in crate::budget) fn tokens(&self, most: u64) -> u64 {
        self.0.load(Relaxed).min(most * ONE)
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::Throttle;

    // GR5: the numbers of the design: 10 tokens, a tenth for each success.
    #[test]
    fn gr5_failures_take_one_successes_give_a_ratio_and_half_stops() {
        let throttle = Throttle::full(10);
        for _ in 0..4 {
            throttle.fail();
            assert!(throttle.admits(10));
        }
        // At half, not below.
        throttle.fail();
        assert!(!throttle.admits(10));
        throttle.succeed(100, 10);
        assert!(throttle.admits(10));
        // Never above the most, never below zero.
        (0..1_000).for_each(|_| throttle.succeed(100, 10));
        assert_eq!(throttle.tokens(10), 10_000);
        (0..1_000).for_each(|_| assert!(throttle.fail() <= 1_000));
        assert_eq!(throttle.tokens(10), 0);
        (0..50).for_each(|_| throttle.succeed(100, 10));
        assert!(!throttle.admits(10));
        throttle.succeed(1, 10);
        assert!(throttle.admits(10));
        // Fewer tokens from now on.
        (0..1_000).for_each(|_| throttle.succeed(100, 10));
        assert_eq!(throttle.tokens(4), 4_000);
    }
}
