//! Policies that a key or a stack finds, and layers of several policies.

use seawall::circuit_breaker::Trip;
use seawall::keyed::PerKey;
use seawall::{
    Budget, BudgetLayer, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack,
    ConfigError, Hedge, HedgeLayer, Keyed, RateLimitLayer, RateLimiter, Retry, RetryLayer,
    ServerStack,
};

use super::policies::{Budgeted, QUOTA, breaker, bulkhead, failures_only, nanosecond, with_queue};
use super::{Boxed, BoxedService, Policy, Resends, Subject};
use crate::support::{Do, full_budget};

/// A policy, and what it was found in.
#[derive(Clone)]
pub(super) struct Within<P, O>(P, O);

/// What a policy was found in.
trait Owner: Clone + Send + Sync + 'static {
    /// What a call takes beside the policy's own, as text.
    fn more(&self) -> String {
        String::new()
    }
}

impl<P: PerKey> Owner for Keyed<str, P> where Self: Clone + Send + Sync + 'static {}

impl Owner for ClientStack {
    fn more(&self) -> String {
        let bulkhead = self.bulkheads().get("contract");
        let budget = self.budget().unwrap().snapshot();
        let balance = budget.balance + budget.made as f64;
        format!("{} {balance}", bulkhead.balance(0))
    }
}

impl Owner for ServerStack {}

impl Owner for () {}

impl<P: Policy, O: Owner> Policy for Within<P, O> {
    type Handle = P::Handle;

    const ATTEMPTS: usize = P::ATTEMPTS;
    const SCARCE: bool = P::SCARCE;
    const RETURNS: bool = P::RETURNS;
    const ENDINGS: [&'static str; 4] = P::ENDINGS;

    fn handle(&self) -> &P::Handle {
        self.0.handle()
    }

    fn change_badly(&self) -> ConfigError {
        self.0.change_badly()
    }

    fn settings(&self) -> String {
        self.0.settings()
    }

    fn balance(&self, calls: usize) -> String {
        format!("{} {}", self.0.balance(calls), self.1.more())
    }

    fn shut(&self) {
        self.0.shut();
    }

    fn reopen(&self) {
        self.0.reopen();
    }

    fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        self.0.within(f)
    }

    fn make_scarce(&self) {
        self.0.make_scarce();
    }
}

impl<P: Resends, O: Owner> Resends for Within<P, O> {
    fn resent(&self) -> u64 {
        self.0.resent()
    }

    fn suppressed(&self) -> u64 {
        self.0.suppressed()
    }

    fn spend_to(&self, attempts: u32) {
        self.0.spend_to(attempts);
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as `by` takes it")]
fn key(_: &Do) -> Option<&str> {
    Some("key")
}

/// The policy of one key.
fn of_key<P: PerKey>(keyed: Result<Keyed<str, P>, ConfigError>) -> Within<P, Keyed<str, P>> {
    let keyed = keyed.unwrap();
    Within(keyed.get("key"), keyed)
}

/// How a policy of this name is made for each key.
fn each<P>(name: &str, make: fn(&str) -> P) -> impl Fn(&str) -> Result<P, ConfigError> + use<P> {
    let name = name.to_owned();
    move |_| Ok(make(&name))
}

fn limiter(_: &str) -> Within<RateLimiter, Keyed<str, RateLimiter>> {
    of_key(Keyed::limit(10, QUOTA))
}

fn hedge(name: &str) -> Within<Budgeted<Hedge>, Keyed<str, Hedge>> {
    let (name, budget) = (name.to_owned(), full_budget());
    let own = budget.clone();
    let Within(hedge, keyed) = of_key(Keyed::new(10, move |_| Ok(failures_only(&name, &own))));
    Within(Budgeted(hedge, budget), keyed)
}

fn funded(name: &str) -> Within<Budgeted<Retry>, Keyed<str, Budget>> {
    let Within(budget, keyed) = of_key(Keyed::new(10, |_| Ok(full_budget())));
    let retry = Retry::builder().name(name).backoff(nanosecond());
    Within(Budgeted(retry.build().unwrap(), budget), keyed)
}

fn client(name: &str) -> Within<CircuitBreaker, ClientStack> {
    let stack = ClientStack::builder(name).budget(full_budget());
    let stack = stack
        .retry(|retry| retry.max_attempts(1))
        .breaker(|breaker| {
            let rule = Trip::consecutive_failures(1_000);
            breaker.trip_on(rule).open_for(nanosecond()).probes(1)
        });
    let stack = stack.build().unwrap().default_authority("contract");
    Within(stack.breakers().get("contract"), stack)
}

fn server(name: &str) -> Within<Bulkhead, ServerStack> {
    let stack = ServerStack::new(name, 1_000);
    Within(stack.bulkhead().clone(), stack)
}

macro_rules! subjects {
    ($($name:ident, $rejects:literal: $policy:ty, $owner:ty, $make:expr; $layer:expr;)*) => {$(
        pub(super) struct $name;

        impl Subject for $name {
            type Policy = Within<$policy, $owner>;
            type Layer = Boxed;
            type Service = BoxedService;

            const REJECTS: bool = $rejects;

            fn policy(name: &str) -> Self::Policy {
                $make(name)
            }

            fn layer(policy: &Self::Policy) -> Boxed {
                let layer: fn(&Within<$policy, $owner>) -> _ = $layer;
                Boxed::new(layer(policy))
            }
        }
    )*};
}

type Keys<P> = Keyed<str, P>;

subjects! {
    Gated, false: CircuitBreaker, (), |name| Within(breaker(name), ());
        |of| CircuitBreakerLayer::gated(&of.0);
    KeyedBreaker, true: CircuitBreaker, Keys<CircuitBreaker>, |name| of_key(Keyed::new(10, each(name, breaker)));
        |of| CircuitBreakerLayer::new(of.1.by(key));
    KeyedBulkhead, true: Bulkhead, Keys<Bulkhead>, |name| of_key(Keyed::new(10, each(name, bulkhead)));
        |of| BulkheadLayer::new(of.1.by(key));
    KeyedQueue, true: Bulkhead, Keys<Bulkhead>, |name| of_key(Keyed::new(10, each(name, with_queue)));
        |of| BulkheadLayer::queued(of.1.by(key));
    KeyedLimiter, false: RateLimiter, Keys<RateLimiter>, limiter;
        |of| RateLimitLayer::new(of.1.by(key));
    KeyedWaiting, false: RateLimiter, Keys<RateLimiter>, limiter;
        |of| RateLimitLayer::waiting(of.1.by(key));
    KeyedHedge, false: Budgeted<Hedge>, Keys<Hedge>, hedge;
        |of| HedgeLayer::new(of.1.by(key));
    KeyedBudget, false: Budgeted<Retry>, Keys<Budget>, funded;
        |of| (BudgetLayer::new(of.1.by(key)), RetryLayer::new(&of.0.0));
    Client, false: CircuitBreaker, ClientStack, client; |of| of.1.clone();
    Server, false: Bulkhead, ServerStack, server; |of| of.1.clone();
}
