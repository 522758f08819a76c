use super::ClientConfig;
use super::change::Modes;
use super::config::Set;
use crate::budget::Budget;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::config::{ConfigError, Name};
use crate::hedge::Hedge;
use crate::keyed::Keyed;
use crate::rate_limit::{Quota, RateLimiter};
use crate::retry::{self, Retry};
use crate::stack::plan::Plan;
use crate::stack::{limit_mode, part};
use crate::sync::Arc;
use crate::timeout::Timeout;

/// What all services under a stack and its clones share.
pub(super) struct Policies {
    pub(super) name: Name,
    pub(super) plan: Arc<Plan<ClientConfig>>,
    pub(super) total: Timeout,
    pub(super) retry: Retry,
    pub(super) hedge: Hedge,
    pub(super) budget: Budget,
    pub(super) breakers: Keyed<str, CircuitBreaker>,
    pub(super) bulkheads: Keyed<str, Bulkhead>,
    pub(super) limiter: RateLimiter,
    pub(super) attempt: Timeout,
}

/// Who finds no place.
const OTHERS: &str = "others";

impl Policies {
    pub(super) fn new(mut config: ClientConfig) -> Result<Self, ConfigError> {
        config.set = Set::default();
        let name = config.name.clone();
        let budget = match &config.budget {
            Some(budget) => budget.clone(),
            None => Budget::builder().name(part(&name, "budget")).build()?,
        };
        let retry = config.retry.clone().name(part(&name, "retry"));
        let hedge = config.hedge.clone().name(part(&name, "hedge"));
        let hedge = hedge.mode(config.hedge_mode());
        let limiter = RateLimiter::builder(config.rate_limit.unwrap_or(Quota::unlimited()));
        let limiter = limiter.name(part(&name, "rate_limit"));
        let limiter = limiter.mode(limit_mode(config.rate_limit));
        let timeout = |limit, of| Timeout::builder(limit).name(part(&name, of)).build();
        let total = timeout(config.total_timeout, "total_timeout")?;
        let attempt = timeout(config.attempt_timeout, "attempt_timeout")?;
        let (capacity, breaker_of_others) =
            (config.authorities, config.breaker_of(OTHERS).build()?);
        let bulkhead_of_others = config.bulkhead_of(OTHERS).build()?;
        let plan = Arc::new(Plan::new(config));
        let breakers = {
            let plan = Arc::clone(&plan);
            Keyed::builder(move |authority: &str| plan.config().breaker_of(authority).build())
        };
        let bulkheads = {
            let plan = Arc::clone(&plan);
            Keyed::builder(move |authority: &str| plan.config().bulkhead_of(authority).build())
        };
        let breakers = breakers.name(part(&name, "breaker")).capacity(capacity);
        let bulkheads = bulkheads.name(part(&name, "bulkhead")).capacity(capacity);
        Ok(Self {
            total,
            retry: retry.budget_or(&budget).build()?,
            hedge: hedge.budget_or(&budget).build()?,
            budget,
            breakers: breakers.overflow(breaker_of_others).build()?,
            bulkheads: bulkheads.overflow(bulkhead_of_others).build()?,
            limiter: limiter.build()?,
            attempt,
            name,
            plan,
        })
    }
}

impl Policies {
    /// Changes what `set` says to `config`, which has no problem.
    pub(super) fn apply(&self, config: &ClientConfig, set: Set, modes: Modes) {
        const CHECKED: &str = "it has been checked";
        if set.total_timeout {
            self.total.set_limit(config.total_timeout).expect(CHECKED);
        }
        if set.attempt_timeout {
            let limit = config.attempt_timeout;
            self.attempt.set_limit(limit).expect(CHECKED);
        }
        if set.retry {
            let change = |now: retry::Builder| {
                let mode = match modes.retry {
                    true => config.retry.mode_to_start_in(),
                    false => now.mode_to_start_in(),
                };
                config.retry.clone().budget_or(&self.budget).mode(mode)
            };
            self.retry.change(change).expect(CHECKED);
        }
        if set.hedge {
            let mode = modes.hedge.then(|| config.hedge_mode());
            config.hedge.change(&self.hedge, mode);
        }
        if let (true, Some(quota)) = (set.rate_limit, config.rate_limit) {
            self.limiter.set_quota(quota).expect(CHECKED);
        }
        if modes.limiter {
            self.limiter.set_mode(limit_mode(config.rate_limit));
        }
        if set.breaker || set.attempt_timeout {
            self.breakers.change_all(|breaker| {
                config.apply_to_breaker(breaker, set.breaker, modes.breaker);
            });
        }
        if set.bulkhead {
            let change = |bulkhead: &Bulkhead| config.apply_to_bulkhead(bulkhead, modes.bulkhead);
            self.bulkheads.change_all(change);
        }
    }
}

impl ClientConfig {
    /// Changes `breaker` to what this makes: all of it, or else only what follows from the
    /// attempt's timeout.
    fn apply_to_breaker(&self, breaker: &CircuitBreaker, all: bool, mode: bool) {
        let change = |now: circuit_breaker::Builder| match all {
            true => self.breaker.clone().fair_time(self.fair_time()),
            false => now.fair_time(self.fair_time()),
        };
        // By itself it has no problem. What somebody else changes at the same time may be one
        // together with it; what he has changed already is replaced.
        while breaker.change(change).is_err() {}
        if mode {
            breaker.set_mode(self.breaker.mode_to_start_in());
        }
    }

    fn apply_to_bulkhead(&self, bulkhead: &Bulkhead, mode: bool) {
        self.bulkhead.change(bulkhead);
        if mode {
            bulkhead.set_mode(self.bulkhead.mode_to_start_in());
        }
    }
}
