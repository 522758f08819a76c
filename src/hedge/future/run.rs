use std::future::Future;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use std::time::Duration;

use super::race::{Race, Source};
use crate::classify::{self, Classify, Outcome, Standard};
use crate::context::ClockReading;
use crate::hedge::Hedge;
use crate::rejection::{Error, Fault, Reason};

/// Attempts by a closure.
struct Made<'h, F, C, Via> {
    hedge: &'h Hedge,
    call: F,
    classifier: C,
    via: PhantomData<fn() -> Via>,
}

impl<F, C, Via> AsRef<Hedge> for Made<'_, F, C, Via> {
    fn as_ref(&self) -> &Hedge {
        self.hedge
    }
}

impl<F, Fut, T, E, C, Via> Source<(), Fut, T, E> for Made<'_, F, C, Via>
where
    F: FnMut(u32) -> Fut,
    E: Fault<Via>,
    C: Classify<T, E>,
{
    fn delay(&self, _: u32) -> Option<Duration> {
        None
    }

    fn next(&mut self, _: bool) -> Option<()> {
        Some(())
    }

    fn poll_ready(&self, (): &mut (), _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): &mut (), attempt: u32) -> Fut {
        (self.call)(attempt)
    }

    fn outcome(&self, output: Result<&T, &E>) -> Outcome {
        let refusal = output.err().and_then(Fault::reason);
        classify::outcome_of(&self.classifier, refusal, output)
    }

    fn is_refusal(&self, output: Result<&T, &E>) -> bool {
        let reason = match output {
            Ok(response) => self.classifier.reason(response),
            Err(error) => error.reason(),
        };
        reason.is_some_and(Reason::call_not_made)
    }
}

impl Hedge {
    /// Makes one call under this hedge, without a service. `call` makes each attempt and is
    /// given its number, from 1; it has to be safe to be made twice. The response is asked
    /// whether it is a success ([`Judge`](crate::classify::Judge)); every error is a failure,
    /// but for the library's own refusals.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    /// use seawall::Hedge;
    ///
    /// let hedge = Hedge::fixed(Duration::from_millis(50));
    /// let answer = hedge
    ///     .run(|attempt| async move { Ok::<_, std::io::Error>(attempt) })
    ///     .await;
    /// assert_eq!(answer.unwrap(), 1);
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the first attempt. A hedge refuses nothing.
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, once a call has to be waited for.
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
    /// The error of the first attempt.
    pub async fn run_with<T, E, F, Fut, C, Via>(
        &self,
        classifier: C,
        call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E>,
    {
        let source = Made {
            hedge: self,
            call,
            classifier,
            via: PhantomData,
        };
        let admitted = self.call(true, || None, &mut ClockReading::none());
        let race = Race::start(source, admitted, |source| (source.call)(1));
        race.await.map_err(Error::Service)
    }
}
