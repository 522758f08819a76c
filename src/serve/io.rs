//! A connection's stream, which keeps its permit and notes what is read and written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::caps::ConnectionPermit;
use crate::sync::Arc;
use crate::time;

pin_project! {
    /// The permit is released with the stream, so that one that was upgraded keeps it.
    pub(super) struct Stream<S> {
        #[pin]
        stream: S,
        activity: Arc<Activity>,
        _kept: Kept,
    }
}

/// The permit, and what the stream's listener counts its streams by.
pub(super) type Kept = (ConnectionPermit, Arc<()>);

impl<S> Stream<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>, kept: Kept) -> Self {
        Self {
            stream,
            activity,
            _kept: kept,
        }
    }
}

impl<S: AsyncRead> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        ready!(this.stream.poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.activity.has_read(time::now);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write(cx, buf))?;
        this.activity.has_written(written, time::now);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write_vectored(cx, bufs))?;
        this.activity.has_written(written, time::now);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        ready!(this.stream.poll_flush(cx))?;
        // hyper flushes only when it has written all that it holds.
        this.activity.has_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }
}
