//! Where frames begin in a stream of bytes.
//!
//! Source of truth: PROTOCOL.md, "Header". Invariants: every byte comes out once and in order; what
//! is no header is passed on as it is. Deliberately not here: what frames carry.

use monitor_core::{
    limits::HEADER_BYTES,
    wire::{Header, MAGIC},
};

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    head: Vec<u8>,
    body_left: usize,
}

/// Bytes that go on together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The header of a frame of this type.
    Header(u16, Vec<u8>),
    /// What belongs to the frame before, or to none.
    Bytes(Vec<u8>),
}

impl Framer {
    /// Cuts bytes into pieces. A header that is not whole yet stays here.
    pub(crate) fn cut(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let (mut pieces, mut loose) = (Vec::new(), Vec::new());
        while !bytes.is_empty() {
            let wanted =
                if self.body_left > 0 { self.body_left } else { HEADER_BYTES - self.head.len() };
            let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.body_left > 0 {
                self.body_left -= now.len();
                loose.extend_from_slice(now);
                continue;
            }
            self.head.extend_from_slice(now);
            // What cannot become a header goes on at once: nothing may follow for long.
            while !begins_header(&self.head) {
                loose.push(self.head.remove(0));
            }
            let Some(head) = self.head.first_chunk::<HEADER_BYTES>() else { continue };
            match Header::parse(head) {
                Ok(header) => {
                    self.body_left = header.body_bytes();
                    pieces.push(Piece::Bytes(std::mem::take(&mut loose)));
                    pieces.push(Piece::Header(header.type_code, std::mem::take(&mut self.head)));
                }
                // Not a frame: the next byte may begin one.
                Err(_) => loose.push(self.head.remove(0)),
            }
        }
        pieces.push(Piece::Bytes(loose));
        pieces
    }
}

/// Whether these bytes may be the beginning of a header, as nothing may be.
fn begins_header(bytes: &[u8]) -> bool {
    let mut pairs = bytes.iter().zip(MAGIC.to_be_bytes());
    pairs.all(|(byte, expected)| *byte == expected)
}

#[cfg(test)]
mod tests {
    use monitor_core::{
        units::{Epoch, Sequence, StreamId},
        wire::{CONNECT_TYPE, FrameFlags, FrameType, Header, VERSION_MIN},
    };

    use super::{Framer, Piece};

    fn frame(type_code: u16, body: &[u8]) -> Vec<u8> {
        let header = Header {
            version: VERSION_MIN,
            type_code,
            flags: FrameFlags::empty(),
            length: u32::try_from(body.len()).expect("it is short"),
            stream: StreamId::new(1),
            epoch: Epoch::new(1),
            sequence: Sequence::new(1),
            body_check: 0,
        };
        [&header.emit()[..], body].concat()
    }

    #[test]
    fn every_byte_comes_out_and_frames_are_found_behind_rubbish() {
        let parts = [
            frame(CONNECT_TYPE, &[]),
            vec![0; 7],
            frame(FrameType::Pages.code(), &[5; 100]),
            frame(FrameType::Ack.code(), &[]),
        ];
        let stream = parts.concat();
        for size in [1, 3, 48, 64, stream.len()] {
            let mut framer = Framer::default();
            let (mut types, mut bytes) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(size) {
                for piece in framer.cut(chunk) {
                    match piece {
                        Piece::Header(code, head) => {
                            types.push(code);
                            bytes.extend(head);
                        }
                        Piece::Bytes(some) => bytes.extend(some),
                    }
                }
            }
            assert_eq!(bytes, stream, "chunks of {size}");
            assert_eq!(
                types,
                [CONNECT_TYPE, FrameType::Pages.code(), FrameType::Ack.code()],
                "chunks of {size}"
            );
        }
    }
}
