//! Two ends of a serial line that delivers in pieces, inserts rubbish, is lost and comes back.
//!
//! Source of truth: PROTOCOL.md, "Serial lines". Invariants: what an end receives on a connection
//! was sent on this one; without rubbish it is frames and nothing else; when the course has ended,
//! a connection comes to stand and a frame passes whole in both directions. Deliberately not here:
//! what frames mean.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use monitor_core::{
    driver::SerialLink,
    limits::HEADER_BYTES,
    ports::{ErrorKind, ErrorType, Link},
    units::{Epoch, Sequence, StreamId},
    wire::{FrameFlags, FrameType, Header, VERSION_MAX, checksum::crc32c},
};

use super::{Bytes, rubbish};

/// How often a connection is opened until it stands: a header, or what looks like one, may be
/// followed by this many bytes that the other end takes for its body.
const ATTEMPTS_MAX: usize = 2 + 2 * BODY_BYTES_MAX.div_ceil(HEADER_BYTES);

/// The longest body that is sent here.
const BODY_BYTES_MAX: usize = 255;

/// Calls in which no byte passes, after which none will.
const SILENT_CALLS: u32 = 4;

/// What both ends share.
#[derive(Debug, Default)]
struct Cable {
    /// Bytes on the way to each end.
    wires: [VecDeque<u8>; 2],
    /// Bytes that pass in one call.
    step: usize,
    is_down: bool,
    /// Whether each end has noticed that the line was lost, and hears that it is back.
    is_cut: [bool; 2],
    is_awaited: [bool; 2],
    /// Bytes that have passed.
    passed: u64,
}

/// One end of the line.
#[derive(Debug)]
struct Line {
    here: usize,
    cable: Rc<RefCell<Cable>>,
}

impl ErrorType for Line {
    type Error = ErrorKind;
}

impl Link for Line {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        let mut cable = self.cable.borrow_mut();
        if cable.is_cut[self.here] || cable.is_awaited[self.here] {
            return Err(ErrorKind::Unreachable);
        }
        let count = source.len().min(cable.step);
        cable.wires[1 - self.here].extend(&source[..count]);
        cable.passed += u64::from(count > 0);
        Ok(count)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        let mut cable = self.cable.borrow_mut();
        if cable.is_cut[self.here] || cable.is_awaited[self.here] {
            return Err(ErrorKind::Unreachable);
        }
        let count = target.len().min(cable.step).min(cable.wires[self.here].len());
        for (to, from) in target.iter_mut().zip(cable.wires[self.here].drain(..count)) {
            *to = from;
        }
        cable.passed += u64::from(count > 0);
        Ok(count)
    }

    fn reconnect(&mut self) {
        let mut cable = self.cable.borrow_mut();
        cable.is_cut[self.here] = false;
        cable.is_awaited[self.here] = true;
    }

    /// The line is back once both ends have noticed that it was lost.
    fn poll_connected(&mut self) -> bool {
        let mut cable = self.cable.borrow_mut();
        let is_back = !cable.is_down && cable.is_cut == [false; 2];
        is_back && std::mem::take(&mut cable.is_awaited[self.here])
    }
}

/// One end: a link, and what a driver knows of its connection.
struct End {
    link: SerialLink<Line>,
    /// Connections that have stood; the last one is the present one while `stands`.
    count: u64,
    stands: bool,
    /// What is left of the frame that is being sent.
    unsent: Vec<u8>,
    /// What was received and is not yet a whole frame.
    received: Vec<u8>,
    /// The peer's connection whose frames are received, and the last one of those before.
    peer: Option<u64>,
    peer_before: u64,
}

impl End {
    fn new(here: usize, cable: &Rc<RefCell<Cable>>) -> Self {
        Self {
            link: SerialLink::new(Line { here, cable: Rc::clone(cable) }),
            count: 0,
            stands: false,
            unsent: Vec::new(),
            received: Vec::new(),
            peer: None,
            peer_before: 0,
        }
    }

