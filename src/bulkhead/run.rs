//! Calls without a service.

use std::future::Future;

use super::Bulkhead;
use crate::context::path::IN_RUN;
use crate::in_flight::{InFlight, catching, panicked};
use crate::rejection::Error;

impl Bulkhead {
    /// Makes the call if a permit is free. Never waits, and needs no runtime;
    /// [`run_queued`](Self::run_queued) waits.
    ///
    /// ```
    /// # use seawall::{Bulkhead, Error};
    /// # async fn f() -> Result<(), Error<std::io::Error>> {
    /// # async fn query() -> std::io::Result<u32> { Ok(1) }
    /// let bulkhead = Bulkhead::new(100);
    /// let rows = bulkhead.run(|| query()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Rejected`] with the rejection of [`try_acquire`](Self::try_acquire), without a
    /// call of `call`; [`Error::Service`] with the error of the call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call and frees its permit. So does a panic in the call.
    pub async fn run<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.warn_if_applied_twice(&IN_RUN);
        let permit = self.try_acquire()?;
        InFlight::call(permit, call).await.map_err(Error::Service)
    }

    /// Makes the call, and waits in the queue for a permit if none is free.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the rejection of [`acquire`](Self::acquire), without a call of
    /// `call`; [`Error::Service`] with the error of the call.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the wait, or drops the call and frees its permit. So does a
    /// panic in the call.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime with time enabled.
    #[cfg(feature = "tokio")]
    pub async fn run_queued<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.warn_if_applied_twice(&IN_RUN);
        let permit = self.acquire().await?;
        InFlight::call(permit, call).await.map_err(Error::Service)
    }

    /// Makes a blocking call if a permit is free. Never waits: to wait, call
    /// [`acquire_blocking`](Self::acquire_blocking) first.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the rejection of [`try_acquire`](Self::try_acquire), without a
    /// call of `call`; [`Error::Service`] with the error of the call.
    pub fn run_blocking<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        let mut permit = Some(self.try_acquire()?);
        let output = catching(&mut permit, call, panicked);
        if let Some(permit) = permit {
            permit.release();
        }
        output.map_err(Error::Service)
    }
}
