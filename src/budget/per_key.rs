//! A budget per key: an object of its own for each.

use super::Budget;
use crate::config::Mode;
use crate::keyed::{Idle, Key, PerKey, Policies};

impl PerKey for Budget {
    type Store<K: ?Sized + Key> = Policies<K, Self>;
    type Entry = ();

    const REJECTS: bool = false;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn idle(&self) -> Idle {
        self.idle()
    }
}
