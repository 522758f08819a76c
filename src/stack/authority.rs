use std::borrow::Cow;

use crate::classify::for_plain_types;
use crate::keyed::{ByKey, PerKey, Picked, Source};
use crate::rejection::Rejection;

/// A request that can say for which authority it is: a host, and a port that is not the usual
/// one. Circuit breaker and bulkhead of a [`ClientStack`](super::ClientStack) are per authority.
///
/// Implemented for `http::Request` (by its URI, or else its `Host` header; feature `http`) and
/// `reqwest::Request` (feature `reqwest`). Unit, numbers, text and bytes are for none, and all of
/// them share the policies of who has none. A type of yours joins with one line of
/// [`authority!`](crate::authority).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say for which authority it is",
    label = "the circuit breaker and the bulkhead of a client stack are per authority",
    note = "write `seawall::authority!({Self}, |request| Some(&request.host))` for a type of yours, or `seawall::authority!({Self})` if all its requests are for one service"
)]
pub trait Addressed {
    /// Host and port as text, the same for all requests that are for the same service; none if
    /// that cannot be told.
    fn authority(&self) -> Option<Cow<'_, str>>;
}

/// Lets a request type of yours say for which authority it is: by a closure that borrows it, or
/// for types whose requests are all for one service, not at all.
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
                authority.map(::std::borrow::Cow::Borrowed)
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

/// The way from a request to its authority.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

impl<Req: Addressed, P: PerKey> Source<Req, P> for ByKey<str, P, ByAuthority> {
    #[inline]
    fn pick(&self, request: &Req) -> Result<Picked<'_, P>, Rejection> {
        self.pick_key(request.authority().as_deref())
    }
}

/// Host and port of `authority`, without what else it may have: a user, a port that is the usual
/// one of the scheme, capitals. Allocates only for the last.
#[cfg(feature = "http")]
pub(crate) fn plain<'a>(authority: &'a str, scheme: Option<&str>) -> Option<Cow<'a, str>> {
    let host = match authority.rsplit_once('@') {
        Some((_user, host)) => host,
        None => authority,
    };
    let usual = match scheme {
        Some("http") => ":80",
        Some("https") => ":443",
        _ => ":",
    };
    let host = host.strip_suffix(usual).unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some(match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        false => Cow::Borrowed(host),
        true => Cow::Owned(host.to_ascii_lowercase()),
    })
}
