//! The response body of a gRPC server: one that is cut short ends in a status.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::classify::status::NOT_PROCESSED;
use crate::http::{BodyError, speaks_grpc};
use crate::rejection::{Reason, Rejection};

pin_project! {
    /// The response body of a service under a [`GrpcServerStack`](super::GrpcServerStack): `L` of a
    /// call under the stack, `E` of an exempt one.
    ///
    /// If the stack cuts a stream short, it ends in trailers with the status of the rejection,
    /// such as DEADLINE_EXCEEDED, instead of an error that would reset the stream.
    #[must_use = "a body does nothing unless it is read"]
    #[derive(Debug)]
    pub struct GrpcServerBody<L, E> {
        #[pin]
        source: Source<L, E>,
    }
}

pin_project! {
    #[project = SourceProjection]
    #[derive(Debug)]
    enum Source<L, E> {
        Limited {
            #[pin]
            body: L,
            // Whether the response is a gRPC message, and has not ended by a status of ours.
            grpc: bool,
            cut: bool,
        },
        Exempt {
            #[pin]
            body: E,
        },
    }
}

impl<L, E> GrpcServerBody<L, E> {
    pub(super) fn limited(response: Response<L>) -> Response<Self> {
        let grpc = speaks_grpc(response.headers());
        response.map(|body| {
            let cut = false;
            let source = Source::Limited { body, grpc, cut };
            Self { source }
        })
    }

    pub(super) fn exempt(response: Response<E>) -> Response<Self> {
        response.map(|body| Self {
            source: Source::Exempt { body },
        })
    }
}

/// The trailers that say why a stream was cut short.
fn trailers(reason: &Reason) -> HeaderMap {
    let response: Response<()> = Rejection::from(reason.clone()).into_grpc_response();
    let mut trailers = response.into_parts().0.headers;
    trailers.remove(http::header::CONTENT_TYPE);
    // The stream has started, also where a policy of the handler's own rejected a call in it.
    trailers.remove(NOT_PROCESSED);
    trailers
}

impl<L, E> HttpBody for GrpcServerBody<L, E>
where
    L: HttpBody<Data = Bytes>,
    L::Error: Into<BodyError>,
    E: HttpBody<Data = Bytes>,
    E::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project().source.project() {
            SourceProjection::Exempt { body } => body
                .poll_frame(cx)
                .map(|frame| Some(frame?.map_err(Into::into))),
            SourceProjection::Limited { cut: true, .. } => Poll::Ready(None),
            SourceProjection::Limited { body, grpc, cut } => body.poll_frame(cx).map(|frame| {
                let error = match frame? {
                    Ok(frame) => return Some(Ok(frame)),
                    Err(error) => error.into(),
                };
                Some(match Reason::of(&*error) {
                    Some(reason) if *grpc => {
                        *cut = true;
                        Ok(Frame::trailers(trailers(reason)))
                    }
                    _ => Err(error),
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Limited { body, cut, .. } => *cut || body.is_end_stream(),
            Source::Exempt { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Limited { cut: true, .. } => SizeHint::with_exact(0),
            Source::Limited { body, .. } => body.size_hint(),
            Source::Exempt { body } => body.size_hint(),
        }
    }
}
