#[cfg(feature = "tower")]
use std::borrow::Cow;

use http::{HeaderMap, Method, Request};

use crate::attempts::{Idempotent, Resend};
#[cfg(feature = "tower")]
use crate::stack::{Addressed, Overrides, plain};

/// By method (RFC 9110, 9.2.2) or `Idempotency-Key`.
fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key("idempotency-key")
}

impl<B> Idempotent for Request<B> {
    fn is_idempotent(&self) -> bool {
        is_idempotent(self.method(), self.headers())
    }
}

/// A request with headers: that of `http`, and that of `reqwest` (feature). Only named in bounds.
#[cfg(feature = "tower")]
pub trait RequestHeaders {
    /// The headers.
    fn headers(&self) -> &HeaderMap;

    /// The headers, to be changed.
    fn headers_mut(&mut self) -> &mut HeaderMap;
}

#[cfg(feature = "tower")]
impl<B> RequestHeaders for Request<B> {
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

#[cfg(all(feature = "reqwest", feature = "tower"))]
impl RequestHeaders for reqwest::Request {
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

impl<B: Clone> Resend for Request<B> {
    fn copy(&self) -> Option<Self> {
        Some(self.clone())
    }
}

#[cfg(feature = "reqwest")]
impl Idempotent for reqwest::Request {
    fn is_idempotent(&self) -> bool {
        is_idempotent(self.method(), self.headers())
    }
}

#[cfg(feature = "reqwest")]
impl Resend for reqwest::Request {
    fn copy(&self) -> Option<Self> {
        self.try_clone()
    }
}

#[cfg(feature = "tower")]
impl<B> Addressed for Request<B> {
    fn authority(&self) -> Option<Cow<'_, str>> {
        match self.uri().authority() {
            Some(authority) => plain(authority.as_str(), self.uri().scheme_str()),
            None => {
                let host = self.headers().get(http::header::HOST)?;
                plain(host.to_str().ok()?, None)
            }
        }
    }

    #[inline]
    fn overrides(&self) -> Option<&Overrides> {
        self.extensions().get()
    }
}

#[cfg(all(feature = "reqwest", feature = "tower"))]
impl Addressed for reqwest::Request {
    fn authority(&self) -> Option<Cow<'_, str>> {
        let url = self.url();
        plain(url.authority(), Some(url.scheme()))
    }
}
