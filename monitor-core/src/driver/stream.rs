//! Framing: numbered, checked frames over a byte stream, through two lent buffers.
//!
//! Source of truth: PROTOCOL.md, "Link" and "Header". Invariants: a body is received straight
//! into its place behind the header and never moved; a frame is given out only when both check
//! values fit and its number is the one expected. Deliberately not here: what frames mean.

use crate::{
    limits::HEADER_BYTES,
    migrate::LinkFault,
    ports::{Checksum, Link},
    units::{Epoch, Sequence, StreamId},
    wire::{
        DecodeError, FILLER_TYPE, Fault, Field, Frame, FrameFlags, FrameType, Header, VERSION_MAX,
        VERSION_MIN,
    },
};

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Stream<'s> {
    outgoing: &'s mut [u8],
    filled: usize,
    sent: usize,
    incoming: &'s mut [u8],
    received: usize,
    header: Option<Header>,
    expected: Sequence,
    /// Whether the next frame is the first one of its connection.
    is_first: bool,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The identity that each frame carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) stream: StreamId,
    pub(super) epoch: Epoch,
}

impl<'s> Stream<'s> {
    /// A connection over which nothing has gone yet.
    pub(super) const fn new(outgoing: &'s mut [u8], incoming: &'s mut [u8]) -> Self {
        Self {
            outgoing,
            filled: 0,
            sent: 0,
            incoming,
            received: 0,
            header: None,
            expected: Sequence::new(1),
            is_first: false,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// Bytes sent and received so far.
    pub(super) const fn bytes(&self) -> (u64, u64) {
        (self.bytes_sent, self.bytes_received)
    }

    /// Whether bytes wait for room on the link.
    pub(super) const fn is_sending(&self) -> bool {
        self.sent < self.filled
    }

    /// Forgets what was not sent. What was received stays in its place until it is consumed.
    pub(super) const fn drop_outgoing(&mut self) {
        self.filled = 0;
        self.sent = 0;
    }

    /// Begins anew on another connection.
    pub(super) const fn restart(&mut self) {
        self.drop_outgoing();
        self.consume();
        self.is_first = true;
    }

    /// Room for the body of a frame of at most `body_bytes`, or `None` until more was sent.
    pub(super) fn begin(&mut self, body_bytes: usize) -> Option<&mut [u8]> {
        let start = self.filled.checked_add(HEADER_BYTES)?;
        self.outgoing.get_mut(start..start.checked_add(body_bytes)?)
    }

    /// Completes the frame whose body was filled after `begin`.
    pub(super) fn finish<K: Checksum>(
        &mut self,
        identity: Identity,
        sequence: Sequence,
        frame: &Frame,
        body_bytes: usize,
        checksum: &mut K,
    ) {
        let type_code = frame.frame_type().code();
        self.write(identity, sequence, type_code, body_bytes, checksum);
    }

    /// Puts a frame without meaning in the place of one that could not be filled. When there is
    /// no room for it the gap tells the peer as well that the attempt is over.
    pub(super) fn fill<K: Checksum>(
        &mut self,
        identity: Identity,
        sequence: Sequence,
        checksum: &mut K,
    ) {
        if self.begin(0).is_some() {
            self.write(identity, sequence, FILLER_TYPE, 0, checksum);
        }
    }

    fn write<K: Checksum>(
        &mut self,
        identity: Identity,
        sequence: Sequence,
        type_code: u16,
        body_bytes: usize,
        checksum: &mut K,
    ) {
        let body_start = self.filled.saturating_add(HEADER_BYTES);
        let end = body_start.saturating_add(body_bytes);
        let body = self.outgoing.get(body_start..end).unwrap_or(&[]);
        let must = if type_code == FILLER_TYPE {
            FrameFlags::empty()
        } else {
            FrameFlags::MUST_UNDERSTAND
        };
        let header = Header {
            version: if type_code == FrameType::Hello.code() { VERSION_MIN } else { VERSION_MAX },
            type_code,
            flags: must,
            length: u32::try_from(body_bytes).unwrap_or(u32::MAX),
            stream: identity.stream,
            epoch: identity.epoch,
            sequence,
            body_check: checksum.update(0, body),
        };
        let bytes = header.emit();
        if let Some(place) = self.outgoing.get_mut(self.filled..body_start) {
            for (target, source) in place.iter_mut().zip(bytes) {
                *target = source;
            }
            self.filled = end;
        }
    }

    /// Hands as much as possible to the link.
    pub(super) fn flush<L: Link>(&mut self, link: &mut L) -> Result<(), LinkFault> {
        while self.is_sending() {
            let rest = self.outgoing.get(self.sent..self.filled).unwrap_or(&[]);
            match link.try_send(rest) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.sent = self.sent.saturating_add(count).min(self.filled);
                    let count = u64::try_from(count).unwrap_or(0);
                    self.bytes_sent = self.bytes_sent.saturating_add(count);
                }
                Err(_) => return Err(LinkFault::Cut),
            }
        }
        self.filled = 0;
        self.sent = 0;
        Ok(())
    }

    /// Takes bytes from the link until a frame is whole; gives its header then. Its body stays in
    /// place until `consume`.
    pub(super) fn receive<L: Link, K: Checksum>(
        &mut self,
        link: &mut L,
        checksum: &mut K,
    ) -> Result<Option<Header>, LinkFault> {
        loop {
            let needed = HEADER_BYTES.saturating_add(self.header.map_or(0, |it| it.body_bytes()));
            while self.received < needed {
                let Some(room) = self.incoming.get_mut(self.received..needed) else {
                    let too_long = DecodeError::new(Fault::OutOfRange, Field::Length);
                    return Err(LinkFault::Damaged(too_long));
                };
                match link.try_receive(room) {
                    Ok(0) => return Ok(None),
                    Ok(count) => {
                        self.received = self.received.saturating_add(count).min(needed);
                        let count = u64::try_from(count).unwrap_or(0);
                        self.bytes_received = self.bytes_received.saturating_add(count);
                    }
                    Err(_) => return Err(LinkFault::Cut),
                }
            }
            if let Some(header) = self.header {
                return self.accept(header, checksum).map(Some);
            }
            let bytes = self.incoming.first_chunk::<HEADER_BYTES>().ok_or(LinkFault::Gap)?;
            self.header = Some(Header::parse(bytes).map_err(LinkFault::Damaged)?);
        }
    }

    fn accept<K: Checksum>(
        &mut self,
        header: Header,
        checksum: &mut K,
    ) -> Result<Header, LinkFault> {
        if checksum.update(0, self.body()) != header.body_check {
            let damaged = DecodeError::new(Fault::Damaged, Field::BodyCheck);
            return Err(LinkFault::Damaged(damaged));
        }
        // On another connection numbers go on behind a gap, or anew after a restart of the peer. A
        // monitor that knows nothing of the attempt meets it in the middle, too.
        let knows_nothing = self.expected == Sequence::new(1);
        let asks = header.type_code == FrameType::Resume.code();
        let begins_anew = self.is_first || (knows_nothing && asks);
        if header.sequence != self.expected && !begins_anew {
            return Err(LinkFault::Gap);
        }
        self.is_first = false;
        self.expected = header.sequence.next();
        Ok(header)
    }

    /// The body of the frame that was received.
    pub(super) fn body(&self) -> &[u8] {
        self.incoming.get(HEADER_BYTES..self.received).unwrap_or(&[])
    }

    /// Makes room for the next frame.
    pub(super) const fn consume(&mut self) {
        self.received = 0;
        self.header = None;
    }
}
