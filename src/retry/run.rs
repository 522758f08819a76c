use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::permit::Permit;
use super::policy::{Config, Retry};
use crate::classify::{self, Classify, Standard};
use crate::context::{CallContext, ClockReading};
use crate::rejection::{Error, Fault, Rejection, RejectionKind};
use crate::sync::Arc;
use crate::time::Sleep;

impl Retry {
    /// Makes a call, and again if it fails, without a service. `call` gets the number of the
    /// attempt, from 1, and makes a new call for each: nothing has to be `Clone`. A response says
    /// whether it is a success ([`Judge`](crate::classify::Judge)); every error is a failure,
    /// except the crate's own rejections.
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
    /// The error of the last attempt that was made. [`RejectionKind::Expired`] if the deadline
    /// passed during a backoff after a failed response, which was dropped.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way, and gives back what was taken from the
    /// budget for an attempt that was not made.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, when it has to wait.
    pub async fn run<T, E, F, Fut, Via>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        Standard: Classify<T, E>,
    {
        self.run_with(Standard, call).await
    }

    /// [`run`](Self::run) with a classifier of yours.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
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
        let mut permit = Permit::start(self.config(), &mut ClockReading::none());
        let mut failed = None;
        loop {
            let number = permit.number();
            let output = {
                let call = permit.enter(|| call(number));
                let permit = &mut permit;
                Attempt { call, permit }.await
            };
            let (outcome, rejected) = classify::judge_run(&classifier, &output);
            if rejected {
                permit.rejected();
                // The service was not called: its last error stands.
                if let Some((error, outcome)) = failed {
                    permit.finish(outcome);
                    return Err(Error::Service(error));
                }
            }
            let Some(until) = permit.after(outcome, |_, _| Ok(())) else {
                permit.finish(outcome);
                return output.map_err(Error::Service);
            };
            match output {
                Ok(response) => drop(response),
                Err(error) => failed = Some((error, outcome)),
            }
            let mut sleep = pin!(Sleep::until(until));
            let woken = std::future::poll_fn(|cx| sleep.as_mut().poll_elapsed(cx)).await;
            if woken >= CallContext::deadline() {
                permit.too_late();
                permit.finish(outcome);
                return Err(match failed {
                    Some((error, _)) => Error::Service(error),
                    None => Rejection::new(RejectionKind::Expired, self.name().clone()).into(),
                });
            }
            permit.wake();
            permit.send();
        }
    }
}

pin_project! {
    /// The call of one attempt, which is polled as part of it.
    struct Attempt<'a, F> {
        #[pin]
        call: F,
        permit: &'a mut Permit<Arc<Config>>,
    }
}

impl<F: Future> Future for Attempt<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.permit.enter(|| this.call.poll(cx))
    }
}
