//! A race of a service's attempts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use super::race::{Race, Source};
use crate::classify::Outcome;
use crate::hedge::Hedge;
use crate::hedge::layer::{DelayOf, Safe};
use crate::hedge::policy::Call;
use crate::hedge::service::Rules;
use crate::service::Verdict;
use crate::service::template::Template;

/// Attempts by clones of a service, with copies of a request.
pub(in crate::hedge) struct Resent<S, Req, V, K, D> {
    spare: Template<S, Rules<K, D>>,
    /// The hedge of the request's key, if it is not one for all.
    own: Option<Hedge>,
    /// None if no extra attempt is made any more.
    copy: Option<Req>,
    verdict: V,
}

impl<S, Req, V, K, D> Resent<S, Req, V, K, D> {
    pub(in crate::hedge) fn new(
        spare: Template<S, Rules<K, D>>,
        own: Option<Hedge>,
        copy: Option<Req>,
        verdict: V,
    ) -> Self {
        Self {
            spare,
            own,
            copy,
            verdict,
        }
    }
}

impl<S, Req, V, K, D> AsRef<Hedge> for Resent<S, Req, V, K, D> {
    fn as_ref(&self) -> &Hedge {
        let hedge = self.own.as_ref().or(self.spare.hedge.as_ref());
        hedge.expect("one or the other")
    }
}

/// An extra attempt before its call.
pub(super) struct Next<S, Req> {
    service: S,
    request: Option<Req>,
}

impl<S, Req, V, K, D> Source<Next<S, Req>, S::Future, S::Response, S::Error>
    for Resent<S, Req, V, K, D>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    K: Safe<Req>,
    D: DelayOf<Req>,
{
    fn delay(&self, attempt: u32) -> Option<Duration> {
        let request = self.copy.as_ref()?;
        self.spare.delay.delay(request, attempt)
    }

    fn next(&mut self, is_last: bool) -> Option<Next<S, Req>> {
        let request = match is_last {
            true => self.copy.take(),
            false => self.spare.safe.copy(self.copy.as_ref()?),
        };
        Some(Next {
            request: Some(request?),
            service: self.spare.service(),
        })
    }

    fn poll_ready(
        &self,
        next: &mut Next<S, Req>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        next.service.poll_ready(cx)
    }

    fn call(&mut self, next: &mut Next<S, Req>, _: u32) -> S::Future {
        let request = next.request.take().expect("called once");
        next.service.call(request)
    }

    fn outcome(&self, output: Result<&S::Response, &S::Error>) -> Outcome {
        self.verdict.outcome(output)
    }

    fn is_refusal(&self, output: Result<&S::Response, &S::Error>) -> bool {
        self.verdict.not_made(output)
    }
}

pin_project! {
    /// The response future of [`HedgeService`](super::super::HedgeService).
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, V, K, D> {
        #[pin]
        race: Race<
            Resent<S, Req, V, K, D>,
            Next<S, Req>,
            S::Future,
            Result<S::Response, S::Error>,
        >,
    }
}

impl<S: Service<Req>, Req, V, K, D> ResponseFuture<S, Req, V, K, D> {
    /// Makes the first attempt.
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(in crate::hedge) fn start(
        source: Resent<S, Req, V, K, D>,
        call: Call,
        first: impl FnOnce() -> S::Future,
    ) -> Self {
        Self {
            race: Race::start(source, call, |_| first()),
        }
    }
}

impl<S, Req, V, K, D> Future for ResponseFuture<S, Req, V, K, D>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    K: Safe<Req>,
    D: DelayOf<Req>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().race.poll(cx)
    }
}

impl<S: Service<Req>, Req, V, K, D> fmt::Debug for ResponseFuture<S, Req, V, K, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempts", &self.race.attempts())
            .finish_non_exhaustive()
    }
}
