//! The data frames of one message, as they came.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// What is in front of each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Data frames in order, and how many messages they hold. A clone copies no data.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    first: Option<Bytes>,
    /// Only of a message that came in several frames.
    more: VecDeque<Bytes>,
    size: usize,
    prefix: [u8; PREFIX],
    /// How much of the prefix of the next message has come.
    prefixed: usize,
    /// How much of a message is to come.
    rest: usize,
    messages: usize,
}

impl Frames {
    pub(super) fn push(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        self.size += frame.len();
        self.count(&frame);
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.more.push_back(frame),
        }
    }

    fn count(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.prefixed < PREFIX {
                self.prefix[self.prefixed] = data[0];
                self.prefixed += 1;
                data.advance(1);
                if self.prefixed == PREFIX {
                    let [_, a, b, c, d] = self.prefix;
                    self.rest = u32::from_be_bytes([a, b, c, d]) as usize;
                }
            } else {
                let part = self.rest.min(data.len());
                self.rest -= part;
                data.advance(part);
            }
            if self.prefixed == PREFIX && self.rest == 0 {
                self.messages += 1;
                self.prefixed = 0;
            }
        }
    }

    /// The length of all frames, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The memory that they take: the other side chooses how small its frames are.
    pub(super) fn memory(&self) -> usize {
        self.size + self.more.len() * size_of::<Bytes>()
    }

    /// Whether there is more than one message, or more than one has begun.
    pub(super) fn is_stream(&self) -> bool {
        self.messages > 1 || self.messages == 1 && self.prefixed > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Takes the first frame.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let frame = self.first.take()?;
        self.first = self.more.pop_front();
        self.size -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Frames;

    fn of(frames: &[&[u8]]) -> Frames {
        let mut all = Frames::default();
        for frame in frames {
            all.push(Bytes::copy_from_slice(frame));
        }
        all
    }

    #[test]
    fn gr4_a_second_message_is_seen_however_it_is_cut() {
        let one = b"\0\0\0\0\x03abc";
        let two = b"\0\0\0\0\x03abc\0\0\0\0\0";
        for cut in 0..=one.len() {
            let (a, b) = one.split_at(cut);
            assert!(!of(&[a, b]).is_stream(), "{cut}");
        }
        for cut in 0..=two.len() {
            let (a, b) = two.split_at(cut);
            assert!(of(&[a, b]).is_stream(), "{cut}");
        }
        // A part of the second prefix is enough.
        assert!(of(&[&two[..9]]).is_stream());
        assert!(!of(&[b"\0\0\0\0\0"]).is_stream());
        assert!(!of(&[]).is_stream());
        let mut frames = of(&[b"\0\0", b"\0\0\x02a", b"b"]);
        assert_eq!(frames.size(), 7);
        let all: Vec<_> = std::iter::from_fn(|| frames.pop()).collect();
        assert_eq!(all, [&b"\0\0"[..], b"\0\0\x02a", b"b"]);
        assert!(frames.is_empty());
    }

    #[test]
    fn gr4_empty_frames_are_not_kept() {
        let frames = of(&[b"", b"", b""]);
        assert!(frames.is_empty());
        let mut frames = of(&[b"", b"\0\0\0\0\x01", b"", b"a", b""]);
        let all: Vec<_> = std::iter::from_fn(|| frames.pop()).collect();
        assert_eq!(all, [&b"\0\0\0\0\x01"[..], b"a"]);
    }
}
