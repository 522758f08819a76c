//! A denial, and the rejection that is made of it.

use super::policy::RateLimiter;
use super::state::Shortfall;
use crate::rejection::{Rejection, RejectionKind};

/// The limiter that lacks tokens, and why.
#[derive(Clone, Copy)]
pub(super) struct Denied<'a> {
    pub(super) by: &'a RateLimiter,
    pub(super) cost: u32,
    pub(super) shortfall: Shortfall,
}

impl Denied<'_> {
    #[inline]
    pub(super) fn kind(&self) -> RejectionKind {
        match self.shortfall {
            Shortfall::AboveBurst(burst) => self.above_burst(burst),
            Shortfall::For(_) | Shortfall::Unknown => RejectionKind::RateLimited,
        }
    }

    /// By a branch to here, so that the usual count does not wait for the decision.
    #[cold]
    #[inline(never)]
    fn above_burst(&self, burst: u64) -> RejectionKind {
        RejectionKind::CostAboveBurst {
            cost: self.cost,
            burst: u32::try_from(burst).unwrap_or(u32::MAX),
        }
    }

    #[inline]
    pub(super) fn rejection(&self) -> Rejection {
        let policy = self.by.name().clone();
        match self.shortfall {
            Shortfall::AboveBurst(burst) => Rejection::new(self.above_burst(burst), policy),
            Shortfall::For(_) | Shortfall::Unknown => {
                Rejection::new(RejectionKind::RateLimited, policy)
                    .with_retry_after(self.shortfall.wait())
            }
        }
    }
}
