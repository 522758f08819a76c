use std::cell::RefCell;

use serde::de::{self, Deserialize, Deserializer};

use super::keyed::PerKey;
use super::kind::Kind;
use super::section::{Section, this};
use super::tree::{Document, Tree};
use crate::config::{ConfigError, Problems};
use crate::rate_limit::Quota;
#[cfg(feature = "tower")]
use crate::stack::{ClientConfig, ClientStack, ServerConfig, ServerStack};
use crate::{Budget, Bulkhead, CircuitBreaker, RateLimiter};
#[cfg(feature = "tokio")]
use crate::{Fallback, Hedge, Retry, Timeout, fallback, hedge, retry, timeout};
use crate::{budget, bulkhead, circuit_breaker, rate_limit};

/// The settings of any number of policies and stacks by their names, read from a document and
/// checked.
///
/// It is deserialised by any format of serde, alone or as a field of your own configuration. The
/// [module](super) has the tables and the fields.
///
/// ```
/// use seawall::settings::Settings;
///
/// let settings: Settings = toml::from_str(
///     r#"
///     [bulkheads.db]
///     limit = 20
///     queue = 40
///
///     [breakers.payments]
///     failure_rate = { rate = "50%", window = "10s", min_calls = 20 }
///     "#,
/// )?;
/// let db = settings.bulkhead("db")?.build()?;
/// let payments = settings.breaker("payments")?.build()?;
/// assert_eq!((db.limit(), &**payments.name()), (20, "payments"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    tree: Tree,
}

/// Calls `$each::<K>($args)` for every kind.
macro_rules! for_each_kind {
    ($each:ident($($arg:expr),*)) => {{
        use $crate::observe::settings::keyed::PerKey;

        #[cfg(feature = "tower")]
        {
            $each::<crate::ClientStack>($($arg),*);
            $each::<crate::ServerStack>($($arg),*);
        }
        #[cfg(feature = "tokio")]
        {
            $each::<crate::Timeout>($($arg),*);
            $each::<crate::Retry>($($arg),*);
            $each::<crate::Hedge>($($arg),*);
            $each::<PerKey<crate::Hedge>>($($arg),*);
            $each::<crate::Fallback>($($arg),*);
        }
        $each::<crate::RateLimiter>($($arg),*);
        $each::<crate::CircuitBreaker>($($arg),*);
        $each::<crate::Bulkhead>($($arg),*);
        $each::<crate::Budget>($($arg),*);
        $each::<PerKey<crate::RateLimiter>>($($arg),*);
        $each::<PerKey<crate::CircuitBreaker>>($($arg),*);
        $each::<PerKey<crate::Bulkhead>>($($arg),*);
        $each::<PerKey<crate::Budget>>($($arg),*);
    }};
}
pub(super) use for_each_kind;

impl Settings {
    /// Checks a document.
    ///
    /// # Errors
    /// All problems at once, each with the path of its field: values of a wrong type, fields that
    /// do not exist, values that a policy does not allow, and those of a stack that contradict
    /// each other.
    ///
    /// ```
    /// use seawall::settings::{Document, Settings};
    ///
    /// let document: Document = serde_json::from_str(
    ///     r#"{"clients": {"orders": {"total_timout": "5s", "breaker": {"probes": 0}}}}"#,
    /// )?;
    /// let error = Settings::new(document).unwrap_err();
    /// let paths: Vec<_> = error.problems().iter().map(|problem| &*problem.field).collect();
    /// assert_eq!(paths, ["clients.orders.breaker.probes", "clients.orders.total_timout"]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn new(document: Document) -> Result<Self, ConfigError> {
        let Document(tree) = document;
        let problems = RefCell::default();
        Section::new(String::new(), &tree, None, &problems).read(|at| {
            for_each_kind!(check(at));
        });
        problems.into_inner().finish(&this())?;
        Ok(Self { tree })
    }

    /// The sections of a kind, by name.
    pub(super) fn sections<K: Kind>(&self) -> impl Iterator<Item = (&str, &Tree)> {
        let table = self.tree.field(K::TABLE).into_iter();
        table.flat_map(Tree::fields)
    }

    fn builder<K: Kind>(&self, name: &str) -> Result<K::Builder, ConfigError> {
        let found = self.sections::<K>().find(|(other, _)| *other == name);
        match found {
            Some((_, tree)) => Ok(read::<K>(tree, K::builder(name))),
            None => {
                let field = format!("{}.{name}", K::TABLE);
                let allowed = "a section, which may be empty where all has defaults";
                let missing = |problems: &mut Problems| {
                    problems.check(false, &field, Tree::Nothing, allowed);
                };
                Err(Problems::found(&this(), missing).expect_err("there is a problem"))
            }
        }
    }
}

