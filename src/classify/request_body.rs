use std::error::Error as StdError;

/// The error of a caller's own request body: it says nothing about the service.
#[derive(Debug, thiserror::Error)]
#[error("the request body failed")]
pub(crate) struct RequestBodyError(#[source] pub(crate) Box<dyn StdError + Send + Sync>);
