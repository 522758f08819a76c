//! What a proxy must change in the head of a message, and nothing else.

use std::net::SocketAddr;

use axum::http::header::{
    CONNECTION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What belongs to one connection and not to the message. Without `Trailer`: it announces what
/// is passed on, and HTTP/1 sends only the trailers that it names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The protocol that a request asks to change to, if it does.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    // HTTP/2 has no upgrade any more, and a server may always answer in HTTP/1.1 instead.
    let ignored = protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    (!ignored && tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")))
        .then_some(protocol)
}

/// Whether the caller takes trailers; asked before [`strip`].
pub(crate) fn wants_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// Asks for trailers. HTTP/2 knows no `Connection` header, and a `TE` that is named there goes
/// with it.
pub(crate) fn want_trailers(headers: &mut HeaderMap, http2: bool) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if !http2 {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// HTTP/2 may send cookies one by one; HTTP/1 has one header of them.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    join(headers, COOKIE, b"; ");
}

/// Says for whom the request is made, and what host it asked for.
pub(crate) fn forwarded(
    headers: &mut HeaderMap,
    peer: Option<SocketAddr>,
    asked: Option<HeaderValue>,
) {
    if let Some(peer) = peer {
        let peer = peer.ip().to_canonical().to_string();
        let peer = HeaderValue::try_from(peer).expect("an address is a header value");
        headers.append(X_FORWARDED_FOR, peer);
        join(headers, X_FORWARDED_FOR, b", ");
    }
    if let Some(asked) = asked {
        headers.entry(X_FORWARDED_HOST).or_insert(asked);
    }
    let proto = HeaderValue::from_static("http");
    headers.entry(X_FORWARDED_PROTO).or_insert(proto);
}

/// Removes what belongs to the connection that the message came by.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, CONNECTION)
        .filter_map(|name| name.parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn join(headers: &mut HeaderMap, name: HeaderName, separator: &[u8]) {
    let values: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if values.len() > 1 {
        let joined = values.join(separator);
        let joined = HeaderValue::from_bytes(&joined).expect("joined of header values");
        headers.insert(name, joined);
    }
}
