//! A bulkhead per key: an object of its own for each.

use super::Bulkhead;
use crate::config::Mode;
use crate::keyed::{Idle, Key, PerKey, Policies};
use crate::sync::Arc;

impl PerKey for Bulkhead {
    type Store<K: ?Sized + Key> = Policies<K, Self>;
    type Entry = ();

    const REJECTS: bool = true;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
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
