use crate::classify::{Classify, Outcome};
use crate::rejection::{Fault, Reason};

/// The outcome of an attempt by a closure, and whether a policy below rejected the attempt: then
/// it was not made.
pub(crate) fn judge<T, E, C, Via>(classifier: &C, output: &Result<T, E>) -> (Outcome, bool)
where
    E: Fault<Via>,
    C: Classify<T, E>,
{
    let reason = match output {
        Ok(response) => classifier.reason(response),
        Err(error) => error.reason(),
    };
    let outcome = match reason {
        Some(reason) => reason.outcome(),
        None => classifier.classify(output.as_ref()),
    };
    (outcome, reason.is_some_and(Reason::call_not_made))
}
