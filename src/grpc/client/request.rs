//! The request's body: one message, which can be sent again, or a stream.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::frames::Frames;
use crate::deadline::Deadline;
use crate::http::{with_body, with_more};

/// A larger message is sent once.
const REPLAY: usize = 64 * 1024;

/// The body of a request under a [`GrpcClientStack`](super::GrpcClientStack).
#[derive(Debug)]
pub struct GrpcRequestBody {
    /// What was read of the body.
    frames: Frames,
    /// What follows. None for one message, which is whole in the frames.
    rest: Option<Remainder>,
    /// Whether the method was named as one that may be sent more than once.
    pub(super) idempotent: bool,
    /// The end of the whole call.
    pub(super) deadline: Option<Deadline>,
}

#[derive(Debug)]
enum Remainder {
    Body(Body),
    Failed(Option<Status>),
}

impl GrpcRequestBody {
    /// Reads as much of `body` as is there: the one message of a unary call is.
    pub(super) fn read(mut body: Body, idempotent: bool, deadline: Option<Deadline>) -> Self {
        let mut frames = Frames::default();
        // The channel that sends the body polls it again.
        let mut cx = Context::from_waker(Waker::noop());
        let rest = loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(None) => break None,
                Poll::Ready(Some(Ok(frame))) => {
                    // A request has no trailers.
                    frames.push(frame.into_data().unwrap_or_default());
                    if frames.is_stream() || frames.size() > REPLAY {
                        break Some(Remainder::Body(body));
                    }
                }
                Poll::Ready(Some(Err(status))) => break Some(Remainder::Failed(Some(status))),
                Poll::Pending => break Some(Remainder::Body(body)),
            }
        };
        Self {
            frames,
            rest,
            idempotent,
            deadline,
        }
    }

    /// None for a stream.
    fn copy(&self) -> Option<Self> {
        match self.rest {
            Some(_) => None,
            None => Some(Self {
                frames: self.frames.clone(),
                rest: None,
                ..*self
            }),
        }
    }

    /// Whether the message is the whole request and its method was named.
    pub(super) fn is_idempotent(&self) -> bool {
        self.idempotent && self.rest.is_none()
    }
}

pub(super) fn may_resend(request: &Request<GrpcRequestBody>) -> bool {
    request.body().is_idempotent()
}

pub(super) fn copy(request: &Request<GrpcRequestBody>) -> Option<Request<GrpcRequestBody>> {
    Some(with_body(request, request.body().copy()?))
}

impl HttpBody for GrpcRequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(data) = self.frames.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut self.rest {
            None => Poll::Ready(None),
            Some(Remainder::Body(body)) => Pin::new(body).poll_frame(cx),
            Some(Remainder::Failed(status)) => Poll::Ready(status.take().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.rest {
            None => true,
            Some(Remainder::Body(body)) => body.is_end_stream(),
            Some(Remainder::Failed(status)) => status.is_none(),
        };
        self.frames.is_empty() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let hint = match &self.rest {
            Some(Remainder::Body(body)) => body.size_hint(),
            Some(Remainder::Failed(_)) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        };
        with_more(hint, self.frames.size())
    }
}
