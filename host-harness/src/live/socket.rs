//! Sockets as links, which are connected again when they were cut.
//!
//! The source's end opens connections: at once after one that has carried something, otherwise
//! after a pause that doubles from 10 ms to 1 s, so that a target that refuses is not flooded.
//! The target's end keeps its listener and takes the newest connection that is offered, since an
//! older one is given up by then, whether this end has noticed or not.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariants: nothing blocks but
//! [`SocketLink::wait`], which is bounded; a connection is new to the driver only once.
//! Deliberately not here: encryption, addresses of other machines.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::FileTypeExt,
            net::{self as unix, UnixListener, UnixStream},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use monitor_core::ports::{self, ErrorType, Link, PortError};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};

/// The first pause between two tries to connect.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause between two tries to connect, and the longest try.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Connections that are taken at one time.
const ACCEPTS_MAX: usize = 128;

/// What kind of socket a link has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// TCP over the loopback interface.
    Tcp,
    /// A UNIX socket of this machine.
    Unix,
}

/// Why a link failed.
#[derive(Debug)]
pub enum LinkError {
    /// The other end closed the connection, or has opened a newer one.
    Closed,
    /// The socket failed.
    Socket(io::Error),
}

impl fmt::Display for LinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("the other end closed the connection"),
            Self::Socket(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for LinkError {}

impl PortError for LinkError {
    fn kind(&self) -> ports::ErrorKind {
        ports::ErrorKind::Unreachable
    }
}

/// A connected stream that never blocks.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// A connection as the link needs it; a TCP port of this machine that nobody listens at can
    /// be connected with itself, which is none.
    fn prepared(self) -> io::Result<Self> {
        match &self {
            Self::Tcp(stream) => {
                if stream.local_addr()? == stream.peer_addr()? {
                    return Err(ErrorKind::ConnectionRefused.into());
                }
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
            }
            Self::Unix(stream) => stream.set_nonblocking(true)?,
        }
        Ok(self)
    }

    fn send(&mut self, source: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(source),
            Self::Unix(stream) => stream.write(source),
        }
    }

    fn receive(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(target),
            Self::Unix(stream) => stream.read(target),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Where the target's end listens.
#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// A listener on this machine, at an address that the system chooses.
    fn new(kind: SocketKind) -> io::Result<(Self, Address)> {
        match kind {
            SocketKind::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                listener.set_nonblocking(true)?;
                let address = Address::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(listener), address))
            }
            SocketKind::Unix => {
                // Linux gives a socket without a name a unique one, which is in no file system.
                let listener = UnixListener::bind_addr(&unix::SocketAddr::from_pathname("")?)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let name = address.as_abstract_name().ok_or(ErrorKind::AddrNotAvailable)?;
                let address = Address::Unix(SocketAddrUnix::new_abstract_name(name)?);
                Ok((Self::Unix(listener), address))
            }
        }
    }

    /// The newest of the connections that are offered now.
    fn newest(&self) -> Option<Stream> {
        let accept = || match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        };
        let mut newest = None;
        for _ in 0..ACCEPTS_MAX {
            match accept() {
                Ok(stream) => newest = stream.prepared().ok().or(newest),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => break,
            }
        }
        newest
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Where the source's end connects to.
#[derive(Clone, Debug)]
enum Address {
    Tcp(SocketAddr),
    Unix(SocketAddrUnix),
}

