use std::borrow::Cow;
use std::ops::Deref;

use ::reqwest::Request;
use http::HeaderMap;

use crate::attempts::{Idempotent, Resend};
use crate::http::RequestHeaders;
use crate::stack::{Addressed, Overrides};

/// One call, as the stack sees it: a request of reqwest with the [`Overrides`] of the call. It
/// dereferences to the request.
#[derive(Debug)]
pub struct Call {
    request: Request,
    overrides: Overrides,
}

impl Call {
    /// The timeout of `request` becomes the total of the call, unless that is shorter already.
    pub(super) fn new(mut request: Request, overrides: Overrides) -> Self {
        let own = request.timeout_mut().take();
        let total = own.into_iter().chain(overrides.total()).min();
        let overrides = total.map_or(overrides, |total| overrides.total_timeout(total));
        Self { request, overrides }
    }

    pub(super) fn into_request(self) -> Request {
        self.request
    }
}

impl Deref for Call {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl Idempotent for Call {
    fn is_idempotent(&self) -> bool {
        self.request.is_idempotent()
    }
}

impl Resend for Call {
    fn copy(&self) -> Option<Self> {
        Some(Self {
            request: self.request.copy()?,
            overrides: self.overrides,
        })
    }
}

impl Addressed for Call {
    fn authority(&self) -> Option<Cow<'_, str>> {
        self.request.authority()
    }

    fn overrides(&self) -> Option<&Overrides> {
        Some(&self.overrides)
    }
}

impl RequestHeaders for Call {
    fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }
}
