//! Connections over a serial line: a stream of bytes that neither end can cut.
//!
//! A monitor without sockets may have nothing but a serial line to its peer. Where a connection
//! begins is said in band then, between two frames: the opener sends CONNECT with a token, the
//! listener answers CONNECTED with the same one, and frames follow. Whatever came before belongs
//! to a former connection and is skipped. The line itself may be lost and come back, too.
//!
//! Source of truth: PROTOCOL.md, "Serial lines". Invariants: the opener hears nothing before its
//! own token; a frame that was begun is filled up with zeros before another connection is opened,
//! so that the line carries whole frames; behind rubbish the next header is looked for.
//! Deliberately not here: what frames mean, and how long to wait.

use crate::{
    limits::HEADER_BYTES,
    ports::{ErrorKind, ErrorType, Link},
    units::{Epoch, Sequence, StreamId},
    wire::{CONNECT_TYPE, CONNECTED_TYPE, FrameFlags, Header, MAGIC, VERSION_MIN},
};

/// Zeros that are sent, or bytes that are skipped, at a time.
const CHUNK_BYTES: usize = 512;

/// Chunks that one call skips at most.
const CHUNKS_PER_CALL: usize = 256;

/// Where this end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for a connection, or has heard of one that it has not taken yet.
    Listening { offered: Option<u64> },
    /// Has opened a connection that is not answered yet.
    Opening,
    /// Frames pass.
    Connected,
    /// The connection is over; the listener may have heard of another one.
    Cut { offered: Option<u64> },
}

/// One direction of the line: how much of a frame has passed.
#[derive(Clone, Copy, Debug)]
struct Passage {
    head: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    filled: usize,
    /// Bytes of the body that are still to come.
    body_left: usize,
}

impl Passage {
    const BOUNDARY: Self = Self { head: [0; HEADER_BYTES], filled: 0, body_left: 0 };

    /// Bytes up to the end of the header, or else of the body.
    const fn wanted(&self) -> usize {
        if self.body_left > 0 { self.body_left } else { HEADER_BYTES.saturating_sub(self.filled) }
    }

    /// Bytes that are missing to a whole frame, if one was begun.
    const fn owed(&self) -> usize {
        if self.body_left == 0 && self.filled == 0 { 0 } else { self.wanted() }
    }

    /// Drops the first byte of a header that is none, and all up to where one may begin.
    fn slide(&mut self) {
        let [first, ..] = MAGIC.to_be_bytes();
        let next = self.head.iter().skip(1).position(|byte| *byte == first);
        let dropped = next.map_or(HEADER_BYTES, |place| place.saturating_add(1));
        let old = self.head;
        for (place, byte) in self.head.iter_mut().zip(old.iter().skip(dropped)) {
            *place = *byte;
        }
        self.filled = HEADER_BYTES.saturating_sub(dropped);
    }

    /// Notes bytes that have passed, no more than are wanted.
    fn pass(&mut self, bytes: &[u8]) {
        if self.body_left > 0 {
            self.body_left = self.body_left.saturating_sub(bytes.len());
            return;
        }
        for (place, byte) in self.head.iter_mut().skip(self.filled).zip(bytes) {
            *place = *byte;
        }
        self.filled = self.filled.saturating_add(bytes.len());
        if self.filled >= HEADER_BYTES {
            self.filled = 0;
            self.body_left = Header::parse(&self.head).map_or(0, |header| header.body_bytes());
        }
    }
}

/// Connections over a line, which is a link that is lost and comes back as a whole.
#[derive(Debug)]
pub struct SerialLink<L> {
    line: L,
    state: State,
    /// Token of the connections that this end opens; `None` for the listener.
    token: Option<u64>,
    /// Whether the line is there.
    has_line: bool,
    outgoing: Passage,
    incoming: Passage,
    /// Bytes of a whole received header that were handed on; a header is looked at first.
    handed: usize,
    /// Zeros that fill up a frame that was given up.
    zeros: usize,
    /// What this end says itself, and how much of it was sent.
    marker: Option<[u8; HEADER_BYTES]>,
    marker_sent: usize,
}

impl<L: Link> SerialLink<L> {
    /// The listener's end of a line.
    #[must_use]
    pub const fn new(line: L) -> Self {
        Self {
            line,
            state: State::Listening { offered: None },
            token: None,
            has_line: true,
            outgoing: Passage::BOUNDARY,
            incoming: Passage::BOUNDARY,
            handed: HEADER_BYTES,
            zeros: 0,
            marker: None,
            marker_sent: 0,
        }
    }

    /// Becomes the listener, as which a target begins. A connection that was heard of remains.
    pub fn listen(&mut self) {
        self.token = None;
        self.give_up();
    }