impl Address {
    /// Begins to connect.
    fn connect(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = |family| socket_with(family, SocketType::STREAM, flags, None);
        let (socket, begun) = match self {
            Self::Tcp(address) => {
                let family =
                    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = socket(family)?;
                let begun = connect(&socket, address);
                (socket, begun)
            }
            Self::Unix(address) => {
                let socket = socket(AddressFamily::UNIX)?;
                let begun = connect(&socket, address);
                (socket, begun)
            }
        };
        match begun {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    /// The connection that was begun, if it stands by now.
    fn connected(&self, socket: OwnedFd) -> Result<Stream, Option<OwnedFd>> {
        if !is_ready(&socket, PollFlags::OUT) {
            return Err(Some(socket));
        }
        if !matches!(sockopt::socket_error(&socket), Ok(Ok(()))) {
            return Err(None);
        }
        let stream = match self {
            Self::Tcp(_) => Stream::Tcp(socket.into()),
            Self::Unix(_) => Stream::Unix(socket.into()),
        };
        stream.prepared().map_err(|_| None)
    }
}

/// What an end does to get another connection.
#[derive(Debug)]
enum End {
    /// The source's end opens it.
    Opens { address: Address, opening: Opening, pause: Duration },
    /// The target's end takes it.
    Takes { listener: Listener, offered: Option<Stream>, is_waiting: bool },
}

/// How far an end that opens connections has come.
#[derive(Debug)]
enum Opening {
    /// Nothing is to be opened.
    Idle,
    /// The next try is due then.
    Pausing(Instant),
    /// A try is under way, and is given up then.
    Trying(OwnedFd, Instant),
}

/// One end of a series of connections of stream sockets.
#[derive(Debug)]
pub struct SocketLink {
    stream: Option<Stream>,
    end: End,
}

/// Two connected ends on this machine: the source's, which opens further connections, and the
/// target's.
///
/// # Errors
/// Fails when the operating system gives none.
pub fn connected(kind: SocketKind) -> io::Result<(SocketLink, SocketLink)> {
    let (listener, address) = Listener::new(kind)?;
    let opening = Opening::Pausing(Instant::now());
    let mut source =
        SocketLink { stream: None, end: End::Opens { address, opening, pause: PAUSE_MIN } };
    let mut target =
        SocketLink { stream: None, end: End::Takes { listener, offered: None, is_waiting: true } };
    let deadline = Instant::now() + PAUSE_MAX;
    let (mut here, mut there) = (false, false);
    while !(here && there) {
        if Instant::now() > deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        here = here || source.poll_connected();
        there = there || target.poll_connected();
        if !there {
            target.wait(false, PAUSE_MIN);
        }
    }
    Ok((source, target))
}

impl SocketLink {
    /// An end that connects to the UNIX socket at `path`, from now on until it stands.
    ///
    /// # Errors
    /// Fails when a socket cannot have this path.
    pub fn connecting(path: &Path) -> io::Result<Self> {
        let address = Address::Unix(SocketAddrUnix::new(path)?);
        let opening = Opening::Pausing(Instant::now());
        Ok(Self { stream: None, end: End::Opens { address, opening, pause: PAUSE_MIN } })
    }

    /// An end that makes the UNIX socket at `path` and takes connections there.
    ///
    /// # Errors
    /// Fails when there is something at `path` other than a socket that nobody uses any more.
    pub fn listening(path: &Path) -> io::Result<Self> {
        let listener = listen(path)?;
        listener.set_nonblocking(true)?;
        let listener = Listener::Unix(listener);
        Ok(Self { stream: None, end: End::Takes { listener, offered: None, is_waiting: true } })
    }

    /// Waits until there is something to receive, or room to send if that is wanted, or news of a
    /// connection, or the time has passed.
    pub fn wait(&self, to_send: bool, time: Duration) {
        let wanted = if to_send { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut descriptors = Vec::with_capacity(2);
        descriptors.extend(self.stream.as_ref().map(|stream| PollFd::new(stream, wanted)));
        let mut time = time;
        match &self.end {
            End::Takes { listener, .. } => descriptors.push(PollFd::new(listener, PollFlags::IN)),
            End::Opens { opening: Opening::Trying(socket, _), .. } => {
                descriptors.push(PollFd::new(socket, PollFlags::OUT));
            }
            End::Opens { opening: Opening::Pausing(until), .. } => {
                time = time.min(until.saturating_duration_since(Instant::now()));
            }
            End::Opens { opening: Opening::Idle, .. } => {}
        }
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: i64::from(time.subsec_nanos()) };
        let waited = poll(&mut descriptors, Some(&timeout));
        // A wait that is interrupted or fails is a short one: the caller looks for itself.
        debug_assert!(waited.is_ok() || time < Duration::from_secs(1), "poll fails for long");
    }

    /// Cuts the present connection, as a fault of the network would.
    pub fn cut(&self) {
        // One that is cut already stays cut.
        drop(match &self.stream {
            Some(Stream::Tcp(stream)) => stream.shutdown(std::net::Shutdown::Both),
            Some(Stream::Unix(stream)) => stream.shutdown(std::net::Shutdown::Both),
            None => Ok(()),
        });
    }
}

impl ErrorType for SocketLink {
    type Error = LinkError;
}

impl Link for SocketLink {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, LinkError> {
        let stream = self.stream.as_mut().ok_or(LinkError::Closed)?;
        transferred(stream.send(source))
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, LinkError> {
        let stream = self.stream.as_mut().ok_or(LinkError::Closed)?;
        let count = match stream.receive(target) {
            Ok(0) if !target.is_empty() => return Err(LinkError::Closed),
            received => transferred(received)?,
        };
        match &mut self.end {
            End::Opens { pause, .. } if count > 0 => *pause = Duration::ZERO,
            // What had arrived on this connection is taken before the newer one cuts it.
            End::Takes { listener, offered, .. } if count == 0 => {
                *offered = listener.newest().or(offered.take());
                if offered.is_some() {
                    return Err(LinkError::Closed);
                }
            }
            End::Opens { .. } | End::Takes { .. } => {}
        }
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.stream = None;
        match &mut self.end {
            End::Opens { opening, pause, .. } => {
                *opening = Opening::Pausing(Instant::now() + *pause);
                *pause = longer(*pause);
            }
            End::Takes { is_waiting, .. } => *is_waiting = true,
        }
    }

    fn poll_connected(&mut self) -> bool {
        let stream = match &mut self.end {
            End::Opens { address, opening, pause } => opening.advance(address, pause),
            End::Takes { listener, offered, is_waiting } if *is_waiting => {
                let newest = listener.newest().or(offered.take());
                *is_waiting = newest.is_none();
                newest
            }
            End::Takes { .. } => None,
        };
        let is_new = stream.is_some();
        self.stream = stream.or(self.stream.take());
        is_new
    }
}

impl Opening {
    /// Goes on opening a connection; gives it when it stands.
    fn advance(&mut self, address: &Address, pause: &mut Duration) -> Option<Stream> {
        let now = Instant::now();
        let mut failed = || {
            let until = now + *pause;
            *pause = longer(*pause);
            Self::Pausing(until)
        };
        *self = match std::mem::replace(self, Self::Idle) {
            Self::Idle => Self::Idle,
            Self::Pausing(until) if until > now => Self::Pausing(until),
            Self::Pausing(_) => {
                address.connect().map_or_else(|_| failed(), |it| Self::Trying(it, now + PAUSE_MAX))
            }
            Self::Trying(socket, until) => match address.connected(socket) {
                Ok(stream) => return Some(stream),
                Err(Some(socket)) if until > now => Self::Trying(socket, until),
                Err(_) => failed(),
            },
        };
        None
    }
}

/// Listens at this path. A socket that a process has left there, which has ended, is replaced.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether there is a socket at which nobody listens.
fn is_left(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}

/// The pause after the one behind this one.
fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// Whether a socket is ready for this, or has failed.
fn is_ready(socket: &OwnedFd, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, flags)], Some(&now)).is_ok_and(|ready| ready > 0)
}

