//! The configuration of a limiter per key as one value.

use super::super::policy::Limit;
use super::super::table::Table;
use super::super::{Builder, Quota, RateLimiter};
use crate::config::{ConfigError, Problems};
use crate::time;

/// A builder of a limiter per key, with the quotas of the tiers from 1 on.
pub(crate) type Tiered = (Builder, Vec<Quota>);

impl RateLimiter {
    /// The configuration of all keys. None if this is not the limiter of a keyed one.
    pub(crate) fn tiered(&self) -> Option<Tiered> {
        let Limit::Keyed(table) = &self.shared.limit else {
            return None;
        };
        #[allow(clippy::cast_possible_truncation)] // At most 15.
        let mut quotas = (0..table.tiers()).map(|tier| table.quota(tier as u8));
        let first = quotas.next()?;
        let builder = self.beside(first).mode(self.mode());
        Some((builder, quotas.collect()))
    }

    /// The error that [`change_tiered`](Self::change_tiered) would return now.
    pub(crate) fn check_tiered(&self, (builder, more): &Tiered) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        builder.config.check(&mut problems);
        more.iter().for_each(|quota| quota.check(&mut problems));
        let tiers = self.table().map_or(0, Table::tiers);
        let allowed = match tiers {
            1 => String::from("left out, as all keys have one quota"),
            tiers => format!("the quotas of the tiers from 1 to {}", tiers - 1),
        };
        problems.check(more.len() + 1 == tiers, "tiers", more.len(), allowed);
        problems.finish(self.name())
    }

    /// Changes all that a keyed limiter has. Debts stay, in tokens.
    pub(crate) fn change_tiered(&self, next: &Tiered) -> Result<(), ConfigError> {
        self.check_tiered(next)?;
        let (builder, more) = next;
        self.change(|now| builder.clone().quota(now.config.quota))?;
        if let Limit::Keyed(table) = &self.shared.limit {
            let now = time::now();
            let quotas = std::iter::once(&builder.config.quota).chain(more);
            for (tier, quota) in (0..).zip(quotas) {
                table.change(now, tier, *quota);
            }
        }
        self.wake_waiters();
        Ok(())
    }
}
