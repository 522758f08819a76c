//! A bulkhead per key: an object of its own for each.

use super::Bulkhead;
use crate::config::{ConfigError, Mode, PolicyKind};
use crate::keyed::{Idle, Key, PerKey, Policies};
use crate::sync::Arc;

#[cfg(feature = "tower")]
impl crate::service::Rejects for Bulkhead {
    fn common(&self) -> &crate::common::Common {
        self.common()
    }
}

impl PerKey for Bulkhead {
    type Store<K: ?Sized + Key> = Policies<K, Self>;
    type Entry = ();

    const REJECTS: bool = true;

    const KIND: PolicyKind = PolicyKind::Bulkhead;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn off() -> Result<Self, ConfigError> {
        Self::builder(0).mode(Mode::Off).build()
    }

    /// If no call is in flight or queued, and there is no other handle.
    fn idle(&self) -> Idle {
        let word = self.machine().word();
        let empty = word.in_flight() == 0 && word.queued() == 0;
        match empty && Arc::strong_count(&self.0) == 1 {
            true => Idle::Fresh,
            false => Idle::No,
        }
    }
}
