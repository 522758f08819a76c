//! How the parts go together.
//!
//! - [`stacking`]: which layer goes where, around a client and in a server, and what goes wrong
//!   otherwise.
//! - [`anti_patterns`]: what people do, what happens then, and what to do.
//! - [`deadlines`]: what carries a deadline and what does not.
//! - [`coming_from`]: the words of Polly, resilience4j, gobreaker, x/time/rate, failsafe-go,
//!   tower and others in those of this crate, and what counts differently.
//! - [`internals`]: every packed word, its orderings and its numbers, the models that prove them,
//!   and what a call costs.
//!
//! Each pattern has a page of its own: [`timeout`](crate::timeout),
//! [`rate_limit`](crate::rate_limit), [`circuit_breaker`](crate::circuit_breaker),
//! [`retry`](crate::retry), [`bulkhead`](crate::bulkhead), [`hedge`](crate::hedge), and the
//! [`budget`](crate::budget) that the last two share. There is nothing in this module but
//! text.

#[doc = include_str!("deadlines.md")]
pub mod deadlines {}

#[doc = include_str!("stacking.md")]
pub mod stacking {}

#[doc = include_str!("anti_patterns.md")]
pub mod anti_patterns {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("internals.md")]
pub mod internals {}
