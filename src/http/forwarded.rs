//! The addresses in forwarding headers, read from the right: the last entry was added by the
//! nearest proxy, and everything to the left of the first untrusted one may be made up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The entries of a list such as `X-Forwarded-For`, from the right. None is an entry that is no
/// address.
pub(super) fn addresses<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<IpAddr>> + 'h {
    values(headers, name)
        .flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        // A list may have empty entries (RFC 9110, 5.6.1).
        .filter(|entry| !entry.is_empty())
        .map(node)
}

/// The `for` parameters of `Forwarded` (RFC 7239), from the right. None is an element that has no
/// address.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + '_ {
    values(headers, &http::header::FORWARDED)
        .flat_map(|value| FromTheRight(Some(value.as_bytes())))
        .map(|element| for_parameter(element?))
}

fn values<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h HeaderValue> + 'h {
    headers.get_all(name).iter().rev()
}

/// The elements of a list whose quoted strings may have commas. None is an element whose quote has
/// no start; it is the last.
struct FromTheRight<'h>(Option<&'h [u8]>);

impl<'h> Iterator for FromTheRight<'h> {
    type Item = Option<&'h [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let list = self.0.take()?;
            let mut quoted = false;
            let mut start = 0;
            for (at, byte) in list.iter().enumerate().rev() {
                match byte {
                    b'"' if !(quoted && is_escaped(&list[..at])) => quoted = !quoted,
                    b',' if !quoted => {
                        self.0 = Some(&list[..at]);
                        start = at + 1;
                        break;
                    }
                    _ => {}
                }
            }
            if quoted {
                return Some(None);
            }
            let element = list[start..].trim_ascii();
            if !element.is_empty() {
                return Some(Some(element));
            }
        }
    }
}

/// Whether an odd number of backslashes is before.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The address in the one `for` parameter of an element.
fn for_parameter(mut element: &[u8]) -> Option<IpAddr> {
    let mut address = None;
    loop {
        let equals = element.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (element[..equals].trim_ascii(), &element[equals + 1..]);
        let (value, rest) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = (0..quoted.len())
                    .find(|&at| quoted[at] == b'"' && !is_escaped(&quoted[..at]))?;
                (&quoted[..end], quoted[end + 1..].trim_ascii())
            }
            None => {
                let end = value.iter().position(|&byte| byte == b';');
                let (value, rest) = value.split_at(end.unwrap_or(value.len()));
                (value.trim_ascii(), rest)
            }
        };
        if name.eq_ignore_ascii_case(b"for") && address.replace(node(value)?).is_some() {
            return None;
        }
        match rest.split_first() {
            Some((b';', rest)) => element = rest,
            Some(_) => return None,
            None => return address,
        }
    }
}

/// An address, alone or with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`. An IPv4-mapped one is unfolded.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = match text.strip_prefix('[') {
        Some(text) => {
            let (address, port) = text.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(address.parse::<Ipv6Addr>().ok().filter(|_| is_port)?)
        }
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => {
                let (address, port) = text.split_once(':')?;
                IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
            }
        },
    };
    Some(address.to_canonical())
}

/// A number, or an obfuscated port (RFC 7239, 6.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(rest) => !rest.is_empty(),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}
