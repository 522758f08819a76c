//! The two recommended stacks, as named layers: [`ClientStack`] around a client, [`ServerStack`]
//! in front of a server.
//!
//! ```text
//!  ClientStack                                    ServerStack
//!
//!  call                                           call
//!   │  total timeout     10 s                      │  timeout       30 s
//!   │  retry             3 attempts ─┐             │  rate limit    if asked for
//!   │  hedge             if asked for│             │  bulkhead      the limit is required
//!   │  ┌─ one attempt ───────────────┴──┐          ▼
//!   │  │ circuit breaker  per authority │         the service
//!   │  │ bulkhead         per authority │
//!   │  │ rate limit       if asked for  │
//!   │  │ attempt timeout  3 s           │
//!   ▼  └────────────────────────────────┘
//!  the client
//! ```
//!
//! # What it does
//!
//! A stack is a layer like any other here: it changes no type, refuses in the service's own
//! terms, and keeps its state in the handle, so that all services under it and its clones share
//! it. It is built from a configuration that is checked as a whole, can be [changed as a
//! whole](ClientStack::change) while calls run, and hands out the policies that it is made of.
//! Each part behaves as its own layer does; a part that was not asked for is there and switched
//! off, so that it can be asked for while calls run, and the type is the same either way.
//!
//! # Example
//!
//! ```
//! use seawall::ClientStack;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! struct Pages {
//!     stack: ClientStack, // Nameable, and cheap to clone.
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let pages = Pages { stack: ClientStack::new("pages") };
//! let client = ServiceBuilder::new()
//!     .layer(pages.stack.clone())
//!     .service(service_fn(|page: u32| async move { Ok::<_, BoxError>(page) }));
//! assert_eq!(client.oneshot(7).await?, 7);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
//! ```
//! use std::time::Duration;
//! use seawall::{Backoff, Budget, ClientStack, Quota};
//!
//! let ms = Duration::from_millis;
//! let budget = Budget::percent(10); // One for all that this process calls.
//! let stack = ClientStack::builder("search")
//!     .total_timeout(ms(2_000))
//!     .attempt_timeout(ms(500))
//!     .retry(|retry| retry.backoff(Backoff::exponential(ms(20))))
//!     .hedge(|hedge| hedge.quantile(0.98))
//!     .budget(&budget)
//!     .bulkhead(|bulkhead| bulkhead.limit(30).queue(60))
//!     .rate_limit(Quota::per_second(200))
//!     .build()?;
//! // Later, while calls run:
//! stack.change(|now| now.attempt_timeout(ms(300)).no_hedge())?;
//! stack.breakers().get("search.internal:8080").force_open();
//! # Ok::<(), seawall::ConfigError>(())
//! ```
//!
//! # The client's order, place by place
//!
//! From the outside in. Wherever the order matters, the other one goes wrong like this:
//!
//! | place | why here | what goes wrong elsewhere |
//! |---|---|---|
//! | total timeout, outermost | it bounds all that is below: queueing, backoffs, every attempt | inside of the retry it bounds one attempt, and three of them with their backoffs take as long as they like |
//! | retry, around the hedge | what is hedged is one attempt, whose latency is known | inside of the hedge, its delay runs against a whole call with backoffs, and a quantile of those says nothing of an attempt |
//! | hedge, around the breaker | its extra attempt asks the breaker again and is counted there as what it is | inside of the breaker one outcome is told for two calls, and the half-open state lets out twice as many as its probes |
//! | circuit breaker, around the bulkhead | each attempt is an outcome, and an open breaker takes no place and no token from those who can be served | around the retry it sees one failure in place of three and opens three times as late; inside of the bulkhead, calls queue for a place to be refused in |
//! | bulkhead, around the rate limit | what it refuses costs no token, and what queues has not paid yet | inside, a call that was refused for want of a place has used up a token |
//! | rate limit | every attempt that is sent counts, retries and hedges too, since the other side counts them | around the retry, the other side sees up to three times the rate |
//! | attempt timeout, innermost | its clock starts when the call is made, and the breaker sees its end as a failure | around the bulkhead a long queue looks like a dead service, and opens the breaker of a healthy one |
//!
//! Breaker and bulkhead are per authority, so that one host that is down is refused for itself.
//! The budget is one for all: a dead host may use it up, and then calls to the others are made
//! once.
//!
//! The rate limit refuses and does not wait: whoever waits here holds a place of the bulkhead.
//! To wait, put [`RateLimitLayer::waiting`](crate::RateLimitLayer::waiting) around the stack,
//! where it counts calls and not attempts.
//!
//! # The server's order, place by place
//!
//! | place | why here | what goes wrong elsewhere |
//! |---|---|---|
//! | timeout, outermost | it covers the wait for a place, and its deadline is read by all below: a client stack in the handler ends with it | inside of the bulkhead, the wait in its queue comes on top, and nothing ends it for a caller who has less time |
//! | rate limit, around the bulkhead | what is above the limit is refused before it takes or waits for a place | inside, a caller above his limit fills the queue of all others |
//! | bulkhead, innermost | a place is held only while the service works | around the rate limit, places go to calls that are then refused |
//!
//! A server has no circuit breaker: refusing what it can still do helps nobody. Callers who go
//! away take their calls with them, and what was theirs is given back.
//!
//! # Authorities
//!
//! What a request is for is asked of it by [`Addressed`]: implemented for the requests of `http`
//! and `reqwest`, without user, in small letters and without the scheme's usual port; for unit,
//! numbers, text and bytes, all of which are for nobody in particular; and by one line of
//! [`authority!`](crate::authority) for a type of yours. Requests that cannot say for whom they
//! are share the [anonymous](crate::Keyed::anonymous) breaker and bulkhead.
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | [`total_timeout`](ClientConfig::total_timeout) | 10 s | three attempts fit, with their backoffs |
//! | [`attempt_timeout`](ClientConfig::attempt_timeout) | 3 s | |
//! | [`retry`](ClientConfig::retry), [`budget`](ClientConfig::budget) | as [`retry`](crate::retry#defaults) and [`budget`](crate::budget#defaults) | |
//! | [`hedge`](ClientConfig::hedge) | none | what it may be worth, and which requests it is for, has to be known; asked for, as [`hedge`](crate::hedge#defaults) |
//! | [`breaker`](ClientConfig::breaker) | as [`circuit_breaker`](crate::circuit_breaker#defaults), per authority, with a [`fair_time`](crate::circuit_breaker::Builder::fair_time) of half of the attempt's timeout | a caller with 5 ms left does not open what others share |
//! | [`bulkhead`](ClientConfig::bulkhead) | 100 per authority, no queue | enough for most, and an end to what a slow host can take |
//! | [`authorities`](ClientConfig::authorities) | 10,000 | as for all that is [keyed](crate::keyed) |
//! | [`rate_limit`](ClientConfig::rate_limit) | none | no number fits all |
//! | server: [`timeout`](ServerConfig::timeout) | 30 s | longer than most callers wait, and an end to what would hang for ever |
//! | server: bulkhead | limit required, no queue | no number fits all |
//! | server: [`rate_limit`](ServerConfig::rate_limit) | none | no number fits all |
//!
//! # Contradictions
//!
//! `build()` and `change` refuse, all at once and each with its field, what is wrong with a
//! policy by itself (`retry.max_attempts`), and what is wrong with two of them together:
//!
//! | field | refused |
//! |---|---|
//! | `attempt_timeout` | above the total: it would never end an attempt |
//! | `retry.backoff` | backoffs that together are as long as the total: the last attempt would begin after its end |
//! | `breaker.window`, `breaker.within`, `breaker.half_open_for` | shorter than an attempt: its outcome would come after what it belongs to is over |
//! | `breaker.slow_rate` | slow from the attempt's timeout on: nothing would be slow |
//! | `breaker.fair_time` | above the attempt's timeout: no timeout would count |
//! | `bulkhead.max_wait` | above the deadline, where there is a queue: nobody would wait that long |
//! | `hedge.delay`, `hedge.min_delay` | from the attempt's timeout on: nothing would be hedged |
//!
//! # Sharing
//!
//! Clones of a stack and all services made by them share all policies. Two stacks of one
//! configuration share nothing, but for a [`budget`](ClientConfig::budget) or a
//! [limiter](ClientStack::rate_limit) that both were given.
//!
//! # Cancel safety
//!
//! Dropping the response future gives everything back that its parts hold: places, probes,
//! budget.
//!
//! # Errors
//!
//! Those of its parts, each with its name: that of the stack and a part of it, like
//! `pages.breaker@10.0.0.7:80`, or `pages.total_timeout`. A client whose error is not its own (`hyper`, `reqwest`)
//! needs `.map_err(seawall::Error::service)` below the stack.
//!
//! # When not to use it
//!
//! Where requests cannot be copied at all, retry and hedge are for nothing, and the parts that
//! are left are put together by hand. For calls that are no service there is
//! [`Pipeline`](crate::Pipeline), in the same order.

mod authority;
mod check;
mod client;
mod future;
mod plan;
mod server;

#[cfg(feature = "http")]
pub(crate) use authority::plain;
pub use authority::{Addressed, ByAuthority};
pub use client::{ClientConfig, ClientService, ClientStack, PerAuthority};
pub use future::ResponseFuture;
pub use server::{ServerConfig, ServerService, ServerStack};

use crate::config::{Mode, Name};
use crate::rate_limit::Quota;

/// The name of a part of a stack.
fn part(stack: &Name, part: &str) -> String {
    format!("{stack}.{part}")
}

/// The mode of a limiter that was asked for, or was not.
fn limit_mode(quota: Option<Quota>) -> Mode {
    match quota {
        Some(_) => Mode::Enforce,
        None => Mode::Off,
    }
}
