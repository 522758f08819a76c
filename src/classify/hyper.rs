//! Errors of `hyper`, of hyper-util's client and of `h2`.

use std::error::Error as StdError;

use ::hyper_util::client::legacy;

use super::io;
use crate::outcome::{FailureKind, Outcome};

pub(super) fn known(link: &(dyn StdError + 'static)) -> Option<Outcome> {
    if let Some(error) = link.downcast_ref::<legacy::Error>() {
        return error
            .is_connect()
            .then(|| Outcome::failure(FailureKind::Unsent));
    }
    if let Some(error) = link.downcast_ref::<::hyper::Error>() {
        // Both mean that the connection ended before the request was written to it.
        if error.is_canceled() || error.is_closed() {
            return Some(Outcome::failure(FailureKind::Unsent));
        }
        return error
            .is_timeout()
            .then(|| Outcome::failure(FailureKind::Timeout));
    }
    of_h2(link.downcast_ref()?)
}

fn of_h2(error: &h2::Error) -> Option<Outcome> {
    // Not among the sources of the error.
    if let Some(error) = error.get_io() {
        return io::known(error);
    }
    let kind = match error.reason()? {
        _ if !error.is_remote() => return None,
        // A stream has the error of the server's GOAWAY only if it is above the last one that the
        // server processes.
        _ if error.is_go_away() => FailureKind::Unsent,
        h2::Reason::REFUSED_STREAM => FailureKind::Unsent,
        h2::Reason::ENHANCE_YOUR_CALM => FailureKind::Throttled,
        _ => return None,
    };
    Some(Outcome::failure(kind))
}
