//! Frames of the local network.
//!
//! Source of truth: IEEE 802.3 for the frame (without preamble and check sequence), RFC 826 for
//! the announcement of an address. Invariant: what was parsed gives the same bytes again.
//! Deliberately not here: protocols above, which are the guest's.

/// A hardware address of the local network.
pub type MacAddress = [u8; 6];

/// The hardware address of everybody.
pub const BROADCAST: MacAddress = [0xFF; 6];

/// A protocol address (that of the Internet protocol, version 4).
pub type ProtocolAddress = [u8; 4];

/// The type of a frame that resolves addresses.
pub const TYPE_ARP: u16 = 0x0806;

/// The type of a frame of local experiments.
pub const TYPE_LOCAL: u16 = 0x88B5;

/// What an ARP packet begins with: Ethernet, Internet protocol, lengths, request.
const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];

/// An Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The hardware address to which it goes.
    pub target: MacAddress,
    /// The hardware address that it comes from.
    pub source: MacAddress,
    /// The type of its payload.
    pub kind: u16,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Bytes before the payload.
    pub const HEADER_BYTES: usize = 14;
    /// Bytes of the longest frame.
    pub const BYTES_MAX: usize = 1514;

    /// The frame that these bytes are, unless they are too few or too many.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::BYTES_MAX {
            return None;
        }
        let (target, rest) = bytes.split_first_chunk()?;
        let (source, rest) = rest.split_first_chunk()?;
        let (kind, payload) = rest.split_first_chunk()?;
        let kind = u16::from_be_bytes(*kind);
        Some(Self { target: *target, source: *source, kind, payload: payload.to_vec() })
    }

    /// The frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = self.kind.to_be_bytes();
        [&self.target[..], &self.source, &kind, &self.payload].concat()
    }

    /// The frame by which `mac` tells everybody, unasked, that it has this protocol address.
    #[must_use]
    pub fn gratuitous_arp(mac: MacAddress, address: ProtocolAddress) -> Self {
        let payload = [&ARP_REQUEST[..], &mac, &address, &[0; 6], &address].concat();
        Self { target: BROADCAST, source: mac, kind: TYPE_ARP, payload }
    }

    /// Who has which protocol address, if the frame tells that unasked.
    #[must_use]
    pub fn announced(&self) -> Option<(MacAddress, ProtocolAddress)> {
        let rest = self.payload.strip_prefix(&ARP_REQUEST)?;
        let (mac, rest) = rest.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk()?;
        let wanted = rest.get(6..10)?;
        (self.kind == TYPE_ARP && wanted == address).then_some((*mac, *address))
    }
}

/// Whether an address stands for several stations.
#[must_use]
pub const fn is_group(mac: MacAddress) -> bool {
    mac[0] & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_gives_back_the_bytes_that_it_was_parsed_from() {
        let bytes: Vec<u8> = (0..60).collect();
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.target, frame.kind), ([0, 1, 2, 3, 4, 5], 0x0C0D));
        assert_eq!(frame.to_bytes(), bytes);
        assert_eq!(Frame::parse(&bytes[..13]), None);
        assert_eq!(Frame::parse(&[0; Frame::BYTES_MAX + 1]), None);
        assert!(Frame::parse(&[0; Frame::BYTES_MAX]).is_some());
    }

    #[test]
    fn only_an_announcement_of_the_own_address_is_taken_for_one() {
        let (mac, address) = ([2, 0, 0, 0, 0, 7], [10, 0, 1, 12]);
        let frame = Frame::gratuitous_arp(mac, address);
        assert!(is_group(frame.target) && !is_group(frame.source));
        assert_eq!(frame.announced(), Some((mac, address)));
        let mut question = frame.clone();
        question.payload[27] += 1;
        assert_eq!(question.announced(), None);
        assert_eq!(Frame { kind: TYPE_LOCAL, ..frame }.announced(), None);
    }
}
