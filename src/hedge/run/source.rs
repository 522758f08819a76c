use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "tower")]
use crate::attempts::Earned;
use crate::classify::Verdict;
#[cfg(feature = "tower")]
use crate::hedge::permit::Latency;
use crate::hedge::policy::Config;

/// What makes the extra attempts of a race: `N` is one before its call, `F` its call.
pub(in crate::hedge) trait Source<N, F, T, E>: AsRef<Config> {
    /// Whether a success may be known at the end of a body only.
    #[cfg(feature = "tower")]
    const HOLDS: bool = false;

    /// The request's own delay before this attempt.
    fn delay(&self, number: u32) -> Option<Duration> {
        let _ = number;
        None
    }

    /// An extra attempt before its call. None if it cannot be made.
    fn prepare(&mut self, is_last: bool) -> Option<N>;

    fn poll_ready(&self, next: &mut N, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let _ = (next, cx);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, next: &mut N, number: u32) -> F;

    /// Classifies what an attempt returned.
    fn verdict(&self) -> &impl Verdict<T, E>;

    /// Moves what a success earns, and its latency, into the output.
    #[cfg(feature = "tower")]
    fn hold(output: &mut Result<T, E>, earned: Earned, latency: Option<Latency>) {
        let _ = (output, earned, latency);
    }
}
