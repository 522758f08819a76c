//! Keys from headers.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, Request};

use crate::keyed::{ByKey, Keyed, PerKey, Picked, Source, bounded};
use crate::rejection::Rejection;
use crate::sync::Arc;

/// The key of a request is the value of a header; made by [`Keyed::by_header`].
#[derive(Clone, Debug)]
pub struct ByHeader(HeaderName);

impl<P: PerKey> Keyed<str, P> {
    /// For a layer, instead of a policy: each request gets the policy of this header's value. A
    /// request has no key if the header is missing, is there twice or is not visible ASCII;
    /// [`ByKey`] has the options for these. The key of a value of more than 260 bytes is its first 64
    /// bytes and a hash, so that the memory of a key is bounded.
    ///
    /// A client can invent values: see [when not to use it](crate::keyed#when-not-to-use-it).
    ///
    /// ```
    /// use http::HeaderName;
    /// use seawall::{Keyed, Quota, RateLimitLayer};
    ///
    /// let plans = [Quota::per_second(10), Quota::per_second(200)];
    /// let per_client = Keyed::tiers(10_000, plans, |key: &str| usize::from(key.starts_with("pro-")))?;
    /// let by_key = per_client.by_header(HeaderName::from_static("x-api-key")).or_reject();
    /// let layer = RateLimitLayer::new(by_key);
    /// # let _ = layer;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn by_header(&self, name: HeaderName) -> ByKey<str, P, ByHeader> {
        self.by_type(ByHeader(name))
    }
}

impl<B, P: PerKey> Source<Request<B>, P> for ByKey<str, P, ByHeader> {
    fn pick(&self, request: &Request<B>) -> Result<Picked<'_, P>, Rejection> {
        let value = single(request.headers(), &self.key().0);
        let value = value.filter(|value| !value.is_empty()).map(bounded);
        self.pick_key(value.as_deref())
    }
}

/// The key of a request is its bearer token, hashed.
///
/// A token is a secret. Only a hash of 128 bits is kept, with a seed that is random for each
/// `Bearer`, so that no dump of memory and no log shows a token.
///
/// ```
/// use std::collections::HashMap;
/// use seawall::{Keyed, Quota, RateLimitLayer, http::Bearer};
///
/// let bearer = Bearer::new();
/// // By the same seed: the tokens whose clients have paid.
/// let paid = HashMap::from([(bearer.key("s3cret"), 1)]);
/// let plans = [Quota::per_second(10), Quota::per_second(200)];
/// let per_token = Keyed::tiers(10_000, plans, move |key| paid.get(key).copied().unwrap_or(0))?;
/// let layer = RateLimitLayer::new(per_token.by_bearer(bearer).or_reject());
/// # let _ = layer;
/// # Ok::<_, seawall::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Bearer(Arc<[RandomState; 2]>);

impl Bearer {
    /// With a new seed. Clones have the same.
    pub fn new() -> Self {
        Self(Arc::new([RandomState::new(), RandomState::new()]))
    }

    /// The key of this token.
    pub fn key(&self, token: &str) -> u128 {
        let [high, low] = self.0.each_ref().map(|state| state.hash_one(token));
        u128::from(high) << 64 | u128::from(low)
    }

    fn key_of(&self, headers: &HeaderMap) -> Option<u128> {
        let (scheme, token) = single(headers, &AUTHORIZATION)?.split_once(' ')?;
        let token = token.trim_start();
        let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
        is_bearer.then(|| self.key(token))
    }
}

impl Default for Bearer {
    fn default() -> Self {
        Self::new()
    }
}

/// Does not show the seed.
impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

impl<P: PerKey> Keyed<u128, P> {
    /// For a layer, instead of a policy: each request gets the policy of its bearer token
    /// (`Authorization: Bearer ..`). A request has no key if it has no such header;
    /// [`ByKey`] has the options for these.
    pub fn by_bearer(&self, bearer: Bearer) -> ByKey<u128, P, Bearer> {
        self.by_type(bearer)
    }
}

impl<B, P: PerKey> Source<Request<B>, P> for ByKey<u128, P, Bearer> {
    fn pick(&self, request: &Request<B>) -> Result<Picked<'_, P>, Rejection> {
        let key = self.key().key_of(request.headers());
        self.pick_key(key.as_ref())
    }
}

/// The header's value, if it is there once: a proxy and the handler may read different ones of two.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none());
    value?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use crate::context::authority_hash;
    use crate::keyed::Source;
    use crate::stack::ByAuthority;
    use crate::sync::{Arc, Mutex};
    use crate::{Bulkhead, Keyed};

    // KY3: a caller may send a head of any length.
    #[test]
    fn ky3_a_long_header_or_host_is_a_key_of_bounded_length() {
        let made = Arc::new(Mutex::new(Vec::new()));
        let lengths = Arc::clone(&made);
        let make = move |key: &str| {
            lengths.lock().push(key.len());
            Ok(Bulkhead::new(1))
        };
        let hasher = authority_hash::hasher().clone();
        let keyed = Keyed::<str, _>::builder(make).hashed_by(hasher);
        let keyed = keyed.capacity(10).build().unwrap();
        let by_host = keyed.by_type(ByAuthority::or("none".into()));
        let by_header = keyed.by_header(HeaderName::from_static("x-api-key"));
        made.lock().clear();
        for n in 0..3 {
            let text = format!("a{}{n}", "b".repeat(20_000));
            let request = Request::get(format!("http://{text}/")).header("x-api-key", text);
            let request = request.body(()).unwrap();
            assert!(by_host.pick(&request).is_ok());
            assert!(by_header.pick(&request).is_ok());
        }
        let lengths = made.lock();
        assert_eq!(lengths.len(), 3, "one for each text");
        assert!(lengths.iter().all(|length| *length <= 260), "{lengths:?}");
    }
}
