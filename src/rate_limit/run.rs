//! Calls without a service.

use std::future::Future;

use super::policy::RateLimiter;
use crate::rejection::Error;

impl RateLimiter {
    /// Makes the call if a token is available. Does not wait, and needs no runtime.
    ///
    /// ```
    /// # use seawall::{Error, RateLimiter};
    /// # async fn f() -> Result<(), Error<std::io::Error>> {
    /// # async fn query() -> std::io::Result<u32> { Ok(1) }
    /// let limiter = RateLimiter::per_second(100);
    /// let rows = limiter.run(|| query()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// To wait for the token, use `limiter.acquire().await?` before the call.
    ///
    /// # Cancel safety
    /// If the future is dropped before its first poll, it has taken nothing. After that the token is
    /// spent.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the rejections of [`try_acquire`](Self::try_acquire), without
    /// calling `call`; [`Error::Service`] with the error of the call.
    pub async fn run<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.try_acquire()?;
        call().await.map_err(Error::Service)
    }
    /// Makes a blocking call if a token is available. Does not wait: to wait, call
    /// [`acquire_blocking`](Self::acquire_blocking) before the call instead.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the rejections of [`try_acquire`](Self::try_acquire), without
    /// calling `call`; [`Error::Service`] with the error of the call.
    pub fn run_blocking<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        self.try_acquire()?;
        call().map_err(Error::Service)
    }
}
