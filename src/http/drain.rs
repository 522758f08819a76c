use std::future::poll_fn;
use std::pin::pin;

use http_body::Body;
use hyper::body::Buf;

use crate::classify::Drain;

/// The longest rest that is read. More than this costs more than a new connection.
const MOST: u64 = 64 * 1024;

/// Reads up to 64 KiB of `body`. None if there is nothing to read, or more than that.
///
/// A retry does this by itself with the bodies of hyper and reqwest. For a body type of yours call
/// it in [`Judge::drain`](crate::classify::Judge::drain) or
/// [`Classify::drain`](crate::Classify::drain).
pub fn drain<B: Body + Send + 'static>(body: B) -> Option<Drain> {
    if body.is_end_stream() || body.size_hint().lower() > MOST {
        return None;
    }
    Some(Drain::new(async move {
        let (mut body, mut left) = (pin!(body), MOST);
        while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let read = frame.data_ref().map_or(0, |data| data.remaining() as u64);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }))
}
