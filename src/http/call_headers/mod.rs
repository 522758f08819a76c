//! What a client sends to the next process in the head of a request: the time left, and whether the
//! call is an extra attempt.
//!
//! ```text
//!  edge                      service                   service
//!  ServerStack  1 s          ServerStack  trusts       ServerStack  trusts
//!   └ ClientStack  sends ──>  └ ClientStack  sends ──>  └ handler
//!            x-request-timeout-ms: 984         x-request-timeout-ms: 941
//! ```

mod send;
mod trust;

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use send::{SendCallHeaders, SendService};
pub use trust::{TrustCallHeaders, TrustFuture, TrustService};

use crate::classify::status::is_digits;
use crate::context::CallContext;
use crate::deadline::Deadline;
use crate::macros::setters;
use crate::time::{self, Tick};

/// A resolution of the timers, and a round trip within a region.
const SLACK: Duration = Duration::from_millis(5);

/// The headers by which a client sends the state of its call, and a server continues it: how much time
/// is left, and whether this is an extra attempt.
///
/// A client [sends](SendCallHeaders) them and a server [trusts](TrustCallHeaders) them, each by one
/// line:
///
/// ```
/// use seawall::http::CallHeaders;
/// use seawall::{ClientStack, ServerStack};
///
/// let server = ServerStack::http("api", 200).trust_call_headers(CallHeaders::new());
/// let client = ClientStack::http("search").send_call_headers(CallHeaders::new());
/// # let _ = (server, client);
/// ```
///
/// | header | value | default name |
/// |---|---|---|
/// | [timeout](Self::timeout) | the time left in whole milliseconds, less the [slack](Self::slack) | `x-request-timeout-ms` |
/// | [attempt](Self::attempt) | the number of the attempt, from 2; a first attempt has no such header | `x-request-attempt` |
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a stack or a layer has it"]
pub struct CallHeaders {
    timeout: HeaderName,
    attempt: HeaderName,
    slack: Duration,
}

impl Default for CallHeaders {
    fn default() -> Self {
        Self::new()
    }
}

impl CallHeaders {
    /// The default names, and a slack of 5 ms.
    pub fn new() -> Self {
        Self {
            timeout: HeaderName::from_static("x-request-timeout-ms"),
            attempt: HeaderName::from_static("x-request-attempt"),
            slack: SLACK,
        }
    }

    setters! {
        /// Sets the name of the header with the time left. Behind Envoy, which sends its own timeout,
        /// a server trusts `x-envoy-expected-rq-timeout-ms`.
        timeout(name: HeaderName) => timeout = name;

        /// Sets the name of the header with the number of the attempt.
        attempt(name: HeaderName) => attempt = name;

        /// Sets by how much a client shortens the time that it sends. It is for the way there and back:
        /// the server ends the call first, so that its answer arrives in time, and no request starts
        /// there for a caller that has given up meanwhile. The default is 5 ms.
        slack(slack: Duration) => slack = slack;
    }

    /// Reads the headers of a request that has arrived now.
    fn read(&self, headers: &HeaderMap) -> Option<Arrived> {
        let left = headers.get_all(&self.timeout).iter();
        let left = left.filter_map(millis).min();
        let attempt = headers.get_all(&self.attempt).iter();
        let attempt = attempt.filter_map(number).max().filter(|n| *n > 1);
        if left.is_none() && attempt.is_none() {
            return None;
        }
        Some(Arrived {
            deadline: left.map_or(Tick::NEVER, |left| time::now().after(left)),
            attempt: attempt.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        })
    }

    /// Writes the headers of a request that is sent now. Headers of these names that it already has, such
    /// as those that a proxy forwards, are replaced or removed.
    fn write(&self, headers: &mut HeaderMap) {
        match Deadline::remaining() {
            Some(left) => {
                let millis = left.saturating_sub(self.slack).as_millis();
                let millis = u64::try_from(millis).unwrap_or(u64::MAX);
                headers.insert(&self.timeout, HeaderValue::from(millis));
            }
            None => drop(headers.remove(&self.timeout)),
        }
        match CallContext::extra() {
            // The first attempt of a retry within an extra attempt is an extra one too.
            true => {
                let attempt = HeaderValue::from(CallContext::attempt().max(2));
                headers.insert(&self.attempt, attempt);
            }
            false => drop(headers.remove(&self.attempt)),
        }
    }
}

/// The state of a call that has arrived from another process.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    deadline: Tick,
    /// The number of an extra attempt.
    attempt: Option<u32>,
}

impl Arrived {
    fn context(self) -> CallContext {
        let context = CallContext::current().within(self.deadline);
        match self.attempt {
            Some(attempt) => context.arriving(attempt),
            None => context,
        }
    }
}

/// A duration in whole milliseconds. A negative one is zero: the caller is late.
fn millis(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    if value.strip_prefix('-').is_some_and(is_digits) {
        return Some(Duration::ZERO);
    }
    parse(value).map(Duration::from_millis)
}

fn number(value: &HeaderValue) -> Option<u64> {
    parse(value.to_str().ok()?.trim())
}

/// Digits alone. A number with too many of them is very large.
fn parse(digits: &str) -> Option<u64> {
    is_digits(digits).then(|| digits.parse().unwrap_or(u64::MAX))
}
