//! What a refund has to know of what happened since its charge.
//!
//! # Memory ordering
//!
//! The units refunded are increased after the word was exchanged, and a charge reads them before it
//! exchanges the word. So it may count a refund that came before, which makes its own smaller, and
//! misses none that comes after (model: `refund_against_charge`). A reserved instant is stored before
//! the word is exchanged, and a refund reads it after the word (model: `refund_against_reservation`).

use super::grant::Grant;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::time::Tick;

#[derive(Debug, Default)]
pub(crate) struct Refunds {
    /// The units that were refunded from charges with others after them.
    units: AtomicU64,
    /// The latest instant that is reserved.
    reserved: AtomicU64,
}

impl Refunds {
    /// The units refunded so far; to be read before a charge that is kept.
    #[inline]
    pub(crate) fn units(&self) -> u64 {
        self.units.load(Ordering::Acquire)
    }

    /// Counts units that were returned. Under a lock.
    pub(crate) fn add(&self, units: u64) {
        let refunded = self.units.load(Ordering::Relaxed);
        // Pairs with the load before a charge.
        self.units
            .store(refunded.wrapping_add(units), Ordering::Release);
    }

    /// Comes before the charge of every grant.
    #[inline]
    pub(crate) fn granted(&self, grant: &Grant, now: Tick) {
        if grant.at > now {
            self.reserved.fetch_max(grant.at.0, Ordering::Relaxed);
            // The word is exchanged with Relaxed.
            fence(Ordering::Release);
        }
    }

    /// The instant up to which grants count on the tokens that come. To be read after the word.
    pub(crate) fn counted_on(&self, now: Tick) -> Tick {
        now.max(Tick(self.reserved.load(Ordering::Relaxed)))
    }
}
