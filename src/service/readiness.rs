//! Readiness of a layer that can reject without a request.

use std::task::Poll;

use crate::rejection::Rejection;

/// How a layer that needs no request to refuse answers `poll_ready`.
///
/// Inner ready: ready. Inner pending and the policy would refuse now: ready, and the call
/// that follows is refused whatever has changed since, because the inner service is not
/// ready for it. Else pending. Nothing is reserved.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    // In a box, because every service would otherwise carry the room for it.
    refused: Option<Box<Rejection>>,
}

impl Readiness {
    #[inline]
    pub(crate) fn poll<E>(
        &mut self,
        inner: impl FnOnce() -> Poll<Result<(), E>>,
        would_refuse: impl FnOnce() -> Option<Rejection>,
    ) -> Poll<Result<(), E>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        match inner() {
            Poll::Pending => {}
            ready @ Poll::Ready(_) => return ready,
        }
        self.refused = would_refuse().map(Box::new);
        match self.refused {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// What the call that follows is refused with, if readiness came of a refusal.
    #[inline]
    pub(crate) fn take_refusal(&mut self) -> Option<Rejection> {
        self.refused.take().map(|refused| *refused)
    }
}

impl Clone for Readiness {
    /// Readiness is a promise to one handle; a clone has none.
    fn clone(&self) -> Self {
        Self::default()
    }
}
