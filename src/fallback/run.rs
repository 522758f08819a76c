use std::future::Future;

use super::action::Action;
use super::call::ResponseFuture;
use super::permit::Permit;
use super::policy::Fallback;
use crate::classify::{Classify, Direct, InRun};
use crate::context::ClockReading;
use crate::rejection::Fault;

impl Fallback {
    /// Makes one call, and answers with `action` if it fails or is rejected: with a
    /// [`value`](super::value) or a [`call`](super::call()). Plain data is a success, a response of
    /// HTTP says so itself, and an error is known by its source chain ([`Direct`]).
    ///
    /// # Errors
    /// The error of the call, if the fallback is not called or fails too.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call, or the call of the fallback. After a drop nothing is
    /// called.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, when the fallback has to wait.
    pub async fn run<T, E, A, F, Fut, Via, Seen>(&self, action: A, call: F) -> Result<T, E>
    where
        A: Action<(), T, E>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        Direct: Classify<T, E, Seen>,
    {
        self.run_with(Direct, action, call).await
    }

    /// [`run`](Self::run) with your own classifier.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_with<T, E, A, F, Fut, C, Via, Seen>(
        &self,
        classifier: C,
        action: A,
        call: F,
    ) -> Result<T, E>
    where
        A: Action<(), T, E>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let permit = Permit::start(self, &mut ClockReading::none());
        let verdict = InRun::by(classifier);
        ResponseFuture::call(permit, &action, Some(()), verdict, call).await
    }
}
