//! The link to the other SU, in the form that the configuration says.
//!
//! Source of truth: PROTOCOL.md, "Link" and "Serial lines". Invariant: in either form an attempt
//! begins with a connection that carries nothing of those before. Deliberately not here: frames.

use monitor_core::{
    driver::SerialLink,
    limits::HEADER_BYTES,
    ports::{ErrorKind, ErrorType, Link},
    wire::Header,
};

use super::{config::LinkKind, port::Port};

/// A link between two SUs.
#[derive(Debug)]
pub enum PeerLink {
    /// A line that nobody can cut; connections are told in band.
    Serial(SerialLink<Port>),
    /// A line at whose other end somebody connects anew for each attempt.
    Socket(SocketLink),
}

impl PeerLink {
    /// A link of this kind over a port.
    #[must_use]
    pub const fn new(kind: LinkKind, port: Port) -> Self {
        match kind {
            LinkKind::Serial => Self::Serial(SerialLink::new(port)),
            LinkKind::Socket => Self::Socket(SocketLink::new(port)),
        }
    }

    /// The attempt has come to its end with all its words said, so that another one may follow on
    /// the same connection.
    pub const fn settle(&mut self) {
        if let Self::Socket(link) = self {
            link.is_clean = true;
        }
    }

    /// Waits for connections, as a target does.
    pub fn listen(&mut self) {
        match self {
            Self::Serial(link) => link.listen(),
            Self::Socket(link) => link.await_connection(true),
        }
    }

    /// Begins to open a connection under a token that is unique, as a source does.
    pub fn open(&mut self, token: u64) {
        match self {
            Self::Serial(link) => link.open(token),
            Self::Socket(link) => link.await_connection(false),
        }
    }

    /// Type of the first frame of the connection, once it has come and before it was taken.
    pub fn first_type(&mut self) -> Option<u16> {
        match self {
            Self::Serial(link) => link.first_type(),
            Self::Socket(link) => link.first_type(),
        }
    }
}

impl ErrorType for PeerLink {
    type Error = ErrorKind;
}

impl Link for PeerLink {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        match self {
            Self::Serial(link) => link.try_send(source),
            Self::Socket(link) => link.port.try_send(source),
        }
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        match self {
            Self::Serial(link) => link.try_receive(target),
            Self::Socket(link) => link.try_receive(target),
        }
    }

    fn reconnect(&mut self) {
        match self {
            Self::Serial(link) => link.reconnect(),
            Self::Socket(link) => link.await_connection(link.listens),
        }
    }

    fn poll_connected(&mut self) -> bool {
        match self {
            Self::Serial(link) => link.poll_connected(),
            Self::Socket(link) => link.poll_connected(),
        }
    }
}

/// A port whose connections are those of the socket at its other end.
#[derive(Debug)]
pub struct SocketLink {
    port: Port,
    /// Whether a connection counts only when the other end has begun to speak.
    listens: bool,
    /// Whether the connection was used by whole attempts alone.
    is_clean: bool,
    /// The first header of the connection, as far as it has come, and how much was taken.
    head: [u8; HEADER_BYTES],
    filled: usize,
    taken: usize,
}

impl SocketLink {
    const fn new(port: Port) -> Self {
        Self { port, listens: true, is_clean: false, head: [0; HEADER_BYTES], filled: 0, taken: 0 }
    }

    /// Waits for a connection, which may be the present one if that is clean.
    fn await_connection(&mut self, listens: bool) {
        (self.filled, self.taken, self.listens) = (0, 0, listens);
        if self.is_clean {
            self.port.release();
        } else {
            self.port.reconnect();
        }
    }

    fn poll_connected(&mut self) -> bool {
        let stands = (!self.listens || self.port.has_input()) && self.port.poll_connected();
        self.is_clean &= !stands;
        stands
    }

    fn first_type(&mut self) -> Option<u16> {
        if self.taken > 0 {
            return None;
        }
        self.filled += self.port.try_receive(&mut self.head[self.filled..]).ok()?;
        let header = Header::parse(&self.head).ok().filter(|_| self.filled == HEADER_BYTES);
        header.map(|header| header.type_code)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        let rest = self.head.get(self.taken..self.filled).unwrap_or_default();
        if rest.is_empty() {
            return self.port.try_receive(target);
        }
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}
