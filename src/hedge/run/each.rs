use std::future::Future;
use std::iter::Peekable;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use std::time::Duration;

use super::race::Race;
use super::source::Source;
use crate::classify::{self, Classify, Outcome};
use crate::context::ClockReading;
use crate::context::path::IN_RUN;
use crate::hedge::permit::{First, Permit};
use crate::hedge::policy::{Config, Hedge};
use crate::rejection::{Error, Fault};
use crate::sync::Arc;

impl Hedge {
    /// Makes `first`, and the `others` in their order as extra attempts.
    pub(crate) async fn run_each<T, E, F, C, Via, Seen>(
        &self,
        classifier: C,
        first: F,
        others: impl Iterator<Item = F>,
    ) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
        E: Fault<Via>,
        C: Classify<T, E, Seen>,
    {
        let config = self.config();
        config.plan.ledger.warn_if_applied_twice(&IN_RUN);
        let opened = First::here(&config, true, || None, &mut ClockReading::none());
        let span = opened.call.span(&config.plan);
        opened.call.admit(&config.plan);
        let permit = Permit::after_first(opened, span);
        let attempts = Each {
            config,
            others: others.peekable(),
            classifier,
            via: PhantomData,
        };
        let race = Race::new(Some(first), attempts, permit);
        race.await.map_err(Error::Service)
    }
}

/// Attempts that are futures already.
struct Each<I: Iterator, C, Via, Seen> {
    config: Arc<Config>,
    others: Peekable<I>,
    classifier: C,
    via: PhantomData<fn() -> (Via, Seen)>,
}

impl<I: Iterator, C, Via, Seen> AsRef<Config> for Each<I, C, Via, Seen> {
    fn as_ref(&self) -> &Config {
        &self.config
    }
}

impl<I, F, T, E, C, Via, Seen> Source<Option<F>, F, T, E> for Each<I, C, Via, Seen>
where
    I: Iterator<Item = F>,
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    fn delay(&self, _: u32) -> Option<Duration> {
        None
    }

    fn has_next(&mut self) -> bool {
        self.others.peek().is_some()
    }

    fn prepare(&mut self, _: bool) -> Option<Option<F>> {
        self.others.next().map(Some)
    }

    fn poll_ready(&self, _: &mut Option<F>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, next: &mut Option<F>, _: u32) -> F {
        next.take().expect("an attempt is called once")
    }

    fn judge(&self, output: &Result<T, E>) -> (Outcome, bool) {
        classify::judge_run(&self.classifier, output)
    }

    fn rejection(&self, output: &Result<T, E>) -> Option<&'static str> {
        let reason = classify::reason_of_run(&self.classifier, output);
        reason.map(|reason| reason.kind().label())
    }
}
