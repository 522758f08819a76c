//! The response body that a client of tonic reads: its errors are statuses.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;

use crate::http::BodyError;
use crate::rejection::Rejection;

pin_project! {
    /// The response body of a [`Channel`](super::Channel). A stream that a timeout cuts short ends
    /// in a [`Status`] whose source is the rejection.
    #[must_use = "a body does nothing unless it is read"]
    #[derive(Debug)]
    pub struct GrpcBody<W> {
        #[pin]
        body: W,
    }
}

impl<W> GrpcBody<W> {
    pub(super) fn new(body: W) -> Self {
        Self { body }
    }
}

fn status(error: BodyError) -> Status {
    match error.downcast::<Rejection>() {
        Ok(rejection) => (*rejection).into(),
        Err(error) => Status::from_error(error),
    }
}

impl<W> HttpBody for GrpcBody<W>
where
    W: HttpBody,
    W::Error: Into<BodyError>,
{
    type Data = W::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<W::Data>, Status>>> {
        let polled = self.project().body.poll_frame(cx);
        polled.map(|frame| Some(frame?.map_err(|error| status(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
