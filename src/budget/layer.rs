use tower_layer::Layer;

use super::{Budget, BudgetService};
use crate::keyed::IntoSource;

/// Puts a [`Budget`] over the retries and hedges below: those that were given none use it. For a
/// budget [per key](crate::Keyed::by); a single budget can be given to them directly.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct BudgetLayer<P = Budget> {
    budget: P,
}

impl<P> BudgetLayer<P> {
    /// A layer over `budget`, a reference to it, or one [per key](crate::Keyed::by).
    ///
    #[cfg_attr(feature = "http", doc = "```")]
    #[cfg_attr(not(feature = "http"), doc = "```ignore")]
    /// use http::Request;
    /// use seawall::{Backoff, Budget, BudgetLayer, Keyed, Retry, RetryLayer};
    ///
    /// let per_host = Keyed::new(1_000, |_: &str| Ok(Budget::percent(10)))?;
    /// let budget = BudgetLayer::new(per_host.by(|request: &Request<()>| request.uri().host()));
    /// // Outermost, or below the total timeout; then the retry, which was given none.
    /// let retry = RetryLayer::new(Retry::new(Backoff::exponential(std::time::Duration::from_millis(50))));
    /// # let _ = (budget, retry);
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn new(budget: impl IntoSource<Budget, Source = P>) -> Self {
        Self {
            budget: budget.into_source(),
        }
    }
}

impl<S, P: Clone> Layer<S> for BudgetLayer<P> {
    type Service = BudgetService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        BudgetService::new(inner, self.budget.clone())
    }
}