    /// The connection is over.
    fn end(&mut self) {
        self.stands = false;
        self.unsent.clear();
        self.received.clear();
        self.peer_before = self.peer.take().unwrap_or(self.peer_before);
    }

    fn reconnect(&mut self) {
        self.link.reconnect();
        self.end();
    }

    fn poll(&mut self) -> bool {
        let begins = self.link.poll_connected();
        if begins {
            assert!(!self.stands, "a connection is said to stand once");
            self.count += 1;
            self.stands = true;
        }
        begins
    }

    /// Goes on with the frame that was begun, or begins one.
    fn send(&mut self, body_bytes: u8) {
        if self.unsent.is_empty() {
            self.unsent = frame(self.count, body_bytes);
        }
        match self.link.try_send(&self.unsent) {
            Ok(count) => {
                assert!(self.stands, "nothing is sent without a connection");
                self.unsent.drain(..count);
            }
            Err(_) => self.end(),
        }
    }

    /// Receives at most so many bytes; gives whether what has come is frames so far.
    fn receive(&mut self, room: u8, is_clean: bool) -> bool {
        let first = self.link.first_type();
        let mut buffer = [0; 256];
        let Ok(count) = self.link.try_receive(&mut buffer[..usize::from(room)]) else {
            assert_eq!(first, None, "a connection that is over has no frame");
            self.end();
            return true;
        };
        assert!(self.stands, "nothing is received without a connection");
        self.received.extend(&buffer[..count]);
        while let Some(head) = self.received.first_chunk::<HEADER_BYTES>() {
            let Ok(header) = Header::parse(head) else {
                assert!(!is_clean || self.is_given_up(head), "what is no frame was not sent");
                return false;
            };
            let sent_on = header.stream.get();
            assert!(self.peer_before < sent_on, "a frame of an older connection is handed on");
            assert_eq!(*self.peer.get_or_insert(sent_on), sent_on, "one connection at a time");
            let end = (HEADER_BYTES + header.body_bytes()).min(self.received.len());
            if is_clean {
                assert_body(&self.received[HEADER_BYTES..end], sent_on);
            }
            if end < HEADER_BYTES + header.body_bytes() {
                break;
            }
            self.received.drain(..end);
        }
        true
    }

    /// Whether this is a header that was given up, of a connection behind those before.
    fn is_given_up(&self, head: &[u8; HEADER_BYTES]) -> bool {
        let sent_on = head[16..24].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let whole = frame(sent_on, head[15]);
        let sent = head.iter().zip(&whole).take_while(|(byte, sent)| byte == sent).count();
        head[sent..].iter().all(|byte| *byte == 0) && (sent_on == 0 || sent_on > self.peer_before)
    }
}

/// A body is what was sent, filled up with zeros where it was given up.
fn assert_body(body: &[u8], sent_on: u64) {
    let sent = body.iter().take_while(|byte| **byte == fill(sent_on)).count();
    assert!(body[sent..].iter().all(|byte| *byte == 0), "a body of an older connection");
}

/// The byte of which bodies of this connection are made.
fn fill(connection: u64) -> u8 {
    0x80 | connection.to_be_bytes()[7]
}

/// A frame of this connection.
fn frame(connection: u64, body_bytes: u8) -> Vec<u8> {
    let body = vec![fill(connection); usize::from(body_bytes)];
    let header = Header {
        version: VERSION_MAX,
        type_code: FrameType::Hello.code(),
        flags: FrameFlags::MUST_UNDERSTAND,
        length: u32::from(body_bytes),
        stream: StreamId::new(connection),
        epoch: Epoch::new(1),
        sequence: Sequence::new(1),
        body_check: crc32c(0, &body),
    };
    [&header.emit(), body.as_slice()].concat()
}

