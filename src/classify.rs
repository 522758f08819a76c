//! Success or failure.
//!
//! One classifier serves the circuit breaker, the budget, retry and hedge. The library's own
//! rejections never reach it: they are [`Outcome::Ignore`], except for a timeout, which is a
//! failure.

#[cfg(feature = "tokio")]
pub use crate::drain::Drain;
pub use crate::outcome::{FailureKind, Outcome};
use crate::rejection::{Fault, Reason};

/// Turns the response or error of a call into an [`Outcome`].
///
/// It is set once on a policy or a layer:
///
/// - [`Standard`], the default: a response says so itself ([`Judge`]), and every error is a
///   failure.
/// - [`ErrorsOnly`]: every response is a success. Use it for response types without [`Judge`].
/// - [`ErrorsBy`]: every response is a success, and a closure classifies the error.
/// - A closure `|outcome: Result<&Res, &Err>| -> Outcome`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify `Result<{Res}, {Err}>`",
    label = "the response type cannot say whether it is a success",
    note = "write `seawall::judge!({Res}, |response| ..)` for a type of yours, or look at errors only with `seawall::classify::ErrorsOnly`"
)]
pub trait Classify<Res, Err> {
    /// Classifies this outcome, which is not a rejection by the library.
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome;

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

const ERROR: Outcome = Outcome::Failure {
    kind: FailureKind::Error,
    retry_after: None,
};

/// The default classifier: a response says itself whether it is a success ([`Judge`]), and every
/// error is a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard;

impl<Res: Judge, Err> Classify<Res, Err> for Standard {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        outcome.map_or(ERROR, Judge::judge)
    }

    fn reason<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        response.reason()
    }

    #[cfg(feature = "tokio")]
    fn drain(&self, response: Res) -> Option<Drain> {
        response.drain()
    }
}

/// A classifier for which every response is a success and every error is a failure.
///
/// Use it for response types of other crates, such as a database row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorsOnly;

impl<Res, Err> Classify<Res, Err> for ErrorsOnly {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        outcome.map_or(ERROR, |_| Outcome::Success)
    }
}

/// A classifier for which every response is a success, and a closure classifies errors.
///
/// ```
/// use seawall::classify::{ErrorsBy, FailureKind, Outcome};
///
/// let not_found_is_a_success = ErrorsBy(|error: &std::io::Error| match error.kind() {
///     std::io::ErrorKind::NotFound => Outcome::Success,
///     _ => Outcome::Failure { kind: FailureKind::Error, retry_after: None },
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

// `Judge` is required because only the response can say that it is a rejection of ours.
impl<Res: Judge, Err, F: Fn(Result<&Res, &Err>) -> Outcome> Classify<Res, Err> for F {
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

/// Classifies an outcome, and returns whether the call was rejected before it was made. `reason` is
/// that of an error that is a rejection by the library.
#[inline]
pub(crate) fn judge<Res, Err, C: Classify<Res, Err>>(
    classifier: &C,
    reason: Option<&Reason>,
    outcome: Result<&Res, &Err>,
) -> (Outcome, bool) {
    match reason.or_else(|| classifier.reason(outcome.ok()?)) {
        Some(reason) => (reason.outcome(), reason.call_not_made()),
        None => (classifier.classify(outcome), false),
    }
}

/// [`judge`] for the output of a closure.
pub(crate) fn judge_run<T, E, C, Via>(classifier: &C, output: &Result<T, E>) -> (Outcome, bool)
where
    E: Fault<Via>,
    C: Classify<T, E>,
{
    let reason = output.as_ref().err().and_then(Fault::reason);
    judge(classifier, reason, output.as_ref())
}

/// A response that says whether it is a success.
///
/// Implemented for `http::Response` and `reqwest::Response` (features), which are judged by their
/// status, and for unit, numbers, text and bytes, which are successes. Implement it for your own
/// type with one line of [`judge!`](crate::judge). No other type is a success by default.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say whether it is a success",
    label = "no type is a success by default",
    note = "write `seawall::judge!({Self}, |response| ..)` for a type of yours; for one of another crate look at errors only: `.run_with(seawall::classify::ErrorsOnly, ..)`, or `.classify(ErrorsOnly)` on a layer"
)]
pub trait Judge {
    /// The class of this response.
    fn judge(&self) -> Outcome;

    /// Marks this response as a rejection by the library, for the layers above. The default does
    /// nothing.
    fn mark(&mut self, reason: Reason) {
        let _ = reason;
    }

    /// The reason, if this response was [marked](Self::mark).
    fn reason(&self) -> Option<&Reason> {
        None
    }

    /// What is left to read of this failed response, which is not returned. The default drops it.
    #[cfg(feature = "tokio")]
    fn drain(self) -> Option<Drain>
    where
        Self: Sized,
    {
        None
    }
}

/// Calls the macro `$each` for each of unit, numbers, text and bytes.
macro_rules! for_plain_types {
    ($each:ident) => {
        $each!(
            (),
            u8,
            u16,
            u32,
            u64,
            u128,
            usize,
            i8,
            i16,
            i32,
            i64,
            i128,
            isize,
            f32,
            f64
        );
        $each!(String, &'static str, Vec<u8>);
    };
}
pub(crate) use for_plain_types;

macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl Judge for $ty {
            #[inline]
            fn judge(&self) -> Outcome {
                Outcome::Success
            }
        }
    )*};
}

for_plain_types!(plain);

/// Implements [`Judge`](crate::classify::Judge) for your own response type.
///
/// ```
/// use seawall::classify::{FailureKind, Outcome};
///
/// struct Reply {
///     busy: bool,
/// }
///
/// seawall::judge!(Reply, |reply| match reply.busy {
///     true => Outcome::Failure { kind: FailureKind::Throttled, retry_after: None },
///     false => Outcome::Success,
/// });
/// // Every value of this type is a success:
/// struct Row;
/// seawall::judge!(Row);
/// ```
#[macro_export]
macro_rules! judge {
    ($ty:ty) => {
        $crate::judge!($ty, |_| $crate::classify::Outcome::Success);
    };
    ($ty:ty, |$response:pat_param| $outcome:expr) => {
        impl $crate::classify::Judge for $ty {
            fn judge(&self) -> $crate::classify::Outcome {
                let $response = self;
                $outcome
            }
        }
    };
}
