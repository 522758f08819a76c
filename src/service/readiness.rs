use std::task::Poll;

use crate::rejection::Rejection;

/// The readiness of a layer that can reject without a request.
///
/// - The policy would reject: the layer is ready, does not poll the inner service, and rejects the
///   next call, even if the policy would admit it by then, because the inner service may not be
///   ready. Polled again, it forgets this and decides again.
/// - The policy would admit: the layer is as ready as the inner service.
///
/// So a dead client is not made to connect, no error of the inner service hides a rejection, and a
/// rejected handle that is kept holds no capacity of the inner service. Nothing is reserved.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    // Boxed, so that a service has one word for it.
    rejection: Option<Box<Rejection>>,
    /// Whether the last call was rejected.
    rejected: bool,
}

impl Readiness {
    #[inline]
    pub(crate) fn poll<E>(
        &mut self,
        would_reject: impl FnOnce() -> Option<Rejection>,
        inner: impl FnOnce() -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>> {
        match would_reject() {
            Some(rejection) => {
                self.reject(rejection);
                Poll::Ready(Ok(()))
            }
            None => {
                self.forget();
                inner()
            }
        }
    }

    /// For a policy that has to read the clock to know: it is consulted first only if the last call
    /// was rejected, otherwise if the inner service is not ready.
    #[inline]
    pub(crate) fn poll_by_clock<E>(
        &mut self,
        would_reject: impl FnOnce() -> Option<Rejection>,
        inner: impl FnOnce() -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>> {
        if self.rejected {
            return self.poll(would_reject, inner);
        }
        match inner() {
            Poll::Ready(Ok(())) => {
                self.forget();
                Poll::Ready(Ok(()))
            }
            other => self.poll(would_reject, || other),
        }
    }

    /// Takes note of whether the last call was rejected.
    #[inline]
    pub(crate) fn after<T>(&mut self, decision: Result<T, Rejection>) -> Result<T, Rejection> {
        self.rejected = decision.is_err();
        decision
    }

    /// The layer is ready, and rejects the next call.
    #[cold]
    pub(crate) fn reject(&mut self, rejection: Rejection) {
        self.rejection = Some(Box::new(rejection));
    }

    /// The layer is polled again.
    #[inline]
    fn forget(&mut self) {
        if self.rejection.is_some() {
            self.drop_rejection();
        }
    }

    #[cold]
    fn drop_rejection(&mut self) {
        self.rejection = None;
    }

    /// The rejection of the next call, if the layer was ready for that reason.
    #[inline]
    pub(crate) fn take_rejection(&mut self) -> Option<Rejection> {
        match self.rejection {
            None => None,
            Some(_) => self.take_kept(),
        }
    }

    #[cold]
    fn take_kept(&mut self) -> Option<Rejection> {
        let rejection = self.rejection.take()?;
        self.rejected = true;
        Some(*rejection)
    }
}

impl Clone for Readiness {
    /// A clone is not ready: readiness belongs to one service.
    fn clone(&self) -> Self {
        Self::default()
    }
}
