use std::time::Duration;

use crate::config::{ConfigError, Name, Problems};
use crate::outcome::{FailureKind, Outcome};
use crate::rejection::RejectionKind;

/// The most calls of fallbacks at once.
const MAX_LIMIT: u32 = 1_000_000;

/// Which calls are answered by a fallback, and how much that may cost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) limit: u32,
    pub(super) timeout: Duration,
    /// None: every kind.
    pub(super) failures: Option<Vec<FailureKind>>,
    pub(super) rejections: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limit: 64,
            timeout: Duration::from_secs(1),
            failures: None,
            rejections: true,
        }
    }
}

/// Why a fallback answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// How the call failed. None if it was rejected before it was made.
    pub failure: Option<FailureKind>,
    /// Why a policy below rejected the call or cut it short. None if the call itself failed.
    pub rejection: Option<RejectionKind>,
    /// Whether the call had no effect, so that every request may be sent elsewhere.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(super) had_no_effect: bool,
}

impl Settings {
    pub(super) fn check(&self, name: &Name) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        let limit = self.limit;
        let allowed = (1..=MAX_LIMIT).contains(&limit);
        problems.check(allowed, "limit", limit, "from 1 to 1,000,000");
        let timeout = self.timeout;
        problems.check(!timeout.is_zero(), "timeout", timeout, "more than zero");
        let none = self.failures.as_ref().is_some_and(Vec::is_empty) && !self.rejections;
        let failures = &self.failures;
        let allowed = "at least one kind, where rejections are not answered";
        problems.check(!none, "failures", failures, allowed);
        problems.finish(name)
    }

    /// Why the fallback answers a call with this outcome, which is that of a rejection if there is
    /// one. None if it does not.
    pub(super) fn cause(
        &self,
        outcome: Outcome,
        rejection: Option<RejectionKind>,
    ) -> Option<Cause> {
        match (outcome, rejection) {
            (Outcome::Failure { kind, .. }, _) => {
                let kinds = self.failures.as_ref();
                let answers = kinds.is_none_or(|kinds| kinds.contains(&kind));
                answers.then(|| Cause {
                    failure: Some(kind),
                    rejection,
                    had_no_effect: outcome.had_no_effect(),
                })
            }
            (Outcome::Ignore, Some(rejected)) => {
                let answers = self.rejections && !is_mistake(rejected);
                answers.then_some(Cause {
                    failure: None,
                    rejection,
                    had_no_effect: true,
                })
            }
            _ => None,
        }
    }
}

/// Whether the program or the request has to be changed. A fallback would hide that.
fn is_mistake(rejection: RejectionKind) -> bool {
    matches!(
        rejection,
        RejectionKind::CostAboveBurst { .. } | RejectionKind::NoKey | RejectionKind::NoPeerAddress
    )
}
