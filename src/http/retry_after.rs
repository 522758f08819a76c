use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, HeaderValue, RETRY_AFTER};

use crate::classify::status::is_digits;
use crate::outcome::NEVER;

/// Headers of hosted services with the delay in milliseconds. A service that sends one also sends
/// `Retry-After`, which is rounded.
const MILLIS: [&str; 2] = ["retry-after-ms", "x-ms-retry-after-ms"];

/// The delay that a response requests before the next call, or `None` if it requests none.
///
/// It is the first of these headers that can be parsed: `retry-after-ms` and `x-ms-retry-after-ms`
/// in milliseconds, and `Retry-After` in seconds or as a date. Numbers may have a fraction (`2.5`).
///
/// A date is relative to the response's own `Date`, so that the two clocks need not agree. Without
/// a `Date` it is relative to `now`. A date that has passed is zero.
///
/// If such a header is present and none can be parsed (`-1`, `soon`), the result is
/// [`Duration::MAX`], which means "do not retry": the service requested a delay, and an immediate
/// retry would be wrong.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let mut unreadable = None;
    for name in MILLIS {
        if let Some(value) = headers.get(name) {
            match text(value).and_then(decimal_seconds) {
                // Parsed as seconds, it is a thousand times too long.
                Some(wait) => return Some(wait / 1_000),
                None => unreadable = Some(NEVER),
            }
        }
    }
    match headers.get(RETRY_AFTER) {
        Some(value) => Some(in_seconds_or_date(value, headers, now).unwrap_or(NEVER)),
        None => unreadable,
    }
}

fn in_seconds_or_date(
    value: &HeaderValue,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    let value = text(value)?;
    if let Some(wait) = decimal_seconds(value) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let date = headers.get(DATE).and_then(text);
    let sent = date.and_then(|date| httpdate::parse_http_date(date).ok());
    Some(
        until
            .duration_since(sent.unwrap_or(now))
            .unwrap_or_default(),
    )
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

/// Seconds as digits, with or without a fraction. Parsed by hand, because `f64` also accepts `inf`
/// and `1e9`.
fn decimal_seconds(value: &str) -> Option<Duration> {
    let whole = value.split('.').next()?;
    let fraction = &value[whole.len()..];
    let fraction = match fraction.strip_prefix('.') {
        None => 0.0,
        Some(digits) if is_digits(digits) => fraction.parse().ok()?,
        Some(_) => return None,
    };
    // A number with too many digits is still a very long delay.
    let seconds = is_digits(whole).then(|| whole.parse().unwrap_or(u64::MAX))?;
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_secs_f64(fraction)))
}
