//! Waiting for a permit without blocking a thread.

use std::time::Duration;

use super::waiter::Waiter;
use super::{Bulkhead, Permit};
use crate::config::Name;
use crate::rejection::Rejection;
use crate::waiting::{self, Queued};

/// Waits for a permit; made by [`Bulkhead::acquire`].
pub type Acquire = waiting::Acquire<Bulkhead>;

impl Bulkhead {
    /// Waits for a permit, for at most [`max_wait`](super::Builder::max_wait) and until the
    /// [deadline](crate::Deadline) in force.
    ///
    /// It waits in the queue from its first poll. It holds no clone of any service and no lock.
    ///
    /// ```
    /// # use seawall::{Bulkhead, Rejection};
    /// # async fn f(bulkhead: &Bulkhead) -> Result<(), Rejection> {
    /// let permit = bulkhead.acquire().await?;
    /// // ... make the call
    /// permit.release();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// It resolves to [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull) at once
    /// if the queue is full too, or the bulkhead is closed; to
    /// [`RejectionKind::QueueTimeout`](crate::RejectionKind::QueueTimeout) after the wait; to
    /// [`RejectionKind::Expired`](crate::RejectionKind::Expired) if it would have to wait and the
    /// deadline has passed.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime with time enabled.
    pub fn acquire(&self) -> Acquire {
        Acquire::new(self.clone())
    }
}

impl Queued for Bulkhead {
    type Waiter = Waiter;
    type Permit = Permit;

    fn name(&self) -> &Name {
        self.name()
    }

    // The first argument is a number of tokens. A call takes one permit, whatever it costs.
    fn enter(
        &self,
        _: u32,
        max_wait: Option<Duration>,
    ) -> Result<Result<Permit, Waiter>, Rejection> {
        self.enter(max_wait)
    }

    fn admitted(permit: Permit) -> Permit {
        permit
    }
}
