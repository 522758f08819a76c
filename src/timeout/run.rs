//! Calls without a service.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::Timeout;
use super::call::{Started, Timed, TimedCall};
use crate::context::ClockReading;
use crate::context::path::IN_RUN;
use crate::rejection::{Error, Fault, Reason};

impl Timeout {
    /// Makes one call under this timeout.
    ///
    /// The clock starts when the returned future is first polled; `call` runs then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    ///
    /// let timeout = seawall::Timeout::new(Duration::from_secs(1));
    /// let answer = timeout.run(|| async { Ok::<_, std::io::Error>(42) }).await;
    /// assert_eq!(answer.unwrap(), 42);
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Service`] with the error of the call; [`Error::Rejected`] with
    /// [`RejectionKind::TimedOut`](crate::RejectionKind::TimedOut) when the limit or an earlier
    /// deadline passed first, or [`RejectionKind::Expired`](crate::RejectionKind::Expired),
    /// without a call of `call`, when the deadline had passed before.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call.
    ///
    /// # Panics
    /// When a pending call is polled outside of a tokio runtime with time enabled.
    pub async fn run<T, E, F, Fut, Via>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Fault<Via>,
    {
        self.warn_if_applied_twice(&IN_RUN);
        let started = Started::new(self, None, None, &mut ClockReading::none())?;
        let mut timed = pin!(Timed::new(started, call, ()));
        let end = |call: &mut TimedCall, (): &(), output: &mut Result<T, E>| {
            call.completed(|| is_rejected(output));
        };
        poll_fn(|cx| match timed.as_mut().poll_call(cx, end) {
            Poll::Ready(output) => Poll::Ready(output.map_err(Error::Service)),
            Poll::Pending => timed.as_mut().poll_timer(cx).map(|r| Err(r.into())),
        })
        .await
    }
}

/// Whether a policy below rejected the call before it was made.
fn is_rejected<T, E: Fault<Via>, Via>(output: &Result<T, E>) -> bool {
    let error = output.as_ref().err().and_then(Fault::error);
    let reason = error.and_then(Reason::find);
    reason.is_some_and(Reason::call_not_made)
}
