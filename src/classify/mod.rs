//! Success or failure.
//!
//! One classifier serves the circuit breaker, the budget, retry and hedge. The library's own
//! rejections never reach it, wherever they are in the source chain of an error: they are
//! [`Outcome::Ignore`], except for a timeout, which is a failure.
//!
//! # Errors
//!
//! [`Standard`], [`ErrorsOnly`] and `run` without a classifier look at an error and at its whole
//! source chain ([`by_source`]). They know these types; every other error is a failure of kind
//! [`Error`](FailureKind::Error).
//!
//! | error | outcome | feature |
//! |---|---|---|
//! | `io::Error`: connection refused | [`Unsent`](FailureKind::Unsent) | |
//! | `io::Error`: timed out or would block; tokio's `Elapsed` | [`Timeout`](FailureKind::Timeout) | |
//! | hyper-util: cannot connect; `hyper::Error`: canceled or closed | `Unsent`: the request was not written | `hyper` |
//! | `h2::Error`: `REFUSED_STREAM`, or a `GOAWAY` of the server that excludes the stream | `Unsent` | `hyper` |
//! | `h2::Error`: `ENHANCE_YOUR_CALM` | [`Throttled`](FailureKind::Throttled) | `hyper` |
//! | `hyper::Error`: timeout | `Timeout` | `hyper` |
//! | `reqwest::Error`: cannot connect | `Unsent` | `reqwest` |
//! | `reqwest::Error`: timeout | `Timeout` | `reqwest` |
//! | `reqwest::Error`: of `error_for_status` | that of a response with this status; the delay of a 429 or 503 is lost: a retry waits up to a second, and sends only what may be sent twice | `reqwest` |
//! | `reqwest::Error`: a body that does not parse; too many redirects | [`Permanent`](FailureKind::Permanent) | `reqwest` |
//! | `reqwest::Error`: the request cannot be built | [`Ignore`](Outcome::Ignore): it is the caller's mistake | `reqwest` |
//! | the request body of the caller failed, under a `ReplayLayer` or an HTTP client stack | `Ignore`: it says nothing about the server | `http` |
//! | `tonic::Status` of the server | by its code and pushback | `tonic` |
//! | `tonic::Status` made in this process | by the error that it was made of | `tonic` |
//!
//! "Unsent" is also found below other errors, and then goes first: a request that a connection
//! refused did not reach its service. A service whose error has such a source may have had an
//! effect of its own before; classify its errors with [`ErrorsBy`].
//!
//! # Kinds of failures
//!
//! | kind | circuit breaker | retry | price of the extra attempt | hedge |
//! |---|---|---|---|---|
//! | [`Error`](FailureKind::Error), [`Response`](FailureKind::Response) | failure | idempotent requests | 1 | the next attempt at once |
//! | [`Timeout`](FailureKind::Timeout) | failure; ignored within [`fair_time`](crate::circuit_breaker::Builder::fair_time) | idempotent requests | 1 | at once |
//! | [`RequestTimeout`](FailureKind::RequestTimeout) | ignored | idempotent requests | 1 | at once |
//! | [`Unsent`](FailureKind::Unsent) | failure | every request | 1 | at once |
//! | [`Throttled`](FailureKind::Throttled) | in no rate; in a run of failures and as a probe ([`Throttled`](crate::circuit_breaker::Throttled)) | after its delay every request, without one idempotent requests | 5 | after the hedge's delay |
//! | [`Permanent`](FailureKind::Permanent) | failure | none | | none |
//! | [`Panic`](FailureKind::Panic) | failure | the panic goes on | | the panic goes on |
//! | [`Slow`](FailureKind::Slow) | failure, and slow to a slow rule | none | | |
//!
//! After a failure with a `Retry-After` the next attempt of a hedge starts after the hedge's delay,
//! and after one that forbids another call there is none, whatever the kind.
//!
//! # Boxed errors
//!
//! In the error `Box<dyn Error>` of a tower service the outermost error cannot be looked at, only
//! its sources. Put `.map_err(seawall::Error::service)` over the client, below every layer that
//! boxes, and the whole error is seen. `run` looks into boxes.

