//! Rejections as statuses of `tonic`.

use std::error::Error as StdError;

use ::tonic::{Code, Status};

use crate::rejection::{Carrier, Error, Reason, Rejection};
use crate::sync::Arc;

/// The rejection is the source of the status, so that [`Reason::find`] finds it. Code, message and
/// pushback are those of [`Rejection::into_grpc_response`]: the message names no policy and no
/// number, because a server may pass the status on.
impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let code = Code::from_i32(rejection.grpc_status().into());
        let mut status = Self::new(code, rejection.kind().public_text());
        if let Some(millis) = rejection.grpc_pushback() {
            let millis = millis.into();
            status
                .metadata_mut()
                .insert("grpc-retry-pushback-ms", millis);
        }
        status.set_source(Arc::new(rejection));
        status
    }
}

/// So that `?` works in a handler that returns a `Status`.
impl<E: Into<Status>> From<Error<E>> for Status {
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Rejected(rejection) => rejection.into(),
            Error::Service(error) => error.into(),
        }
    }
}

impl Carrier for Status {
    fn carry(rejection: Rejection) -> Self {
        rejection.into()
    }

    fn reason(&self) -> Option<&Reason> {
        let rejection: &Rejection = self.source()?.downcast_ref()?;
        Some(rejection.reason())
    }

    fn error(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}
