//! What has gone over a link in one direction, taken apart by itself.
//!
//! Source of truth: PROTOCOL.md, "Link" and "Header". Invariant: once the bytes are no frames in
//! their places they stay nonsense. Deliberately not here: whether a frame fits the attempt.

use monitor_core::{
    limits::HEADER_BYTES,
    units::Sequence,
    wire::{Frame, FrameType, Header, checksum::crc32c},
};

/// The end of one direction of a link.
#[derive(Debug)]
pub(super) struct Tape {
    /// What is not yet a whole frame.
    bytes: Vec<u8>,
    last: Sequence,
    /// Whether the next frame is the first one of its connection, under any number.
    is_first: bool,
    is_nonsense: bool,
    commit_count: usize,
}

impl Tape {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            last: Sequence::new(0),
            is_first: false,
            is_nonsense: false,
            commit_count: 0,
        }
    }

    /// Another connection stands.
    pub(super) fn restart(&mut self) {
        self.bytes.clear();
        (self.is_first, self.is_nonsense) = (true, false);
    }

    /// How often COMMIT has gone over the link.
    pub(super) const fn commit_count(&self) -> usize {
        self.commit_count
    }

    /// Whether something was no frame in its place.
    pub(super) const fn is_nonsense(&self) -> bool {
        self.is_nonsense
    }

    /// Number of the last whole frame.
    pub(super) const fn last(&self) -> Sequence {
        self.last
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while !self.is_nonsense {
            let Some(head) = self.bytes.first_chunk::<HEADER_BYTES>() else {
                return;
            };
            let Ok(header) = Header::parse(head) else {
                self.is_nonsense = true;
                return;
            };
            let end = HEADER_BYTES + header.body_bytes();
            let Some(body) = self.bytes.get(HEADER_BYTES..end) else {
                return;
            };
            self.is_nonsense = !self.is_in_place(&header, body);
            self.is_first = false;
            self.commit_count += usize::from(header.type_code == FrameType::Commit.code());
            self.last = header.sequence;
            self.bytes.drain(..end);
        }
    }

    fn is_in_place(&self, header: &Header, body: &[u8]) -> bool {
        let is_frame = match header.frame_type() {
            Ok(Some(kind)) => Frame::parse(kind, body).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        };
        is_frame
            && crc32c(0, body) == header.body_check
            && (header.sequence == self.last.next() || self.is_first || self.asks_anew(header))
    }

    /// RESUME may have any number where nothing was said before.
    fn asks_anew(&self, header: &Header) -> bool {
        self.last == Sequence::new(0) && header.type_code == FrameType::Resume.code()
    }
}
