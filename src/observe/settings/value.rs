//! What a single value may be.

use std::time::Duration;

use super::tree::Tree;
use crate::backoff::Jitter;
use crate::budget::Refill;
use crate::bulkhead::Order;
use crate::circuit_breaker::{OnDrop, Throttled, Window};
use crate::config::Mode;
use crate::rate_limit::Quota;

/// A value of a field. Environment variables hold only text, so every value may be one.
pub(super) trait Value: Sized {
    /// Completes the sentence "it must be ..".
    const ALLOWED: &'static str;

    fn of(tree: &Tree) -> Option<Self>;
}

fn whole<N: TryFrom<i128>>(tree: &Tree) -> Option<N> {
    let number = match tree {
        Tree::Integer(number) => *number,
        Tree::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    N::try_from(number).ok()
}

impl Value for u32 {
    const ALLOWED: &'static str = "a whole number from 0 to 4,294,967,295";

    fn of(tree: &Tree) -> Option<Self> {
        whole(tree)
    }
}

impl Value for usize {
    const ALLOWED: &'static str = "a whole number of at least 0";

    fn of(tree: &Tree) -> Option<Self> {
        whole(tree)
    }
}

impl Value for f64 {
    const ALLOWED: &'static str = "a number";

    #[allow(clippy::cast_precision_loss)] // The numbers that are allowed are small.
    fn of(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Float(number) => Some(*number),
            Tree::Integer(number) => Some(*number as Self),
            Tree::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl Value for bool {
    const ALLOWED: &'static str = "true or false";

    fn of(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Bool(value) => Some(*value),
            Tree::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// A part of one.
pub(super) struct Share(pub(super) f64);

impl Value for Share {
    const ALLOWED: &'static str = "a share, such as 0.2 or `20%`";

    fn of(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Text(text) => match text.trim().strip_suffix('%') {
                Some(percent) => Some(Self(percent.trim().parse::<f64>().ok()? / 100.0)),
                None => f64::of(tree).map(Self),
            },
            _ => f64::of(tree).map(Self),
        }
    }
}

impl Value for Duration {
    const ALLOWED: &'static str =
        "a duration with its unit (ns, us, ms, s, m, h, d), such as `250ms` or `1.5s`";

    fn of(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Text(text) => duration(text),
            _ => None,
        }
    }
}

/// Numbers with units one after the other, such as `1m 30s`. Exact to the nanosecond.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut nanos = 0_u128;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic());
        let (name, after) = after.split_at(end.unwrap_or(after.len()));
        nanos = nanos.checked_add(decimal(number, unit(name)?)?)?;
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let nanos = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, nanos))
}

/// In nanoseconds.
fn unit(name: &str) -> Option<u128> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" | "sec" | "second" => 1_000_000_000,
        "m" | "min" | "minute" => 60_000_000_000,
        "h" | "hour" => 3_600_000_000_000,
        "d" | "day" => 86_400_000_000_000,
        _ => return None,
    })
}

/// `number` times `unit`, if that is a whole number.
fn decimal(number: &str, unit: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let mut sum = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    let mut unit = unit;
    for digit in part.trim_end_matches('0').chars() {
        if unit % 10 != 0 {
            return None;
        }
        unit /= 10;
        sum = sum.checked_add(u128::from(digit.to_digit(10)?) * unit)?;
    }
    (!part.is_empty()).then_some(sum)
}

/// What [`quota`] reads.
pub(in crate::observe) const RATE: &str =
    "a rate, such as `50/s`, `100/min` or `5/10s`, or `unlimited`";

pub(in crate::observe) fn quota(text: &str) -> Option<Quota> {
    if text.trim() == "unlimited" {
        return Some(Quota::unlimited());
    }
    let (count, period) = text.split_once('/')?;
    let (count, period) = (count.trim().parse().ok()?, period.trim());
    let period = match unit(period) {
        Some(nanos) => Duration::from_nanos(u64::try_from(nanos).ok()?),
        None => duration(period)?,
    };
    Some(Quota::new(count, period))
}

impl Value for Quota {
    const ALLOWED: &'static str = RATE;

    fn of(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Text(text) => quota(text),
            _ => None,
        }
    }
}

/// The calls of a rate: a number of them, or those of a time.
impl Value for Window {
    const ALLOWED: &'static str = "a number of calls, or a duration such as `10s`";

    fn of(tree: &Tree) -> Option<Self> {
        u32::of(tree)
            .map(Self::count)
            .or_else(|| Duration::of(tree).map(Self::time))
    }
}

/// How many calls may wait. None for any number.
pub(super) struct QueueLength(pub(super) Option<u32>);

impl Value for QueueLength {
    const ALLOWED: &'static str = "a whole number of at least 0, or `unbounded`";

