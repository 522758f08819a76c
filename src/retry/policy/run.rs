use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Config, Retry, Session};
use crate::classify::{self, Classify, Outcome, Standard};
use crate::rejection::{Error, Fault, Reason};
use crate::sync::Arc;
use crate::time::Sleep;

pin_project! {
    /// One attempt: polls its call as part of it.
    struct Attempt<'a, F> {
        #[pin]
        call: F,
        session: &'a mut Session<Arc<Config>>,
    }
}

impl<F: Future> Future for Attempt<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.session.enter(|| this.call.poll(cx))
    }
}

impl Retry {
    /// Makes a call, and again if it fails, without a service. `call` gets the number of the
    /// attempt, from 1, and makes a new call for each: nothing has to be `Clone`. The response
    /// is asked whether it is a success ([`Judge`](crate::classify::Judge)); every error is a
    /// failure, but for the library's own refusals.
    ///
    /// Only for calls that may be made more than once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    /// use seawall::{Backoff, Retry};
    ///
    /// let retry = Retry::new(Backoff::exponential(Duration::from_millis(1)));
    /// let answer = retry.run(|attempt| async move {
    ///     if attempt == 1 { Err(std::io::Error::other("busy")) } else { Ok(attempt) }
    /// });
    /// assert_eq!(answer.await.unwrap(), 2);
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the last attempt that was made; [`Error::Rejected`] never.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way, and gives back what was taken of the
    /// budget for one that was not yet made.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, once it has to wait.
    pub async fn run<T, E, F, Fut, Via>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        Standard: Classify<T, E>,
    {
        self.run_with(Standard, call).await
    }

    /// As [`run`](Self::run), with a classifier of your own.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_with<T, E, F, Fut, C, Via>(
        &self,
        classifier: C,
        mut call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        let mut session = Session::of(self);
        let mut failed: Option<(E, Outcome)> = None;
        loop {
            let number = session.number();
            let output = {
                let call = session.enter(|| call(number));
                let session = &mut session;
                Attempt { call, session }.await
            };
            let reason = output.as_ref().err().and_then(Fault::reason);
            let outcome = classify::outcome_of(&classifier, reason, output.as_ref());
            let reason = match &output {
                Ok(response) => classifier.reason(response),
                Err(_) => reason,
            };
            // Nothing was asked of the service: what it said last stands.
            if reason.is_some_and(Reason::call_not_made) {
                session.refused();
                if let Some((error, outcome)) = failed {
                    session.finish(outcome);
                    return Err(Error::Service(error));
                }
            }
            let Some(until) = session.again(outcome) else {
                session.finish(outcome);
                return output.map_err(Error::Service);
            };
            match output {
                Ok(response) => drop(response),
                Err(error) => failed = Some((error, outcome)),
            }
            let mut sleep = pin!(Sleep::until(until));
            std::future::poll_fn(|cx| sleep.as_mut().poll_elapsed(cx)).await;
            session.wake();
            session.sent();
        }
    }
}
