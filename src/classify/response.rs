#[cfg(feature = "tokio")]
use crate::drain::Drain;
use crate::outcome::{FailureKind, Outcome};
use crate::rejection::Reason;

/// A response that says whether it is a success.
///
/// Implemented for `http::Response`, `http::StatusCode` and `reqwest::Response` (features), which
/// are judged by their status, for `tonic::Response` (feature), and for `Result`. Implement it for
/// your own type with one line of [`judge!`](crate::judge). Unit, `bool`, numbers, text, tuples,
/// `Option` and `Vec` are successes without it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say whether it is a success",
    label = "no type is a success by default",
    note = "write `seawall::judge!({Self}, |response| ..)` for a type of yours; for one of another crate look at errors only: `.run_with(seawall::classify::ErrorsOnly, ..)`, or `.classify(ErrorsOnly)` on a layer",
    note = "the responses of `http`, `reqwest` 0.13 and `tonic` 0.14 are known with the feature of seawall of that name"
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

/// A `Result` inside of a response, such as that of `tokio::time::timeout` around a call. An error
/// in it is a failure.
impl<T, E> Judge for Result<T, E> {
    fn judge(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::failure(FailureKind::Error),
        }
    }
}

/// The response of a service that can be classified: every [`Judge`], and plain data, which is a
/// success. Only named in bounds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say whether it is a success",
    label = "no type of yours is a success by default",
    note = "write `seawall::judge!({Self}, |response| ..)` for a type of yours; for one of another crate look at errors only: `.run_with(seawall::classify::ErrorsOnly, ..)`, or `.classify(ErrorsOnly)` on a layer",
    note = "the responses of `http`, `reqwest` 0.13 and `tonic` 0.14 are known with the feature of seawall of that name"
)]
pub trait Answer {
    /// The class of this response.
    fn judge(&self) -> Outcome {
        Outcome::Success
    }

    /// Marks this response as a rejection by the library, as far as it can be marked.
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

impl<T: Judge> Answer for T {
    fn judge(&self) -> Outcome {
        Judge::judge(self)
    }

    fn mark(&mut self, reason: Reason) {
        Judge::mark(self, reason);
    }

    fn reason(&self) -> Option<&Reason> {
        Judge::reason(self)
    }

    #[cfg(feature = "tokio")]
    fn drain(self) -> Option<Drain> {
        Judge::drain(self)
    }
}

/// Calls the macro `$each` for each of unit, `bool`, numbers, text and bytes.
macro_rules! for_plain_types {
    ($each:ident) => {
        $each!(
            (),
            bool,
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
        $each!(String, &'static str);
    };
}
pub(crate) use for_plain_types;

macro_rules! plain {
    ($($ty:ty),*) => {
        $(impl Answer for $ty {})*
    };
}

for_plain_types!(plain);

impl<T> Answer for Vec<T> {}
impl<T> Answer for Option<T> {}
impl<A, B> Answer for (A, B) {}
impl<A, B, C> Answer for (A, B, C) {}
impl<A, B, C, D> Answer for (A, B, C, D) {}

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
///
/// The layers classify by it, and so does `run_with(Standard, ..)`. `run` needs no macro for a type
/// whose values are all successes.
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
