use std::future::Future;

use super::action::Action;
use super::permit::Permit;
use super::policy::Fallback;
use crate::classify::{self, Classify, Direct, Outcome};
use crate::context::ClockReading;
use crate::in_flight::InFlight;
use crate::rejection::{Fault, Reason};

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
        let (output, permit) = InFlight::call(permit, call).unsettled().await;
        let Some(mut permit) = permit else {
            return output;
        };
        let (outcome, _) = classify::judge_run(&classifier, &output);
        if outcome == Outcome::Success {
            permit.succeeded();
            return output;
        }
        let rejection = classify::reason_of_run(&classifier, &output).map(Reason::kind);
        let Some(cause) = permit.failed(outcome, rejection) else {
            return output;
        };
        let Some((admitted, ())) = permit.fall_back(&action, Some(()), cause) else {
            return output;
        };
        let answer = || admitted.call(|| action.answer((), cause));
        let (answer, permit) = InFlight::call(permit, answer).unsettled().await;
        let answer = answer.filter(|answer| {
            let (outcome, rejected) = classify::judge_run(&classifier, answer);
            !rejected && !matches!(outcome, Outcome::Failure { .. })
        });
        if let Some(mut permit) = permit {
            permit.answered(answer.is_some());
        }
        answer.unwrap_or(output)
    }
}
