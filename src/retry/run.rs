use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::permit::Permit;
use super::policy::{Config, Retry};
use crate::classify::{self, Classify, Direct, Drain};
use crate::common::{Classified, classify_method};
use crate::context::path::IN_RUN;
use crate::context::{ClockReading, Due};
use crate::outcome::Outcome;
#[cfg(doc)]
use crate::rejection::RejectionKind;
use crate::rejection::{Error, Fault};
use crate::sync::Arc;
use crate::time::{Sleep, Tick};

impl Retry {
    /// Makes a call without a service, and repeats it if it fails. `call` gets the number of the
    /// attempt, from 1, and makes a new call for each: nothing has to be `Clone`. Plain data is a
    /// success, an HTTP response is judged by its status, and an error by its source chain
    /// ([`Direct`]). The crate's own rejections are not retried.
    ///
    /// Use it only for calls that may be made more than once.
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
    /// When it has to wait outside of a tokio runtime with time enabled.
    pub async fn run<T, E, F, Fut, Via, Seen>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        Direct: Classify<T, E, Seen>,
    {
        self.run_with(Direct, call).await
    }

    /// [`run`](Self::run) with your own classifier.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_with<T, E, F, Fut, C, Via, Seen>(
        &self,
        classifier: C,
        mut call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let mut run = Run::start(self);
        loop {
            let number = run.permit.number();
            let call = run.permit.enter(|| call(number));
            let output = run.attempt(call).await;
            match run.decide(&classifier, output) {
                ControlFlow::Break(answer) => return answer,
                ControlFlow::Continue(next) => run.back_off(next).await?,
            }
        }
    }

    /// [`run`](Self::run) for an async closure that borrows mutably what it captures, such as a
    /// connection.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use std::time::Duration;
    /// # use seawall::{Backoff, Retry};
    /// # let retry = Retry::new(Backoff::exponential(Duration::from_millis(1)));
    /// let mut connection = Vec::new();
    /// let sent = retry.run_mut(async |attempt| {
    ///     connection.push(attempt);
    ///     if attempt == 1 { Err(std::io::Error::other("busy")) } else { Ok(()) }
    /// });
    /// sent.await.unwrap();
    /// assert_eq!(connection, [1, 2]);
    /// # }
    /// ```
    ///
    /// The compiler cannot prove that the returned future is `Send` if the closure captures a
    /// reference, so use it in a task that stays on its thread. That is why `run` takes a closure
    /// that returns a future: it has no such limit.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_mut<T, E, F, Via, Seen>(&self, call: F) -> Result<T, Error<E>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
        E: Fault<Via>,
        Direct: Classify<T, E, Seen>,
    {
        self.run_mut_with(Direct, call).await
    }

    /// [`run_mut`](Self::run_mut) with your own classifier.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_mut_with<T, E, F, C, Via, Seen>(
        &self,
        classifier: C,
        mut call: F,
    ) -> Result<T, Error<E>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let mut run = Run::start(self);
        loop {
            let (number, call) = (run.permit.number(), &mut call);
            let call = run.permit.enter(move || call(number));
            let output = run.attempt(call).await;
            match run.decide(&classifier, output) {
                ControlFlow::Break(answer) => return answer,
                ControlFlow::Continue(next) => run.back_off(next).await?,
            }
        }
    }
}

classify_method!(Retry, FnMut(u32));

impl<C> Classified<Retry, C> {
    /// [`run_mut`](Retry::run_mut) with the classifier.
    ///
    /// # Errors
    /// Those of [`run`](Retry::run).
    pub async fn run_mut<T, E, F, Via, Seen>(&self, call: F) -> Result<T, Error<E>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
        E: Fault<Via>,
        C: Classify<T, E, Seen> + Clone,
    {
        let classifier = self.classifier.clone();
        self.policy.run_mut_with(classifier, call).await
    }
}

/// One call under a retry, with all its attempts.
struct Run<E> {
    permit: Permit<Arc<Config>>,
    /// The last error of an attempt that was made. A failed response is dropped.
    failed: Option<E>,
    /// How the last attempt that was made ended.
    outcome: Outcome,
}

/// The next attempt.
struct Next {
    /// What is left of the failed response.
    rest: Option<Drain>,
    /// When it starts.
    until: Tick,
}

impl<E> Run<E> {
    fn start(retry: &Retry) -> Self {
        let config = retry.config();
        config.plan.ledger.warn_if_applied_twice(&IN_RUN);
        Self {
            permit: Permit::start(config, &mut ClockReading::none()),
            failed: None,
            outcome: Outcome::Ignore,
        }
    }

    fn attempt<F: Future>(&mut self, call: F) -> Attempt<'_, F> {
        let permit = &mut self.permit;
        Attempt { call, permit }
    }

    /// The answer, or the next attempt.
    fn decide<T, C, Via, Seen>(
        &mut self,
        classifier: &C,
        output: Result<T, E>,
    ) -> ControlFlow<Result<T, Error<E>>, Next>
    where
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let (outcome, rejected) = classify::judge_run(classifier, &output);
        self.permit.ended(outcome, || {
            let reason = classify::reason_of_run(classifier, &output);
            reason.map(|reason| reason.kind().label())
        });
        if rejected {
            self.permit.rejected();
            // The service was not called: its last error stands.
            if let Some(error) = self.failed.take() {
                self.permit.finish(self.outcome);
                return ControlFlow::Break(Err(Error::Service(error)));
            }
        }
        let Some(until) = self.permit.after(outcome, |_| Ok(())) else {
            self.permit.finish(outcome);
            return ControlFlow::Break(output.map_err(Error::Service));
        };
        self.outcome = outcome;
        let rest = match output {
            Ok(response) => classifier.drain(response),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        };
        ControlFlow::Continue(Next { rest, until })
    }

    /// Waits, and starts the next attempt. The error, if the deadline has passed by then.
    async fn back_off(&mut self, next: Next) -> Result<(), Error<E>> {
        let Next { rest, until } = next;
        if let Some(mut rest) = rest {
            poll_fn(|cx| self.permit.enter(|| rest.poll(cx))).await;
        }
        let mut sleep = pin!(Sleep::until(until));
        loop {
            let woken = poll_fn(|cx| sleep.as_mut().poll_elapsed(cx)).await;
            match self.permit.due(woken) {
                Due::Now => break,
                Due::PollerLate => sleep.set(Sleep::step(woken)),
                Due::Never => {
                    self.permit.too_late();
                    self.permit.finish(self.outcome);
                    return Err(match self.failed.take() {
                        Some(error) => Error::Service(error),
                        None => self.permit.expired().into(),
                    });
                }
            }
        }
        self.permit.wake();
        self.permit.send();
        Ok(())
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
