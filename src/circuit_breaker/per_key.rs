//! A circuit breaker per key: an object of its own for each.

use super::{CircuitBreaker, Counts, State};
use crate::config::{ConfigError, Mode, PolicyKind};
use crate::keyed::{Idle, Key, PerKey, Policies};
use crate::sync::Arc;
use crate::time;

#[cfg(feature = "tower")]
impl crate::service::Rejects for CircuitBreaker {
    fn common(&self) -> &crate::common::Common {
        self.common()
    }
}

impl PerKey for CircuitBreaker {
    type Store<K: ?Sized + Key> = Policies<K, Self>;
    type Entry = ();

    const REJECTS: bool = true;

    const KIND: PolicyKind = PolicyKind::CircuitBreaker;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn off() -> Result<Self, ConfigError> {
        Self::builder("off").mode(Mode::Off).build()
    }

    /// If it is closed, and there is no other handle. One that has counted failures recently is
    /// worth keeping.
    fn idle(&self) -> Idle {
        if Arc::strong_count(&self.0) > 1 || self.state() != State::Closed {
            return Idle::No;
        }
        let rules = self.0.rules.load();
        let counts = rules.counts(self.0.machine.word().generation(), time::now());
        let failing = |counts: &Counts| counts.failures > 0 || counts.slow > 0;
        match counts.iter().any(|(_, counts)| failing(counts)) {
            true => Idle::WithHistory,
            false => Idle::Fresh,
        }
    }
}
