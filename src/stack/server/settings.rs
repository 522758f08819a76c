//! What settings from a document need of a server stack.

use super::config::{ServerConfig, TIMEOUT};
use crate::bulkhead;
use crate::config::{ConfigError, Mode, Problems};
use crate::stack::parts::{changed, like};

impl ServerConfig {
    /// The defaults, with a closed bulkhead. What no document can have stays: names and listeners.
    pub(crate) fn with_defaults(self) -> Self {
        Self {
            bulkhead: changed(&self.bulkhead, |b| b.with_defaults(0).mode(Mode::Enforce)),
            timeout: TIMEOUT,
            rate_limit: None,
            ..self
        }
    }

    /// With the bulkhead of `now` if both are alike, so that a change does not replace it.
    pub(crate) fn with_parts_of(self, now: &Self) -> Self {
        Self {
            bulkhead: like(self.bulkhead, &now.bulkhead, bulkhead::Builder::is_like),
            ..self
        }
    }

    /// Whether all but names and listeners is the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.timeout == other.timeout
            && self.rate_limit == other.rate_limit
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
