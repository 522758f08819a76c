use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::record::{Cursor, Read, Record};
use crate::attempts::Resend;
use crate::classify::RequestBodyError;
use crate::context::Upload;
use crate::http::BodyError;
use crate::http::copy::with_body;
use crate::sync::Arc;

/// A request body that can be sent again, whatever the type of the caller's body `B` is; made by
/// [`ReplayLayer`](super::ReplayLayer) and by the HTTP client stack.
///
/// It is streamed through, and recorded up to a limit. Several attempts read one record, also at
/// the same time. A body that is larger than the limit is sent once, whole, in constant memory: the
/// request has no copy then. No attempt ever sends an empty or shortened body: it sends all of it,
/// or its body fails.
///
/// Chunks of `Bytes` are not copied.
#[must_use = "a body does nothing unless it is read"]
pub struct ReplayBody<B> {
    kind: Kind<B>,
    /// None if there is nothing to send.
    upload: Option<Upload>,
}

enum Kind<B> {
    Empty,
    /// Sent once.
    Once {
        body: B,
    },
    Recorded {
        record: Arc<Record<B>>,
        cursor: Cursor,
    },
}

impl<B> ReplayBody<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<BodyError>,
{
    pub(super) fn new(body: B, limit: usize) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let kind = match body.size_hint().lower() > limit as u64 {
            true => Kind::Once { body },
            false => Kind::Recorded {
                record: Arc::new(Record::new(body, limit)),
                cursor: Cursor::default(),
            },
        };
        let upload = Some(Upload::default());
        Self { kind, upload }
    }

    /// Another reader, from the start. None if it could not read all.
    fn again(&self) -> Option<Self> {
        match &self.kind {
            Kind::Empty => Some(Self::empty()),
            Kind::Once { .. } => None,
            Kind::Recorded { record, .. } => record.is_readable().then(|| Self {
                kind: Kind::Recorded {
                    record: Arc::clone(record),
                    cursor: Cursor::default(),
                },
                upload: Some(Upload::default()),
            }),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.kind {
                Kind::Empty => return Poll::Ready(None),
                Kind::Once { body } => {
                    let frame = ready!(Pin::new(body).poll_frame(cx));
                    return Poll::Ready(frame.map(|frame| {
                        let frame = frame.map_err(|error| RequestBodyError(error.into()))?;
                        Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                    }));
                }
                Kind::Recorded { record, cursor } => {
                    // No other attempt can follow.
                    let alone = Arc::get_mut(record).is_some();
                    match ready!(record.poll_read(cursor, alone, cx)) {
                        Read::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                        Read::End => return Poll::Ready(None),
                        Read::Error(error) => return Poll::Ready(Some(Err(error))),
                        Read::Source(body) => self.kind = Kind::Once { body },
                    }
                }
            }
        }
    }
}

impl<B> ReplayBody<B> {
    fn empty() -> Self {
        Self {
            kind: Kind::Empty,
            upload: None,
        }
    }

    /// How far this attempt has sent it.
    pub(super) fn upload(&self) -> Option<&Upload> {
        self.upload.as_ref()
    }
}

impl<B> HttpBody for ReplayBody<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.poll_read(cx);
        if let Some(upload) = &this.upload {
            match &polled {
                Poll::Pending => upload.waits(),
                Poll::Ready(Some(Ok(_))) if this.is_end_stream() => upload.ended(),
                Poll::Ready(Some(Ok(_))) => upload.went_on(),
                Poll::Ready(_) => upload.ended(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Once { body } => body.is_end_stream(),
            Kind::Recorded { record, cursor } => record.is_end(cursor),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once { body } => body.size_hint(),
            Kind::Recorded { record, cursor } => record.size_hint(cursor),
        }
    }
}

/// The head and, as far as it was recorded, the body. None if the body is larger than the limit.
impl<B> Resend for Request<ReplayBody<B>>
where
    B: HttpBody + Unpin,
    B::Error: Into<BodyError>,
{
    fn copy(&self) -> Option<Self> {
        Some(with_body(self, self.body().again()?))
    }

    fn restart(&self) -> bool {
        match &self.body().kind {
            Kind::Empty => true,
            Kind::Once { .. } => false,
            Kind::Recorded { record, .. } => record.claim(),
        }
    }

    fn join(&self) -> bool {
        match &self.body().kind {
            Kind::Empty => true,
            Kind::Once { .. } => false,
            Kind::Recorded { record, .. } => record.is_shareable(),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Empty => "ReplayBody(empty)",
            Kind::Once { .. } => "ReplayBody(once)",
            Kind::Recorded { .. } => "ReplayBody(recorded)",
        })
    }
}
