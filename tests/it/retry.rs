//! The retry as every layer (`contract`).

use std::time::Duration;

use seawall::event::Subscription;
use seawall::retry::RetryService;
use seawall::{Backoff, Budget, ConfigError, Event, Jitter, Mode, Retry, RetryLayer};

use crate::contract::{Repeats, Subject};
use crate::support::{Mock, Strict, leave, leave_all};

/// A retry with the budget that it draws on.
#[derive(Clone)]
pub(crate) struct Retried {
    retry: Retry,
    budget: Budget,
}

impl Subject for Retried {
    const SCARCE: bool = false;
    const REFUSES: bool = false;
    const ATTEMPTS: usize = 3;
    const COMES_BACK: bool = true;
    const REFUSES_UNASKED: bool = false;
    const ENDINGS: [&'static str; 4] = ["Success", "Failure(Error)", "Dropped", "Panicked"];

    type Layer = RetryLayer;
    type Service = RetryService<Strict<Mock>>;

    fn named(name: &str) -> Self {
        let budget = leave_all();
        let backoff = Backoff::constant(Duration::from_nanos(1)).jitter(Jitter::None);
        let retry = Retry::builder().name(name).backoff(backoff).budget(&budget);
        let retry = retry.build().unwrap();
        Self { retry, budget }
    }

    fn layer(&self) -> Self::Layer {
        RetryLayer::new(&self.retry)
    }

    fn name(&self) -> String {
        self.retry.name().to_string()
    }

    fn set_mode(&self, mode: Mode) {
        self.retry.set_mode(mode);
    }

    fn would_reject(&self) -> u64 {
        self.retry.snapshot().would_retry
    }

    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.retry.on_event(listener)
    }

    fn change_badly(&self) -> ConfigError {
        let change = |now: seawall::retry::Builder| now.max_attempts(0).max_elapsed(Duration::ZERO);
        let error = self.retry.change(change).unwrap_err();
        assert_eq!(error.problems().len(), 2, "{error}");
        error
    }

    fn settings(&self) -> String {
        format!("{:?}", self.retry)
    }

    fn shut(&self) {}

    fn reopen(&self) {}

    fn scarce(&self) {}

    fn balance(&self, _: usize) -> String {
        let budget = self.budget.snapshot();
        format!("{}", budget.balance + budget.made as f64)
    }
}

impl Repeats for Retried {
    fn made_again(&self) -> u64 {
        self.retry.snapshot().retried
    }

    fn suppressed(&self) -> u64 {
        self.retry.snapshot().suppressed
    }

    fn leave(&self, attempts: u32) {
        leave(&self.budget, attempts);
    }
}
