use std::future::{Future, Pending};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::piped::Piped;
use crate::fallback::{Action, Cause};
use crate::rejection::Error;

/// The action of a pipeline without a fallback. It has no value.
#[derive(Clone, Copy, Debug)]
pub enum NoFallback {}

impl<T, E> Action<(), T, E> for NoFallback {
    type Future = Pending<Result<T, E>>;

    fn answer(&self, (): (), _: Cause) -> Self::Future {
        match *self {}
    }
}

/// The user's action, for [`Piped`] errors.
pub(super) struct Piping<'a, A>(pub(super) &'a A);

impl<T, E, Via, A: Action<(), T, E>> Action<(), T, Piped<E, Via>> for Piping<'_, A> {
    type Future = PipingFuture<A::Future, Via>;

    const WAITS: bool = A::WAITS;

    fn answer(&self, (): (), cause: Cause) -> Self::Future {
        let answer = self.0.answer((), cause);
        let via = PhantomData;
        PipingFuture { answer, via }
    }
}

pin_project! {
    pub(super) struct PipingFuture<F, Via> {
        #[pin]
        answer: F,
        via: PhantomData<fn() -> Via>,
    }
}

impl<T, E, Via, F: Future<Output = Result<T, E>>> Future for PipingFuture<F, Via> {
    type Output = Result<T, Piped<E, Via>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.project().answer;
        answer
            .poll(cx)
            .map_err(|error| Error::Service(error).into())
    }
}
