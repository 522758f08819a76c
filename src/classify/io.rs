//! Errors of the standard library.

use std::io::{Error, ErrorKind};

use crate::outcome::{FailureKind, Outcome};

/// A connection that was reset, or closed early, says nothing about what the service did.
pub(super) fn known(error: &Error) -> Option<Outcome> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(Outcome::failure(FailureKind::Unsent)),
        // A blocking socket with a timeout returns either, depending on the platform.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Some(Outcome::failure(FailureKind::Timeout)),
        _ => None,
    }
}
