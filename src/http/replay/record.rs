//! A request body that is streamed through and recorded, for several readers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::classify::RequestBodyError;
use crate::http::BodyError;
use crate::http::body::with_more;
use crate::sync::Mutex;

/// What the readers of one request body share: its source, and what has been read from it.
///
/// Every reader reads the record from the start, and then the source. Once the record is larger
/// than its limit, only the newest reader goes on: it takes the source, and the record is dropped.
/// The others fail, so that no body is cut short without an error.
///
/// The source is polled under the lock. It cannot reach this record.
pub(super) struct Record<B>(Mutex<State<B>>);

struct State<B> {
    // None once it has ended, failed, or was taken.
    source: Option<B>,
    chunks: Vec<Bytes>,
    /// The bytes of the chunks.
    size: usize,
    limit: usize,
    trailers: Option<HeaderMap>,
    phase: Phase,
    /// The number of the newest reader, from 1.
    newest: u32,
    /// The number of a reader that will start, and before which no other goes on alone.
    claimed: Option<u32>,
    /// None before the first wait.
    waiting: Option<Waiting>,
}

/// The readers that wait for the source.
///
/// A source wakes the reader that polled it last, and that one may not read on: its connection may
/// have no room. So the source wakes all of them.
#[derive(Default)]
struct Readers(Mutex<Vec<Waker>>);

impl Readers {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock();
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Wakes all but this one, which reads now.
    fn wake_but(&self, reads: Option<&Waker>) {
        let wakers = std::mem::take(&mut *self.0.lock());
        let others = wakers.into_iter();
        others
            .filter(|waker| reads.is_none_or(|reads| !waker.will_wake(reads)))
            .for_each(Waker::wake);
    }
}

impl Wake for Readers {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_but(None);
    }
}

struct Waiting {
    readers: std::sync::Arc<Readers>,
    /// Wakes the readers.
    waker: Waker,
}

impl Waiting {
    fn new() -> Self {
        let readers = std::sync::Arc::new(Readers::default());
        let waker = Waker::from(std::sync::Arc::clone(&readers));
        Self { readers, waker }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Streaming,
    /// All of it is recorded.
    Whole,
    /// The source failed.
    Failed,
    /// It is larger than the limit, and one reader has taken the source.
    Taken,
}

/// Where a reader is.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Its number; 0 before it has started.
    number: u32,
    /// Chunks and bytes that it has read.
    chunks: usize,
    bytes: usize,
    trailers: bool,
}

/// What a reader reads next.
pub(super) enum Read<B> {
    Frame(Frame<Bytes>),
    /// The source, which is its own from here on.
    Source(B),
    End,
    Error(BodyError),
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Unreadable {
    #[error("the request body failed before")]
    Failed,
    #[error("the request body is too large to be sent again")]
    Taken,
}

impl<B> Record<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<BodyError>,
{
    pub(super) fn new(source: B, limit: usize) -> Self {
        Self(Mutex::new(State {
            source: Some(source),
            chunks: Vec::new(),
            size: 0,
            limit,
            trailers: None,
            phase: Phase::Streaming,
            newest: 0,
            claimed: None,
            waiting: None,
        }))
    }

    /// Whether a reader that starts now can read all of it, if no other goes on alone.
    pub(super) fn is_readable(&self) -> bool {
        matches!(self.0.lock().phase, Phase::Streaming | Phase::Whole)
    }

    /// The next reader to start will read all of it: no other goes on alone. False if it cannot.
    pub(super) fn claim(&self) -> bool {
        let mut state = self.0.lock();
        let readable = matches!(state.phase, Phase::Streaming | Phase::Whole);
        if readable {
            state.newest += 1;
            state.claimed = Some(state.newest);
        }
        readable
    }

    /// Whether two readers can read all of it at once: nothing above the limit is to come.
    pub(super) fn is_shareable(&self) -> bool {
        let state = self.0.lock();
        match (&state.source, state.phase) {
            (Some(source), Phase::Streaming) => {
                let left = state.limit.saturating_sub(state.size) as u64;
                source.size_hint().upper().is_some_and(|most| most <= left)
            }
            (_, phase) => phase == Phase::Whole,
        }
    }

