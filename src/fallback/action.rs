use std::fmt;
use std::future::{Future, Ready, ready};

use super::state::Cause;
use crate::event::Suppression;

/// What answers a call that failed: a [`value`], a [`call`] or a [`service`](super::service).
///
/// `K` is what was kept of the request: the request itself for a service, nothing for the others.
pub trait Action<K, Res, Err> {
    /// The call of the fallback.
    type Future: Future<Output = Result<Res, Err>>;

    /// Whether it waits, and needs a permit.
    const WAITS: bool = true;

    /// Whether it may be called with `kept`.
    ///
    /// # Errors
    /// Why it may not.
    fn check(&self, kept: &K, cause: Cause) -> Result<(), Suppression> {
        let _ = (kept, cause);
        Ok(())
    }

    /// Calls the fallback.
    fn answer(&self, kept: K, cause: Cause) -> Self::Future;
}

/// What an action keeps of a request until the call has ended.
pub trait Keep<Req> {
    /// What is kept.
    type Kept;

    /// None if it cannot be kept.
    fn keep(&self, request: &Req) -> Option<Self::Kept>;
}

/// Answers with clones of a value. Made by [`value`].
#[derive(Clone, Copy, Debug)]
pub struct Value<T>(T);

/// Answers with `value`, which is cloned for each call that it answers.
///
/// ```
/// use seawall::fallback::{Fallback, value};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let fallback = Fallback::new();
/// let found = fallback.run(value(Vec::new()), || async {
///     Err::<Vec<u32>, _>(std::io::Error::other("down"))
/// });
/// assert!(found.await.unwrap().is_empty());
/// # }
/// ```
pub fn value<T: Clone>(value: T) -> Value<T> {
    Value(value)
}

impl<T: Clone, E> Action<(), T, E> for Value<T> {
    type Future = Ready<Result<T, E>>;

    const WAITS: bool = false;

    fn answer(&self, (): (), _: Cause) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

impl<Req, T> Keep<Req> for Value<T> {
    type Kept = ();

    fn keep(&self, _: &Req) -> Option<()> {
        Some(())
    }
}

/// Answers with a call of a closure. Made by [`call`].
#[derive(Clone, Copy)]
pub struct Call<F>(F);

/// Answers with a call of `f`, which gets the reason.
///
/// ```
/// use seawall::fallback::{Fallback, call};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let fallback = Fallback::new();
/// let cached = call(|_| async { Ok::<_, std::io::Error>("cached") });
/// let answer = fallback.run(cached, || async { Err(std::io::Error::other("down")) });
/// assert_eq!(answer.await.unwrap(), "cached");
/// # }
/// ```
pub fn call<F, Fut>(f: F) -> Call<F>
where
    F: Fn(Cause) -> Fut,
    Fut: Future,
{
    Call(f)
}

impl<T, E, F, Fut> Action<(), T, E> for Call<F>
where
    F: Fn(Cause) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Future = Fut;

    fn answer(&self, (): (), cause: Cause) -> Fut {
        (self.0)(cause)
    }
}

impl<Req, F> Keep<Req> for Call<F> {
    type Kept = ();

    fn keep(&self, _: &Req) -> Option<()> {
        Some(())
    }
}

impl<F> fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call(..)")
    }
}
