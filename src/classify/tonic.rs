//! Errors of `tonic`.

use std::error::Error as StdError;

use ::tonic::{ConnectError, Response, Status, TimeoutExpired};

use super::codes::Codes;
use super::response::Judge;
use crate::outcome::{FailureKind, Outcome};

pub(super) fn known(link: &(dyn StdError + 'static)) -> Option<Outcome> {
    if link.is::<ConnectError>() {
        return Some(Outcome::failure(FailureKind::Unsent));
    }
    if link.is::<TimeoutExpired>() {
        return Some(Outcome::failure(FailureKind::Timeout));
    }
    of_status(&Codes::new(), link)
}

/// The outcome by `codes`, if this is a status of the server. A status with a source was made in
/// this process, of an error that says more than the code.
pub(crate) fn of_status(codes: &Codes, link: &(dyn StdError + 'static)) -> Option<Outcome> {
    let status: &Status = link.downcast_ref()?;
    if status.source().is_some() {
        return None;
    }
    Some(codes.judge(status.code() as u16, status.metadata().as_ref()))
}

/// The message has come without an error.
impl<T> Judge for Response<T> {
    fn judge(&self) -> Outcome {
        Outcome::Success
    }
}
