//! Keyed: any policy, one for each key.
//!
//! ```text
//!                     ┌ a.example ─> breaker  closed
//!  call ──> its key ──┼ b.example ─> breaker  open      refused at once
//!                     ├ c.example ─> breaker  closed
//!                     └ (no key)  ─> the anonymous one
//!                       └──── at most `places` ────┘
//! ```
//!
//! A limit for each caller, a circuit breaker and a bulkhead for each host, a budget or a hedge's
//! quantile for each upstream: [`Keyed`] gives any of these policies per key, in bounded memory,
//! with nothing to clean up and no task.
//!
//! # What it does
//!
//! A layer takes [`per_host.by(|request| ..)`](Keyed::by) where it takes one policy. Its
//! `poll_ready` only forwards, since it has to see the request to know whose policy to ask. Its
//! `call` looks the policy up, makes it if the key is new, and goes on as with any other.
//!
//! There are as many keys as there are `places`, which bounds the memory. When all are taken and
//! a new key comes, the one that was not asked for longest makes room, of those that **rest**:
//!
//! | policy | rests |
//! |---|---|
//! | limiter | with all its tokens there |
//! | breaker | closed, and rather without failures of late |
//! | bulkhead | with nobody in it |
//! | budget | with what a new one would start with, or unused for as long as its floor takes to give as much |
//! | hedge | with no latency in its window, and its own budget at rest |
//!
//! Nobody gains by being forgotten: what rests is as good as new. If nobody rests, it depends.
//! A limiter takes the place of the key that owes least, and the new key starts with the largest
//! debt that was ever dropped there, which is repaid at the usual rate: made-up keys are handed
//! no fresh burst, and their maker gets what the places give. Of the others nobody is forgotten
//! (an open breaker, a bulkhead in use), and the new key is served by one
//! [overflow policy](Builder::overflow), which all such keys share. Either is told as
//! [`EventKind::Overflow`](crate::event::EventKind::Overflow) and counted by [`Keyed::overflowed`].
//!
//! A policy of which somebody holds a handle keeps its place.
//!
//! A limiter's keys stand in sets of eight places. It has twice as many as asked for, so that of
//! as many keys as `places`, all in debt at once, about one in a hundred finds its set full; give
//! it more places than there are good keys, they are cheap.
//!
//! ## Keys
//!
//! A key is anything that is a [`Key`]: `str`, bytes, addresses, numbers, tuples of them, your
//! own types by one line of [`key!`](crate::key). It is looked up as it is borrowed, so that a
//! known key costs no allocation, and hashed with a seed of its own, so that nobody can choose
//! keys that collide. A limiter keeps no keys at all, only 64 bits of their hash. `Debug` shows
//! none.
//!
//! ## What it costs
//!
//! A limiter is a table of words: a known key costs its hash, a look at one cache line of tags and
//! one compare-exchange, and takes no lock. A new key takes the lock of its set of eight, for as
//! long as it takes to choose an entry; so does a key whose tier is another than before. Each key
//! is decided exactly as a limiter of its own with that quota. The other policies are objects behind an `Arc`, in a
//! map with as many locks as it has shards, of which a call takes one, for as long as it takes
//! to find a policy and clone the `Arc`.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::{CircuitBreaker, CircuitBreakerLayer, Keyed};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let per_host = Keyed::new(1_000, |host: &str| CircuitBreaker::builder(host).build())?;
//! let client = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new(per_host.by(|url: &String| url.split('/').nth(2))))
//!     .service(service_fn(|url: String| async move { Ok::<_, BoxError>(url.len()) }));
//! assert_eq!(client.oneshot("http://a.example/".to_owned()).await?, 17);
//! assert_eq!(per_host.used(), 1);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
//! Plans with quotas of their own, one limit in all beside them, and what becomes of a request
//! without a key:
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::{Keyed, Quota, RateLimitLayer, RateLimiter};
//!
//! # struct Call { client: Option<String> }
//! let plans = [Quota::per_second(10), Quota::per_second(200)];
//! let per_client = Keyed::tiers(50_000, plans, |client: &str| usize::from(client.starts_with("pro-")))?;
//! let in_all = RateLimiter::per_second(5_000);
//! let limits = per_client.with_limits([in_all])?;
//! let layer = RateLimitLayer::new(limits.by(|call: &Call| call.client.as_deref()).or_refuse());
//! // Later, while calls run:
//! per_client.set_quota(0, Quota::per_second(5))?;
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`Keyed::get`] gives the policy of a key: a handle like any other, with `run` and all else. A
//! limiter is asked cheapest by [`allow`](Keyed::allow) and [`try_acquire`](Keyed::try_acquire),
//! which make no handle.
//!
//! ```
//! use seawall::{CircuitBreaker, Keyed};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # async fn query() -> std::io::Result<u32> { Ok(1) }
//! let per_shard = Keyed::new(64, |shard: &u32| CircuitBreaker::builder(format!("shard {shard}")).build())?;
//! let rows = per_shard.get(&7).run(query).await?;
//! # let _ = rows; Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | [`places`](Builder::places) | 10,000 | neither an outage nor a hole: some hundred kilobytes of a limiter |
//! | without a key | the [anonymous policy](Keyed::anonymous), one for all such requests | to let them pass would be the way around the limit |
//! | anonymous and overflow policy | made as any other, with the [key of nobody](Key::nobody); of a limiter, tier 0 | what is good for a stranger |
//! | tiers | one | |
//!
//! # Sharing
//!
//! Clones of a [`Keyed`], layers over it and services made by them have the same policies.
//!
//! # Changing it while calls run
//!
//! A limiter's [`set_quota`](Keyed::set_quota) changes a tier for all its keys, and no key gains
//! or loses a token by it. Of the others, change the policies of [`all`](Keyed::all) keys, and let
//! `make` read what new ones are to have. Calls under way keep what they started with.
//!
//! # Cancel safety
//!
//! That of the policy.
//!
//! # Errors
//!
//! Those of the policy, which has the name that it was made with; a limiter's keys have the name
//! of the limiter, and no key is in it. [`RejectionKind::NoKey`](crate::RejectionKind::NoKey) where
//! [asked for](ByKey::or_refuse).
//!
//! # When not to use it
//!
//! For a handful of dependencies that have names in the code: give each a policy of its own, and
//! its numbers. To share a limit between processes: this one lives in one. With a key that its
//! owner can choose at will and that costs him nothing, such as an unchecked header: he will
//! choose a new one for each call; put a limit in all beside it ([`Keyed::with_limits`]).

mod key;
mod map;
mod policy;

pub use key::Key;
pub(crate) use map::Rest;
#[cfg(feature = "tower")]
pub(crate) use policy::Follow;
pub(crate) use policy::check_places;
pub use policy::{
    Builder, ByKey, Fixed, IntoSource, KeyOf, Keyed, Made, OwnedKey, PerKey, Picked, Refuses,
    RequestKey, Source,
};
