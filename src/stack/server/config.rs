use std::time::Duration;

use super::ServerStack;
use crate::bulkhead::{self, Bulkhead};
use crate::config::{ConfigError, Name, Problems};
use crate::rate_limit::{Quota, RateLimiter};
use crate::stack::check;

/// What a [`ServerStack`] is made by; made by [`ServerStack::builder`]. The
/// [module](crate::stack) has the defaults.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `.build()`"]
pub struct ServerConfig {
    pub(super) name: Name,
    pub(super) timeout: Duration,
    pub(super) bulkhead: bulkhead::Builder,
    pub(super) rate_limit: Option<Quota>,
    pub(super) set: Set,
}

/// What has been set: of a change, all that it is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set {
    pub(super) timeout: bool,
    pub(super) bulkhead: bool,
    pub(super) rate_limit: bool,
}

/// Longer than most callers wait, and an end to what would hang for ever.
const TIMEOUT: Duration = Duration::from_secs(30);

impl ServerConfig {
    /// The defaults, for a stack of this name, which works on `limit` calls at once: no number
    /// fits all.
    pub fn new(name: impl Into<Name>, limit: u32) -> Self {
        let name = name.into();
        Self {
            bulkhead: Bulkhead::builder(limit),
            name,
            timeout: TIMEOUT,
            rate_limit: None,
            set: Set {
                timeout: true,
                bulkhead: true,
                rate_limit: true,
            },
        }
    }

    /// How long a call may take, its wait for a place included; 30 s if not set.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self.set.timeout = true;
        self
    }

    /// Changes the [bulkhead](bulkhead::Builder), which has no queue if not set. Given a
    /// [queue](bulkhead::Builder::queue), calls wait in it.
    pub fn bulkhead(mut self, set: impl FnOnce(bulkhead::Builder) -> bulkhead::Builder) -> Self {
        self.bulkhead = set(self.bulkhead);
        self.set.bulkhead = true;
        self
    }

    /// A limit on all calls together; none if not set. For a limiter that others share, or one
    /// per key, there is [`ServerStack::rate_limit`].
    pub fn rate_limit(mut self, quota: impl Into<Option<Quota>>) -> Self {
        self.rate_limit = quota.into();
        self.set.rate_limit = true;
        self
    }

    /// The stack.
    ///
    /// # Errors
    /// With everything at once that is wrong with the policies, and with all that contradicts
    /// itself: the [module](crate::stack#contradictions) has the list.
    pub fn build(self) -> Result<ServerStack, ConfigError> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        problems.finish(&self.name)?;
        ServerStack::of(self)
    }

    /// This, with what `change` is about from there.
    pub(super) fn with(&self, change: &Self) -> Self {
        let from = |set| if set { change } else { self };
        Self {
            name: self.name.clone(),
            timeout: from(change.set.timeout).timeout,
            bulkhead: from(change.set.bulkhead).bulkhead.clone(),
            rate_limit: from(change.set.rate_limit).rate_limit,
            set: Set::default(),
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        check::timeout("timeout", self.timeout, problems);
        if let Some(quota) = self.rate_limit {
            let limiter = RateLimiter::builder(quota).build();
            check::part("rate_limit", limiter, problems);
        }
        check::part("bulkhead", self.bulkhead.clone().build(), problems);
        if !self.timeout.is_zero() {
            check::queueing(&self.bulkhead, "timeout", self.timeout, problems);
        }
    }
}
