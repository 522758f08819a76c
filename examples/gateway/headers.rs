//! The changes that a proxy has to make in the head of a message.

use std::net::SocketAddr;

use axum::http::header::{
    CONNECTION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers of a connection, not of the message. `Trailer` is not among them: trailers are forwarded, and
/// HTTP/1 sends only those that it names.
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

/// The protocol of an upgrade request.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    // HTTP/2 has no upgrade any more, and a server may always answer in HTTP/1.1.
    let ignored = protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    (!ignored && tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")))
        .then_some(protocol)
}

/// Whether the caller accepts trailers; read before [`strip`].
pub(crate) fn wants_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// Accepts trailers. HTTP/2 has no `Connection` header, so `TE` is not named there.
pub(crate) fn want_trailers(headers: &mut HeaderMap, http2: bool) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if !http2 {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// HTTP/2 may split cookies into several headers; HTTP/1 has one.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    join(headers, COOKIE, b"; ");
}

/// Adds the client, the host and the protocol of the original request.
pub(crate) fn forwarded(
    headers: &mut HeaderMap,
    peer: Option<SocketAddr>,
    host: Option<HeaderValue>,
) {
    if let Some(peer) = peer {
        let peer = peer.ip().to_canonical().to_string();
        let peer = HeaderValue::try_from(peer).expect("an address is a header value");
        headers.append(X_FORWARDED_FOR, peer);
        join(headers, X_FORWARDED_FOR, b", ");
    }
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
    let proto = HeaderValue::from_static("http");
    headers.entry(X_FORWARDED_PROTO).or_insert(proto);
}

/// Removes the headers of the connection.
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