mod by_source;
#[cfg(feature = "http")]
mod codes;
#[cfg(debug_assertions)]
mod hint;
#[cfg(feature = "hyper")]
mod hyper;
mod io;
#[cfg(all(feature = "http", feature = "tower"))]
mod request_body;
#[cfg(feature = "reqwest")]
mod reqwest;
mod response;
#[cfg_attr(not(feature = "http"), allow(dead_code))]
pub(crate) mod status;
#[cfg(feature = "tonic")]
mod tonic;
#[cfg(feature = "tokio")]
mod verdict;

use std::error::Error as StdError;
use std::panic::UnwindSafe;

pub use by_source::by_source;
#[cfg(feature = "http")]
pub use codes::Codes;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use request_body::RequestBodyError;
#[cfg(feature = "reqwest")]
pub use reqwest::{Failed, checked, checked_with_body};
pub(crate) use response::for_plain_types;
pub use response::{Answer, Judge};
#[cfg(all(feature = "tonic", feature = "tower"))]
pub(crate) use tonic::of_status;
#[cfg(feature = "tower")]
pub use verdict::By;
#[cfg(feature = "tokio")]
pub(crate) use verdict::{InRun, Verdict};

#[cfg(feature = "tokio")]
pub use crate::drain::Drain;
pub use crate::outcome::{FailureKind, Outcome};
use crate::rejection::{Fault, Reason};

/// Turns the response or error of a call into an [`Outcome`].
///
/// It is set once on a policy or a layer:
///
/// - [`Standard`], the default of layers: a response says so itself ([`Judge`]), and an error is
///   known by its source chain ([`by_source`]).
/// - [`Direct`], the default of `run`: as `Standard`, and plain data is a success.
/// - [`ErrorsOnly`]: every response is a success. Use it for response types without [`Judge`].
/// - [`ErrorsBy`]: every response is a success, and a closure classifies the error.
/// - A closure `|outcome: Result<&Res, &Err>| -> Outcome`.
///
/// `Via` is inferred: [`Direct`] distinguishes responses and data by it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify `Result<{Res}, {Err}>`",
    label = "the response type cannot say whether it is a success",
    note = "write `seawall::judge!({Res}, |response| ..)` for a type of yours, or look at errors only with `seawall::classify::ErrorsOnly`: `.run_with(ErrorsOnly, ..)`, or `.classify(ErrorsOnly)` on a layer",
    note = "the responses of `http`, `reqwest` 0.13 and `tonic` 0.14 are known with the feature of seawall of that name"
)]
pub trait Classify<Res, Err, Via = ()> {
    /// Classifies this outcome, which is not a rejection by the library.
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome;

    /// Classifies an error by its type and its sources. With `None`, which is the default,
    /// [`classify`](Self::classify) decides.
    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        let _ = error;
        None
    }

    /// The reason, if this response is a rejection by the library.
    fn reason<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        let _ = response;
        None
    }

    /// What is left to read of a failed response that is not returned, because a retry follows.
    /// The default drops it.
    #[cfg(feature = "tokio")]
    fn drain(&self, response: Res) -> Option<Drain> {
        drop(response);
        None
    }
}

const ERROR: Outcome = Outcome::failure(FailureKind::Error);

/// The default classifier of layers: a response says itself whether it is a success ([`Judge`]),
/// and an error is known by its source chain ([`by_source`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard;

impl<Res: Answer, Err> Classify<Res, Err> for Standard {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        outcome.map_or(ERROR, Answer::judge)
    }

    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        Some(by_source(error))
    }

    fn reason<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        response.reason()
    }

    #[cfg(feature = "tokio")]
    fn drain(&self, response: Res) -> Option<Drain> {
        response.drain()
    }
}

/// The default classifier of `run`: a response says itself whether it is a success ([`Judge`]),
/// plain data is a success, and an error is known by its source chain ([`by_source`]).
///
/// Data is every type that is [`UnwindSafe`], such as a row, a number or your own struct of them. A
/// response of HTTP or gRPC is not: it holds extensions, which are trait objects. A type that is
/// neither does not compile, and neither does one that is both: for a type of yours with
/// [`judge!`](crate::judge) write `.run_with(Standard, ..)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direct;

