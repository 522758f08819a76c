//! A hedge per key: an object of its own for each.

use super::Hedge;
use crate::attempts::Funding;
use crate::config::{ConfigError, Mode, PolicyKind};
use crate::keyed::{Idle, Key, PerKey, Policies};
use crate::sync::Arc;
use crate::time;

impl PerKey for Hedge {
    type Store<K: ?Sized + Key> = Policies<K, Self>;
    type Entry = ();

    const REJECTS: bool = false;

    const KIND: PolicyKind = PolicyKind::Hedge;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn off() -> Result<Self, ConfigError> {
        Self::builder().mode(Mode::Off).build()
    }

    /// If its window has no latency, its own budget is idle, and there is no other handle.
    fn idle(&self) -> Idle {
        if Arc::strong_count(&self.0) > 1 {
            return Idle::No;
        }
        let config = self.0.config.load();
        let latencies = config.latencies.as_ref();
        let samples = latencies.map_or((0, 0), |latencies| latencies.samples(time::now()));
        match &config.plan.funding {
            _ if samples != (0, 0) => Idle::No,
            Funding::Own(budget) => budget.idle(),
            _ => Idle::Fresh,
        }
    }
}
