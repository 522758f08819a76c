use std::task::Poll;

use crate::rejection::Rejection;

/// The readiness of a layer that can reject without a request.
///
/// - The inner service is ready: the layer is ready.
/// - The inner service is pending and the policy would reject: the layer is ready and rejects the
///   next call, even if the policy would admit it by then, because the inner service is not ready.
/// - The inner service is pending and the policy would admit: the layer is pending.
///
/// Nothing is reserved.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    // Boxed, so that a service has one word for it.
    rejection: Option<Box<Rejection>>,
}

impl Readiness {
    #[inline]
    pub(crate) fn poll<E>(
        &mut self,
        inner: impl FnOnce() -> Poll<Result<(), E>>,
        would_reject: impl FnOnce() -> Option<Rejection>,
    ) -> Poll<Result<(), E>> {
        if self.rejection.is_some() {
            return Poll::Ready(Ok(()));
        }
        match inner() {
            Poll::Pending => {}
            ready @ Poll::Ready(_) => return ready,
        }
        self.rejection = would_reject().map(Box::new);
        match self.rejection {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// The rejection of the next call, if the layer was ready for that reason.
    #[inline]
    pub(crate) fn take_rejection(&mut self) -> Option<Rejection> {
        self.rejection.take().map(|rejection| *rejection)
    }
}

impl Clone for Readiness {
    /// A clone is not ready: readiness belongs to one service.
    fn clone(&self) -> Self {
        Self::default()
    }
}
