//! Calls under the breaker without a service.

use std::future::Future;

use super::{CircuitBreaker, Permit};
use crate::classify::{self, Classify, Direct};
use crate::common::{Classified, classify_method};
use crate::context::path::IN_RUN;
use crate::in_flight::{InFlight, catching, panicked};
use crate::rejection::{Error, Fault, with_causes};

impl CircuitBreaker {
    /// Makes one call under this breaker, without a service and without a runtime. Plain data is a
    /// success, an HTTP response is judged by its status, and an error by its source chain
    /// ([`Direct`]). The library's own rejections are ignored.
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
    /// Dropping the future drops the call and settles its permit as
    /// [`OnDrop`](super::OnDrop) says. A panic in the call is a failure.
    pub async fn run<T, E, F, Fut, Via, Seen>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        Direct: Classify<T, E, Seen>,
    {
        self.run_with(Direct, call).await
    }

    /// Makes one call under this breaker and judges its outcome by `classifier`.
    ///
    /// # Errors
    /// The call's own error, or a rejection while the breaker does not admit calls.
    pub async fn run_with<T, E, F, Fut, C, Via, Seen>(
        &self,
        classifier: C,
        call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        self.common().warn_if_applied_twice(|| self.mode(), &IN_RUN);
        let permit = self.try_acquire()?;
        let (output, permit) = InFlight::call(permit, call).unsettled().await;
        finish(permit, &classifier, &output);
        output.map_err(Error::Service)
    }

    /// Makes one call under this breaker, in blocking code.
    ///
    /// # Errors
    /// The call's own error, or a rejection while the breaker does not admit calls.
    pub fn run_blocking<T, E, Via, Seen>(
        &self,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        E: Fault<Via>,
        Direct: Classify<T, E, Seen>,
    {
        self.run_blocking_by(&Direct, call)
    }

    fn run_blocking_by<T, E, C, Via, Seen>(
        &self,
        classifier: &C,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let mut permit = Some(self.try_acquire()?);
        let output = catching(&mut permit, call, panicked);
        finish(permit, classifier, &output);
        output.map_err(Error::Service)
    }
}

classify_method!(CircuitBreaker, FnOnce());

impl<C> Classified<CircuitBreaker, C> {
    /// Makes one call under the breaker, in blocking code, and judges its outcome by the
    /// classifier.
    ///
    /// # Errors
    /// The call's own error, or a rejection while the breaker does not admit calls.
    pub fn run_blocking<T, E, Via, Seen>(
        &self,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        self.policy.run_blocking_by(&self.classifier, call)
    }
}

fn finish<T, E, C, Via, Seen>(
    permit: Option<Permit<&CircuitBreaker>>,
    classifier: &C,
    output: &Result<T, E>,
) where
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    let (outcome, _) = classify::judge_run(classifier, output);
    if let Some(mut permit) = permit {
        let text = || Some(with_causes(output.as_ref().err()?.error()?));
        permit.settle(outcome, &text);
    }
}
