//! Keyed: any policy, one for each key.
//!
//! ```text
//!                     ┌ a.example ─> breaker  closed
//!  call ──> its key ──┼ b.example ─> breaker  open      rejected at once
//!                     ├ c.example ─> breaker  closed
//!                     └ (no key)  ─> the anonymous one
//!                       └── at most `capacity` ──┘
//! ```
//!
//! A limit for each caller, a circuit breaker and a bulkhead for each host, a budget or a hedge's
//! quantile for each upstream: [`Keyed`] gives any of these policies per key, in bounded memory,
//! with no task and nothing to clean up.
//!
//! # What it does
//!
//! A layer takes [`per_host.by(|request| ..)`](Keyed::by) instead of a policy. Its `poll_ready`
//! only forwards, since the key is known only with the request. Its `call` finds the policy of
//! the key, constructs it if the key is new, and goes on as with a single policy.
//!
//! The number of entries is bounded by `capacity`. At capacity a new key evicts the least
//! recently used **idle entry**:
//!
//! | policy | idle when |
//! |---|---|
//! | limiter | its bucket is full |
//! | breaker | closed; one without recent failures is evicted first |
//! | bulkhead | no call is in flight or queued |
//! | budget | it holds its starting balance, or its floor would have paid for that since its last use |
//! | hedge | its window has no latency, and its own budget is idle |
//!
//! A key gains nothing by its eviction: a new entry is no better than an idle one. An entry is not
//! evicted while a handle to its policy is held.
//!
//! If no entry is idle, a limiter evicts the key with the least debt, and the new key starts with
//! the largest debt that was ever evicted there, which is repaid at the usual rate. So made-up
//! keys get no fresh burst. A limiter also protects existing keys: keys that were admitted only once
//! are evicted before keys that were admitted again. A key loses this protection once it has been idle
//! for a minute and the time in which a burst is refilled. So a flood of made-up keys evicts no active
//! client.
//!
//! If no entry is idle, the other policies evict nothing: an open breaker or a bulkhead in use stays.
//! New keys then share one [overflow policy](Builder::overflow). Among idle entries that have recorded
//! something, those of keys that were seen only once are evicted first. Both cases emit
//! [`EventKind::Overflow`](crate::event::EventKind::Overflow) and are counted by
//! [`Keyed::overflowed`].
//!
//! A limiter's keys are in sets of eight entries, twice as many as the capacity. If as many keys
//! as the capacity are in debt at once, about one in a hundred finds its set full. Entries are
//! cheap: choose a capacity above the number of good keys.
//!
//! ## Keys
//!
//! A [`Key`] is a `str`, bytes, an address, a number, a tuple of these, or your own type with one
//! line of [`key!`](crate::key). The lookup borrows it, so that an existing key allocates nothing.
//! The hash has a random seed, so that keys cannot be made to collide. A limiter keeps no keys,
//! only 64 bits of their hash. `Debug` shows none.
//!
//! With the feature `http`, [`by_client_ip`](crate::http::ClientIp), [`by_header`](Keyed::by_header)
//! and [`by_bearer`](Keyed::by_bearer) take the key from a request with any body.
//!
//! ## What it costs
//!
//! A limiter is a table of words: a call of an existing key hashes it, loads one cache line of tags
//! and makes one compare-exchange, without a lock. A new key, and a key whose tier has changed,
//! takes the lock of its set while an entry is chosen. Each key is decided exactly as a limiter of
//! its own would be.
//!
//! The other policies are behind an `Arc` each, in a map of shards. A call takes the lock of one
//! shard, to find the policy and clone its `Arc`.
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
//! assert_eq!(per_host.len(), 1);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
//! Plans with their own quotas, one limit for all keys together, and no call without a key:
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
//! let layer = RateLimitLayer::new(limits.by(|call: &Call| call.client.as_deref()).or_reject());
//! // Later, while calls run:
//! per_client.set_quota(0, Quota::per_second(5))?;
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`Keyed::get`] returns the policy of a key, a handle with `run` and everything else. For a
//! limiter, [`allow`](Keyed::allow) and [`try_acquire`](Keyed::try_acquire) are faster, because
//! they make no handle.
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
//! | [`capacity`](Builder::capacity) | 10,000 | enough for most sets of callers; a few hundred kilobytes for a limiter |
//! | without a key | the [anonymous policy](Keyed::anonymous), shared by all such requests | letting them pass would be a way around the limit |
//! | anonymous and overflow policy | constructed like any other, for [`Key::anonymous`]; a limiter's have tier 0 | they are treated like a new key |
//! | tiers | one | |
//!
//! # Sharing
//!
//! Clones of a [`Keyed`], layers over it and their services have the same policies.
//!
//! # Changing it while calls run
//!
//! A limiter's [`set_quota`](Keyed::set_quota) changes a tier for all its keys; each key's debt
//! stays. For the other policies, [`change_all`](Keyed::change_all) changes those that exist, and
//! `make` must read the numbers for new ones. Calls in flight keep what they started with.
//!
//! With the feature `serde`, a section of [`settings`](crate::settings#keyed-policies) changes the
//! policies of all keys by the name of the keyed policy, existing and new.
//!
//! # Cancel safety
//!
//! As for the policy.
//!
//! # Errors
//!
//! Those of the policy, under the name that it was constructed with. A limiter's keys have the
//! limiter's name, without the key. [`RejectionKind::NoKey`](crate::RejectionKind::NoKey) with
//! [`or_reject`](ByKey::or_reject), and
//! [`RejectionKind::NoPeerAddress`](crate::RejectionKind::NoPeerAddress) for the client's address.
//!
//! # When not to use it
//!
//! For a few dependencies that have names in the code: give each its own policy and its own
//! numbers. To share a limit between processes: this one is in one process. With a key that a
//! caller can choose freely, such as an unchecked header: the caller chooses a new one for each
//! call, so add a limit for all keys together ([`Keyed::with_limits`]).

mod erased;
mod key;
mod listed;
#[cfg(feature = "tower")]
mod long;
mod map;
mod per_key;
mod policy;
mod source;
mod store;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

pub(crate) use erased::{Erased, Listing};
pub use key::Key;
#[cfg(feature = "tower")]
pub(crate) use long::bounded;
#[cfg(feature = "serde")]
pub(crate) use per_key::Change;
pub(crate) use per_key::{Idle, Store};
pub use per_key::{PerKey, Picked};
pub use policy::{Builder, Keyed};
pub(crate) use policy::{Shared, check_capacity};
pub use source::{BorrowedKey, ByKey, IntoSource, OwnedKey, Source};
pub(crate) use store::Policies;
