//! What settings from a document need of a client stack.

use super::config::{ATTEMPT_TIMEOUT, ClientConfig, IN_FLIGHT, TOTAL_TIMEOUT};
use super::policies::Policies;
use super::stack::ClientStack;
use crate::config::{ConfigError, Mode, Problems};
use crate::policy_id;
use crate::stack::parts::{changed, like};
use crate::{budget, bulkhead, circuit_breaker, hedge, retry};

impl ClientStack {
    /// The stacks of this name that have a handle.
    pub(crate) fn find(name: &str) -> Vec<Self> {
        let listed = policy_id::listed().into_iter();
        let stacks = listed.filter_map(|shared| shared.downcast::<Policies>().ok());
        let named = stacks.filter(|policies| policies.name.as_str() == name);
        named.map(Self::of).collect()
    }

    /// The error that [`change`](Self::change) would return now. Changes nothing.
    pub(crate) fn check_change(
        &self,
        change: impl Fn(ClientConfig) -> ClientConfig,
    ) -> Result<(), ConfigError> {
        self.policies.check_change(self.own_limiter, change)
    }
}

impl ClientConfig {
    /// The defaults. What no document can have stays: names, listeners, seeds, a given budget, and
    /// the number of authorities, which cannot change.
    pub(crate) fn with_defaults(self) -> Self {
        let enforce = Mode::Enforce;
        Self {
            retry: changed(&self.retry, |b| b.with_defaults().mode(enforce)),
            hedge: changed(&self.hedge, |b| b.with_defaults().mode(enforce)),
            budgets: changed(&self.budgets, |b| b.with_defaults().mode(enforce)),
            breaker: changed(&self.breaker, |b| b.with_defaults().mode(enforce)),
            bulkhead: changed(&self.bulkhead, |b| b.with_defaults(IN_FLIGHT).mode(enforce)),
            total_timeout: TOTAL_TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            longest_total: None,
            hedged: false,
            rate_limit: None,
            ..self
        }
    }

    /// With the parts of `now` where both are alike, so that a change does not replace them.
    pub(crate) fn with_parts_of(self, now: &Self) -> Self {
        Self {
            retry: like(self.retry, &now.retry, retry::Builder::is_like),
            hedge: like(self.hedge, &now.hedge, hedge::Builder::is_like),
            budgets: like(self.budgets, &now.budgets, budget::Builder::is_like),
            breaker: like(
                self.breaker,
                &now.breaker,
                circuit_breaker::Builder::is_like,
            ),
            bulkhead: like(self.bulkhead, &now.bulkhead, bulkhead::Builder::is_like),
            ..self
        }
    }

    /// Whether all but names, listeners and budget is the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let times = |config: &Self| {
            let (total, longest) = (config.total_timeout, config.longest_total);
            (total, longest, config.attempt_timeout)
        };
        times(self) == times(other)
            && self.rate_limit == other.rate_limit
            && self.authorities == other.authorities
            && self.hedged == other.hedged
            && self.retry.is_like(&other.retry)
            && self.hedge.is_like(&other.hedge)
            && self.budgets.is_like(&other.budgets)
            && self.breaker.is_like(&other.breaker)
            && self.bulkhead.is_like(&other.bulkhead)
    }

    pub(crate) fn checked(&self) -> Result<(), ConfigError> {
        Problems::found(&self.name, |problems| self.check(problems))
    }

    /// Without the contradictions between two parts.
    pub(crate) fn checked_parts(&self) -> Result<(), ConfigError> {
        Problems::found(&self.name, |problems| self.check_parts(problems))
    }
}
