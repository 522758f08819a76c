use std::borrow::Cow;

use crate::classify::for_plain_types;
use crate::context::authority_hash::hash;
use crate::keyed::{ByKey, PerKey, Picked, Source, bounded};
use crate::rejection::Rejection;
use crate::stack::Overrides;
use crate::sync::Arc;

/// A request with an authority: the host, and the port unless it is the default one. A
/// [`ClientStack`](super::ClientStack) has a circuit breaker and a bulkhead per authority.
///
/// Implemented for `http::Request` (by its URI, or else its `Host` header; feature `http`) and
/// `reqwest::Request` (feature `reqwest`). Unit, numbers, text and bytes have no authority.
/// Implement it for your own type with one line of [`authority!`](crate::authority).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no authority",
    label = "the circuit breaker and the bulkhead of a client stack are per authority",
    note = "write `seawall::authority!({Self}, |request| Some(&request.host))` for a type of yours, or `seawall::authority!({Self})` if all its requests are for one service"
)]
pub trait Addressed {
    /// Host and port as text, the same for all requests to the same service: in lower case, without
    /// user, default port and final dot. `None` if it is unknown: the request then has the policies
    /// of the service that it was made to, see
    /// [`default_authority`](super::ClientStack::default_authority).
    fn authority(&self) -> Option<Cow<'_, str>>;

    /// What this call changes about its stack. The default is nothing.
    fn overrides(&self) -> Option<&Overrides> {
        None
    }
}

/// Implements [`Addressed`](crate::stack::Addressed) for your own request type: with a closure that
/// borrows the authority, or without one if all requests go to one service. The authority is
/// compared without case, user and the final dot of the host.
///
/// ```
/// struct Query {
///     shard: Option<String>,
/// }
///
/// seawall::authority!(Query, |query| query.shard.as_deref());
///
/// struct Ping;
/// seawall::authority!(Ping);
/// ```
#[macro_export]
macro_rules! authority {
    ($ty:ty) => {
        $crate::authority!($ty, |_| ::core::option::Option::None);
    };
    ($ty:ty, |$request:pat_param| $authority:expr) => {
        impl $crate::stack::Addressed for $ty {
            fn authority(&self) -> ::core::option::Option<::std::borrow::Cow<'_, str>> {
                let $request = self;
                let authority: ::core::option::Option<&str> = $authority;
                authority.and_then(|authority| {
                    $crate::stack::plain(authority, ::core::option::Option::None)
                })
            }
        }
    };
}

macro_rules! without_authority {
    ($($ty:ty),*) => {$(
        impl Addressed for $ty {
            fn authority(&self) -> Option<Cow<'_, str>> {
                None
            }
        }
    )*};
}

for_plain_types!(without_authority);
without_authority!(Vec<u8>);

/// The key of a request is its authority, or else that of the service that it was made to.
#[derive(Clone, Debug)]
pub struct ByAuthority(Arc<str>);

impl ByAuthority {
    /// With the key of requests without an authority.
    pub(crate) fn or(service: Arc<str>) -> Self {
        Self(service)
    }
}

impl<Req: Addressed, P: PerKey> Source<Req, P> for ByKey<str, P, ByAuthority> {
    #[inline]
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection> {
        let authority = request.authority();
        let key = bounded(authority.as_deref().unwrap_or(&self.key().0));
        Ok(self.keyed().pick_hashed(hash(&key), &key))
    }
}

/// Host and port of `authority`, in lower case, without the user, the default port of the scheme
/// and the final dot of the host. Allocates only if it has upper-case letters, or a port after a
/// final dot.
#[doc(hidden)]
pub fn plain<'a>(authority: &'a str, scheme: Option<&str>) -> Option<Cow<'a, str>> {
    // Each policy per authority makes this for each call. Most authorities are left as they are. A
    // user or upper case is found in one range of bytes, because `@` comes before `A`.
    let is_odd = |byte| (b'@'..=b'Z').contains(&byte);
    let is_odd = authority
        .bytes()
        .fold(false, |odd, byte| odd | is_odd(byte));
    let host = match is_odd {
        true => authority
            .rsplit_once('@')
            .map_or(authority, |(_user, host)| host),
        false => authority,
    };
    let colon = colon(host);
    let is_default = |port| match scheme {
        Some("http") => port == "80",
        Some("https") => port == "443",
        _ => false,
    };
    let (host, colon) = match colon {
        Some(at) if is_default(&host[at + 1..]) => (&host[..at], None),
        colon => (host, colon),
    };
    // `h:` is `h` (RFC 3986, 3.2.3).
    let host = without(without(host, b':'), b'.');
    if host.is_empty() {
        return None;
    }
    let has_dot = colon.is_some_and(|at| host.as_bytes()[..at].ends_with(b"."));
    let has_upper_case = is_odd && host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(match has_upper_case || has_dot {
        false => Cow::Borrowed(host),
        true => Cow::Owned(host.to_ascii_lowercase().replace(".:", ":")),
    })
}

/// Where the port of a host starts, if it has one that is not empty.
fn colon(host: &str) -> Option<usize> {
    let bytes = host.as_bytes();
    let at = bytes.iter().rposition(|byte| !byte.is_ascii_digit())?;
    (bytes[at] == b':' && at + 1 < bytes.len()).then_some(at)
}

/// `text` without its last character, if that is `last`, which is ASCII.
fn without(text: &str, last: u8) -> &str {
    match text.as_bytes().last() == Some(&last) {
        true => &text[..text.len() - 1],
        false => text,
    }
}
