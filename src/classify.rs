//! What an outcome says of the health of a service.
//!
//! One classifier serves every policy that judges. The library's own refusals never reach it:
//! they are [`Outcome::Ignore`], but for an elapsed timeout, which is a failure.

pub use crate::outcome::{FailureKind, Outcome};
use crate::rejection::Reason;

/// Turns the outcome of a call into an [`Outcome`].
///
/// Given once to a policy or a layer. [`Standard`] asks the response ([`Judge`]) and takes every
/// error as a failure; a closure `|outcome: Result<&Res, &Err>| -> Outcome` decides by itself;
/// [`ErrorsOnly`] takes every response as a success, for response types that cannot be asked.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify `Result<{Res}, {Err}>`",
    label = "the response type cannot say whether it is a success",
    note = "write `seawall::judge!({Res}, |response| ..)` for a type of yours, or look at errors only with `seawall::classify::ErrorsOnly`"
)]
pub trait Classify<Res, Err> {
    /// What this outcome says. The library's own refusals have been taken out before.
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome;

    /// The reason, if this response is a refusal of the library's own.
    fn refusal<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        let _ = response;
        None
    }
}

/// The default classifier: a response is asked through [`Judge`], every error is a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard;

impl<Res: Judge, Err> Classify<Res, Err> for Standard {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        match outcome {
            Ok(response) => response.judge(),
            Err(_) => Outcome::Failure {
                kind: FailureKind::Error,
                retry_after: None,
            },
        }
    }

    fn refusal<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        response.refusal()
    }
}

/// A classifier that looks at errors only: every response is a success.
///
/// For response types of other crates, such as a database's row, where no response is a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorsOnly;

impl<Res, Err> Classify<Res, Err> for ErrorsOnly {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        match outcome {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure {
                kind: FailureKind::Error,
                retry_after: None,
            },
        }
    }
}

/// A classifier that asks a closure about errors; every response is a success.
///
/// ```
/// use seawall::classify::{ErrorsBy, FailureKind, Outcome};
///
/// let not_found_is_no_failure = ErrorsBy(|error: &std::io::Error| match error.kind() {
///     std::io::ErrorKind::NotFound => Outcome::Success,
///     _ => Outcome::Failure { kind: FailureKind::Error, retry_after: None },
/// });
/// # fn takes<C: seawall::Classify<Vec<u8>, std::io::Error>>(_: C) {}
/// # takes(not_found_is_no_failure);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorsBy<F>(pub F);

impl<Res, Err, F: Fn(&Err) -> Outcome> Classify<Res, Err> for ErrorsBy<F> {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        match outcome {
            Ok(_) => Outcome::Success,
            Err(error) => (self.0)(error),
        }
    }
}

// A response of ours may be in the hands of a closure that knows nothing of it, so the closure's
// responses too must be able to say what they are.
impl<Res: Judge, Err, F: Fn(Result<&Res, &Err>) -> Outcome> Classify<Res, Err> for F {
    fn classify(&self, outcome: Result<&Res, &Err>) -> Outcome {
        self(outcome)
    }

    fn refusal<'r>(&self, response: &'r Res) -> Option<&'r Reason> {
        response.refusal()
    }
}

/// Classifies an outcome of which `refusal` is the reason, where its error is one of ours.
#[inline]
pub(crate) fn settle<Res, Err, C: Classify<Res, Err>>(
    classifier: &C,
    refusal: Option<&Reason>,
    outcome: Result<&Res, &Err>,
) -> Outcome {
    let refusal = refusal.or_else(|| classifier.refusal(outcome.ok()?));
    match refusal {
        Some(reason) => reason.outcome(),
        None => classifier.classify(outcome),
    }
}

/// A response that can say whether it is a success.
///
/// Implemented for `http::Response` and `reqwest::Response` (features), unit, numbers, text
/// and bytes; a type of yours joins with one line of [`judge!`](crate::judge). There is no implementation
/// for all types: nothing is a success by silence.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say whether it is a success",
    label = "nothing is taken for a success by silence",
    note = "write `seawall::judge!({Self}, |response| ..)` for a type of yours; for one of another crate look at errors only: `.run_with(seawall::classify::ErrorsOnly, ..)`, or `.classify(ErrorsOnly)` on a layer"
)]
pub trait Judge {
    /// What this response says.
    fn judge(&self) -> Outcome;

    /// Marks this response as a refusal of the library's own, so that it is known again above.
    /// A type with no place for it does nothing.
    fn mark(&mut self, reason: Reason) {
        let _ = reason;
    }

    /// The reason, if this response was [marked](Self::mark).
    fn refusal(&self) -> Option<&Reason> {
        None
    }
}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {$(
        impl Judge for $ty {
            #[inline]
            fn judge(&self) -> Outcome {
                Outcome::Success
            }
        }
    )*};
}

plain!(
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
    f64,
    String,
    &'static str,
    Vec<u8>,
);

/// Lets a response type of yours say whether it is a success.
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
/// // A type of which every value is a success:
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
