//! The fields of the stacks.

use super::section::Section;
use super::{policies, waiting};
use crate::stack::{ClientConfig, ServerConfig};

pub(super) fn client(at: &mut Section<'_>, b: ClientConfig) -> ClientConfig {
    let b = at.set("total_timeout", b, ClientConfig::total_timeout);
    let b = at.set("attempt_timeout", b, ClientConfig::attempt_timeout);
    let b = at.set(
        "longest_total_timeout",
        b,
        ClientConfig::longest_total_timeout,
    );
    let b = at.set("authorities", b, ClientConfig::authorities);
    let b = part(at, "retry", "max_attempts", b, |at, b| {
        b.retry(|b| waiting::retry(at, b))
    });
    let b = part(at, "hedge", "quantile", b, |at, b| {
        b.hedge(|b| waiting::hedge(at, b))
    });
    let b = part(at, "budgets", "ratio", b, |at, b| {
        b.budgets(|b| policies::budget(at, b))
    });
    let b = match at.section("breaker", None) {
        Some(breaker) => breaker.read(|at| b.breaker(|b| policies::breaker(at, b))),
        None => b,
    };
    let b = part(at, "bulkhead", "limit", b, |at, b| {
        b.bulkhead(|b| policies::bulkhead(at, b))
    });
    part(at, "rate_limit", "rate", b, |at, b| {
        b.rate_limit(policies::quota(at))
    })
}

pub(super) fn server(at: &mut Section<'_>, b: ServerConfig) -> ServerConfig {
    let b = at.set("timeout", b, ServerConfig::timeout);
    let b = match at.section("bulkhead", Some("limit")) {
        Some(bulkhead) => bulkhead.read(|at| {
            at.must_have::<u32>("limit");
            b.bulkhead(|b| policies::bulkhead(at, b))
        }),
        None => {
            at.missing(
                "bulkhead",
                "the most calls in flight, as no number fits all",
            );
            b
        }
    };
    part(at, "rate_limit", "rate", b, |at, b| {
        b.rate_limit(policies::quota(at))
    })
}

/// Reads the section in `field`, or the single value that stands for its field `main`.
fn part<B>(
    at: &mut Section<'_>,
    field: &'static str,
    main: &'static str,
    builder: B,
    read: impl FnOnce(&mut Section<'_>, B) -> B,
) -> B {
    match at.section(field, Some(main)) {
        Some(part) => part.read(|at| read(at, builder)),
        None => builder,
    }
}
