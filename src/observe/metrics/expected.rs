//! The labels whose series exist before a policy of each kind has counted anything. Others come with
//! what they count.

use crate::observe::registry::PolicyKind;

pub(super) fn endings(kind: PolicyKind) -> &'static [&'static str] {
    match kind {
        PolicyKind::Timeout => &["completed", "cut_short", "rejected", "dropped", "panicked"],
        PolicyKind::RateLimit => &["admitted", "dropped"],
        PolicyKind::Bulkhead => &["completed", "dropped", "panicked"],
        PolicyKind::CircuitBreaker | PolicyKind::Retry | PolicyKind::Hedge => {
            &["success", "failure", "ignored", "dropped", "panicked"]
        }
        PolicyKind::Fallback => &[
            "success",
            "failure",
            "ignored",
            "rejected",
            "fell_back",
            "dropped",
            "panicked",
        ],
        PolicyKind::Budget => &[],
    }
}

pub(super) fn rejections(kind: PolicyKind) -> &'static [&'static str] {
    match kind {
        PolicyKind::Timeout => &["timed_out", "request_timed_out", "expired"],
        PolicyKind::RateLimit => &[
            "rate_limited",
            "cost_above_burst",
            "no_key",
            "no_peer_address",
            "expired",
        ],
        PolicyKind::Bulkhead => &["bulkhead_full", "queue_timeout", "expired"],
        PolicyKind::CircuitBreaker => &["circuit_open", "half_open_full", "recovering"],
        _ => &[],
    }
}

pub(super) fn suppressions(kind: PolicyKind) -> &'static [&'static str] {
    match kind {
        PolicyKind::Retry | PolicyKind::Hedge => &[
            "budget",
            "deadline",
            "elapsed",
            "retry_after",
            "not_idempotent",
            "no_copy",
        ],
        PolicyKind::Budget => &["budget"],
        PolicyKind::Fallback => &["full", "deadline", "no_copy"],
        _ => &[],
    }
}
