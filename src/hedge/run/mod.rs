mod extra;
mod race;
mod source;

use std::future::Future;

use super::permit::{First, Permit};
use super::policy::{Config, Hedge};
use super::state::MOST_EXTRA;
use crate::classify::{Classify, Direct, InRun, Verdict};
use crate::common::classify_method;
use crate::context::ClockReading;
use crate::context::path::IN_RUN;
use crate::rejection::{Error, Fault};
use crate::sync::Arc;
pub(super) use race::Race;
pub(super) use source::Source;

impl Hedge {
    /// Makes one call under this hedge, without a service. `call` makes each attempt and gets its
    /// number, from 1; the call must be safe to make twice. Plain data is a success, an HTTP response
    /// is judged by its status, and an error by its source chain ([`Direct`]).
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
    /// The error of the first attempt. A hedge rejects nothing.
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, when a call has to wait.
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
    /// The error of the first attempt.
    pub async fn run_with<T, E, F, Fut, C, Via, Seen>(
        &self,
        classifier: C,
        call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        self.run_up_to(MOST_EXTRA, classifier, call).await
    }

    /// The same with at most `extra` attempts beyond the first.
    pub(crate) async fn run_up_to<T, E, F, Fut, C, Via, Seen>(
        &self,
        extra: u32,
        classifier: C,
        mut call: F,
    ) -> Result<T, Error<E>>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let config = self.config();
        config.plan.ledger.warn_if_applied_twice(&IN_RUN);
        let opened = First::here(&config, true, || None, &mut ClockReading::none());
        let opened = opened.up_to(extra);
        let span = opened.call.span(&config.plan);
        let first = opened.call.enter(&config.plan, &span, || call(1));
        let permit = Permit::after_first(opened, span);
        let attempts = Called {
            config,
            call,
            verdict: InRun::by(classifier),
        };
        let race = Race::new(Some(first), attempts, permit);
        race.await.map_err(Error::Service)
    }
}

classify_method!(Hedge, FnMut(u32));

/// Attempts by a closure.
struct Called<F, C, Via, Seen> {
    config: Arc<Config>,
    call: F,
    verdict: InRun<C, Via, Seen>,
}

impl<F, C, Via, Seen> AsRef<Config> for Called<F, C, Via, Seen> {
    fn as_ref(&self) -> &Config {
        &self.config
    }
}

impl<F, Fut, T, E, C, Via, Seen> Source<(), Fut, T, E> for Called<F, C, Via, Seen>
where
    F: FnMut(u32) -> Fut,
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    fn prepare(&mut self, _: bool) -> Option<()> {
        Some(())
    }

    fn call(&mut self, (): &mut (), number: u32) -> Fut {
        (self.call)(number)
    }

    fn verdict(&self) -> &impl Verdict<T, E> {
        &self.verdict
    }
}
