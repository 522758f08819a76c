use super::config::ClientConfig;
use crate::budget::{self, Budget};
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::config::{ConfigError, Live, Name, Problems};
use crate::context::authority_hash;
use crate::hedge::{self, Hedge};
use crate::keyed::{self, Keyed, PerKey};
use crate::policy_id::Registration;
use crate::rate_limit::RateLimiter;
use crate::retry::{self, Retry};
use crate::stack::parts::{self, CHECKED, changed_mode, part};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::timeout::Timeout;

/// The policies that all services under a stack and its clones share.
pub(super) struct Policies {
    pub(super) name: Name,
    pub(super) live: Arc<Live<ClientConfig>>,
    pub(super) total: Timeout,
    pub(super) retry: Retry,
    pub(super) hedge: Hedge,
    pub(super) budget: Option<Budget>,
    pub(super) budgets: Keyed<str, Budget>,
    pub(super) breakers: Keyed<str, CircuitBreaker>,
    pub(super) bulkheads: Keyed<str, Bulkhead>,
    pub(super) limiter: RateLimiter,
    /// Whether a handle was given another limiter. Read where settings are applied by name: relaxed.
    pub(super) limiter_given: AtomicBool,
    pub(super) attempt: Timeout,
    /// How many services without a name were made.
    services: AtomicU64,
    /// None before the stack is built.
    _registration: Option<Registration>,
}

/// The authority in the names of the overflow policies.
const OTHERS: &str = "others";

/// A policy per authority, by the configuration in force when the authority is new.
fn per_authority<P: PerKey<Store<str> = keyed::Policies<str, P>>>(
    live: &Arc<Live<ClientConfig>>,
    of: &str,
    make: fn(&ClientConfig, &str) -> Result<P, ConfigError>,
) -> Result<Keyed<str, P>, ConfigError> {
    let config = live.load();
    let (name, capacity) = (part(&config.name, of), config.authorities);
    drop(config);
    let live = Arc::clone(live);
    Keyed::builder(move |authority: &str| make(&live.load(), authority))
        .name(name)
        .capacity(capacity)
        .overflow_for(OTHERS.into())
        .hashed_by(authority_hash::hasher().clone())
        .build()
}

