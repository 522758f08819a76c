use std::task::{Context, Poll};
use std::time::Duration;

use crate::hedge::policy::Config;
use crate::outcome::Outcome;

/// What makes the extra attempts of a race: `N` is one before its call, `F` its call.
pub(in crate::hedge) trait Source<N, F, T, E>: AsRef<Config> {
    /// The request's own delay before this attempt.
    fn delay(&self, number: u32) -> Option<Duration>;

    /// Whether there is another attempt to make.
    fn has_next(&mut self) -> bool {
        true
    }

    /// An extra attempt before its call. None if it cannot be made.
    fn prepare(&mut self, is_last: bool) -> Option<N>;

    fn poll_ready(&self, next: &mut N, cx: &mut Context<'_>) -> Poll<Result<(), E>>;

    fn call(&mut self, next: &mut N, number: u32) -> F;

    /// The outcome, and whether a layer below rejected the attempt: then it was not made.
    fn judge(&self, output: &Result<T, E>) -> (Outcome, bool);
}