/// Both ends.
struct World {
    ends: [End; 2],
    cable: Rc<RefCell<Cable>>,
    /// Whether no rubbish has come over the line.
    is_clean: bool,
    /// Behind all tokens that were used.
    token: u64,
}

/// Takes bytes as what happens to a serial line.
pub(super) fn course(bytes: &mut Bytes<'_>) {
    let cable = Rc::new(RefCell::new(Cable { step: usize::MAX, ..Cable::default() }));
    let ends = [End::new(0, &cable), End::new(1, &cable)];
    let mut world = World { ends, cable, is_clean: true, token: 0 };
    while world.step(bytes).is_some() {}
    world.finish();
}

impl World {
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let what = bytes.byte()?;
        let here = usize::from(what >> 7);
        let end = &mut self.ends[here];
        match (what & 0x7F) % 10 {
            0 => drop(end.poll()),
            1 => end.send(bytes.byte()?),
            2 => {
                if !end.receive(bytes.byte()?, self.is_clean) {
                    end.reconnect();
                }
            }
            3 => end.reconnect(),
            4 => self.open(here),
            5 => {
                end.link.listen();
                end.end();
            }
            6 => {
                self.is_clean = false;
                self.cable.borrow_mut().wires[here].extend(rubbish(bytes)?);
            }
            7 => self.lose(),
            8 => self.cable.borrow_mut().is_down = false,
            _ => self.cable.borrow_mut().step = usize::from(bytes.byte()?),
        }
        Some(())
    }

    /// This end becomes the opener.
    fn open(&mut self, here: usize) {
        self.token += 1_000_000;
        self.ends[here].link.open(self.token);
        self.ends[here].end();
    }

    /// The line is lost with all that is on it.
    fn lose(&mut self) {
        let mut cable = self.cable.borrow_mut();
        cable.is_down = true;
        // An end that awaits the line goes on doing so.
        cable.is_cut = cable.is_awaited.map(|is_awaited| !is_awaited);
        cable.wires.iter_mut().for_each(VecDeque::clear);
    }

    /// The line becomes good; the first end opens a connection to the second one.
    fn finish(&mut self) {
        (self.cable.borrow_mut().step, self.cable.borrow_mut().is_down) = (usize::MAX, false);
        self.ends[1].link.listen();
        self.ends[1].end();
        self.open(0);
        for _ in 0..ATTEMPTS_MAX {
            if self.settle() {
                self.assert_passes(0, 1);
                self.assert_passes(1, 0);
                return;
            }
            self.ends[0].reconnect();
        }
        panic!("no connection comes to stand over a good line");
    }

    /// Both ends do what they can until nothing passes; gives whether the opener's connection
    /// stands.
    fn settle(&mut self) -> bool {
        let mut silent = 0;
        while silent < SILENT_CALLS {
            let passed = self.cable.borrow().passed;
            let [opener, listener] = &mut self.ends;
            if opener.poll() {
                return true;
            }
            let stands = listener.poll() || listener.stands;
            if stands && (!listener.receive(255, self.is_clean) || !listener.stands) {
                listener.reconnect();
            }
            silent = if self.cable.borrow().passed == passed { silent + 1 } else { 0 };
        }
        false
    }

    /// A frame passes whole, and nothing before it or behind it.
    fn assert_passes(&mut self, from: usize, to: usize) {
        for body_bytes in [255, 0] {
            let expected = frame(self.ends[from].count, body_bytes);
            self.ends[from].send(body_bytes);
            while !self.ends[from].unsent.is_empty() {
                self.ends[from].send(body_bytes);
            }
            let mut received: Vec<u8> = Vec::new();
            let mut silent = 0;
            while silent < SILENT_CALLS {
                let mut buffer = [0; 100];
                let count = self.ends[to].link.try_receive(&mut buffer);
                let count = count.expect("the connection stands");
                received.extend(&buffer[..count]);
                silent = if count == 0 { silent + 1 } else { 0 };
            }
            assert_eq!(received, expected, "a frame passes whole");
        }
    }
}