impl Policies {
    pub(super) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let name = config.name.clone();
        let retry = retry::Builder::clone(&config.retry).in_stack(part(&name, "retry"));
        let hedge = hedge::Builder::clone(&config.hedge).in_stack(part(&name, "hedge"));
        let timeout = |limit, of| Timeout::builder(limit).name(part(&name, of)).build();
        let total = timeout(config.total_timeout, "total_timeout")?;
        let attempt = timeout(config.attempt_timeout, "attempt_timeout")?;
        let limiter = parts::limiter(&name, config.rate_limit)?;
        let hedge = hedge.mode(config.hedge_mode()).build()?;
        let live = Arc::new(Live::new(config));
        Ok(Self {
            total,
            retry: retry.build()?,
            hedge,
            budget: live.load().budget.clone(),
            budgets: per_authority(&live, "budget", ClientConfig::budget_of)?,
            breakers: per_authority(&live, "breaker", ClientConfig::breaker_of)?,
            bulkheads: per_authority(&live, "bulkhead", ClientConfig::bulkhead_of)?,
            limiter,
            limiter_given: AtomicBool::new(false),
            attempt,
            services: AtomicU64::new(0),
            _registration: None,
            name,
            live,
        })
    }

    pub(super) fn registered(self, registration: Registration) -> Self {
        Self {
            _registration: Some(registration),
            ..self
        }
    }

    /// The key of a new service. No authority has a space.
    pub(super) fn name_service(&self) -> String {
        let number = self.services.fetch_add(1, Ordering::Relaxed) + 1;
        format!("service {number}")
    }

    pub(super) fn change(
        &self,
        own_limiter: bool,
        change: impl Fn(ClientConfig) -> ClientConfig,
    ) -> Result<(), ConfigError> {
        let (before, _) = self.live.change(|now| next(now, own_limiter, &change))?;
        parts::apply_newest(&self.live, before, |from, to| self.apply(from, to));
        Ok(())
    }

    /// The error that a change would return now.
    #[cfg(feature = "serde")]
    pub(super) fn check_change(
        &self,
        own_limiter: bool,
        change: impl Fn(ClientConfig) -> ClientConfig,
    ) -> Result<(), ConfigError> {
        next(&self.live.load(), own_limiter, change).map(drop)
    }

    /// Changes the policies whose configuration differs.
    fn apply(&self, from: &ClientConfig, to: &ClientConfig) {
        if from.total_timeout != to.total_timeout {
            self.total.set_limit(to.total_timeout).expect(CHECKED);
        }
        if from.attempt_timeout != to.attempt_timeout {
            self.attempt.set_limit(to.attempt_timeout).expect(CHECKED);
        }
        if !Arc::ptr_eq(&from.retry, &to.retry) {
            self.change_retry(&from.retry, &to.retry);
        }
        let (before, after) = (from.hedge_mode(), to.hedge_mode());
        if !Arc::ptr_eq(&from.hedge, &to.hedge) || before != after {
            let change = |now: hedge::Builder| {
                let mode = changed_mode(before, after, now.mode_to_start_in());
                let hedge = hedge::Builder::clone(&to.hedge).mode(mode);
                hedge.in_stack(self.hedge.name().clone())
            };
            self.hedge.change(change).expect(CHECKED);
        }
        if !Arc::ptr_eq(&from.budgets, &to.budgets) {
            let modes = [&from.budgets, &to.budgets].map(|it| it.mode_to_start_in());
            let change = |now: budget::Builder| {
                let mode = changed_mode(modes[0], modes[1], now.mode_to_start_in());
                budget::Builder::clone(&to.budgets).mode(mode)
            };
            self.budgets
                .change_all_as_made(modes.into(), |budget| budget.change(change).expect(CHECKED));
        }
        parts::change_limiter(&self.limiter, from.rate_limit, to.rate_limit);
        if !Arc::ptr_eq(&from.breaker, &to.breaker) {
            let modes = [&from.breaker, &to.breaker].map(|it| it.mode_to_start_in());
            self.breakers
                .change_all_as_made(modes.into(), |breaker| change_breaker(breaker, from, to));
        } else if from.breaker_times() != to.breaker_times() {
            let change = |now| to.timed(now);
            self.breakers
                .change_all(|breaker| breaker.change(change).expect(CHECKED));
        }
        if !Arc::ptr_eq(&from.bulkhead, &to.bulkhead) {
            let modes = [&from.bulkhead, &to.bulkhead].map(|it| it.mode_to_start_in());
            let change = |bulkhead: &Bulkhead| {
                parts::change_bulkhead(bulkhead, &from.bulkhead, &to.bulkhead);
            };
            self.bulkheads.change_all_as_made(modes.into(), change);
        }
    }

    fn change_retry(&self, from: &retry::Builder, to: &retry::Builder) {
        let (before, after) = (from.mode_to_start_in(), to.mode_to_start_in());
        let change = |now: retry::Builder| {
            let mode = changed_mode(before, after, now.mode_to_start_in());
            let retry = to.clone().mode(mode);
            retry.in_stack(self.retry.name().clone())
        };
        self.retry.change(change).expect(CHECKED);
    }
}

/// The configuration after a change of `now`.
fn next(
    now: &ClientConfig,
    own_limiter: bool,
    change: impl Fn(ClientConfig) -> ClientConfig,
) -> Result<ClientConfig, ConfigError> {
    let changed = change(now.clone());
    Problems::found(&now.name, |problems| {
        changed.check(problems);
        changed.check_change(now, own_limiter, problems);
    })?;
    Ok(ClientConfig {
        name: now.name.clone(),
        ..changed
    })
}

fn change_breaker(breaker: &CircuitBreaker, from: &ClientConfig, to: &ClientConfig) {
    let before = from.breaker.mode_to_start_in();
    let after = to.breaker.mode_to_start_in();
    let change = |now: circuit_breaker::Builder| {
        let mode = changed_mode(before, after, now.mode_to_start_in());
        let breaker = circuit_breaker::Builder::clone(&to.breaker);
        to.timed(breaker).mode(mode)
    };
    breaker.change(change).expect(CHECKED);
}
