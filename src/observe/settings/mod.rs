//! Settings of policies and stacks from a file, the environment or any other source (feature
//! `serde`), and their reload while calls run.
//!
//! ```toml
//! [servers.api]
//! bulkhead = 200
//! rate_limit = "500/s"
//!
//! [clients.orders]
//! total_timeout = "5s"
//! attempt_timeout = "800ms"
//! budgets = "20%"
//! breaker = { failure_rate = "50%", probes = 2 }
//!
//! [bulkheads.db]
//! limit = 20
//! queue = 40
//! ```
//!
//! # What it does
//!
//! A [`Settings`] is deserialised from any format that serde reads. It has a table for each kind of
//! policy, and in it a section for each name. Its methods make the builders, whose policies have the
//! names of their sections:
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::settings::Settings;
//!
//! let text = r#"
//!     [clients.orders]
//!     total_timeout = "5s"
//!     attempt_timeout = "800ms"
//! "#;
//! let settings: Settings = toml::from_str(text)?;
//! let orders = settings.client("orders")?.build()?;
//! println!("{orders}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All problems are reported at once, each with its path, such as
//! ``invalid `clients.orders.breaker.probes`: 0 (must be 1 to 255)``: values of a wrong type, fields
//! that do not exist, values that a policy does not allow, and those of a stack that contradict each
//! other.
//!
//! [`Settings::apply`] changes the policies of this process that have a section, by kind and name.
//! [`File`] reads a file again on request, applies what has changed in it, and keeps the last good
//! settings if it is bad.
//!
//! # Values
//!
//! | value | written |
//! |---|---|
//! | a duration | `"250ms"`, `"1.5s"`, `"2m"`, `"1h 30m"`; units ns, us, ms, s, m, h, d |
//! | a rate | `"50/s"`, `"100/min"`, `"5/10s"`, `"unlimited"` |
//! | a share | `0.2` or `"20%"` |
//! | a mode | `"enforce"`, `"record_only"`, `"off"` |
//! | a backoff | a duration, which is the base of an exponential one; or `{ base, shape, max, factor, jitter }` with a shape of `constant`, `linear`, `exponential`, `decorrelated`, and a jitter of `none`, `full`, `equal` |
//!
//! Numbers and booleans may be texts, as environment variables are.
//!
//! # Sections
//!
//! A field that is left out is the default of its policy. A field in **bold** has no default. A
//! section that is a single value sets the field in _italics_: `bulkheads.db = 20`. All sections but
//! the stacks' have a `mode`.
//!
//! | table | fields |
//! |---|---|
//! | `clients` | `total_timeout`, `attempt_timeout`, `longest_total_timeout`, `authorities`, and the sections `retry`, `hedge` (switches hedging on), `budgets`, `breaker`, `bulkhead`, and `rate_limit` with _**`rate`**_ and `burst` |
//! | `servers` | `timeout`, and the sections **`bulkhead`** and `rate_limit` |
//! | `timeouts` | _**`limit`**_ |
//! | `rate_limits` | _**`rate`**_, `burst`, `max_wait`, `max_pause` |
//! | `bulkheads` | _**`limit`**_, `queue` (a length or `unbounded`), `max_wait`, `order` (`fifo`, `lifo`) |
//! | `breakers` | the rules `consecutive_failures` (_**`count`**_, `lasting`, `within`), `failures` (_**`count`**_, `within`), `failure_rate` (_**`rate`**_, `window`, `buckets`, `min_calls`, `confidence_z`) and `slow_rate` (**`rate`**, **`longer_than`**, and those of a failure rate); `open_for` (a backoff), `retry_after_cap`, `probes`, `close_after`, `max_probe_time`, `ramp` (**`over`**, **`reopen_at`**), `on_drop` (`if_late`, `by_deadline`, `ignore`, `failure`), `throttled` (`not_in_rates`, `failure`), `fair_time` |
//! | `retries` | _`max_attempts`_, `backoff`, `max_elapsed`, `throttled_base`, `retry_after_cap`, `nested` |
//! | `hedges` | _`quantile`_, `delay` (instead of a quantile), `min_delay`, `min_samples`, `window`, `max_extra` |
//! | `budgets` | _`ratio`_, `burst`, `floor`, `refill` (`successes`, `calls`), `retry_throttling` (**`max_tokens`**, **`token_ratio`**) |
//! | `fallbacks` | `limit`, `timeout`, `rejections` |
//!
//! # Keyed policies
//!
//! The tables `keyed_rate_limits`, `keyed_breakers`, `keyed_bulkheads`, `keyed_budgets` and
//! `keyed_hedges` have the sections of [keyed](crate::keyed) policies, by their names and with the
//! fields of single ones. `keyed_rate_limits` also has `tiers`, a table of the quotas of tiers by
//! their numbers from 1 on, each a rate or `rate` and `burst`: `tiers = { 1 = "200/s" }`. The `rate`
//! is that of tier 0.
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::settings::Settings;
//! use seawall::{Bulkhead, Keyed};
//!
//! let settings: Settings = toml::from_str("keyed_bulkheads.hosts = 50")?;
//! let each = settings.keyed_bulkhead("hosts")?;
//! let hosts: Keyed<str, Bulkhead> = Keyed::builder(move |_: &str| each.clone().build())
//!     .name("hosts")
//!     .build()?;
//!
//! let changed: Settings = toml::from_str("keyed_bulkheads.hosts = 20")?;
//! changed.apply()?;
//! assert_eq!(hosts.get("a.example").limit(), 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A section is for the policies of all keys, also of those that are new later, and for the
//! anonymous and the overflow policy, unless they were given to the builder. Each key keeps its
//! state. The capacity and the tier of a key are the program's. A live limiter has as many tiers as
//! it was built with, and a section has a quota for each. The keyed policies of a stack follow the
//! stack's section.
//!
//! The rules of a breaker replace the default ones if there is any. There is at most one of each
//! kind. A window is a duration or a number of calls.
//!
//! # What stays when settings are applied
//!
//! A section is the whole configuration of its policy: what it does not have is the default, also
//! the mode. What no section can have stays as it was built: names, listeners, seeds, a budget that
//! was given, [custom](crate::Trip::custom) rules, the failures of a fallback, the window of a hedge.
//! So does all state: tokens, counts, queues, calls in flight, the state of a breaker, also one that
//! is forced open.
//!
//! [`Settings::apply`] applies every section. [`Settings::apply_after`] and [`File::check`] apply the
//! sections that have changed, so a limit or a mode that was set by hand stays until its section
//! changes. A part of a stack that was changed by its own handle stays until its own fields change.
//! A policy whose section was removed stays as it is.
//!
//! # Errors
//!
//! A document that has a problem gives no `Settings`. One that a live policy cannot follow, such as
//! another number of authorities, changes nothing.

mod apply;
mod file;
mod keyed;
mod kind;
mod policies;
mod read;
mod section;
#[cfg(feature = "tower")]
mod stacks;
#[cfg(all(test, not(seawall_loom), feature = "tower"))]
mod tests;
mod tree;
mod value;
#[cfg(feature = "tokio")]
mod waiting;

pub use apply::Applied;
pub use file::{File, FileError};
pub use read::Settings;
pub use tree::Document;
#[cfg(feature = "console")]
pub(in crate::observe) use value::{RATE, quota};
