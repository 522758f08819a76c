use std::error::Error as StdError;

use super::io;
use crate::outcome::{FailureKind, Outcome};
use crate::rejection::{Reason, chain};

/// Classifies an error by its type and its source chain: the table is in the
/// [module](crate::classify#errors).
///
/// The outermost error that is known decides. An error that shows that nothing was sent goes before
/// all above it. An error that no type is known of is a failure of kind
/// [`Error`](FailureKind::Error).
///
/// ```
/// use seawall::classify::{FailureKind, Outcome, by_source};
/// use std::io::{Error, ErrorKind};
///
/// let error = Error::other(Error::from(ErrorKind::ConnectionRefused));
/// let unsent = Outcome::Failure { kind: FailureKind::Unsent, retry_after: None };
/// assert_eq!(by_source(&error), unsent);
/// ```
pub fn by_source(error: &(dyn StdError + 'static)) -> Outcome {
    const UNSENT: Outcome = Outcome::failure(FailureKind::Unsent);
    let mut outermost = None;
    for link in chain(error) {
        match known(link) {
            Some(UNSENT) => return UNSENT,
            known => outermost = outermost.or(known),
        }
    }
    outermost.unwrap_or(Outcome::failure(FailureKind::Error))
}

fn known(link: &(dyn StdError + 'static)) -> Option<Outcome> {
    if let Some(reason) = link.downcast_ref::<Reason>() {
        return Some(reason.outcome());
    }
    #[cfg(all(feature = "http", feature = "tower"))]
    if link.is::<super::RequestBodyError>() {
        return Some(Outcome::Ignore);
    }
    if let Some(error) = link.downcast_ref() {
        return io::known(error);
    }
    #[cfg(feature = "tokio")]
    if link.is::<tokio::time::error::Elapsed>() {
        return Some(Outcome::failure(FailureKind::Timeout));
    }
    #[cfg(feature = "hyper")]
    if let Some(outcome) = super::hyper::known(link) {
        return Some(outcome);
    }
    #[cfg(feature = "reqwest")]
    if let Some(outcome) = super::reqwest::known(link) {
        return Some(outcome);
    }
    #[cfg(feature = "tonic")]
    if let Some(outcome) = super::tonic::known(link) {
        return Some(outcome);
    }
    None
}