impl<Res: Judge, Err> Classify<Res, Err> for Direct {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        Standard.classify(outcome)
    }

    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        Some(by_source(error))
    }

    fn reason<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        Judge::reason(response)
    }

    #[cfg(feature = "tokio")]
    fn drain(&self, response: Res) -> Option<Drain> {
        Judge::drain(response)
    }
}

/// The `Via` of [`Direct`] for plain data.
#[derive(Debug)]
pub enum Data {}

impl<Res: UnwindSafe, Err> Classify<Res, Err, Data> for Direct {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        ErrorsOnly.classify(outcome)
    }

    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        Some(by_source(error))
    }
}

/// A classifier for which every response is a success. An error is known by its source chain
/// ([`by_source`]).
///
/// Use it for response types of other crates, such as a database connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorsOnly;

impl<Res, Err> Classify<Res, Err> for ErrorsOnly {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        outcome.map_or(ERROR, |_| Outcome::Success)
    }

    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        Some(by_source(error))
    }
}

/// A classifier for which every response is a success, and a closure classifies errors.
///
/// ```
/// use seawall::classify::{self, ErrorsBy, Outcome};
///
/// let not_found_is_a_success = ErrorsBy(|error: &std::io::Error| match error.kind() {
///     std::io::ErrorKind::NotFound => Outcome::Success,
///     _ => classify::by_source(error),
/// });
/// # fn takes<C: seawall::Classify<Vec<u8>, std::io::Error>>(_: C) {}
/// # takes(not_found_is_a_success);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorsBy<F>(pub F);

impl<Res, Err, F: Fn(&Err) -> Outcome> Classify<Res, Err> for ErrorsBy<F> {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        outcome.map_or_else(&self.0, |_| Outcome::Success)
    }
}

// `Answer` is required because only the response can say that it is a rejection of ours.
impl<Res: Answer, Err, F: Fn(Result<&Res, &Err>) -> Outcome> Classify<Res, Err> for F {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        self(outcome)
    }

    fn reason<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        response.reason()
    }

    #[cfg(feature = "tokio")]
    fn drain(&self, response: Res) -> Option<Drain> {
        response.drain()
    }
}

/// Classifies an outcome, and returns whether the call was rejected before it was made. `error` is
/// what can be seen of the outcome's error, and `reason` is that of an error that cannot be seen.
#[inline]
pub(crate) fn judge<Res, Err, C, Via>(
    classifier: &C,
    error: Option<&(dyn StdError + 'static)>,
    reason: Option<&Reason>,
    outcome: Result<&Res, &Err>,
) -> (Outcome, bool)
where
    C: Classify<Res, Err, Via>,
{
    if let Some(reason) = reason_of(classifier, error, reason, outcome) {
        return (reason.outcome(), reason.call_not_made());
    }
    let known = error.and_then(|error| classifier.by_source(error));
    #[cfg(debug_assertions)]
    if let (Some(ERROR), Some(error)) = (known, error) {
        hint::unknown::<Err>(error);
    }
    (known.unwrap_or_else(|| classifier.classify(outcome)), false)
}

/// The reason, if this outcome is a rejection by the library. Takes what [`judge`] takes.
#[inline]
pub(crate) fn reason_of<'o, Res, Err, C, Via>(
    classifier: &C,
    error: Option<&'o (dyn StdError + 'static)>,
    reason: Option<&'o Reason>,
    outcome: Result<&'o Res, &Err>,
) -> Option<&'o Reason>
where
    C: Classify<Res, Err, Via>,
{
    match outcome {
        Ok(response) => classifier.reason(response),
        Err(_) => reason.or_else(|| error.and_then(Reason::find)),
    }
}

/// [`judge`] for the output of a closure.
pub(crate) fn judge_run<T, E, C, Via, Seen>(
    classifier: &C,
    output: &Result<T, E>,
) -> (Outcome, bool)
where
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    let error = output.as_ref().err().and_then(Fault::error);
    judge(classifier, error, None, output.as_ref())
}