    /// Becomes the opener, as which a source begins, and begins to open a connection. The tokens
    /// count up from this one, which no former opener of this line may have used: a TOD stamp.
    pub fn open(&mut self, token: u64) {
        self.token = Some(token);
        self.give_up();
    }

    /// The line.
    #[must_use]
    pub const fn line(&mut self) -> &mut L {
        &mut self.line
    }

    /// Type of the first frame of the connection, once its header has come and before it was
    /// taken. It tells a new attempt from one that goes on.
    pub fn first_type(&mut self) -> Option<u16> {
        self.fill_head().ok()?;
        let is_whole = self.state == State::Connected && self.handed == 0;
        Header::parse(&self.incoming.head).ok().filter(|_| is_whole).map(|it| it.type_code)
    }

    /// Ends the present connection and begins to open, or to await, another one.
    fn give_up(&mut self) {
        self.zeros = self.zeros.saturating_add(self.outgoing.owed());
        self.outgoing = Passage::BOUNDARY;
        self.skip_received();
        match self.token {
            Some(token) => self.begin_opening(token),
            None => {
                let offered = match self.state {
                    State::Listening { offered } | State::Cut { offered } => offered,
                    State::Opening | State::Connected => None,
                };
                self.state = State::Listening { offered };
                if self.marker_sent == 0 {
                    self.marker = None;
                }
            }
        }
    }

    /// Says that another connection begins, under the token behind this one.
    fn begin_opening(&mut self, token: u64) {
        let token = token.wrapping_add(1);
        self.token = Some(token);
        self.state = State::Opening;
        self.begin_marker(marker(CONNECT_TYPE, token));
    }

    /// Has a marker sent in place of one of which nothing was sent yet.
    fn begin_marker(&mut self, marker: [u8; HEADER_BYTES]) {
        if self.marker_sent > 0 {
            // The rest of the former one; it is heard by nobody without its end.
            self.zeros = self.zeros.saturating_add(HEADER_BYTES.saturating_sub(self.marker_sent));
        }
        self.marker = Some(marker);
        self.marker_sent = 0;
    }

    /// What of a frame was received but not handed on is none of the next connection.
    const fn skip_received(&mut self) {
        self.handed = HEADER_BYTES;
    }

    /// The line is lost: nothing of what was under way arrives.
    fn lose_line(&mut self) {
        self.line.reconnect();
        self.has_line = false;
        (self.outgoing, self.incoming) = (Passage::BOUNDARY, Passage::BOUNDARY);
        self.skip_received();
        (self.zeros, self.marker_sent) = (0, 0);
        self.marker = None;
        match (self.state, self.token) {
            (State::Opening, Some(token)) => self.begin_opening(token),
            (State::Listening { .. } | State::Opening, _) => {
                self.state = State::Listening { offered: None };
            }
            (State::Connected | State::Cut { .. }, _) => self.state = State::Cut { offered: None },
        }
    }

    /// Sends what this end owes the line itself; gives whether nothing is left of it.
    fn flush(&mut self) -> Result<bool, L::Error> {
        let zeros = [0; CHUNK_BYTES];
        while self.zeros > 0 {
            let chunk = zeros.get(..self.zeros.min(CHUNK_BYTES)).unwrap_or(&[]);
            let count = self.line.try_send(chunk)?;
            if count == 0 {
                return Ok(false);
            }
            self.zeros = self.zeros.saturating_sub(count);
        }
        while let Some(marker) = self.marker {
            let rest = marker.get(self.marker_sent..).unwrap_or(&[]);
            if rest.is_empty() {
                (self.marker, self.marker_sent) = (None, 0);
                break;
            }
            let count = self.line.try_send(rest)?;
            if count == 0 {
                return Ok(false);
            }
            self.marker_sent = self.marker_sent.saturating_add(count);
        }
        Ok(true)
    }

    /// Skips what belongs to former connections, up to the next marker.
    fn skip_to_marker(&mut self) -> Result<Option<Header>, L::Error> {
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..CHUNKS_PER_CALL {
            let room = self.incoming.wanted().min(CHUNK_BYTES);
            let count = self.line.try_receive(chunk.get_mut(..room).unwrap_or(&mut []))?;
            if count == 0 {
                return Ok(None);
            }
            let was_body = self.incoming.body_left > 0;
            self.incoming.pass(chunk.get(..count).unwrap_or(&[]));
            if was_body || self.incoming.filled > 0 {
                continue;
            }
            match Header::parse(&self.incoming.head) {
                Ok(header) if is_marker(&header) => return Ok(Some(header)),
                Ok(_) => {}
                Err(_) => self.incoming.slide(),
            }
        }
        Ok(None)
    }

