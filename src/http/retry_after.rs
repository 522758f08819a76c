use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, HeaderValue, RETRY_AFTER};

/// How long a response asks to be left alone, from its `Retry-After` in seconds or as a date.
///
/// A date is read against the response's own `Date`, so that the two clocks need not agree; a
/// response without one is read against `now`. A date that has passed is zero.
pub fn retry_after(headers: &HeaderMap, now: std::time::SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        // More digits than fit are still "very long".
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let date = headers.get(DATE).map(HeaderValue::to_str);
    let sent = date.and_then(|date| httpdate::parse_http_date(date.ok()?).ok());
    Some(
        until
            .duration_since(sent.unwrap_or(now))
            .unwrap_or_default(),
    )
}
