use std::future::Future;
use std::iter;
use std::ops::ControlFlow;
use std::time::Duration;

use super::branches::Branches;
use super::outcomes::{Gathered, NoQuorum};
use crate::classify::{self, Classify, Direct, Outcome};
use crate::context::CallContext;
use crate::hedge::{Hedge, MOST_EXTRA};
use crate::rejection::{Error, Fault};
use crate::time;

/// Makes `call`, and `others` one after the other beside it, and returns the first success: for
/// services that can all answer.
///
/// The next call starts after the delay of `hedge`, or at once after a failure: as many as the
/// hedge's [`max_extra`](crate::hedge::Builder::max_extra), which is 1 by default. Each beyond the
/// first is taken from the budget of the hedge, or the one in force. Events, mode and counts are
/// the hedge's ([module](crate::hedge)).
///
/// `others` is read once, when the future is first polled, and at most 16 items of it: the most that
/// a hedge makes.
///
/// ```
/// use std::time::Duration;
/// use seawall::{Hedge, gather};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// async fn fetch(host: &str) -> std::io::Result<String> {
///     Ok(format!("from {host}"))
/// }
/// let hedge = Hedge::builder().delay(Duration::from_millis(50)).max_extra(2).build().unwrap();
/// let first = gather::first(&hedge, fetch("a"), [fetch("b"), fetch("c")]).await;
/// assert_eq!(first.unwrap(), "from a");
/// # }
/// ```
///
/// # Errors
/// The error of `call`, if none succeeds.
///
/// # Cancel safety
/// Dropping the future drops all calls. The others are dropped before the first success is
/// returned.
///
/// # Panics
/// Outside of a tokio runtime with time enabled, when a call has to wait.
pub async fn first<T, E, F, Via, Seen>(
    hedge: &Hedge,
    call: F,
    others: impl IntoIterator<Item = F>,
) -> Result<T, Error<E>>
where
    F: Future<Output = Result<T, E>>,
    E: Fault<Via>,
    Direct: Classify<T, E, Seen>,
{
    first_with(Direct, hedge, call, others).await
}

/// [`first`] with your own classifier.
///
/// # Errors
/// Those of [`first`].
pub async fn first_with<T, E, F, C, Via, Seen>(
    classifier: C,
    hedge: &Hedge,
    call: F,
    others: impl IntoIterator<Item = F>,
) -> Result<T, Error<E>>
where
    F: Future<Output = Result<T, E>>,
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    let others: Vec<F> = others.into_iter().take(MOST_EXTRA as usize).collect();
    let extra = u32::try_from(others.len()).unwrap_or(MOST_EXTRA);
    let mut calls = iter::once(call).chain(others);
    let next = move |_| calls.next().expect("no more attempts than calls");
    hedge.run_up_to(extra, classifier, next).await
}

/// Makes all calls at once, and returns the first `needed` successes, in the order of the calls.
///
/// Plain data is a success, an HTTP response is judged by its status ([`Direct`]). All calls start at
/// the first poll, and are bounded by the deadline in force: put a [`Timeout`](crate::Timeout)
/// around it.
///
/// ```
/// use std::time::Duration;
/// use seawall::{Timeout, gather};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// async fn write(replica: u32) -> std::io::Result<u32> {
///     match replica {
///         1 => Err(std::io::Error::other("down")),
///         _ => Ok(replica),
///     }
/// }
/// let timeout = Timeout::new(Duration::from_secs(1));
/// let written = timeout.run(|| gather::quorum(2, (1..=3).map(write))).await;
/// assert_eq!(written.unwrap(), [2, 3]);
/// # }
/// ```
///
/// # Errors
/// With what came of the calls, as soon as too few are left, or when the deadline in force passes.
/// If there are fewer calls than `needed`, none is made.
///
/// # Cancel safety
/// Dropping the future drops all calls. The others are dropped before the quorum is returned.
///
/// # Panics
/// Under a deadline, outside of a tokio runtime with time enabled.
pub async fn quorum<T, E, F, Via, Seen>(
    needed: usize,
    calls: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, NoQuorum<T, E>>
where
    F: Future<Output = Result<T, E>>,
    E: Fault<Via>,
    Direct: Classify<T, E, Seen>,
{
    quorum_with(Direct, needed, calls).await
}

/// [`quorum`] with your own classifier.
///
/// # Errors
/// Those of [`quorum`].
pub async fn quorum_with<T, E, F, C, Via, Seen>(
    classifier: C,
    needed: usize,
    calls: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, NoQuorum<T, E>>
where
    F: Future<Output = Result<T, E>>,
    E: Fault<Via>,
    C: Classify<T, E, Seen>,
{
    let branches = Branches::new(calls);
    let is_success =
        |output: &Result<T, E>| classify::judge_run(&classifier, output).0 == Outcome::Success;
    let (mut succeeded, mut left) = (0, branches.len());
    let deadline = match needed.min(left) == needed && needed > 0 {
        true => CallContext::deadline(),
        // Decided without a call.
        false => crate::time::Tick::ZERO,
    };
    let outcomes = branches.run(deadline, |output| {
        left -= 1;
        succeeded += usize::from(is_success(output));
        match succeeded == needed || succeeded + left < needed {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    let outcomes = outcomes.await;
    if succeeded < needed {
        let gathered = Gathered { outcomes };
        return Err(NoQuorum {
            needed,
            succeeded,
            gathered,
        });
    }
    let successes = outcomes.into_iter().flatten().filter(is_success);
    Ok(successes.filter_map(Result::ok).collect())
}

/// Makes all calls at once, and returns what came of them when all have ended, after `within`, or
/// when the deadline in force passes.
///
/// The clock starts at the first poll. [`Duration::MAX`] is no limit.
///
/// ```
/// use std::time::Duration;
/// use seawall::gather;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let calls = [Duration::ZERO, Duration::from_secs(60)].map(|takes| async move {
///     tokio::time::sleep(takes).await;
///     Ok::<_, std::io::Error>("page")
/// });
/// let pages = gather::all(Duration::from_millis(10), calls).await;
/// assert_eq!((pages.responses().count(), pages.missing()), (1, 1));
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future drops all calls. Those that have not ended are dropped before the others are
/// returned.
///
/// # Panics
/// Under a limit or a deadline, outside of a tokio runtime with time enabled.
pub async fn all<T, E, F>(within: Duration, calls: impl IntoIterator<Item = F>) -> Gathered<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = time::now().after(within).min(CallContext::deadline());
    let branches = Branches::new(calls);
    let outcomes = branches.run(deadline, |_| ControlFlow::Continue(())).await;
    Gathered { outcomes }
}
