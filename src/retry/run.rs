use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::permit::{First, Next, Permit};
use super::policy::{Config, Retry};
use crate::classify::{Classify, Direct, InRun, Verdict};
use crate::common::{Classified, classify_method};
use crate::context::path::IN_RUN;
use crate::context::{CallContext, ClockReading};
use crate::rejection::{Error, Fault, Rejection, RejectionKind};
use crate::sync::Arc;
use crate::time::Sleep;

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
    /// Dropping the future drops the attempt under way. What was taken from the budget for an
    /// attempt that was not made is refunded.
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
        let mut permit = Permit::start(self, classifier);
        loop {
            let number = permit.number();
            let call = permit.enter(|| call(number));
            let output = permit.attempt(call).await;
            if let ControlFlow::Break(answer) = permit.follow(output).await {
                return answer;
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
    /// reference, so use it in a task that stays on its thread. `run`, whose closure returns a
    /// future, does not have this limit.
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
        let mut permit = Permit::start(self, classifier);
        loop {
            let (number, call) = (permit.number(), &mut call);
            let call = permit.enter(move || call(number));
            let output = permit.attempt(call).await;
            if let ControlFlow::Break(answer) = permit.follow(output).await {
                return answer;
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

impl<T, E, C, Via, Seen> Permit<Arc<Config>, InRun<C, Via, Seen>, T, E>
where
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    /// The permit of a call that starts here.
    fn start(retry: &Retry, classifier: C) -> Self {
        let config = retry.config();
        config.plan.ledger.warn_if_applied_twice(&IN_RUN);
        let first = First::here(&config, &mut ClockReading::none());
        let span = first.call.span(&config.plan);
        first.call.admit(&config.plan);
        Self::after_first(first, span, config, InRun::by(classifier))
    }

    fn attempt<F: Future>(&mut self, call: F) -> Attempt<'_, F, Self> {
        let permit = self;
        Attempt { call, permit }
    }

    /// What follows an attempt: the answer of the call, or the next attempt, once it is due.
    async fn follow(&mut self, output: Result<T, E>) -> ControlFlow<Result<T, Error<E>>> {
        let judged = self.verdict.judge(output.as_ref());
        let Next { rest, until } = match self.decide(judged, output, false, |_| Ok(())) {
            ControlFlow::Break(answer) => {
                return ControlFlow::Break(answer.map_err(Error::Service));
            }
            ControlFlow::Continue(next) => next,
        };
        if let Some(mut rest) = rest {
            poll_fn(|cx| self.enter(|| rest.poll(cx))).await;
        }
        let mut sleep = pin!(Sleep::until(until));
        poll_fn(|cx| sleep.as_mut().poll_elapsed(cx)).await;
        let mut hold = pin!(None);
        let own = self.ledger.call.deadline;
        if !poll_fn(|cx| CallContext::poll_due(own, hold.as_mut(), cx)).await {
            let answer = self.too_late();
            let name = self.holder.plan.ledger.common.name();
            let expired = || Err(Rejection::new(RejectionKind::Expired, name.clone()).into());
            let answer = answer.map_or_else(expired, |it| it.map_err(Error::Service));
            return ControlFlow::Break(answer);
        }
        self.wake();
        self.send();
        ControlFlow::Continue(())
    }
}

pin_project! {
    /// The call of one attempt, which is polled as part of it.
    struct Attempt<'a, F, P> {
        #[pin]
        call: F,
        permit: &'a mut P,
    }
}

impl<F: Future, V, T, E> Future for Attempt<'_, F, Permit<Arc<Config>, V, T, E>> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.permit.enter(|| this.call.poll(cx))
    }
}
