//! What a document has sections for.

use std::cell::Cell;

use super::policies;
use super::section::Section;
use crate::config::ConfigError;
use crate::observe::registry::{self, Policy};
use crate::rate_limit::Quota;
use crate::sync::Arc;
use crate::{Budget, Bulkhead, CircuitBreaker, RateLimiter};
#[cfg(feature = "tokio")]
use crate::{Fallback, Hedge, Retry, Timeout, fallback, hedge, retry, timeout};
use crate::{budget, bulkhead, circuit_breaker, rate_limit};

/// Makes the configuration of a section, by what no document can have.
pub(super) type Next<K> = Arc<dyn Fn(<K as Kind>::Builder) -> <K as Kind>::Builder + Send + Sync>;

/// A kind of policy or stack.
pub(super) trait Kind: Sized {
    /// The table that has a section for each name.
    const TABLE: &'static str;

    /// The field that a single value instead of a section sets.
    const MAIN: Option<&'static str> = None;

    type Builder: Clone + 'static;

    fn builder(name: &str) -> Self::Builder;

    /// What the section does not have is the default, except for what no document can have.
    fn read(at: &mut Section<'_>, builder: Self::Builder) -> Self::Builder;

    /// Notes the problems of the builder that was read.
    fn check(at: &Section<'_>, builder: &Self::Builder);

    /// Those of this name that have a handle.
    fn find(name: &str) -> Vec<Self>;

    fn is_like(one: &Self::Builder, other: &Self::Builder) -> bool;

    /// The error that [`apply`](Self::apply) would return now.
    fn check_change(&self, next: &Next<Self>) -> Result<(), ConfigError>;

    /// Whether anything has changed.
    fn apply(&self, next: &Next<Self>) -> Result<bool, ConfigError>;
}

/// Applies `next` by `change`. Whether anything has changed.
fn apply_by<K: Kind>(
    next: &Next<K>,
    change: impl FnOnce(&dyn Fn(K::Builder) -> K::Builder) -> Result<(), ConfigError>,
) -> Result<bool, ConfigError> {
    let changed = Cell::new(false);
    change(&|now| {
        let next = next(now.clone());
        changed.set(!K::is_like(&now, &next));
        next
    })?;
    Ok(changed.get())
}

/// [`Kind`] for a policy: the table, the main field, how a builder starts and how it is read. Then
/// what a change may not do, if its builder alone does not show that.
macro_rules! kind {
    ($policy:ident, $table:literal, $main:expr, $module:ident,
     |$name:ident| $new:expr, |$at:ident, $b:ident| $read:expr, |$self:ident, $next:ident| $check:expr) => {
        impl Kind for $policy {
            const TABLE: &'static str = $table;
            const MAIN: Option<&'static str> = $main;

            type Builder = $module::Builder;

            fn builder($name: &str) -> $module::Builder {
                $new
            }

            fn read($at: &mut Section<'_>, $b: $module::Builder) -> $module::Builder {
                $read
            }

            fn check(at: &Section<'_>, builder: &$module::Builder) {
                at.check(builder.check());
            }

            fn find(name: &str) -> Vec<Self> {
                let found = registry::find(name).into_iter();
                let of_this_kind = found.filter_map(|policy| match policy {
                    Policy::$policy(policy) => Some(policy),
                    _ => None,
                });
                of_this_kind.collect()
            }

            fn is_like(one: &$module::Builder, other: &$module::Builder) -> bool {
                one.is_like(other)
            }

            fn check_change(&$self, $next: &Next<Self>) -> Result<(), ConfigError> {
                $check
            }

            fn apply(&self, next: &Next<Self>) -> Result<bool, ConfigError> {
                apply_by::<Self>(next, |change| self.change(change))
            }
        }
    };
}

kind!(
    RateLimiter,
    "rate_limits",
    Some("rate"),
    rate_limit,
    |name| RateLimiter::builder(Quota::unlimited()).name(name),
    |at, b| policies::rate_limit(at, b.with_defaults(Quota::unlimited())),
    |self, next| self.check_change(&**next)
);
kind!(
    CircuitBreaker,
    "breakers",
    None,
    circuit_breaker,
    |name| CircuitBreaker::builder(name),
    |at, b| policies::breaker(at, b.with_defaults()),
    |self, _next| Ok(())
);
kind!(
    Bulkhead,
    "bulkheads",
    Some("limit"),
    bulkhead,
    |name| Bulkhead::builder(0).name(name),
    |at, b| {
        at.must_have::<u32>("limit");
        policies::bulkhead(at, b.with_defaults(0))
    },
    |self, _next| Ok(())
);
kind!(
    Budget,
    "budgets",
    Some("ratio"),
    budget,
    |name| Budget::builder().name(name),
    |at, b| policies::budget(at, b.with_defaults()),
    |self, _next| Ok(())
);

#[cfg(feature = "tokio")]
mod waiting {
    use std::time::Duration;

    use super::super::waiting;
    use super::{ConfigError, Fallback, Hedge, Kind, Next, Policy, Retry, Section, Timeout};
    use super::{apply_by, fallback, hedge, registry, retry, timeout};

    kind!(
        Timeout,
        "timeouts",
        Some("limit"),
        timeout,
        |name| Timeout::builder(Duration::from_secs(1)).name(name),
        |at, b| waiting::timeout(at, b),
        |self, _next| Ok(())
    );
    kind!(
        Retry,
        "retries",
        Some("max_attempts"),
        retry,
        |name| Retry::builder().name(name),
        |at, b| waiting::retry(at, b.with_defaults()),
        |self, _next| Ok(())
    );
    kind!(
        Hedge,
        "hedges",
        Some("quantile"),
        hedge,
        |name| Hedge::builder().name(name),
        |at, b| waiting::hedge(at, b.with_defaults()),
        |self, next| self.check_change(&**next)
    );
    kind!(
        Fallback,
        "fallbacks",
        None,
        fallback,
        |name| Fallback::builder().name(name),
        |at, b| waiting::fallback(at, b.with_defaults()),
        |self, _next| Ok(())
    );
}

#[cfg(feature = "tower")]
mod stacks {
    use super::super::stacks;
    use super::{ConfigError, Kind, Next, Section, apply_by};
    use crate::stack::{ClientConfig, ClientStack, ServerConfig, ServerStack};

    macro_rules! stack {
        ($stack:ident, $table:literal, $config:ident, |$name:ident| $new:expr, $read:path) => {
            impl Kind for $stack {
                const TABLE: &'static str = $table;

                type Builder = $config;

                fn builder($name: &str) -> $config {
                    $new
                }

                fn read(at: &mut Section<'_>, config: $config) -> $config {
                    $read(at, config.with_defaults())
                }

                // A default instead of a value that cannot be read would contradict the others.
                fn check(at: &Section<'_>, config: &$config) {
                    at.check(match at.is_clean() {
                        true => config.checked(),
                        false => config.checked_parts(),
                    });
                }

                fn find(name: &str) -> Vec<Self> {
                    Self::find(name)
                }

                fn is_like(one: &$config, other: &$config) -> bool {
                    one.is_like(other)
                }

                fn check_change(&self, next: &Next<Self>) -> Result<(), ConfigError> {
                    self.check_change(|now| next(now.clone()).with_parts_of(&now))
                }

                fn apply(&self, next: &Next<Self>) -> Result<bool, ConfigError> {
                    apply_by::<Self>(next, |change| {
                        self.change(|now| change(now.clone()).with_parts_of(&now))
                    })
                }
            }
        };
    }

    stack!(
        ClientStack,
        "clients",
        ClientConfig,
        |name| ClientStack::builder(name),
        stacks::client
    );
    stack!(
        ServerStack,
        "servers",
        ServerConfig,
        |name| ServerStack::builder(name, 0),
        stacks::server
    );
}
