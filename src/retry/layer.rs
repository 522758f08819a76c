use tower_layer::Layer;

use super::{Retry, RetryService};
use crate::classify::{Idempotent, Resend, Standard};

/// Puts a [`Retry`] around a service.
///
/// `C` classifies outcomes, `O` says which requests may be sent again, and `K` copies them.
///
/// It refuses nothing by itself, so there is nothing to respond: what it returns is always the
/// service's own.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct RetryLayer<C = Standard, O = ByRequest, K = ByRequest> {
    retry: Retry,
    classifier: C,
    only: O,
    copier: K,
}

impl RetryLayer {
    /// A layer over `retry`, or a reference to it. All services made by it, and by other layers
    /// over the same retry, share it.
    pub fn new(retry: impl Into<Retry>) -> Self {
        Self {
            retry: retry.into(),
            classifier: Standard,
            only: ByRequest,
            copier: ByRequest,
        }
    }
}

impl<C, O, K> RetryLayer<C, O, K> {
    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify), in place of
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> RetryLayer<C2, O, K> {
        RetryLayer {
            retry: self.retry,
            classifier,
            only: self.only,
            copier: self.copier,
        }
    }

    /// Retries the requests for which `only` is true, instead of those that say so themselves
    /// ([`Idempotent`]): for gRPC, where every request is a POST.
    pub fn only<F>(self, only: F) -> RetryLayer<C, OnlyIf<F>, K> {
        RetryLayer {
            retry: self.retry,
            classifier: self.classifier,
            only: OnlyIf(only),
            copier: self.copier,
        }
    }

    /// Copies requests by `copy`, instead of [`Resend::copy`]: for a body that is not `Clone`. A
    /// request that has no copy is sent once.
    ///
    /// A copier says how to copy a request, never whether it may be sent again: that is still for
    /// the request ([`Idempotent`]) or for [`only`](Self::only) to say.
    ///
    /// ```
    /// use seawall::{Backoff, Retry, RetryLayer};
    ///
    /// struct Query { text: String }
    ///
    /// let retry = Retry::new(Backoff::exponential(std::time::Duration::from_millis(50)));
    /// let layer = RetryLayer::new(&retry)
    ///     .only(|_: &Query| true)
    ///     .resend(|query: &Query| Some(Query { text: query.text.clone() }));
    /// # let _ = layer;
    /// ```
    pub fn resend<F>(self, copy: F) -> RetryLayer<C, O, CopyBy<F>> {
        RetryLayer {
            retry: self.retry,
            classifier: self.classifier,
            only: self.only,
            copier: CopyBy(copy),
        }
    }
}

impl<C> RetryLayer<C> {
    /// Retries by `only` and copies by `copier`.
    pub(crate) fn again_by<O, K>(self, only: O, copier: K) -> RetryLayer<C, O, K> {
        RetryLayer {
            retry: self.retry,
            classifier: self.classifier,
            only,
            copier,
        }
    }
}

impl<S: Clone, C: Clone, O: Clone, K: Clone> Layer<S> for RetryLayer<C, O, K> {
    type Service = RetryService<S, C, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService::new(
            inner,
            self.retry.clone(),
            self.classifier.clone(),
            self.only.clone(),
            self.copier.clone(),
        )
    }
}

/// Which requests may be sent more than once.
pub trait MayResend<Req> {
    /// Whether this one may.
    fn may_resend(&self, request: &Req) -> bool;
}

/// How requests are copied.
pub trait Copier<Req> {
    /// A copy to send; none if it cannot be copied.
    fn copy(&self, request: &Req) -> Option<Req>;
}

/// As the request says itself, by [`Idempotent`]; copied by [`Resend`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByRequest;

impl<Req: Idempotent> MayResend<Req> for ByRequest {
    fn may_resend(&self, request: &Req) -> bool {
        request.is_idempotent()
    }
}

impl<Req: Resend> Copier<Req> for ByRequest {
    fn copy(&self, request: &Req) -> Option<Req> {
        request.copy()
    }
}

/// The requests that a closure names.
#[derive(Clone, Copy)]
pub struct OnlyIf<F>(F);

impl<F> OnlyIf<F> {
    pub(crate) fn new(only: F) -> Self {
        Self(only)
    }
}

impl<Req, F: Fn(&Req) -> bool> MayResend<Req> for OnlyIf<F> {
    fn may_resend(&self, request: &Req) -> bool {
        (self.0)(request)
    }
}

impl<F> std::fmt::Debug for OnlyIf<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnlyIf(..)")
    }
}

/// Copies by a closure.
#[derive(Clone, Copy)]
pub struct CopyBy<F>(F);

impl<F> CopyBy<F> {
    pub(crate) fn new(copy: F) -> Self {
        Self(copy)
    }
}

impl<Req, F: Fn(&Req) -> Option<Req>> Copier<Req> for CopyBy<F> {
    fn copy(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
    }
}

impl<F> std::fmt::Debug for CopyBy<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CopyBy(..)")
    }
}
