//! What goes over the adapters: messages with length, sequence number and check value, since an
//! adapter shortens what does not fit and tells nobody.
//!
//! Source of truth: this file. Invariant: what was not sent like that is not parsed. Deliberately
//! not here: when which message is sent.

use monitor_core::ports::Checksum as _;

use crate::machine::Crc32c;

/// What a message begins with: "CTCL" in ASCII.
const MAGIC: [u8; 4] = *b"CTCL";

/// Bytes before the data.
pub(super) const HEADER_BYTES: usize = 32;

/// The most bytes of data in a message, so that it fits one command of a channel program.
pub(super) const DATA_BYTES_MAX: usize = 60 << 10;

/// The most bytes of a message.
pub(super) const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + DATA_BYTES_MAX;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of the stream.
    Data = 1,
    /// The source opens a connection.
    Open = 2,
    /// The target has taken it.
    Accept = 3,
    /// This end has given the connection up.
    Close = 4,
}

/// What a message says beside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The number of the connection.
    pub(super) connection: u64,
    /// The place among the data messages of the connection, from 0.
    pub(super) sequence: u64,
}

/// The bytes of a message.
pub(super) fn emit(header: Header, data: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + data.len());
    message.extend(MAGIC);
    message.extend((header.kind as u32).to_be_bytes());
    message.extend(header.connection.to_be_bytes());
    message.extend(header.sequence.to_be_bytes());
    message.extend((data.len() as u32).to_be_bytes());
    let crc = Crc32c.update(Crc32c.update(0, &message), data);
    message.extend(crc.to_be_bytes());
    message.extend(data);
    message
}

/// A message out of what was read, which may have more behind it.
pub(super) fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (checked, rest) = bytes.split_first_chunk::<{ HEADER_BYTES - 4 }>()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let word = |at: usize| checked[at..].first_chunk().copied().map(u32::from_be_bytes);
    let long = |at: usize| checked[at..].first_chunk().copied().map(u64::from_be_bytes);
    let kind = match word(4)? {
        1 => Kind::Data,
        2 => Kind::Open,
        3 => Kind::Accept,
        4 => Kind::Close,
        _ => return None,
    };
    let data = rest.get(..usize::try_from(word(24)?).ok()?)?;
    let is_right = Crc32c.update(Crc32c.update(0, checked), data) == u32::from_be_bytes(*crc);
    let header = Header { kind, connection: long(8)?, sequence: long(16)? };
    (is_right && checked.starts_with(&MAGIC)).then_some((header, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_parsed_as_it_was_sent_and_no_altered_one_is() {
        for (kind, data) in [
            (Kind::Data, &b"some bytes"[..]),
            (Kind::Open, b""),
            (Kind::Accept, b""),
            (Kind::Close, b""),
        ] {
            let header = Header { kind, connection: 7, sequence: 9 };
            let mut message = emit(header, data);
            message.extend([0; 5]);
            assert_eq!(parse(&message), Some((header, data)));
            for place in 0..HEADER_BYTES + data.len() {
                let mut altered = message.clone();
                altered[place] ^= 0x04;
                assert_eq!(parse(&altered), None, "{kind:?} {place}");
            }
            assert_eq!(parse(&message[..HEADER_BYTES + data.len() - 1]), None);
        }
    }
}
