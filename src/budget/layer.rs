use std::fmt;
use std::marker::PhantomData;

use tower_layer::Layer;

use super::{Budget, BudgetService};
use crate::keyed::IntoSource;
use crate::macros::debug_fields;
use crate::service::Silent;

/// Puts a [`Budget`] over the retries and hedges below: those that were given none use it. For a
/// budget [per key](crate::Keyed::by); a single budget can be given to them directly.
///
/// `R` decides whether a success is determined by the head of a response or at the end of its
/// body.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct BudgetLayer<P = Budget, R = Silent> {
    budget: P,
    responder: PhantomData<fn() -> R>,
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
            responder: PhantomData,
        }
    }
}

impl<P, R> BudgetLayer<P, R> {
    /// By the responder of the layers around it.
    pub(crate) fn responder<R2>(self) -> BudgetLayer<P, R2> {
        BudgetLayer {
            budget: self.budget,
            responder: PhantomData,
        }
    }
}

debug_fields!([P: fmt::Debug, R] BudgetLayer<P, R>, this: budget = this.budget);

impl<S, P: Clone, R> Layer<S> for BudgetLayer<P, R> {
    type Service = BudgetService<S, P, R>;

    fn layer(&self, inner: S) -> Self::Service {
        BudgetService {
            inner,
            budget: self.budget.clone(),
            responder: PhantomData,
        }
    }
}
