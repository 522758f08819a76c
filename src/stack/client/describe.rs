//! A client stack as text.

use std::fmt;

use super::config::ClientConfig;
use super::policies::Policies;
use super::stack::ClientStack;
use crate::attempts::Funding;
use crate::budget::Budget;
use crate::config::Mode;
use crate::macros::debug_fields;
use crate::policy_id::PolicyId;
use crate::stack::description::{Description, LayerText};
use crate::stack::parts;
use crate::stack::verdict::{Extra, Verdict};

/// The budget that pays for extra attempts.
#[derive(PartialEq)]
enum Payer {
    /// That of the authority, or the one for all.
    Stack,
    /// Given to a part, by its id.
    Given(PolicyId),
}

impl Policies {
    fn paid(config: &ClientConfig, funding: &Funding) -> Option<(Payer, f64)> {
        let (payer, given) = match funding {
            Funding::None => return None,
            Funding::Given(budget) => (Payer::Given(budget.id()), Some(budget)),
            Funding::Default | Funding::Own(_) => (Payer::Stack, config.budget.as_ref()),
        };
        let (mode, ratio) = match given {
            Some(budget) => (budget.mode(), budget.snapshot().ratio),
            None => (
                config.budgets.mode_to_start_in(),
                config.budgets.ratio_in_force(),
            ),
        };
        (mode == Mode::Enforce).then_some((payer, ratio))
    }

    pub(super) fn verdict(&self) -> Verdict {
        let config = self.live.load();
        let (retry, hedge) = (self.retry.snapshot(), self.hedge.snapshot());
        let retry = (retry.mode == Mode::Enforce).then(|| Extra {
            most: retry.max_attempts.saturating_sub(1),
            paid: Self::paid(&config, config.retry.funding()),
        });
        let hedge = (hedge.mode == Mode::Enforce).then(|| Extra {
            most: hedge.max_extra,
            paid: Self::paid(&config, config.hedge.funding()),
        });
        let total = || config.longest_total(self.total.limit());
        let total = (self.total.mode() == Mode::Enforce).then(total);
        Verdict::new(retry, hedge, total)
    }

    fn layers(&self, own_limiter: bool) -> Vec<LayerText> {
        let config = self.live.load();
        let (retry, hedge) = (self.retry.snapshot(), self.hedge.mode());
        let (total, attempt) = (self.total.limit(), self.attempt.limit());
        let budget = match &config.budget {
            Some(budget) => format!("`{}` for all authorities", budget.name()),
            None => format!("{} per authority", config.budgets.text()),
        };
        let budget_mode = config.budget.as_ref().map(Budget::mode);
        let budget_mode = budget_mode.unwrap_or(config.budgets.mode_to_start_in());
        let retries = format!("{} attempts, backoff {}", retry.max_attempts, retry.backoff);
        let breaker = format!("per authority, {}", config.breaker.text());
        let bulkhead = format!("per authority, {}", config.bulkhead.text());
        vec![
            LayerText::new("total timeout", self.total.mode(), format!("{total:?}")),
            LayerText::new("budget", budget_mode, budget),
            LayerText::new("retry", retry.mode, retries),
            LayerText::new("hedge", hedge, config.hedge.text()),
            LayerText::new(
                "circuit breaker",
                config.breaker.mode_to_start_in(),
                breaker,
            ),
            LayerText::new("bulkhead", config.bulkhead.mode_to_start_in(), bulkhead),
            parts::limiter_text(&self.limiter, own_limiter),
            LayerText::new(
                "attempt timeout",
                self.attempt.mode(),
                format!("{attempt:?}"),
            ),
        ]
    }

    pub(super) fn describe(&self, own_limiter: bool) -> Description {
        Description {
            name: self.name.clone(),
            layers: self.layers(own_limiter),
            verdict: self.verdict(),
        }
    }
}

impl<R, C, L, O, K, B> ClientStack<R, C, L, O, K, B> {
    /// The stack as text: a line for each layer, from the outermost in, and the
    /// [verdict](Self::verdict). It is of now, so a change of a part by its own handle is in it; a
    /// breaker, bulkhead and budget per authority are as new authorities get them.
    pub fn describe(&self) -> Description {
        self.policies.describe(self.own_limiter)
    }

    /// What the stack can do to its dependency as it is configured now. `build` logs it at info.
    pub fn verdict(&self) -> Verdict {
        self.policies.verdict()
    }
}

impl<R, C, L, O, K, B> fmt::Display for ClientStack<R, C, L, O, K, B> {
    /// The [description](Self::describe).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe().fmt(f)
    }
}

debug_fields!([R, C, L: fmt::Debug, O, K, B] ClientStack<R, C, L, O, K, B>, this: name = this.name(),
    total_timeout = this.total_timeout(), retry = this.retry(), hedge = this.hedge(),
    budgets = this.budgets(), breakers = this.breakers(), bulkheads = this.bulkheads(),
    limiter = this.limiter, attempt_timeout = this.attempt_timeout());
