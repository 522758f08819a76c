#[cfg(feature = "tower")]
use std::fmt;
use std::future::Future;
#[cfg(feature = "tower")]
use std::pin::Pin;
#[cfg(feature = "tower")]
use std::task::{Context, Poll};

#[cfg(feature = "tower")]
use pin_project_lite::pin_project;

use super::{CircuitBreaker, Permit};
use crate::classify::{self, Classify, Standard};
use crate::in_flight::{InFlight, catching, panicked};
#[cfg(feature = "tower")]
use crate::rejection::Rejection;
use crate::rejection::{Error, Fault};
#[cfg(feature = "tower")]
use crate::service::{Format, Verdict};

impl CircuitBreaker {
    /// Makes one call under this breaker, without a service and without a runtime. The response
    /// is asked whether it is a success ([`Judge`](crate::classify::Judge)); every error is a
    /// failure, but for the library's own refusals.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use seawall::CircuitBreaker;
    ///
    /// let breaker = CircuitBreaker::new("payments");
    /// let answer = breaker.run(|| async { Ok::<_, std::io::Error>(42) }).await;
    /// assert_eq!(answer.unwrap(), 42);
    /// # }
    /// ```
    ///
    /// # Errors
    /// The call's own error, or a rejection while the breaker does not admit calls.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call and ends its permit as
    /// [`OnDrop`](super::OnDrop) says. A panic in the call is a failure.
    pub async fn run<T, E, F, Fut, Via>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        Standard: Classify<T, E>,
    {
        self.run_with(Standard, call).await
    }

    /// As [`run`](Self::run), with a classifier of your own.
    ///
    /// # Errors
    /// The call's own error, or a rejection while the breaker does not admit calls.
    pub async fn run_with<T, E, F, Fut, C, Via>(
        &self,
        classifier: C,
        call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        let permit = self.try_acquire()?;
        let (output, permit) = InFlight::call(permit, call).unsettled().await;
        self.end(permit, &classifier, &output);
        output.map_err(Error::Service)
    }

    /// Makes one call under this breaker, in blocking code.
    ///
    /// # Errors
    /// The call's own error, or a rejection while the breaker does not admit calls.
    pub fn run_blocking<T, E, Via>(
        &self,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        E: Fault<Via>,
        Standard: Classify<T, E>,
    {
        let mut permit = Some(self.try_acquire()?);
        let output = catching(&mut permit, call, panicked);
        self.end(permit, &Standard, &output);
        output.map_err(Error::Service)
    }

    fn end<T, E, C, Via>(
        &self,
        permit: Option<Permit<&Self>>,
        classifier: &C,
        output: &Result<T, E>,
    ) where
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        let refusal = output.as_ref().err().and_then(Fault::reason);
        let outcome = classify::outcome_of(classifier, refusal, output.as_ref());
        if let Some(permit) = permit {
            permit.finish(outcome);
        }
    }
}

#[cfg(feature = "tower")]
pin_project! {
    /// The response future of [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, M, V> {
        #[pin]
        state: State<F, V>,
        format: M,
    }
}

#[cfg(feature = "tower")]
pin_project! {
    #[project = StateProjection]
    enum State<F, V> {
        // The call was made under a permit.
        Calling {
            #[pin]
            call: InFlight<F, Permit>,
            verdict: V,
        },
        // The call was not made. None once that has been told.
        Rejected { rejection: Option<Rejection> },
    }
}

#[cfg(feature = "tower")]
impl<F, M, V> ResponseFuture<F, M, V> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(super) fn calling(permit: Permit, call: impl FnOnce() -> F, verdict: V, format: M) -> Self {
        Self {
            state: State::Calling {
                call: InFlight::call(permit, call),
                verdict,
            },
            format,
        }
    }

    pub(super) fn rejected(rejection: Rejection, format: M) -> Self {
        let rejection = Some(rejection);
        Self {
            state: State::Rejected { rejection },
            format,
        }
    }
}

#[cfg(feature = "tower")]
impl<F, M, V, Res, Err> Future for ResponseFuture<F, M, V>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
    V: Verdict<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProjection::Calling { call, verdict } => poll_call(call, verdict, cx),
            StateProjection::Rejected { rejection } => {
                let rejection = rejection.take().expect("polled after it was ready");
                Poll::Ready(this.format.reject(rejection))
            }
        }
    }
}

#[cfg(feature = "tower")]
#[inline]
fn poll_call<F, V, Res, Err>(
    mut call: Pin<&mut InFlight<F, Permit>>,
    verdict: &V,
    cx: &mut Context<'_>,
) -> Poll<F::Output>
where
    F: Future<Output = Result<Res, Err>>,
    V: Verdict<Res, Err>,
{
    let polled = call.as_mut().poll_call(cx);
    if let Poll::Ready(output) = &polled {
        call.settle(|permit| permit.settle(verdict.outcome(output.as_ref())));
    }
    polled
}

#[cfg(feature = "tower")]
impl<F, M, V> fmt::Debug for ResponseFuture<F, M, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