    /// Takes the next header from the line as far as it has come, when the one before was handed
    /// on with its body.
    fn fill_head(&mut self) -> Result<(), ErrorKind> {
        while self.state == State::Connected
            && self.handed == HEADER_BYTES
            && self.incoming.body_left == 0
        {
            let mut bytes = [0; HEADER_BYTES];
            let room = bytes.get_mut(..self.incoming.wanted()).unwrap_or(&mut []);
            let Ok(count) = self.line.try_receive(room) else {
                self.lose_line();
                break;
            };
            if count == 0 {
                break;
            }
            self.incoming.pass(bytes.get(..count).unwrap_or(&[]));
            if self.incoming.filled > 0 {
                continue;
            }
            match Header::parse(&self.incoming.head) {
                Ok(header) if is_marker(&header) => self.hear(&header),
                Ok(_) | Err(_) => self.handed = 0,
            }
        }
        if self.state == State::Connected { Ok(()) } else { Err(ErrorKind::Unreachable) }
    }

    /// Takes a marker within a connection: the newest connection cuts the one before, and a peer
    /// that has listened since is not its opener any more.
    const fn hear(&mut self, header: &Header) {
        if self.token.is_none() {
            let is_opened = header.type_code == CONNECT_TYPE;
            let offered = if is_opened { Some(header.stream.get()) } else { None };
            self.state = State::Cut { offered };
        }
    }

    /// Goes on with opening or awaiting a connection; gives whether it stands.
    fn advance(&mut self) -> Result<bool, L::Error> {
        if !self.has_line {
            if !self.line.poll_connected() {
                return Ok(false);
            }
            self.has_line = true;
        }
        self.flush()?;
        let offered = match self.state {
            State::Connected | State::Cut { .. } => return Ok(false),
            State::Listening { offered } => offered,
            State::Opening => None,
        };
        let token = match (offered, self.skip_to_marker()?) {
            // The newest one counts.
            (_, Some(header)) if self.token.is_none() == (header.type_code == CONNECT_TYPE) => {
                header.stream.get()
            }
            (Some(token), None) => token,
            (Some(_), Some(_)) => {
                self.state = State::Listening { offered: None };
                return Ok(false);
            }
            (None, _) => return Ok(false),
        };
        if self.token.is_none() {
            self.begin_marker(marker(CONNECTED_TYPE, token));
            self.state = State::Connected;
            self.flush()?;
        } else if self.token == Some(token) {
            self.state = State::Connected;
        }
        Ok(self.state == State::Connected)
    }
}

impl<L: Link> ErrorType for SerialLink<L> {
    type Error = ErrorKind;
}

impl<L: Link> Link for SerialLink<L> {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if self.state != State::Connected {
            return Err(ErrorKind::Unreachable);
        }
        let part = source.get(..self.outgoing.wanted().min(source.len())).unwrap_or(source);
        let sent =
            self.flush().and_then(|empty| if empty { self.line.try_send(part) } else { Ok(0) });
        let Ok(count) = sent else {
            self.lose_line();
            return Err(ErrorKind::Unreachable);
        };
        self.outgoing.pass(part.get(..count).unwrap_or(part));
        Ok(count)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        self.fill_head()?;
        let rest = self.incoming.head.get(self.handed..).unwrap_or(&[]);
        if !rest.is_empty() {
            let count = rest.len().min(target.len());
            for (to, from) in target.iter_mut().zip(rest) {
                *to = *from;
            }
            self.handed = self.handed.saturating_add(count);
            return Ok(count);
        }
        let room = target.len().min(self.incoming.body_left);
        if room == 0 {
            return Ok(0);
        }
        let body = target.get_mut(..room).unwrap_or(&mut []);
        let Ok(count) = self.line.try_receive(body) else {
            self.lose_line();
            return Err(ErrorKind::Unreachable);
        };
        self.incoming.body_left = self.incoming.body_left.saturating_sub(count);
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.give_up();
    }

    fn poll_connected(&mut self) -> bool {
        if let Ok(stands) = self.advance() {
            return stands;
        }
        self.lose_line();
        false
    }
}

const fn is_marker(header: &Header) -> bool {
    matches!(header.type_code, CONNECT_TYPE | CONNECTED_TYPE)
}

fn marker(type_code: u16, token: u64) -> [u8; HEADER_BYTES] {
    Header {
        version: VERSION_MIN,
        type_code,
        flags: FrameFlags::empty(),
        length: 0,
        stream: StreamId::new(token),
        epoch: Epoch::new(0),
        sequence: Sequence::new(0),
        body_check: 0,
    }
    .emit()
}

#[cfg(test)]
#[path = "serial_tests.rs"]
mod tests;
