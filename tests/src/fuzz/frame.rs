//! Bytes as a frame: through every decoder of the wire.
//!
//! Source of truth: PROTOCOL.md. What is accepted encodes to the same bytes again; an image at
//! least to the same value, since it may have blocks that are skipped.

use monitor_core::limits::HEADER_BYTES;
use portable_tests::codec::{Content, decode, seal};

use super::{
    bodies::{Said, draw},
    bytes::Bytes,
};
use crate::machines::FIRST_LOAD;

/// Takes bytes as a frame: as they come, as the body of a type that they name, or as changes of a
/// frame that is right.
///
/// # Panics
/// When a decoder panics, or accepts what has another encoding.
pub fn frame(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    match bytes.byte().map(|first| first % 3) {
        Some(0) => assert_one_encoding(bytes.rest()),
        Some(1) => {
            if let Some(type_code) = bytes.u16() {
                assert_one_encoding(&seal(type_code, 1, bytes.rest()));
            }
        }
        Some(_) => {
            let said = Said { heard: 1, load: FIRST_LOAD, is_second: false };
            if let Some((kind, body)) = draw(&mut bytes, said) {
                assert_one_encoding(&seal(kind.code(), 1, &body));
            }
        }
        None => {}
    }
}

fn assert_one_encoding(bytes: &[u8]) {
    let Ok((header, content)) = decode(bytes) else {
        return;
    };
    assert_eq!(header.emit(), bytes[..HEADER_BYTES], "a header has one encoding");
    if content == Content::Skipped {
        return;
    }
    assert_eq!(content.type_code(), header.type_code, "the content is of the header's type");
    let again = seal(header.type_code, header.sequence.get(), &content.body());
    match &content {
        Content::Processor { .. } | Content::Machine { .. } | Content::Subchannel { .. } => {
            assert_eq!(decode(&again).map(|(_, it)| it), Ok(content), "an image has one value");
        }
        _ => assert_eq!(again[HEADER_BYTES..], bytes[HEADER_BYTES..again.len()], "{content:?}"),
    }
}
