//! The header `grpc-timeout`: how long the caller still waits.

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
#[cfg(any(feature = "tonic", test))]
use http::header::HeaderValue;

/// The header.
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A value has no more digits.
#[cfg(any(feature = "tonic", test))]
const MOST: u128 = 99_999_999;

/// The units, from fine to coarse, each in nanoseconds.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3_600 * 1_000_000_000),
];

/// How long the caller of a gRPC request waits: the header `grpc-timeout`, 1 to 8 digits and a unit
/// (`H`, `M`, `S`, `m`, `u` or `n`: hours, minutes, seconds, milliseconds, microseconds,
/// nanoseconds). `None` without the header, and if it cannot be read.
///
/// [`ServerStack::grpc`](crate::ServerStack::grpc) reads it by itself.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(GRPC_TIMEOUT)?.as_bytes();
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let (_, nanos) = UNITS.iter().find(|(of, _)| of == unit)?;
    // At most 100 million hours, in seconds or less.
    Some(match u64::try_from(nanos / 1_000_000_000) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(number * seconds),
        _ => Duration::from_nanos(number * u64::try_from(*nanos).unwrap_or(u64::MAX)),
    })
}

/// The value for `left`, rounded up: in milliseconds if they have 8 digits, or else in the next
/// unit that does.
#[cfg(any(feature = "tonic", test))]
pub(super) fn value(left: Duration) -> HeaderValue {
    let nanos = left.as_nanos();
    let fits = |&&(_, unit): &&(u8, u128)| nanos.div_ceil(unit) <= MOST;
    let (unit, number) = match UNITS[2..].iter().find(fits) {
        Some(&(unit, of)) => (unit, nanos.div_ceil(of)),
        None => (b'H', MOST),
    };
    let text = format!("{number}{}", char::from(unit));
    HeaderValue::try_from(text).expect("digits and a letter are a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, value.parse().unwrap());
        timeout(&headers)
    }

    #[test]
    fn gr3_a_timeout_is_read_in_all_units() {
        let (hour, minute) = (Duration::from_secs(3_600), Duration::from_secs(60));
        for (value, time) in [
            ("1H", hour),
            ("2M", 2 * minute),
            ("30S", minute / 2),
            ("500m", Duration::from_millis(500)),
            ("7u", Duration::from_micros(7)),
            ("9n", Duration::from_nanos(9)),
            ("0m", Duration::ZERO),
            ("00000001S", Duration::from_secs(1)),
            ("99999999H", 99_999_999 * hour),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(read(value), Some(time), "{value}");
        }
        for wrong in [
            "",
            "m",
            "5",
            "5s",
            "5h",
            "-5m",
            "+5m",
            "1.5S",
            " 5m",
            "5 m",
            "5mm",
            "100000000m",
            "٥m",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn gr3_a_timeout_is_written_rounded_up_with_at_most_8_digits() {
        let ms = Duration::from_millis;
        for (time, text) in [
            (Duration::ZERO, "0m"),
            (Duration::from_nanos(1), "1m"),
            (ms(500), "500m"),
            (Duration::from_micros(500_001), "501m"),
            (ms(99_999_999), "99999999m"),
            (ms(100_000_000), "100000S"),
            (ms(100_000_001), "100001S"),
            (Duration::from_secs(99_999_999), "99999999S"),
            (Duration::from_secs(100_000_000), "1666667M"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(value(time).to_str().unwrap(), text);
            let back = read(text).unwrap();
            assert!(back >= time || time == Duration::MAX, "{text}");
        }
    }
}
