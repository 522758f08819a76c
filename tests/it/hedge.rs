//! The hedge as every layer (`contract`).

use seawall::event::Subscription;
use seawall::hedge::HedgeService;
use seawall::{Budget, ConfigError, Event, Hedge, HedgeLayer, Mode};

use crate::contract::{Repeats, Subject};
use crate::support::{Mock, Strict, leave, leave_all, secs};

/// A hedge with the budget that it draws on.
#[derive(Clone)]
pub(crate) struct Hedged {
    hedge: Hedge,
    budget: Budget,
}

impl Subject for Hedged {
    const SCARCE: bool = false;
    const REFUSES: bool = false;
    const ATTEMPTS: usize = 2;
    const COMES_BACK: bool = true;
    const REFUSES_UNASKED: bool = false;
    const ENDINGS: [&'static str; 4] = ["Success", "Failure(Error)", "Dropped", "Panicked"];

    type Layer = HedgeLayer;
    type Service = HedgeService<Strict<Mock>>;

    fn named(name: &str) -> Self {
        let budget = leave_all();
        // Longer than any test: what begins an extra attempt here is a failure.
        let hedge = Hedge::builder().name(name).delay(secs(60)).budget(&budget);
        let hedge = hedge.build().unwrap();
        Self { hedge, budget }
    }

    fn layer(&self) -> Self::Layer {
        HedgeLayer::new(&self.hedge)
    }

    fn name(&self) -> String {
        self.hedge.name().to_string()
    }

    fn set_mode(&self, mode: Mode) {
        self.hedge.set_mode(mode);
    }

    fn would_reject(&self) -> u64 {
        self.hedge.snapshot().would_hedge
    }

    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.hedge.on_event(listener)
    }

    fn change_badly(&self) -> ConfigError {
        self.hedge.set_quantile(1.0).unwrap_err();
        self.hedge.change(|now| now.max_extra(0)).unwrap_err()
    }

    fn settings(&self) -> String {
        format!("{:?}", self.hedge)
    }

    fn shut(&self) {}

    fn reopen(&self) {}

    fn scarce(&self) {}

    fn balance(&self, _: usize) -> String {
        let budget = self.budget.snapshot();
        format!("{}", budget.balance + budget.made as f64)
    }
}

impl Repeats for Hedged {
    fn made_again(&self) -> u64 {
        self.hedge.snapshot().made
    }

    fn suppressed(&self) -> u64 {
        self.hedge.snapshot().suppressed
    }

    fn leave(&self, attempts: u32) {
        leave(&self.budget, attempts);
    }
}
