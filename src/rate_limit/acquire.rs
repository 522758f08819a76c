//! Waiting for a token without blocking the thread.

use std::time::Duration;

use super::limit::Ask;
use super::permit::Granted;
use super::policy::RateLimiter;
use super::waiter::Waiter;
use crate::config::Name;
use crate::rejection::Rejection;
use crate::time;
use crate::waiting::{self, Queued};

/// Waits for tokens; made by [`RateLimiter::acquire`].
///
/// Its rejections are those of [`RateLimiter::acquire_blocking`]. It rejects at once if the wait is
/// known to be too long.
pub type Acquire = waiting::Acquire<RateLimiter>;

impl RateLimiter {
    /// Waits for a token, for at most [`max_wait`](super::Builder::max_wait) and until the
    /// [deadline](crate::Deadline) in force.
    ///
    /// First come, first served, in the order of the first polls. The future waits in a queue, and
    /// takes nothing before it is at the head and its token is due. It holds no service and no lock.
    ///
    /// # Panics
    /// If it has to wait and is polled outside of a tokio runtime.
    pub fn acquire(&self) -> Acquire {
        Acquire::new(self.clone())
    }
}

impl Acquire {
    /// Sets how many tokens to wait for. The default is 1. Has no effect after the first poll.
    pub fn cost(self, cost: u32) -> Self {
        self.with_cost(cost)
    }
}

impl Queued for RateLimiter {
    type Waiter = Waiter;
    type Permit = ();

    fn name(&self) -> &Name {
        self.name()
    }

    fn enter(
        &self,
        cost: u32,
        max_wait: Option<Duration>,
    ) -> Result<Result<(), Waiter>, Rejection> {
        self.enter(time::now(), Ask::now(cost), max_wait)
    }

    fn admitted(granted: Granted) {
        granted.commit();
    }
}
