//! The sections of keyed policies.

use std::any::Any;
use std::marker::PhantomData;

use super::kind::{Kind, Next};
use super::policies;
use super::section::Section;
use crate::config::{ConfigError, PolicyKind};
use crate::keyed::Change;
use crate::observe::registry::{self, KeyedPolicy, Policy};
use crate::rate_limit::Tiered;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::{Budget, Bulkhead, CircuitBreaker, RateLimiter};

/// A keyed policy of policies of this kind.
pub(super) struct PerKey<P>(KeyedPolicy, PhantomData<P>);

/// The table of keyed policies, beside that of single ones.
pub(super) trait Table: Kind + crate::keyed::PerKey {
    const KEYED: &'static str;
}

impl Table for CircuitBreaker {
    const KEYED: &'static str = "keyed_breakers";
}

impl Table for Bulkhead {
    const KEYED: &'static str = "keyed_bulkheads";
}

impl Table for Budget {
    const KEYED: &'static str = "keyed_budgets";
}

#[cfg(feature = "tokio")]
impl Table for crate::Hedge {
    const KEYED: &'static str = "keyed_hedges";
}

fn find<P>(name: &str, kind: PolicyKind) -> Vec<PerKey<P>> {
    let found = registry::find(name).into_iter();
    let of_this_kind = found.filter_map(|policy| match policy {
        Policy::Keyed(keyed) if keyed.kind() == kind => Some(PerKey(keyed, PhantomData)),
        _ => None,
    });
    of_this_kind.collect()
}

impl<P: Table> Kind for PerKey<P> {
    const TABLE: &'static str = P::KEYED;
    const MAIN: Option<&'static str> = P::MAIN;

    type Builder = P::Builder;

    fn builder(name: &str) -> P::Builder {
        P::builder(name)
    }

    fn read(at: &mut Section<'_>, builder: P::Builder) -> P::Builder {
        P::read(at, builder)
    }

    fn check(at: &Section<'_>, builder: &P::Builder) {
        P::check(at, builder);
    }

    fn find(name: &str) -> Vec<Self> {
        find(name, <P as crate::keyed::PerKey>::KIND)
    }

    fn is_like(one: &P::Builder, other: &P::Builder) -> bool {
        P::is_like(one, other)
    }

    fn check_change(&self, next: &Next<Self>) -> Result<(), ConfigError> {
        let next = Arc::clone(next);
        self.0
            .change(&of_type(move |policy: &P| policy.check_change(&next)))
    }

    fn apply(&self, next: &Next<Self>) -> Result<bool, ConfigError> {
        let next = Arc::clone(next);
        self.change(move |policy: &P| policy.apply(&next))
    }
}

impl<P> PerKey<P> {
    /// Whether `change` has changed any policy that there is. It is also for those to come.
    fn change<T: 'static>(
        &self,
        change: impl Fn(&T) -> Result<bool, ConfigError> + Send + Sync + 'static,
    ) -> Result<bool, ConfigError> {
        let changed = Arc::new(AtomicBool::new(false));
        let any = Arc::clone(&changed);
        let change = of_type(move |policy: &T| {
            any.fetch_or(change(policy)?, Ordering::Relaxed);
            Ok(())
        });
        self.0.change_for_good(&change)?;
        Ok(changed.load(Ordering::Relaxed))
    }
}

fn of_type<T: 'static>(
    change: impl Fn(&T) -> Result<(), ConfigError> + Send + Sync + 'static,
) -> Change<dyn Any> {
    Arc::new(move |policy: &dyn Any| policy.downcast_ref().map_or(Ok(()), &change))
}

impl Kind for PerKey<RateLimiter> {
    const TABLE: &'static str = "keyed_rate_limits";
    const MAIN: Option<&'static str> = RateLimiter::MAIN;

    type Builder = Tiered;

    fn builder(name: &str) -> Tiered {
        (<RateLimiter as Kind>::builder(name), Vec::new())
    }

    fn read(at: &mut Section<'_>, (builder, _): Tiered) -> Tiered {
        let builder = <RateLimiter as Kind>::read(at, builder);
        (builder, policies::tiers(at))
    }

    fn check(at: &Section<'_>, (builder, _): &Tiered) {
        <RateLimiter as Kind>::check(at, builder);
    }

    fn find(name: &str) -> Vec<Self> {
        find(name, PolicyKind::RateLimit)
    }

    fn is_like(one: &Tiered, other: &Tiered) -> bool {
        <RateLimiter as Kind>::is_like(&one.0, &other.0) && one.1 == other.1
    }

    fn check_change(&self, next: &Next<Self>) -> Result<(), ConfigError> {
        let next = Arc::clone(next);
        let check = move |limiter: &RateLimiter| match limiter.tiered() {
            Some(now) => limiter.check_tiered(&next(now)),
            None => Ok(()),
        };
        self.0.change(&of_type(check))
    }

    fn apply(&self, next: &Next<Self>) -> Result<bool, ConfigError> {
        let next = Arc::clone(next);
        self.change(move |limiter: &RateLimiter| match limiter.tiered() {
            Some(now) => {
                let next = next(now.clone());
                limiter.change_tiered(&next)?;
                Ok(!Self::is_like(&now, &next))
            }
            // That of calls without a key, which are in tier 0.
            None => {
                let next = Arc::clone(&next);
                let next: Next<RateLimiter> = Arc::new(move |now| next((now, Vec::new())).0);
                limiter.apply(&next)
            }
        })
    }
}
