//! One key's share of a keyed limiter.

use super::{RateLimiter, Shape};
use crate::rate_limit::table::{Place, Table};
use crate::sync::Arc;

impl RateLimiter {
    /// A handle to the bucket at `place`, where this is asked without one.
    pub(crate) fn viewed(&self, place: Option<Place>) -> Self {
        Self(Arc::clone(&self.0), self.1.or(place))
    }

    /// Which key's bucket this is, of a keyed limiter.
    #[cfg(feature = "tokio")]
    pub(super) fn place(&self) -> Option<Place> {
        self.1
    }

    /// The buckets of all keys; none if this is no keyed limiter, nor made of one.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.0.shape {
            Shape::One(_) => None,
            Shape::Keyed(table) => Some(table),
            Shape::Joint(members) => members.iter().find_map(Self::table),
        }
    }
}
