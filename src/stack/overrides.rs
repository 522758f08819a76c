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
    once: bool,
}

impl Overrides {
    /// No change.
    pub const fn new() -> Self {
        Self {
            total: None,
            attempt: None,
            once: false,
        }
    }

    /// How long this call may take. It is at most the total timeout of the stack.
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

    /// Sends this call once: no retry and no hedge, whatever its method and however it fails.
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Whether the call is sent once. A [copier](super::ClientStack::resend) of your own returns
    /// `None` for such a request.
    pub const fn is_once(&self) -> bool {
        self.once
    }

    pub(crate) fn total(&self) -> Option<Duration> {
        self.total
    }

    pub(super) fn attempt(&self) -> Option<Duration> {
        self.attempt
    }
}
