//! How a rejection becomes the outcome of a service.

use std::any::Any;
use std::fmt;

use crate::classify::Answer;
use crate::rejection::{Carrier, Reason, Rejection};

/// How a layer answers a call that it rejects: as the service's error or as its response. It is
/// the last type parameter of a layer.
///
/// The default is [`Native`]. `.respond(closure)` on a layer sets a [`RespondWith`]. Implement the
/// trait yourself if the answer depends on the request, and set it with `.respond_as(..)`.
#[diagnostic::on_unimplemented(
    message = "a layer cannot reject calls to a service whose error is `{Err}` and whose response is `{Res}`",
    label = "the error cannot carry a rejection, and the response cannot be made from one",
    note = "put `.map_err(seawall::Error::service)` at the bottom of the stack, or give your own enum a variant and write `seawall::carrier!(MyError::Rejected);`",
    note = "a service with `Infallible` and `http::Response<B>` needs the feature `http` and `B: Default`; re-box a body without `Default`, or use `.respond(..)` on the layer"
)]
pub trait Respond<Req, Res, Err> {
    /// What is kept of the request until the answer is made.
    type Format: Format<Res, Err>;

    /// Reads from `req` how a rejection is to be answered.
    fn format(&self, req: &Req) -> Self::Format;
}

/// Makes the outcome of a rejected call. It is stored in the response future, so it holds nothing
/// of the request's type. A layer clones it only to reject a call.
pub trait Format<Res, Err>: Clone + Send + Sync + Unpin + 'static {
    /// Makes the outcome from `rejection`.
    ///
    /// # Errors
    /// The rejection as the service's error, where it is not a response.
    fn reject(self, rejection: Rejection) -> Result<Res, Err>;

    /// Whether a response can hold what belongs to its call.
    #[doc(hidden)]
    const HOLDS: bool = false;

    /// Moves `held` into `response`, so that the call lasts for as long. Returned, the call ends
    /// with the head of the response.
    #[doc(hidden)]
    fn hold<T: Any>(response: &mut Res, held: T) -> Option<T> {
        let _ = response;
        Some(held)
    }

    /// The reason, if this outcome is a rejection by a layer below. The default recognizes none.
    fn reason<'o>(&self, outcome: Result<&'o Res, &'o Err>) -> Option<&'o Reason> {
        let _ = outcome;
        None
    }
}

/// The default of every layer: a rejection is the service's own error where that is a [`Carrier`],
/// and a response where the service never fails and answers with `http::Response` (feature
/// `http`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

/// The [`Format`] of a [`Carrier`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AsError;

impl<Req, Res, E: Carrier> Respond<Req, Res, E> for Native {
    type Format = AsError;

    fn format(&self, _: &Req) -> AsError {
        AsError
    }
}

impl<Res, E: Carrier> Format<Res, E> for AsError {
    fn reject(self, rejection: Rejection) -> Result<Res, E> {
        Err(E::carry(rejection))
    }

    fn reason<'o>(&self, outcome: Result<&'o Res, &'o E>) -> Option<&'o Reason> {
        outcome.err().and_then(E::reason)
    }
}

/// The responder of a layer that never rejects. It has no value.
#[derive(Clone, Copy, Debug)]
pub enum Silent {}

impl<Req, Res, Err> Respond<Req, Res, Err> for Silent {
    type Format = Self;

    fn format(&self, _: &Req) -> Self {
        *self
    }
}

impl<Res, Err> Format<Res, Err> for Silent {
    fn reject(self, _: Rejection) -> Result<Res, Err> {
        match self {}
    }
}

/// Answers rejections with a closure; made by `.respond(closure)` on a layer. The closure is cloned
/// for each call.
#[derive(Clone, Copy)]
pub struct RespondWith<F>(pub(crate) F);

impl<F> fmt::Debug for RespondWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RespondWith(..)")
    }
}

impl<Req, Res, Err, F> Respond<Req, Res, Err> for RespondWith<F>
where
    Self: Format<Res, Err>,
{
    type Format = Self;

    fn format(&self, _: &Req) -> Self {
        self.clone()
    }
}

impl<Res, Err, F> Format<Res, Err> for RespondWith<F>
where
    Res: Answer,
    F: Fn(Rejection) -> Result<Res, Err> + Clone + Send + Sync + Unpin + 'static,
{
    fn reject(self, rejection: Rejection) -> Result<Res, Err> {
        let reason = rejection.reason().clone();
        let mut response = (self.0)(rejection)?;
        response.mark(reason);
        Ok(response)
    }

    fn reason<'o>(&self, outcome: Result<&'o Res, &'o Err>) -> Option<&'o Reason> {
        outcome.ok().and_then(Res::reason)
    }
}
