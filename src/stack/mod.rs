//! The recommended layers as one: [`ClientStack`] around a client, [`ServerStack`] in front of a
//! server.
//!
//! ```text
//!  ClientStack                                    ServerStack
//!
//!  call                                           call
//!   │  total timeout     10 s                      │  timeout       30 s
//!   │  budget            per authority             │
//!   │  retry             3 attempts ─┐             │  rate limit    optional
//!   │  hedge             optional    │             │  bulkhead      the limit is required
//!   │  ┌─ one attempt ───────────────┴──┐          ▼
//!   │  │ circuit breaker  per authority │         the service
//!   │  │ bulkhead         per authority │
//!   │  │ rate limit       optional      │
//!   │  │ attempt timeout  3 s           │
//!   ▼  └────────────────────────────────┘
//!  the client
//! ```
//!
//! # What it does
//!
//! A stack is a layer like the others: it changes no type, rejects in the service's own terms, and
//! keeps its state in the handle, so that all services under it and its clones share it. Its
//! configuration is checked as a whole, and can be [changed as a whole](ClientStack::change) while
//! calls run. The policies that it consists of are available as handles.
//!
//! Each part behaves like its own layer. An optional part that is not configured is present and
//! switched off, so that a change can switch it on, and the type of the service is the same either
//! way.
//!
//! For HTTP, the calls of [`ServerStack::http`] and [`ClientStack::http`] (feature `http`) last until the
//! end of the response's body: see the [guide](crate::guide). For gRPC there are `ServerStack::grpc`
//! and `ClientStack::grpc`: see `seawall::grpc`.
//!
//! # Example
//!
//! ```
//! use seawall::ClientStack;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! struct Pages {
//!     stack: ClientStack, // It has a name, and is cheap to clone.
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
//! let budget = Budget::percent(10); // One for all calls of this process.
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
//! # The order of the client's layers
//!
//! From the outside in, with what goes wrong in another order:
//!
//! | layer | reason for its position | in another position |
//! |---|---|---|
//! | total timeout, outermost | it limits everything below: readiness, queues, backoffs, every attempt | inside the retry it limits one attempt, and nothing limits the whole call |
//! | budget, around retry and hedge | both draw on the budget of the request's authority | inside the retry, the retry would have a budget of its own |
//! | retry, around the hedge | a hedge adds an attempt to one attempt, whose latency is known | inside the hedge, the hedge's delay and its quantile would include backoffs |
//! | hedge, around the breaker | the breaker admits and counts each extra attempt | inside the breaker, one outcome is counted for two calls, and a half-open breaker sends twice as many calls as it has probes |
//! | circuit breaker, around the bulkhead | each attempt is one outcome, and a call that an open breaker rejects takes no permit and no token | around the retry it sees one failure instead of three; inside the bulkhead, calls wait for a permit only to be rejected |
//! | bulkhead, around the rate limit | a call that is rejected or still waits has taken no token | inside, a call that the bulkhead rejects has used a token |
//! | rate limit | every attempt that is sent takes a token, as the other side counts them | around the retry, the other side sees up to three times the rate |
//! | attempt timeout, innermost | its clock starts when the call is made, and the breaker sees the timeout as a failure | around the bulkhead, a long queue looks like a slow dependency and opens the breaker |
//!
//! Breaker, bulkhead and budget are per authority, so a host that is down affects only its own
//! calls, and a host that fails often does not spend the retries of the others.
//!
//! The rate limit rejects and does not wait, because a waiting call would hold a permit of the
//! bulkhead. To wait, put [`RateLimitLayer::waiting`](crate::RateLimitLayer::waiting) around the
//! stack, where it counts calls instead of attempts.
//!
//! # The order of the server's layers
//!
//! | layer | reason for its position | in another position |
//! |---|---|---|
//! | timeout, outermost | it covers the wait in the queue, and everything below sees its deadline, such as a client stack in the handler | inside the bulkhead, the wait in the queue comes on top |
//! | rate limit, around the bulkhead | a call above the limit is rejected before it takes a permit or waits for one | inside, a caller above its limit fills the queue of the others |
//! | bulkhead, innermost | a permit is held only while the service works | around the rate limit, permits go to calls that are then rejected |
//!
//! A server has no circuit breaker: rejecting work that it can still do helps no caller. If a
//! caller disconnects, its call is dropped and its permits are released.
//!
//! # Authorities
//!
//! The authority of a request is its [`Addressed::authority`]. For the requests of `http` and
//! `reqwest` it is host and port, in lower case, without the user, the final dot and the default port of the
//! scheme. Unit, numbers, text and bytes have no authority. For your own type implement it with one
//! line of [`authority!`](crate::authority). Requests without an authority, such as
//! those of a tonic channel, have a breaker, a bulkhead and a budget for each service made by the
//! stack, that is for each call of `layer`, which the clones of that service share. They are
//! entries like those of an authority, named `service 1` and so on, or as
//! [`default_authority`](ClientStack::default_authority) says. Make a service once and clone it: one
//! that is made for each request has a breaker that counts one request.
//!
//! # One call
//!
//! An [`Overrides`] as an extension of an `http::Request` or `tonic::Request` changes the stack for
//! one call: another total, another attempt timeout, no retry, no hedge. The total is at most that of
//! the stack, or its [`longest_total_timeout`](ClientConfig::longest_total_timeout): a caller that
//! forwards a request cannot hold what the stack has for longer than you allow.
//!
//! # Defaults
//!
//! | setting | default | why |
//! |---|---|---|
//! | [`total_timeout`](ClientConfig::total_timeout) | 10 s | three attempts fit, with their backoffs |
//! | [`longest_total_timeout`](ClientConfig::longest_total_timeout) | the total | no call holds a permit for longer than the stack says |
//! | [`attempt_timeout`](ClientConfig::attempt_timeout) | 3 s | |
//! | [`retry`](ClientConfig::retry) | those of [`retry`](crate::retry#defaults) | |
//! | [`budgets`](ClientConfig::budgets) | those of [`budget`](crate::budget#defaults), per authority | with one for all, a host with 40 % errors left 46 of 60 failures of another host unmended (row `hosts-1-flaky` of the [outage table](crate::guide::numbers)) |
//! | [`hedge`](ClientConfig::hedge) | off; when on, those of [`hedge`](crate::hedge#defaults) | which requests to hedge, and whether it is worth the load, depends on the service |
//! | [`breaker`](ClientConfig::breaker) | those of [`circuit_breaker`](crate::circuit_breaker#defaults), per authority, with a [`fair_time`](crate::circuit_breaker::Builder::fair_time) of half the attempt timeout and a [`max_probe_time`](crate::circuit_breaker::Builder::max_probe_time) of the attempt timeout, the bulkhead's queue and a second | a caller with 5 ms left must not open a breaker that others share; a probe that takes longer hangs |
//! | [`bulkhead`](ClientConfig::bulkhead) | 100 per authority, no queue | enough for most, and it limits what a slow host can take |
//! | [`authorities`](ClientConfig::authorities) | 10,000 | that of every [keyed](crate::keyed) policy |
//! | [`rate_limit`](ClientConfig::rate_limit) | none | no number fits all |
//! | server: [`timeout`](ServerConfig::timeout) | 30 s | longer than most callers wait, and still an end to a call that hangs; over HTTP it is for the head, and a body has 30 s between chunks, because no number fits both a handler that hangs and a large download |
//! | server: bulkhead | limit required, no queue | no number fits all |
//! | server: [`rate_limit`](ServerConfig::rate_limit) | none | no number fits all |
//!
//! # Contradictions
//!
//! `build()` and `change` report all problems at once, each with its field: those of one policy
//! (`retry.max_attempts`), and those of two that contradict each other:
//!
//! | field | problem |
//! |---|---|
//! | `attempt_timeout` | above the total: it would never end an attempt |
//! | `longest_total_timeout` | below the total: no call could have the total |
//! | `retry.backoff` | the backoffs together are as long as the total: the last attempt would start after the end |
//! | `breaker.window`, `breaker.within`, `breaker.max_probe_time` | shorter than an attempt: its outcome would come too late |
//! | `breaker.slow_rate` | the threshold is not below the attempt timeout: no call would be slow |
//! | `breaker.fair_time` | above the attempt timeout: no timeout would count |
//! | `bulkhead.max_wait` | above the deadline, with a queue: no call would wait that long |
//! | `hedge.delay`, `hedge.min_delay` | not below the attempt timeout: no call would be hedged |
//!
//! # Sharing
//!
//! Clones of a stack and all services made by them share all policies. Two stacks of one
//! configuration share nothing, except a [`budget`](ClientConfig::budget) or a
//! [limiter](ClientStack::rate_limit) that both were given.
//!
//! # Cancel safety
//!
//! Dropping the response future releases everything that its parts hold: permits, probes, budget.
//!
//! # Errors
//!
//! Those of its parts. Each names its part, such as `pages.breaker@10.0.0.7:80` or
//! `pages.total_timeout`. A client whose error cannot carry a rejection needs
//! `.map_err(seawall::Error::service)` below the stack. The clients of `hyper` and `reqwest` have it
//! done by `.hyper(client)` and `.reqwest(client)` on [`ClientStack::http`].
//!
//! # When not to use it
//!
//! For calls without a service use [`Pipeline`](crate::Pipeline), which has the same order. If
//! requests cannot be copied, say so by [`ClientStack::resend`]: each is sent once, and retry and
//! hedge do nothing.

mod authority;
mod client;
mod description;
mod overrides;
mod parts;
mod server;
mod service;
mod verdict;

#[doc(hidden)]
pub use authority::plain;
pub use authority::{Addressed, ByAuthority};
pub use client::{
    AttemptOf, Budgets, ClientConfig, ClientService, ClientStack, HedgesOf, PerAuthority,
    RetriesOf, TotalOf,
};
pub use description::{Description, LayerText};
pub use overrides::Overrides;
pub use server::{ServerConfig, ServerService, ServerStack};
pub use service::StackService;
pub use verdict::Verdict;
