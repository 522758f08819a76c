//! State machines and their naive oracles, driven by bytes. The targets in `fuzz/` and the property
//! tests run these functions; each panics where the two differ.

pub use crate::budget::fuzz::run as budget;
pub use crate::circuit_breaker::fuzz::run as breaker;
pub use crate::rate_limit::fuzz::run as bucket;
pub use crate::rate_limit::table::fuzz::run as keyed;

/// The bytes from which operations are read. Zeros follow the last byte, so that a shorter input is
/// a simpler one.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0 {
            [] => 0,
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
        }
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `n`, which is at most 65,536.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        match n {
            0 | 1 => 0,
            2..=256 => u32::from(self.byte()) % n,
            _ => u32::from(self.word()) % n,
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// A number of any magnitude up to 2^63: sixteen bits and a shift.
    pub(crate) fn magnitude(&mut self) -> u64 {
        let shift = self.byte() % 48;
        u64::from(self.word()) << shift
    }
}

/// A grant: its instant and its cost.
pub(crate) type Granted = (u64, u32);

/// RL1 over every pair of grants, in integers: at most `times` the burst plus `times` the tokens of
/// the configured rate.
pub(crate) fn check_windows(quota: crate::Quota, times: u32, grants: &mut [Granted]) {
    grants.sort_unstable();
    let period = quota.period().as_nanos() as i128;
    let (burst, times) = (i128::from(quota.max_burst()), i128::from(times));
    let first_of_each = |i: usize, grants: &[Granted]| i == 0 || grants[i - 1].0 != grants[i].0;
    for first in (0..grants.len()).filter(|&i| first_of_each(i, grants)) {
        let (from, mut sum) = (grants[first].0, 0);
        for &(to, cost) in &grants[first..] {
            sum += i128::from(cost);
            let above = (sum - times * burst) * period;
            assert!(
                above <= times * i128::from(to - from) * i128::from(quota.count()),
                "{sum} from {from} to {to} with {times} x {quota}"
            );
        }
    }
}

/// A configuration of `n` cases, or of `PROPTEST_CASES` if that is set.
#[cfg(test)]
pub(crate) fn cases(n: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default.cases,
        None => n,
    };
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        ..default
    }
}