fn check<K: Kind>(root: &mut Section<'_>) {
    let Some(table) = root.section(K::TABLE, None) else {
        return;
    };
    for (name, section) in table.each(K::MAIN) {
        section.read(|at| {
            let builder = K::read(at, K::builder(name));
            K::check(at, &builder);
        });
    }
}

/// Reads a section that was checked.
pub(super) fn read<K: Kind>(tree: &Tree, builder: K::Builder) -> K::Builder {
    let problems = RefCell::default();
    K::read(
        &mut Section::new(String::new(), tree, K::MAIN, &problems),
        builder,
    )
}

/// The builders of what a document has, for options that no document can have.
macro_rules! builders {
    ($($(#[$cfg:meta])? $name:ident: $kind:ty, $builder:ty, $table:literal;)*) => {
        impl Settings {$(
            #[doc = concat!("The builder of `", $table, ".NAME`, with this name.")]
            ///
            /// # Errors
            /// If there is no such section.
            $(#[$cfg])?
            pub fn $name(&self, name: &str) -> Result<$builder, ConfigError> {
                self.builder::<$kind>(name)
            }
        )*}
    };
}

builders! {
    #[cfg(feature = "tower")]
    client: ClientStack, ClientConfig, "clients";
    #[cfg(feature = "tower")]
    server: ServerStack, ServerConfig, "servers";
    #[cfg(feature = "tokio")]
    timeout: Timeout, timeout::Builder, "timeouts";
    #[cfg(feature = "tokio")]
    retry: Retry, retry::Builder, "retries";
    #[cfg(feature = "tokio")]
    hedge: Hedge, hedge::Builder, "hedges";
    #[cfg(feature = "tokio")]
    fallback: Fallback, fallback::Builder, "fallbacks";
    rate_limit: RateLimiter, rate_limit::Builder, "rate_limits";
    breaker: CircuitBreaker, circuit_breaker::Builder, "breakers";
    bulkhead: Bulkhead, bulkhead::Builder, "bulkheads";
    budget: Budget, budget::Builder, "budgets";
    keyed_breaker: PerKey<CircuitBreaker>, circuit_breaker::Builder, "keyed_breakers";
    keyed_bulkhead: PerKey<Bulkhead>, bulkhead::Builder, "keyed_bulkheads";
    keyed_budget: PerKey<Budget>, budget::Builder, "keyed_budgets";
    #[cfg(feature = "tokio")]
    keyed_hedge: PerKey<Hedge>, hedge::Builder, "keyed_hedges";
}

impl Settings {
    /// The builder of `keyed_rate_limits.NAME`, with this name, and the quotas of its tiers from 1
    /// on: what [`per_key`](rate_limit::Builder::per_key) and
    /// [`per_key_in_tiers`](rate_limit::Builder::per_key_in_tiers) take.
    ///
    /// ```
    /// use seawall::settings::Settings;
    ///
    /// let settings: Settings = toml::from_str(
    ///     r#"
    ///     [keyed_rate_limits.clients]
    ///     rate = "10/s"
    ///     tiers.1 = "200/s"
    ///     "#,
    /// )?;
    /// let (clients, tiers) = settings.keyed_rate_limit("clients")?;
    /// let has_paid = |client: &str| client.starts_with("pro-");
    /// let clients = clients.per_key_in_tiers(10_000, tiers, move |client| usize::from(has_paid(client)))?;
    /// assert_eq!(clients.get("joe").available(), 10);
    /// assert_eq!(clients.get("pro-ann").available(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such section.
    pub fn keyed_rate_limit(
        &self,
        name: &str,
    ) -> Result<(rate_limit::Builder, Vec<Quota>), ConfigError> {
        self.builder::<PerKey<RateLimiter>>(name)
    }
}

impl<'de> Deserialize<'de> for Settings {
    /// The error has all problems, as that of [`Settings::new`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Document::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Default for Settings {
    /// Without a section.
    fn default() -> Self {
        Self {
            tree: Tree::Table(Vec::new()),
        }
    }
}
