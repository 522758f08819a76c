use super::Budget;
use crate::rate_limit::Charge;
use crate::sync::Ordering;
use crate::time;

/// Leave for one extra attempt, made by [`Budget::withdraw`].
///
/// Dropping it gives it back: in its own epoch and, as far as it would have stayed, in the next.
#[must_use = "dropping it gives it back"]
#[derive(Debug)]
pub struct Withdrawal {
    pub(super) budget: Budget,
    pub(super) source: Source,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Of a budget that is off or only records, or already spent.
    Nothing,
    /// The epoch it was taken in.
    Balance(u64),
    Floor(Charge),
}

impl Withdrawal {
    /// The attempt is made.
    pub fn spend(mut self) {
        self.source = Source::Nothing;
        self.budget.0.made.fetch_add(1, Ordering::Relaxed);
    }

    /// The attempt is made, but may still turn out to be refused before it got anywhere.
    #[cfg(feature = "tokio")]
    pub(crate) fn send(mut self) -> Sent {
        let source = std::mem::replace(&mut self.source, Source::Nothing);
        let budget = self.budget.clone();
        self.spend();
        Sent { budget, source }
    }
}

/// An extra attempt under way. Dropping it leaves it spent.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(crate) struct Sent {
    budget: Budget,
    source: Source,
}

#[cfg(feature = "tokio")]
impl Sent {
    /// A policy below refused it: it was not made, and goes back.
    pub(crate) fn refused(self) {
        let Self { budget, source } = self;
        budget.0.made.fetch_sub(1, Ordering::Relaxed);
        drop(Withdrawal { budget, source });
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        let shared = &self.budget.0;
        match self.source {
            Source::Nothing => {}
            Source::Balance(taken) => {
                let terms = self.budget.terms();
                shared.account.give_back(time::now(), terms, taken);
            }
            Source::Floor(charge) => shared.floor.cancel(&charge),
        }
    }
}
