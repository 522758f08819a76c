//! The outcome of a gRPC call by the table of its statuses.

use std::error::Error as StdError;

use http::Response;
use tonic::Status;

use crate::classify::{Classify, Codes, Outcome, by_source, of_status};
use crate::http::of_grpc_head;
use crate::outcome::FailureKind;
use crate::rejection::{Reason, chain};

impl<B> Classify<Response<B>, Status> for Codes {
    fn classify(&self, outcome: Result<&Response<B>, &Status>) -> Outcome {
        match outcome {
            Ok(response) => of_grpc_head(response.status(), response.headers(), self),
            Err(_) => Outcome::failure(FailureKind::Error),
        }
    }

    fn by_source(&self, error: &(dyn StdError + 'static)) -> Option<Outcome> {
        let outcome = by_source(error);
        let unsent = outcome == Outcome::failure(FailureKind::Unsent);
        let status = chain(error).find_map(|link| of_status(self, link));
        Some(status.filter(|_| !unsent).unwrap_or(outcome))
    }

    fn reason<'r>(&self, response: &'r Response<B>) -> Option<&'r Reason> {
        response.extensions().get()
    }
}
