//! One line around a client of reqwest:
//!
//! ```no_run
//! use seawall::ClientStack;
//! # #[derive(serde::Deserialize)] struct User { name: String }
//!
//! # async fn user() -> Result<User, seawall::Error<reqwest::Error>> {
//! let client = ClientStack::http("users").reqwest(reqwest::Client::new());
//!
//! let response = client.get("http://users/7").query(&[("full", "1")]).send().await?;
//! let user: User = response.error_for_status()?.json().await?;
//! # Ok(user) }
//! ```
//!
//! [`Client`] and [`RequestBuilder`] have the methods of reqwest's, and the response is reqwest's own.
//! `send` returns a [`seawall::Error<reqwest::Error>`](crate::Error): a rejection by the stack, or an
//! error of reqwest. `error_for_status`, `text` and `json` return an error of reqwest, which `?` turns
//! into one of `seawall`.
//!
//! # What a call does
//!
//! - A 404 is sent once and opens no breaker. A 503 with `Retry-After` is sent again after its delay.
//!   The last response is returned whole, so that its status can be read.
//! - A call lasts until the end of its response's body. A body that is cut short is a failure for the
//!   breaker of its host, and one that stalls ends at the total timeout. `json`, `text` and `chunk`
//!   return an error of reqwest then, and [`Reason::find`](crate::Reason::find) finds the timeout in
//!   it.
//! - A body in memory is sent again as it is, of any size. A stream is sent once.
//! - [`RequestBuilder::timeout`] is the total of one call with its body, as in reqwest, and at most
//!   the total timeout of the stack, or what that [allows](crate::stack::ClientConfig::longest_total_timeout). [`RequestBuilder::overrides`] has more.
//! - A timeout of the `reqwest::Client` itself is one of each attempt with its body.
//! - Redirects are followed within an attempt, and count for the host of the first request.
//!
//! # Stacks with options
//!
//! ```
//! use std::time::Duration;
//! use seawall::ClientStack;
//!
//! struct Users {
//!     client: seawall::reqwest::Client,
//! }
//!
//! let stack = ClientStack::builder("users").total_timeout(Duration::from_secs(2)).attempt_timeout(Duration::from_millis(500));
//! let users = Users { client: stack.build()?.until_body_end().reqwest(reqwest::Client::new()) };
//! # drop(users.client);
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! Where a client is kept in a field, its type is [`Client`] as long as the stack is made of numbers, and
//! [`ClientOf`] the type of the stack where an option has a type of its own:
//!
//! ```
//! use seawall::attempts::OnlyIf;
//! use seawall::classify::Standard;
//! use seawall::http::{CallHeaders, HttpClientStack, SendCallHeaders};
//! use seawall::reqwest::{Call, ClientOf};
//! use seawall::{ClientStack, RateLimiter};
//!
//! // A closure has no name: a function has.
//! type Only = OnlyIf<fn(&Call) -> bool>;
//! type Stack = SendCallHeaders<HttpClientStack<RateLimiter, Standard, Only>>;
//!
//! struct Users {
//!     client: ClientOf<Stack>,
//! }
//!
//! fn reads(call: &Call) -> bool {
//!     call.url().path().starts_with("/read/")
//! }
//!
//! let stack = ClientStack::http("users").only(reads as fn(&Call) -> bool).send_call_headers(CallHeaders::new());
//! let users = Users { client: stack.reqwest(reqwest::Client::new()) };
//! # drop(users.client);
//! ```
//!
//! Closures of the stack see a [`Call`], which dereferences to `reqwest::Request`.
//!
//! # reqwest 0.12, and reqwest-middleware
//!
//! This module is for reqwest 0.13. [`guide::clients`](crate::guide::clients) has a stack around a client of 0.12, and a
//! pipeline as a middleware of reqwest-middleware, both tested, beside the same client by other crates.
//!
//! # Cancel safety
//!
//! Dropping the future of `send`, or the response, ends the call and releases what it holds.

mod attempt;
mod call;
mod client;
mod request;
mod send;

pub use attempt::{AttemptFuture, AttemptService};
pub use call::Call;
pub use client::{Client, ClientOf};
pub use request::RequestBuilder;
pub use send::Service;
