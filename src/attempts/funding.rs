//! Where the budget of a retry or hedge comes from.

use crate::budget::Budget;
#[cfg(feature = "tower")]
use crate::common::unlisted;
use crate::config::Name;
use crate::context::CallContext;
use crate::policy_id::PolicyId;

/// The budget that extra attempts are taken from.
#[derive(Clone, Debug)]
pub(crate) enum Funding {
    /// Nothing was configured yet.
    Default,
    /// The policy's own. A call inside an attempt or under a `BudgetLayer` inherits theirs
    /// instead, so that one budget covers them all.
    Own(Budget),
    Given(Budget),
    None,
}

impl Funding {
    /// With a budget of the policy's own where nothing was configured.
    pub(crate) fn or_own(self, policy: &Name, ratio: f64) -> Self {
        match self {
            Self::Default => {
                let own = Budget::builder().ratio(ratio);
                let own = own.name(format!("budget of {policy}"));
                Self::Own(own.build().expect("the defaults are valid"))
            }
            configured => configured,
        }
    }

    /// The same for a policy inside a stack, whose budget it uses: its own has no calls, and the
    /// registry does not list it.
    #[cfg(feature = "tower")]
    pub(crate) fn or_own_in_stack(self, policy: &Name, ratio: f64) -> Self {
        unlisted(|| self.or_own(policy, ratio))
    }

    #[inline]
    pub(crate) fn budget(&self) -> Option<&Budget> {
        match self {
            Self::Own(budget) | Self::Given(budget) => Some(budget),
            Self::Default | Self::None => None,
        }
    }

    #[inline]
    pub(super) fn inherited(&self) -> Option<PolicyId> {
        match self {
            Self::Own(_) => CallContext::budget(),
            _ => None,
        }
    }
}
