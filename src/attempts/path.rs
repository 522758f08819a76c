//! The retry or hedge on the [path](crate::context::path) of the running code.

use std::fmt;

use super::ledger::{CallLedger, Ledger, Plan};
use crate::config::Mode;
use crate::context::path::Inside;

impl Ledger {
    /// In debug builds, warns if the running call is under this policy already.
    #[inline(always)]
    pub(crate) fn warn_if_applied_twice(&self, site: &dyn fmt::Debug) {
        let mode = || self.common.mode();
        self.common.warn_if_applied_twice(mode, site);
    }
}

impl CallLedger {
    /// The calls below are inside of this policy until the guard is dropped.
    #[inline(always)]
    pub(crate) fn inside(&self, plan: &Plan) -> Inside {
        Inside::enter((self.mode() != Mode::Off).then(|| &plan.ledger.common))
    }
}
