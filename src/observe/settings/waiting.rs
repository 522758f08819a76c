//! The fields of the policies that need a runtime.

use std::time::Duration;

use super::policies::backoff;
use super::section::Section;
use super::value::Share;
use crate::{fallback, hedge, retry, timeout};

pub(super) fn timeout(at: &mut Section<'_>, b: timeout::Builder) -> timeout::Builder {
    let b = b.mode(at.get("mode").unwrap_or_default());
    match at.required("limit") {
        Some(limit) => b.limit(limit),
        None => b,
    }
}

pub(super) fn retry(at: &mut Section<'_>, b: retry::Builder) -> retry::Builder {
    use retry::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let b = at.set("max_attempts", b, Builder::max_attempts);
    let b = match backoff(at, "backoff") {
        Some(backoff) => b.backoff(backoff),
        None => b,
    };
    let b = at.set("max_elapsed", b, |b, limit: Duration| b.max_elapsed(limit));
    let b = at.set("throttled_base", b, Builder::throttled_base);
    let b = at.set("retry_after_cap", b, Builder::retry_after_cap);
    at.set("nested", b, Builder::nested)
}

pub(super) fn hedge(at: &mut Section<'_>, b: hedge::Builder) -> hedge::Builder {
    use hedge::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let b = at.set("quantile", b, |b, Share(quantile)| b.quantile(quantile));
    let b = at.set("delay", b, Builder::delay);
    let b = at.set("min_delay", b, Builder::min_delay);
    let b = at.set("min_samples", b, Builder::min_samples);
    let b = at.set("window", b, Builder::window);
    at.set("max_extra", b, Builder::max_extra)
}

pub(super) fn fallback(at: &mut Section<'_>, b: fallback::Builder) -> fallback::Builder {
    use fallback::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let b = at.set("limit", b, Builder::limit);
    let b = at.set("timeout", b, Builder::timeout);
    at.set("rejections", b, Builder::rejections)
}
