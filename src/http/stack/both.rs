use std::fmt;
use std::ops::Deref;

use crate::http::{BodyLayer, EveryChunk, ReplayLayer, RequestBodyLayer};
#[cfg(doc)]
use crate::stack::{ClientStack, ServerStack};

/// A [`ServerStack`] or [`ClientStack`] whose calls last until the end of the response's body: made
/// by [`ServerStack::http`], [`ClientStack::http`], and `until_body_end` on a stack.
///
/// It dereferences to the stack, for its policies and for changes. `P` says which chunks of a body
/// are progress.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct HttpStack<K, P = EveryChunk> {
    pub(super) stack: K,
    pub(super) body: BodyLayer<P>,
    pub(super) replay: ReplayLayer,
    pub(super) requests: RequestBodyLayer,
    pub(super) shares_permit: bool,
}

impl<K, P> HttpStack<K, P> {
    /// Changes the limits of bodies, and what is progress:
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::http("events", 1_000)
    ///     .body(|body| body.idle(Duration::from_secs(60)).progress(|chunk: &bytes::Bytes| chunk[0] != b':'));
    /// # let _ = stack;
    /// ```
    pub fn body<P2>(self, change: impl FnOnce(BodyLayer<P>) -> BodyLayer<P2>) -> HttpStack<K, P2> {
        HttpStack {
            stack: self.stack,
            body: change(self.body),
            replay: self.replay,
            requests: self.requests,
            shares_permit: self.shares_permit,
        }
    }

    pub(in crate::http) fn map_stack<K2>(self, change: impl FnOnce(K) -> K2) -> HttpStack<K2, P> {
        HttpStack {
            stack: change(self.stack),
            body: self.body,
            replay: self.replay,
            requests: self.requests,
            shares_permit: self.shares_permit,
        }
    }
}

impl<K, P> Deref for HttpStack<K, P> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.stack
    }
}

impl<K: fmt::Debug, P> fmt::Debug for HttpStack<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpStack").field(&self.stack).finish()
    }
}
