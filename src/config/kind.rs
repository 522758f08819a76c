use std::fmt;

/// The kinds of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PolicyKind {
    /// A `Timeout`.
    Timeout,
    /// A [`RateLimiter`](crate::RateLimiter).
    RateLimit,
    /// A [`CircuitBreaker`](crate::CircuitBreaker).
    CircuitBreaker,
    /// A [`Bulkhead`](crate::Bulkhead).
    Bulkhead,
    /// A `Retry`.
    Retry,
    /// A `Hedge`.
    Hedge,
    /// A [`Budget`](crate::Budget).
    Budget,
    /// A `Fallback`.
    Fallback,
}

impl PolicyKind {
    /// A short text that never changes: `timeout`, `rate_limit`, `circuit_breaker`, `bulkhead`,
    /// `retry`, `hedge`, `budget`, `fallback`. It is also the first part of a policy's default name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::CircuitBreaker => "circuit_breaker",
            Self::Bulkhead => "bulkhead",
            Self::Retry => "retry",
            Self::Hedge => "hedge",
            Self::Budget => "budget",
            Self::Fallback => "fallback",
        }
    }
}

impl fmt::Display for PolicyKind {
    /// The [label](Self::label).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