    /// Reads on for one of several readers.
    pub(super) fn poll_read(
        &self,
        cursor: &mut Cursor,
        alone: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Read<B>> {
        let mut state = self.0.lock();
        state.start(cursor);
        if let Some(chunk) = state.chunks.get(cursor.chunks).cloned() {
            cursor.chunks += 1;
            cursor.bytes += chunk.len();
            return Poll::Ready(Read::Frame(Frame::data(chunk)));
        }
        match state.phase {
            Phase::Whole => {
                let trailers = state.trailers.clone().filter(|_| !cursor.trailers);
                cursor.trailers = true;
                return Poll::Ready(
                    trailers.map_or(Read::End, |trailers| Read::Frame(Frame::trailers(trailers))),
                );
            }
            Phase::Failed => {
                return Poll::Ready(Read::Error(
                    RequestBodyError(Unreadable::Failed.into()).into(),
                ));
            }
            Phase::Taken => {
                return Poll::Ready(Read::Error(
                    RequestBodyError(Unreadable::Taken.into()).into(),
                ));
            }
            Phase::Streaming if alone || state.size > state.limit => {
                // A reader that started later, or will, has to read all of it.
                if !alone && cursor.number < state.newest {
                    return Poll::Ready(Read::Error(
                        RequestBodyError(Unreadable::Taken.into()).into(),
                    ));
                }
                state.phase = Phase::Taken;
                state.chunks = Vec::new();
                state.wake_others(cx);
                let source = state.source.take();
                return Poll::Ready(source.map_or(Read::End, Read::Source));
            }
            Phase::Streaming => {}
        }
        let state = &mut *state;
        let Some(source) = &mut state.source else {
            return Poll::Ready(Read::End);
        };
        let waiting = state.waiting.get_or_insert_with(Waiting::new);
        // Before the poll, in which the source may wake.
        waiting.readers.add(cx.waker());
        let mut for_all = Context::from_waker(&waiting.waker);
        let frame = ready!(Pin::new(&mut *source).poll_frame(&mut for_all));
        let ended = source.is_end_stream();
        state.wake_others(cx);
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let frame = state.record(frame, cursor);
                if ended || frame.is_trailers() {
                    state.end(Phase::Whole);
                }
                Read::Frame(frame)
            }
            None => {
                state.end(Phase::Whole);
                Read::End
            }
            Some(Err(error)) => {
                state.end(Phase::Failed);
                Read::Error(RequestBodyError(error.into()).into())
            }
        })
    }

    pub(super) fn is_end(&self, cursor: &Cursor) -> bool {
        let state = self.0.lock();
        let trailers = state.trailers.is_some() && !cursor.trailers;
        state.phase == Phase::Whole && cursor.chunks == state.chunks.len() && !trailers
    }

    pub(super) fn size_hint(&self, cursor: &Cursor) -> SizeHint {
        let state = self.0.lock();
        let hint = match &state.source {
            Some(source) => source.size_hint(),
            None => SizeHint::with_exact(0),
        };
        with_more(hint, state.size.saturating_sub(cursor.bytes))
    }
}

impl<B> State<B> {
    fn start(&mut self, cursor: &mut Cursor) {
        if cursor.number == 0 {
            cursor.number = self.claimed.take().unwrap_or(self.newest + 1);
            self.newest = self.newest.max(cursor.number);
        }
    }

    fn record<D: Buf>(&mut self, frame: Frame<D>, cursor: &mut Cursor) -> Frame<Bytes> {
        // Of `Bytes`, this takes a reference.
        let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        // An empty chunk adds nothing to the size, so endless ones would never reach the limit.
        if let Some(chunk) = frame.data_ref().filter(|chunk| !chunk.is_empty()) {
            self.size += chunk.len();
            self.chunks.push(chunk.clone());
            cursor.chunks += 1;
            cursor.bytes += chunk.len();
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            cursor.trailers = true;
        }
        frame
    }

    fn end(&mut self, phase: Phase) {
        self.phase = phase;
        self.source = None;
    }

    /// There is something to read for the other readers, or an error.
    fn wake_others(&self, cx: &Context<'_>) {
        if let Some(waiting) = &self.waiting {
            waiting.readers.wake_but(Some(cx.waker()));
        }
    }
}

impl<B> fmt::Debug for Record<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use bytes::Bytes;
    use http_body::{Body, Frame};

    use super::{Cursor, Record};

    /// A source that waits for its caller.
    #[derive(Default)]
    struct Waits(Arc<super::Mutex<Option<Waker>>>);

    impl Body for Waits {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            *self.0.lock() = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    // The reader that polled last may have no room to write, and then it does not read on.
    #[test]
    fn hb7_a_source_wakes_each_attempt_that_waits_for_it() {
        let source = Waits::default();
        let waker = Arc::clone(&source.0);
        let record = Record::new(source, 10);
        let readers = [(); 3].map(|()| Arc::new(Woken::default()));
        for woken in &readers {
            let waker = Arc::clone(woken).into();
            let mut cx = Context::from_waker(&waker);
            let polled = record.poll_read(&mut Cursor::default(), false, &mut cx);
            assert!(polled.is_pending());
        }
        let waker = waker.lock().take();
        waker.unwrap().wake();
        for woken in readers {
            assert!(woken.0.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn hb7_empty_chunks_take_no_memory() {
        let record = Record::new(http_body_util::Empty::<Bytes>::new(), 10);
        let mut cursor = Cursor::default();
        for chunk in ["", "a", "", "", "b"] {
            let frame = Frame::data(Bytes::from(chunk));
            let frame = record.0.lock().record(frame, &mut cursor);
            assert_eq!(frame.into_data().unwrap(), chunk, "it is sent on");
        }
        assert_eq!(record.0.lock().chunks, ["a", "b"]);
        assert_eq!((cursor.chunks, cursor.bytes), (2, 2));
    }
}
