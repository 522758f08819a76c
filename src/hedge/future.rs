use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use super::delay::DelayOf;
use super::permit::Latency;
use super::policy::Config;
use super::run::{Race, Source};
use crate::attempts::{Earned, SendAgain, Template};
use crate::classify::{Outcome, Verdict};
use crate::service::Format;
use crate::sync::Arc;

/// What the calls of a service share, besides the template service.
#[derive(Clone, Debug)]
pub(super) struct Rules<A, D> {
    /// None if there is one hedge per key.
    pub(super) config: Option<Arc<Config>>,
    pub(super) again: A,
    pub(super) delay: D,
}

impl<A, D> Rules<A, D> {
    /// The configuration of all calls, or else that of a request's key.
    #[inline]
    pub(super) fn config_or<'a>(&'a self, keyed: Option<&'a Arc<Config>>) -> &'a Config {
        let config = self.config.as_ref().or(keyed);
        config.expect("one hedge for all, or one per key")
    }
}

pin_project! {
    /// The response future of [`HedgeService`](super::HedgeService).
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, V, A, D, M> {
        #[pin]
        pub(super) race: Race<
            Resent<S, Req, V, A, D, M>,
            Prepared<S, Req>,
            S::Future,
            Result<S::Response, S::Error>,
        >,
    }
}

/// Attempts by clones of a service, with copies of a request.
pub(super) struct Resent<S, Req, V, A, D, M> {
    pub(super) template: Template<S, Rules<A, D>>,
    /// That of the request's key, if there is one hedge per key.
    pub(super) keyed: Option<Arc<Config>>,
    /// What the next attempt sends. None if there will be no other.
    pub(super) request: Option<Req>,
    pub(super) verdict: V,
    /// What a success earns goes into the response where `M` holds it.
    pub(super) format: PhantomData<fn() -> M>,
}

/// An extra attempt before its call.
pub(super) struct Prepared<S, Req> {
    service: S,
    request: Option<Req>,
}

impl<S, Req, V, A, D, M> Future for ResponseFuture<S, Req, V, A, D, M>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    A: SendAgain<Req>,
    D: DelayOf<Req>,
    M: Format<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().race.poll(cx)
    }
}

impl<S, Req, V, A, D, M> AsRef<Config> for Resent<S, Req, V, A, D, M> {
    #[inline]
    fn as_ref(&self) -> &Config {
        self.template.config_or(self.keyed.as_ref())
    }
}

impl<S, Req, V, A, D, M> Source<Prepared<S, Req>, S::Future, S::Response, S::Error>
    for Resent<S, Req, V, A, D, M>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    A: SendAgain<Req>,
    D: DelayOf<Req>,
    M: Format<S::Response, S::Error>,
{
    const HOLDS: bool = M::HOLDS;

    fn delay(&self, number: u32) -> Option<Duration> {
        self.template.delay.delay(self.request.as_ref()?, number)
    }

    fn prepare(&mut self, is_last: bool) -> Option<Prepared<S, Req>> {
        if !self.template.again.join(self.request.as_ref()?) {
            return None;
        }
        let request = match is_last {
            true => self.request.take(),
            false => self.template.again.copy(self.request.as_ref()?),
        };
        Some(Prepared {
            request: Some(request?),
            service: self.template.service(),
        })
    }

    fn poll_ready(
        &self,
        next: &mut Prepared<S, Req>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        next.service.poll_ready(cx)
    }

    fn call(&mut self, next: &mut Prepared<S, Req>, _: u32) -> S::Future {
        let request = next.request.take().expect("called once");
        next.service.call(request)
    }

    #[inline]
    fn verdict(&self) -> &impl Verdict<S::Response, S::Error> {
        &self.verdict
    }

    fn hold(output: &mut Result<S::Response, S::Error>, earned: Earned, latency: Option<Latency>) {
        let Ok(response) = output else { return };
        earned.hold::<M, _, _>(response);
        let latency = latency.and_then(|latency| M::hold(response, latency));
        if let Some(latency) = latency {
            latency.judge(Outcome::Success);
        }
    }
}

impl<S: Service<Req>, Req, V, A, D, M> fmt::Debug for ResponseFuture<S, Req, V, A, D, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempts", &self.race.started())
            .finish_non_exhaustive()
    }
}
