//! All policies of the process: listed, found by name, read, and steered.
//!
//! ```text
//!  Bulkhead::new(64)            ─┐                     policies()  every policy, the oldest first
//!  CircuitBreaker::new("pay")   ─┼──> the registry ──> find(name)  its handles: read, changed
//!  ClientStack::new("orders")   ─┘    (weakly)         health()    ready, degraded, draining
//! ```
//!
//! # What it does
//!
//! A policy registers itself when it is built, under its [name](crate::config::Name), and is gone
//! from the registry when its last handle is dropped. The registry keeps no policy alive. There is
//! nothing to switch on, and a call never comes here: only building, dropping and listing take the
//! registry's lock.
//!
//! [`find`] returns handles, so that everything that a handle can do is within reach of a name:
//!
//! ```
//! use seawall::registry::{self, Policy};
//! use seawall::{CircuitBreaker, Mode};
//!
//! # let payments = CircuitBreaker::new("payments");
//! for policy in registry::find("payments") {
//!     println!("{} {} {:?}", policy.kind(), policy.name(), policy.snapshot().state);
//!     match &policy {
//!         Policy::CircuitBreaker(breaker) => breaker.force_open(),
//!         other => other.set_mode(Mode::RecordOnly),
//!     }
//! }
//! # assert!(payments.try_acquire().is_err());
//! ```
//!
//! # Names
//!
//! Names need not be unique: two policies of one name are two entries. Without a name of its own a
//! policy has its kind and call site, such as `bulkhead@src/main.rs:42`. The parts of a stack are
//! listed under the name of the stack and their own:
//!
//! | [`ClientStack::new("orders")`](crate::ClientStack) | [`ServerStack::new("api", 200)`](crate::ServerStack) |
//! |---|---|
//! | `orders.total_timeout` | `api.timeout` |
//! | `orders.budget`, one for each authority | `api.rate_limit`, if it is the stack's own |
//! | `orders.retry` | `api.bulkhead` |
//! | `orders.hedge` | |
//! | `orders.breaker`, one for each authority | |
//! | `orders.bulkhead`, one for each authority | |
//! | `orders.rate_limit`, if it is the stack's own | |
//! | `orders.attempt_timeout` | |
//!
//! The budget that a retry or hedge builds for itself is listed under `budget of` and its name, but
//! not that of a retry or hedge in a stack, which uses the budget of the stack.
//!
//! A part that is not configured is there and off. A [joint](crate::RateLimiter::all_of) limiter
//! and its members are listed each.
//!
//! A [keyed](crate::keyed) policy is one entry, a [`KeyedPolicy`], however many keys it has. The
//! policies that its `make` builds are not listed, and neither are the parts of a fallback. A policy that was
//! built elsewhere and given to a keyed one, as its anonymous or overflow policy, stays an entry of
//! its own.
//!
//! # Health
//!
//! [`health`] says in one call whether the program is ready, degraded and why, or draining. It is
//! what `serve::Health` answers with under `degraded_by_registry`.
//!
//! # Serialised
//!
//! With the feature `serde`, a [`Snapshot`] and a [`Health`] are `Serialize`: durations are in
//! seconds, kinds, modes and states are their labels, quotas and backoffs are text.

mod entry;
mod health;
mod keyed;
mod snapshot;

pub use entry::{Policy, find, policies};
#[cfg(feature = "serve")]
pub(crate) use health::{Draining, breaker_reason};
pub use health::{Health, Reason, Status, health};
pub use keyed::KeyedPolicy;
pub use snapshot::{KeyedSnapshot, NotClosed, Snapshot, State, States};

pub use crate::config::PolicyKind;
pub use crate::counters::{Times, Totals};
