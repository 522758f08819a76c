use std::fmt;
use std::marker::PhantomData;

use tower_layer::Layer;

use super::future::Rules;
use super::policy::Retry;
use super::service::RetryService;
use crate::attempts::{Again, CopyBy, OnlyIf, Template};
#[cfg(doc)]
use crate::attempts::{Idempotent, Resend};
use crate::classify::Standard;
use crate::config::Cached;
use crate::context::path::Site;
use crate::macros::debug_fields;
use crate::service::Silent;
use crate::sync::Arc;

/// Puts a [`Retry`] around a service.
///
/// `C` classifies outcomes; `A` says which requests are sent again, and copies them.
///
/// It rejects nothing: every response or error that it returns is the service's own. `R` decides
/// whether a success is determined by the head of a response or at the end of its body.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct RetryLayer<C = Standard, A = Again, R = Silent> {
    retry: Retry,
    classifier: C,
    again: A,
    responder: PhantomData<fn() -> R>,
    site: Site,
}

impl RetryLayer {
    /// A layer over `retry`, or a reference to it. All services made by it, and by other layers
    /// over the same retry, share it.
    #[track_caller]
    pub fn new(retry: impl Into<Retry>) -> Self {
        Self {
            retry: retry.into(),
            classifier: Standard,
            again: Again::default(),
            responder: PhantomData,
            site: Site::caller(),
        }
    }
}

impl<C, A, R> RetryLayer<C, A, R> {
    /// Classifies outcomes with `classifier`, a [`Classify`](crate::Classify), instead of
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> RetryLayer<C2, A, R> {
        RetryLayer {
            retry: self.retry,
            classifier,
            again: self.again,
            responder: PhantomData,
            site: self.site,
        }
    }

    pub(crate) fn map_again<A2>(self, change: impl FnOnce(A) -> A2) -> RetryLayer<C, A2, R> {
        RetryLayer {
            retry: self.retry,
            classifier: self.classifier,
            again: change(self.again),
            responder: PhantomData,
            site: self.site,
        }
    }

    /// By the responder of the layers around it.
    pub(crate) fn responder<R2>(self) -> RetryLayer<C, A, R2> {
        RetryLayer {
            retry: self.retry,
            classifier: self.classifier,
            again: self.again,
            responder: PhantomData,
            site: self.site,
        }
    }
}

impl<C, O, K, R> RetryLayer<C, Again<O, K>, R> {
    /// Retries the requests for which `only` is true, instead of those that are [`Idempotent`], for
    /// example for gRPC, where every request is a POST. A request that had no effect is always
    /// retried ([module](crate::retry)).
    pub fn only<F>(self, only: F) -> RetryLayer<C, Again<OnlyIf<F>, K>, R> {
        self.map_again(|again| again.only(only))
    }

    /// Copies requests with `copy` instead of [`Resend::copy`]: for a body that is not `Clone`. A
    /// request for which `copy` returns none is sent once.
    ///
    /// `copy` only defines how a request is copied. Whether the request may be sent again is
    /// decided by [`Idempotent`] or [`only`](Self::only).
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
    pub fn resend<F>(self, copy: F) -> RetryLayer<C, Again<O, CopyBy<F>>, R> {
        self.map_again(|again| again.resend(copy))
    }
}

debug_fields!([C: fmt::Debug, A: fmt::Debug, R] RetryLayer<C, A, R>, this:
    retry = this.retry, classifier = this.classifier, again = this.again, site = this.site);

impl<S: Clone, C: Clone, A: Clone, R> Layer<S> for RetryLayer<C, A, R> {
    type Service = RetryService<S, C, A, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let mut retry = Cached::new(self.retry.clone());
        let (config, again) = (Arc::clone(retry.load()), self.again.clone());
        RetryService {
            template: Template::new(inner.clone(), Rules { config, again }),
            inner,
            retry,
            classifier: self.classifier.clone(),
            responder: PhantomData,
            site: self.site,
        }
    }
}
