//! What one call changes about a client stack.

use std::time::Duration;

/// What one call changes about its [`ClientStack`](super::ClientStack): an extension of its
/// `http::Request` (feature `http`) or `tonic::Request`.
///
#[cfg_attr(feature = "http", doc = "```")]
#[cfg_attr(not(feature = "http"), doc = "```ignore")]
/// use std::time::Duration;
/// use seawall::stack::Overrides;
///
/// let request = http::Request::get("http://search/?q=all")
///     .extension(Overrides::new().total_timeout(Duration::from_millis(300)).once())
///     .body(())?;
/// # let _ = request;
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "overrides do nothing until they are an extension of a request"]
pub struct Overrides {
    total: Option<Duration>,
    attempt: Option<Duration>,
    no_retry: bool,
    no_hedge: bool,
}

impl Overrides {
    /// No change.
    pub const fn new() -> Self {
        Self {
            total: None,
            attempt: None,
            no_retry: false,
            no_hedge: false,
        }
    }

    /// How long this call may take. It is at most the total timeout of the stack, unless the stack
    /// allows [more](super::ClientConfig::longest_total_timeout).
    pub const fn total_timeout(mut self, limit: Duration) -> Self {
        self.total = Some(limit);
        self
    }

    /// How long each attempt of this call may take, instead of the attempt timeout of the stack. It
    /// ends with the total in any case.
    pub const fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt = Some(limit);
        self
    }

    /// Does not retry this call, whatever its method and however it fails. It may still be hedged.
    pub const fn no_retry(mut self) -> Self {
        self.no_retry = true;
        self
    }

    /// Does not hedge this call. It may still be retried.
    pub const fn no_hedge(mut self) -> Self {
        self.no_hedge = true;
        self
    }

    /// Sends this call once: neither retry nor hedge.
    pub const fn once(self) -> Self {
        self.no_retry().no_hedge()
    }

    pub(crate) fn total(&self) -> Option<Duration> {
        self.total
    }

    pub(super) fn attempt(&self) -> Option<Duration> {
        self.attempt
    }

    pub(super) fn retries(&self) -> bool {
        !self.no_retry
    }

    pub(super) fn hedges(&self) -> bool {
        !self.no_hedge
    }
}