fn transferred(result: io::Result<usize>) -> Result<usize, LinkError> {
    match result {
        Ok(count) => Ok(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(0)
        }
        Err(error) => Err(LinkError::Socket(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for what happens within a bounded number of bounded waits.
    fn until<T>(
        links: &mut [&mut SocketLink],
        mut seen: impl FnMut(&mut [&mut SocketLink]) -> Option<T>,
    ) -> T {
        for _ in 0..2000 {
            if let Some(value) = seen(links) {
                return value;
            }
            for link in &*links {
                link.wait(false, Duration::from_millis(5));
            }
        }
        panic!("it does not happen");
    }

    fn received(link: &mut SocketLink) -> Result<Vec<u8>, LinkError> {
        until(&mut [link], |links| {
            let mut buffer = [0; 100];
            match links[0].try_receive(&mut buffer) {
                Ok(0) => None,
                received => Some(received.map(|count| buffer[..count].to_vec())),
            }
        })
    }

    fn connect(links: &mut [&mut SocketLink]) {
        until(links, |links| links[0].poll_connected().then_some(()));
    }

    #[test]
    fn a_cut_link_is_connected_again_and_again_by_both_ends() {
        for kind in [SocketKind::Tcp, SocketKind::Unix] {
            let (mut here, mut there) = connected(kind).unwrap();
            assert!(!here.poll_connected() && !there.poll_connected());
            for round in 0..20_u8 {
                assert_eq!(here.try_send(&[round]).unwrap(), 1);
                assert_eq!(received(&mut there).unwrap(), [round]);
                assert_eq!(there.try_send(&[round, 0]).unwrap(), 2);
                assert_eq!(received(&mut here).unwrap(), [round, 0]);
                if round % 2 == 0 {
                    here.cut();
                } else {
                    there.cut();
                }
                assert!(received(&mut here).is_err() && received(&mut there).is_err());
                here.reconnect();
                there.reconnect();
                assert!(here.try_send(&[1]).is_err() && there.try_receive(&mut [0]).is_err());
                connect(&mut [&mut here]);
                connect(&mut [&mut there]);
                assert!(!here.poll_connected() && !there.poll_connected(), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_newer_connection_cuts_the_older_one_behind_what_has_arrived() {
        for kind in [SocketKind::Tcp, SocketKind::Unix] {
            let (mut here, mut there) = connected(kind).unwrap();
            here.try_send(b"old").unwrap();
            let old = here.stream.take();
            for _ in 0..3 {
                here.reconnect();
                connect(&mut [&mut here]);
            }
            here.try_send(b"new").unwrap();
            assert_eq!(received(&mut there).unwrap(), b"old");
            assert!(matches!(received(&mut there), Err(LinkError::Closed)), "{kind:?}");
            there.reconnect();
            connect(&mut [&mut there]);
            assert_eq!(received(&mut there).unwrap(), b"new");
            drop(old);
            there.try_send(b"back").unwrap();
            assert_eq!(received(&mut here).unwrap(), b"back");
        }
    }

    #[test]
    fn an_end_without_a_peer_tries_on_with_growing_pauses_until_there_is_one() {
        for kind in [SocketKind::Tcp, SocketKind::Unix] {
            let (mut here, there) = connected(kind).unwrap();
            drop(there);
            here.reconnect();
            let paused = |here: &SocketLink| match &here.end {
                End::Opens { pause, .. } => *pause,
                End::Takes { .. } => panic!("the target's end opens nothing"),
            };
            let begun = Instant::now();
            until(&mut [&mut here], |links| {
                assert!(!links[0].poll_connected());
                (paused(links[0]) >= PAUSE_MIN * 16).then_some(())
            });
            // Pauses of 10, 20 and 40 ms lie behind it, one of 80 ms has begun.
            assert!(begun.elapsed() >= PAUSE_MIN * 7, "{:?}", begun.elapsed());
            let (listener, new) = Listener::new(kind).unwrap();
            let End::Opens { address, .. } = &mut here.end else { panic!("it opens nothing") };
            *address = new;
            connect(&mut [&mut here]);
            assert!(listener.newest().is_some());
        }
        assert_eq!(longer(Duration::ZERO), PAUSE_MIN);
        assert_eq!(longer(PAUSE_MAX), PAUSE_MAX);
    }
}
