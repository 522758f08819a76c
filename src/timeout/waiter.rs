use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Timeout;
use crate::config::Mode;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Sleep, Tick};

/// The wait for the inner service to be ready, for a timeout that covers it: the time counts
/// against the limit of the call that follows.
#[derive(Default)]
pub(super) struct Readying {
    covered: bool,
    /// None while nothing waits.
    wait: Option<Wait>,
}

struct Wait {
    since: Tick,
    limit: Duration,
    /// Boxed: only a service that is not ready pays for it.
    sleep: Pin<Box<Sleep>>,
}

impl Readying {
    pub(super) fn covered(covered: bool) -> Self {
        Self {
            covered,
            wait: None,
        }
    }

    /// The inner service is pending. Resolves to the rejection of the next call once the limit has
    /// passed.
    #[cold]
    pub(super) fn poll(&mut self, timeout: &Timeout, cx: &mut Context<'_>) -> Poll<Rejection> {
        // Outside of a runtime there are no timers: the service is pending for as long as the one
        // below.
        let timed = self.covered && Handle::try_current().is_ok();
        if !timed || timeout.mode() != Mode::Enforce {
            return Poll::Pending;
        }
        let now = time::now();
        // A waiter is woken at the end of its limit. Much later, this is a new one.
        let given_up = |wait: &Wait| now > wait.sleep.deadline().after(wait.limit);
        if self.wait.as_ref().is_none_or(given_up) {
            let limit = timeout.limit();
            #[allow(
                clippy::disallowed_methods,
                reason = "only while the service is not ready"
            )]
            let sleep = Box::pin(Sleep::until(now.after(limit)));
            self.wait = Some(Wait {
                since: now,
                limit,
                sleep,
            });
        }
        let Some(wait) = &mut self.wait else {
            return Poll::Pending;
        };
        let (since, limit) = (wait.since, wait.limit);
        wait.sleep.as_mut().poll_elapsed(cx).map(|now| {
            let elapsed = now.since(since);
            timeout.rejection(RejectionKind::TimedOut { limit, elapsed })
        })
    }

    /// When the wait of the call that is now made has started, if it waited.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Tick> {
        self.wait.take().map(|wait| wait.since)
    }
}

impl Clone for Readying {
    /// A clone waits for its own readiness.
    fn clone(&self) -> Self {
        Self::covered(self.covered)
    }
}

impl fmt::Debug for Readying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readying")
            .field("covered", &self.covered)
            .field("waits", &self.wait.is_some())
            .finish()
    }
}
