use http::{HeaderMap, Method, Request};

use crate::classify::Resend;

/// By its method (RFC 9110, 9.2.2), or because it carries an `Idempotency-Key`.
fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key("idempotency-key")
}

impl<B: Clone> Resend for Request<B> {
    fn may_resend(&self) -> bool {
        is_idempotent(self.method(), self.headers())
    }

    fn copy(&self) -> Option<Self> {
        Some(self.clone())
    }
}

#[cfg(feature = "reqwest")]
impl Resend for reqwest::Request {
    fn may_resend(&self) -> bool {
        is_idempotent(self.method(), self.headers())
    }

    fn copy(&self) -> Option<Self> {
        self.try_clone()
    }
}
