//! A live page of all policies: what is wrong, what is rejected and why, and levers.
//!
//! [`router`] is an axum `Router` to mount at any path. The [guide](crate::guide::console) shows the
//! page, describes its data and its levers, and says what to put in front of it.
//!
//! ```
//! use axum::{Router, routing::get};
//! use seawall::console;
//!
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .nest("/seawall", console::router());
//! # let _ = app;
//! ```

mod document;
mod handle;
mod judge;
mod levers;
mod rates;
mod reading;
mod routes;
mod sampler;
#[cfg(test)]
mod tests;
mod transitions;
mod viewer;

use axum::Router;

pub use handle::Console;

/// The page without levers, for [`Router::nest`]: [`Console::router`] of a new [`Console`]. With
/// [`Router::nest_service`] its path works with a slash at the end too.
///
/// It shows names of policies, keys of circuit breakers that are open, and error texts of the failures
/// that opened one: mount it where only those see it that may.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Console::new().router()
}
