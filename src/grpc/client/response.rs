//! The response's body: a unary one is read before the call returns.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::frames::Frames;
use crate::http::{BodyError, speaks_grpc, with_more};

/// A longer message is not read before the call returns: the limit of tonic's decoder.
const MOST: usize = 4 * 1024 * 1024;

const GRPC_STATUS: &str = "grpc-status";

/// The body of a response under a [`GrpcClientStack`](super::GrpcClientStack).
///
/// A stream that ends without a status was cut off: it ends in INTERNAL.
#[derive(Debug)]
pub struct GrpcResponseBody<B> {
    /// What was read of the body.
    frames: Frames,
    trailers: Option<HeaderMap>,
    /// None once it has been read to its end.
    rest: Option<B>,
    /// Whether a status is still to come.
    awaits_status: bool,
}

impl<B> GrpcResponseBody<B> {
    pub(super) fn of(response: Response<B>) -> Response<Self> {
        let headers = response.headers();
        let ok = response.status() == StatusCode::OK;
        let awaits_status = ok && speaks_grpc(headers) && !headers.contains_key(GRPC_STATUS);
        response.map(|body| Self {
            frames: Frames::default(),
            trailers: None,
            rest: Some(body),
            awaits_status,
        })
    }
}

/// The trailers of a stream that was cut off.
fn missing_status() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("13"));
    let message = "stream ended without grpc-status";
    trailers.insert("grpc-message", HeaderValue::from_static(message));
    trailers
}

impl<B> GrpcResponseBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    /// Reads a unary response to its end. A failing status moves from the trailers to the head,
    /// as if there had been no message. Ready at once for a stream: with its second message.
    pub(super) fn poll_whole(
        response: &mut Response<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        let body = response.body_mut();
        if !body.awaits_status {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = &mut body.rest {
            match ready!(Pin::new(rest).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        body.frames.push(data);
                        if body.frames.is_stream() || body.frames.memory() > MOST {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Err(frame) => body.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => body.rest = None,
            }
        }
        let trailers = body.trailers.take();
        let trailers = trailers.filter(|trailers| trailers.contains_key(GRPC_STATUS));
        let trailers = trailers.unwrap_or_else(missing_status);
        body.awaits_status = false;
        if trailers[GRPC_STATUS] == "0" {
            body.trailers = Some(trailers);
        } else {
            body.frames = Frames::default();
            response.headers_mut().extend(trailers);
        }
        Poll::Ready(Ok(()))
    }
}

impl<B> HttpBody for GrpcResponseBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(data) = self.frames.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let trailers = frame.trailers_ref();
                if trailers.is_some_and(|trailers| trailers.contains_key(GRPC_STATUS)) {
                    self.awaits_status = false;
                }
            }
            Some(Err(_)) => self.awaits_status = false,
            None => {
                self.rest = None;
                if std::mem::replace(&mut self.awaits_status, false) {
                    return Poll::Ready(Some(Ok(Frame::trailers(missing_status()))));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.rest.as_ref().is_none_or(HttpBody::is_end_stream);
        self.frames.is_empty() && self.trailers.is_none() && !self.awaits_status && ended
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map(HttpBody::size_hint);
        let hint = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        with_more(hint, self.frames.size())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Frames that are all there.
    struct Script(VecDeque<Bytes>);

    impl HttpBody for Script {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    // A server chooses the size of its frames, and each is kept beside its bytes.
    #[test]
    fn gr4_a_message_in_very_many_frames_is_handed_out_before_its_end() {
        const LENGTH: usize = 200_000;
        let prefix = [&[0][..], &(LENGTH as u32).to_be_bytes()].concat();
        let mut script = VecDeque::from([Bytes::from(prefix)]);
        script.extend(std::iter::repeat_n(Bytes::from_static(b"x"), LENGTH));
        let response = Response::builder().header("content-type", "application/grpc");
        let mut response = GrpcResponseBody::of(response.body(Script(script)).unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        let polled = GrpcResponseBody::poll_whole(&mut response, &mut cx);
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        let mut body = response.into_body();
        assert!(body.rest.is_some(), "all of it is in memory");
        let mut read = 0;
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            read += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        assert_eq!(read, 5 + LENGTH);
    }
}