    fn of(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Text(text) if text == "unbounded" => Some(Self(None)),
            _ => u32::of(tree).map(|length| Self(Some(length))),
        }
    }
}

/// How the delays of a backoff grow.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Constant,
    Linear,
    Exponential,
    Decorrelated,
}

/// [`Value`] for a choice of words.
macro_rules! words {
    ($($type:ty, $allowed:literal: $($word:literal => $value:expr),*;)*) => {$(
        impl Value for $type {
            const ALLOWED: &'static str = $allowed;

            fn of(tree: &Tree) -> Option<Self> {
                match tree {
                    Tree::Text(text) => match text.trim() {
                        $($word => Some($value),)*
                        _ => None,
                    },
                    _ => None,
                }
            }
        }
    )*};
}

words! {
    Mode, "`enforce`, `record_only` or `off`":
        "enforce" => Self::Enforce, "record_only" => Self::RecordOnly, "off" => Self::Off;
    Shape, "`constant`, `linear`, `exponential` or `decorrelated`":
        "constant" => Self::Constant, "linear" => Self::Linear,
        "exponential" => Self::Exponential, "decorrelated" => Self::Decorrelated;
    Jitter, "`none`, `full` or `equal`":
        "none" => Self::None, "full" => Self::Full, "equal" => Self::Equal;
    Order, "`fifo` or `lifo`":
        "fifo" => Self::Fifo, "lifo" => Self::Lifo;
    Refill, "`successes` or `calls`":
        "successes" => Self::Successes, "calls" => Self::Calls;
    OnDrop, "`if_late`, `by_deadline`, `ignore` or `failure`":
        "if_late" => Self::IfLate, "by_deadline" => Self::ByDeadline,
        "ignore" => Self::Ignore, "failure" => Self::Failure;
    Throttled, "`not_in_rates` or `failure`":
        "not_in_rates" => Self::NotInRates, "failure" => Self::Failure;
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::time::Duration;

    use super::{Quota, Share, Tree, Value, Window};

    fn text(text: &str) -> Tree {
        Tree::Text(text.to_owned())
    }

    #[test]
    fn cf1_durations_have_a_unit_and_are_exact() {
        let ms = |n| Some(Duration::from_millis(n));
        for (written, read) in [
            ("250ms", ms(250)),
            ("1.5s", ms(1_500)),
            (" 2 s ", ms(2_000)),
            ("1m30s", ms(90_000)),
            ("1m 30.25s", ms(90_250)),
            ("0s", ms(0)),
            ("1h", ms(3_600_000)),
            ("1d", ms(86_400_000)),
            ("1500us", Some(Duration::from_micros(1_500))),
            ("0.1us", Some(Duration::from_nanos(100))),
            ("0.1ns", None),
            ("250", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.s", None),
            (".5s", None),
            ("1.2.3s", None),
            ("1x", None),
            ("1s 2", None),
            ("0s 5", None),
            ("99999999999999999999999999999999999999d", None),
        ] {
            assert_eq!(Duration::of(&text(written)), read, "{written:?}");
        }
        assert_eq!(Duration::of(&Tree::Integer(250)), None);
    }

    #[test]
    fn cf1_rates_shares_and_windows_read_as_people_write_them() {
        let second = Duration::from_secs(1);
        for (written, read) in [
            ("50/s", Some(Quota::per_second(50))),
            ("100/min", Some(Quota::per_minute(100))),
            ("100 / minute", Some(Quota::per_minute(100))),
            ("7/h", Some(Quota::per_hour(7))),
            ("7/day", Some(Quota::per_day(7))),
            ("5/10s", Some(Quota::new(5, 10 * second))),
            ("unlimited", Some(Quota::unlimited())),
            ("50", None),
            ("50/", None),
            ("-1/s", None),
            ("50/x", None),
        ] {
            assert_eq!(Quota::of(&text(written)), read, "{written:?}");
        }
        let share = |tree: &Tree| Share::of(tree).map(|share| share.0);
        assert_eq!(share(&text("20%")), Some(0.2));
        assert_eq!(share(&text("0.2")), Some(0.2));
        assert_eq!(share(&Tree::Float(0.2)), Some(0.2));
        assert_eq!(share(&Tree::Integer(1)), Some(1.0));
        assert_eq!(share(&text("many")), None);
        assert_eq!(Window::of(&Tree::Integer(100)), Some(Window::count(100)));
        assert_eq!(Window::of(&text("100")), Some(Window::count(100)));
        assert_eq!(Window::of(&text("1s")), Some(Window::time(second)));
        // Environment variables hold only text.
        assert_eq!(u32::of(&text("5")), Some(5));
        assert_eq!(bool::of(&text("true")), Some(true));
        assert_eq!(u32::of(&Tree::Integer(-1)), None);
        assert_eq!(u32::of(&Tree::Float(1.5)), None);
    }
}
