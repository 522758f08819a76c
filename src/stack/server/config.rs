use std::time::Duration;

use crate::bulkhead::{self, Bulkhead};
use crate::config::{Name, Problems};
use crate::rate_limit::Quota;
use crate::stack::parts;
use crate::sync::Arc;

/// The configuration of a [`ServerStack`](crate::ServerStack); made by
/// [`ServerStack::builder`](crate::ServerStack::builder). The [module](crate::stack#defaults) lists
/// the defaults.
#[derive(Clone, Debug)]
#[must_use = "a configuration does nothing until `build`"]
pub struct ServerConfig {
    pub(super) name: Name,
    pub(super) timeout: Duration,
    pub(super) bulkhead: Arc<bulkhead::Builder>,
    pub(super) rate_limit: Option<Quota>,
}

/// Longer than most callers wait, and still an end to a call that hangs.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

impl ServerConfig {
    /// The defaults for a stack with this name and at most `limit` calls in flight. There is no
    /// default limit, because no number fits all.
    pub fn new(name: impl Into<Name>, limit: u32) -> Self {
        Self {
            name: name.into(),
            timeout: TIMEOUT,
            bulkhead: Arc::new(Bulkhead::builder(limit)),
            rate_limit: None,
        }
    }

    /// Sets how long a call may take, including its wait in the queue. The default is 30 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Changes the [bulkhead](bulkhead::Builder), which has no queue by default. With a
    /// [queue](bulkhead::Builder::queue) calls wait in it.
    pub fn bulkhead(mut self, change: impl FnOnce(bulkhead::Builder) -> bulkhead::Builder) -> Self {
        self.bulkhead = parts::changed(&self.bulkhead, change);
        self
    }

    /// Sets a rate limit for all calls together. The default is none. For a shared limiter, or one
    /// limit per key, use [`ServerStack::rate_limit`](crate::ServerStack::rate_limit).
    pub fn rate_limit(mut self, quota: impl Into<Option<Quota>>) -> Self {
        self.rate_limit = quota.into();
        self
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        self.check_parts(problems);
        if !self.timeout.is_zero() {
            parts::check_queue(&self.bulkhead, "timeout", self.timeout, problems);
        }
    }

    /// Each part by itself.
    pub(super) fn check_parts(&self, problems: &mut Problems) {
        parts::check_timeout("timeout", self.timeout, problems);
        parts::check_quota(self.rate_limit, problems);
        parts::check_part("bulkhead", self.bulkhead.check(), problems);
    }
}
