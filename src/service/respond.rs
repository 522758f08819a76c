//! How a rejection becomes the outcome of a service.

use crate::classify::Judge;
use crate::rejection::{Carrier, Rejection};

/// How a refusal is said in the terms of a service: as its error or as its response.
///
/// `Self` is the service's error.
#[diagnostic::on_unimplemented(
    message = "a layer cannot say a refusal to a service whose error is `{Self}` and whose response is `{Res}`",
    label = "neither does the error carry a rejection nor can the response be made",
    note = "put `.map_err(seawall::Error::service)` at the bottom of the stack, or give your own enum a variant and write `seawall::carrier!(MyError::Rejected);`",
    note = "for `Infallible` with `http::Response<B>` enable the feature `http`; a body `B` without `Default` is re-boxed, or use `.respond(..)` on the layer"
)]
pub trait Reject<Req, Res>: Sized {
    /// What is kept of the request to answer it after it has gone.
    type Format: Format<Res, Self>;

    /// Reads from `req` how it wants to be answered.
    fn format(req: &Req) -> Self::Format;
}

/// Makes the outcome that says a refusal. It travels in futures, so it is small and `Copy` and
/// holds nothing of the request's type.
pub trait Format<Res, Err>: Copy + Send + Sync + Unpin + 'static {
    /// The outcome that says `rejection`.
    ///
    /// # Errors
    /// Where the refusal is said as an error, that error.
    fn reject(self, rejection: Rejection) -> Result<Res, Err>;
}

/// The [`Format`] of a [`Carrier`]: nothing needs to be known of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsError;

impl<Res, E: Carrier> Format<Res, E> for AsError {
    fn reject(self, rejection: Rejection) -> Result<Res, E> {
        Err(E::carry(rejection))
    }
}

impl<Req, Res, E: Carrier> Reject<Req, Res> for E {
    type Format = AsError;

    fn format(_: &Req) -> AsError {
        AsError
    }
}

/// How a layer says its refusals: its defaulted parameter.
///
/// [`Native`] says them in the service's own terms; `.respond(f)` on a layer puts a
/// [`RespondWith`] in its place. Implement it yourself where the answer depends on the request.
pub trait Respond<Req, Res, Err> {
    /// What is kept of the request to answer it after it has gone.
    type Format: Format<Res, Err>;

    /// Reads from `req` how it is to be answered.
    fn format(&self, req: &Req) -> Self::Format;
}

/// Refusals in the service's own terms, by its error's [`Reject`]; the default of every layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl<Req, Res, Err: Reject<Req, Res>> Respond<Req, Res, Err> for Native {
    type Format = Err::Format;

    fn format(&self, req: &Req) -> Err::Format {
        Err::format(req)
    }
}

/// In place of a responder in a layer that refuses nothing: there is none.
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

/// Refusals as a closure says them; made by `.respond(f)` on a layer.
#[derive(Clone, Copy)]
pub struct RespondWith<F>(pub(crate) F);

impl<F> std::fmt::Debug for RespondWith<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RespondWith(..)")
    }
}

impl<Req, Res, Err, F> Respond<Req, Res, Err> for RespondWith<F>
where
    Self: Format<Res, Err>,
{
    type Format = Self;

    fn format(&self, _: &Req) -> Self {
        *self
    }
}

impl<Res, Err, F> Format<Res, Err> for RespondWith<F>
where
    Res: Judge,
    F: Fn(Rejection) -> Result<Res, Err> + Copy + Send + Sync + Unpin + 'static,
{
    fn reject(self, rejection: Rejection) -> Result<Res, Err> {
        let reason = rejection.reason().clone();
        let mut response = (self.0)(rejection)?;
        response.mark(reason);
        Ok(response)
    }
}
