//! One open page: a frame every half second.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::handle::Console;
use super::sampler::Watch;
use crate::time::Sleep;

pin_project_lite::pin_project! {
    /// The stream of server-sent events of one page. It holds no frame: a page that reads slowly
    /// gets the newest one.
    pub(super) struct Viewer {
        console: Console,
        _watch: Watch,
        is_first: bool,
        is_last: bool,
        // None before the first frame.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Viewer {
    pub(super) fn new(console: Console) -> Self {
        Self {
            _watch: console.sampler.watch(),
            console,
            is_first: true,
            is_last: false,
            sleep: None,
        }
    }
}

impl Stream for Viewer {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if *this.is_last {
            return Poll::Ready(None);
        }
        if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
            ready!(sleep.poll_elapsed(cx));
        }
        let (sampler, levers) = (&this.console.sampler, this.console.levers);
        let frame = sampler.frame();
        this.sleep.set(Some(Sleep::until(frame.next())));
        // A response that does not end would hold up a drain. While it can, the page connects again.
        *this.is_last = frame.is_draining();
        // One line: JSON escapes the ends of lines.
        let event = match std::mem::take(this.is_first) {
            true => format!("retry: 1000\ndata: {}\n\n", sampler.whole(levers)),
            false => format!("data: {}\n\n", frame.update(levers)),
        };
        Poll::Ready(Some(Ok(event.into())))
    }
}
