//! The handle of a console.

use super::sampler::Sampler;
use crate::macros::debug_fields;
use crate::rng::Jitter;
use crate::sync::Arc;

/// The page of all policies of this process, with options.
///
/// A handle: routers of its clones share one sampler, which reads the policies twice a second
/// while a page is open, and nothing otherwise. It has no task and keeps a minute of at most 500
/// policies, the oldest ones.
///
/// ```
/// use axum::{Router, middleware, extract::Request, http::StatusCode, middleware::Next};
/// use axum::response::Response;
/// use seawall::console::Console;
///
/// // The program's own: a session, a client certificate, a header of the proxy in front.
/// async fn operators(request: Request, next: Next) -> Result<Response, StatusCode> {
///     match request.headers().get("x-operator") {
///         Some(_) => Ok(next.run(request).await),
///         None => Err(StatusCode::UNAUTHORIZED),
///     }
/// }
///
/// let console = Console::new();
/// let levers = console.clone().levers_behind_own_auth().router();
/// let app: Router = Router::new()
///     .nest("/seawall", console.router())
///     .nest("/ops/seawall", levers.layer(middleware::from_fn(operators)));
/// # let _ = app;
/// ```
#[derive(Clone)]
#[must_use = "a console does nothing until its router is mounted"]
pub struct Console {
    pub(super) sampler: Arc<Sampler>,
    pub(super) levers: bool,
    nonces: Arc<Jitter>,
}

impl Console {
    /// A console without levers.
    pub fn new() -> Self {
        Self {
            sampler: Arc::new(Sampler::new()),
            levers: false,
            nonces: Arc::new(Jitter::from_entropy()),
        }
    }

    /// Turns the levers on: all that reaches the router can open breakers, switch policies off and
    /// change limits. The crate checks that a request is not one of another site's page, and
    /// nothing else: put your own authentication in front, as a layer on the router. The default is
    /// off.
    pub fn levers_behind_own_auth(mut self) -> Self {
        self.levers = true;
        self
    }

    /// For one page: a script without it does not run.
    pub(super) fn nonce(&self) -> String {
        let bits = || (self.nonces.fraction() * (1_u64 << 53) as f64) as u64;
        format!("{:014x}{:014x}", bits(), bits())
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

debug_fields!(Console, this: levers = this.levers);
