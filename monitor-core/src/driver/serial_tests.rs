//! Tests of connections over a serial line, with a line that takes and gives a few bytes at a time.
//!
//! Source of truth: PROTOCOL.md, "Serial lines". Invariant: two lines are crossed, so that what one
//! end sends the other one receives. Deliberately not here: drivers, which see a link as any other.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, vec, vec::Vec};

use super::*;
use crate::wire::{FILLER_TYPE, FrameType, VERSION_MAX, checksum::crc32c};

type Bytes = Rc<RefCell<VecDeque<u8>>>;

/// One end of a line.
#[derive(Debug)]
struct Line {
    there: Bytes,
    here: Bytes,
    /// Bytes that pass at a time.
    step: usize,
    is_lost: Rc<RefCell<bool>>,
    was_lost: bool,
}

impl ErrorType for Line {
    type Error = ErrorKind;
}

impl Link for Line {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if *self.is_lost.borrow() {
            return Err(ErrorKind::Unreachable);
        }
        let count = source.len().min(self.step);
        self.there.borrow_mut().extend(&source[..count]);
        Ok(count)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        if *self.is_lost.borrow() {
            return Err(ErrorKind::Unreachable);
        }
        let mut here = self.here.borrow_mut();
        let count = target.len().min(self.step).min(here.len());
        for byte in &mut target[..count] {
            *byte = here.pop_front().unwrap();
        }
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.was_lost = true;
    }

    fn poll_connected(&mut self) -> bool {
        !*self.is_lost.borrow() && std::mem::take(&mut self.was_lost)
    }
}

struct Pair {
    opener: SerialLink<Line>,
    listener: SerialLink<Line>,
    wires: [Bytes; 2],
    is_lost: Rc<RefCell<bool>>,
}

impl Pair {
    fn new(step: usize) -> Self {
        let wires: [Bytes; 2] = Default::default();
        let is_lost: Rc<RefCell<bool>> = Rc::default();
        let line = |there: &Bytes, here: &Bytes| Line {
            there: Rc::clone(there),
            here: Rc::clone(here),
            step,
            is_lost: Rc::clone(&is_lost),
            was_lost: false,
        };
        let opener = SerialLink::new(line(&wires[0], &wires[1]));
        let listener = SerialLink::new(line(&wires[1], &wires[0]));
        Self { opener, listener, wires, is_lost }
    }

    /// Polls both ends until a connection stands at both; gives whether it does.
    fn connects(&mut self) -> bool {
        let (mut here, mut there) = (false, false);
        for _ in 0..10_000 {
            here |= self.opener.poll_connected();
            there |= self.listener.poll_connected();
            if here && there {
                return true;
            }
        }
        false
    }

    /// Loses the line and lets it come back, when both ends have noticed.
    fn lose(&mut self) {
        *self.is_lost.borrow_mut() = true;
        for end in [&mut self.opener, &mut self.listener] {
            assert!(end.try_receive(&mut [0]).is_err());
            end.poll_connected();
        }
        self.wires.iter().for_each(|wire| wire.borrow_mut().clear());
        *self.is_lost.borrow_mut() = false;
    }
}

/// A frame with this body.
fn frame(number: u64, body: &[u8]) -> Vec<u8> {
    let header = Header {
        version: VERSION_MAX,
        type_code: FrameType::Hello.code(),
        flags: FrameFlags::MUST_UNDERSTAND,
        length: u32::try_from(body.len()).unwrap(),
        stream: StreamId::new(1),
        epoch: Epoch::new(1),
        sequence: Sequence::new(number),
        body_check: crc32c(0, body),
    };
    [&header.emit(), body].concat()
}

fn send(from: &mut SerialLink<Line>, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = from.try_send(rest).unwrap();
        rest = &rest[count..];
    }
}

/// Receives until nothing comes, as a driver does: header, then body.
fn receive(to: &mut SerialLink<Line>) -> Result<Vec<u8>, ErrorKind> {
    let mut received = Vec::new();
    let mut buffer = [0; 100];
    let mut silent = 0;
    while silent < 3 {
        let count = to.try_receive(&mut buffer)?;
        received.extend(&buffer[..count]);
        silent = if count == 0 { silent + 1 } else { 0 };
    }
    Ok(received)
}

#[test]
fn frames_pass_in_both_directions_once_a_connection_was_opened() {
    for step in [1, 7, 48, 1000] {
        let mut pair = Pair::new(step);
        assert!(!pair.listener.poll_connected());
        assert!(pair.opener.try_send(&[1]).is_err());
        pair.opener.open(40);
        assert!(pair.connects());
        assert!(!pair.opener.poll_connected() && !pair.listener.poll_connected());
        let there = [frame(1, &[5; 300]), frame(2, &[]), frame(3, &[6; 49])].concat();
        send(&mut pair.opener, &there);
        assert_eq!(pair.listener.first_type(), Some(FrameType::Hello.code()));
        assert_eq!(receive(&mut pair.listener), Ok(there));
        assert_eq!(pair.listener.first_type(), None);
        let back = frame(1, &[7; 48]);
        send(&mut pair.listener, &back);
        assert_eq!(receive(&mut pair.opener), Ok(back));
    }
}

#[test]
fn another_connection_begins_behind_whatever_was_under_way() {
    let whole = frame(1, &[5; 300]);
    for cut in 0..whole.len() {
        let mut pair = Pair::new(13);
        pair.opener.open(40);
        assert!(pair.connects());
        send(&mut pair.opener, &whole[..cut]);
        send(&mut pair.listener, &whole[..cut]);
        pair.opener.reconnect();
        // The listener hears of it between two frames, and not earlier.
        assert!(!pair.opener.poll_connected());
        while receive(&mut pair.listener).is_ok() {
            assert!(!pair.opener.poll_connected(), "cut at {cut}");
        }
        pair.listener.reconnect();
        assert!(pair.connects(), "cut at {cut}");
        send(&mut pair.opener, &whole);
        send(&mut pair.listener, &whole);
        assert_eq!(receive(&mut pair.listener), Ok(whole.clone()), "cut at {cut}");
        assert_eq!(receive(&mut pair.opener), Ok(whole.clone()), "cut at {cut}");
    }
}

#[test]
fn a_line_that_is_lost_and_comes_back_carries_another_connection() {
    let mut pair = Pair::new(13);
    pair.opener.open(40);
    pair.opener.poll_connected();
    // Lost before the answer.
    *pair.is_lost.borrow_mut() = true;
    assert!(!pair.connects());
    pair.wires.iter().for_each(|wire| wire.borrow_mut().clear());
    *pair.is_lost.borrow_mut() = false;
    assert!(pair.connects());
    // Lost in the middle of a frame.
    send(&mut pair.opener, &frame(1, &[5; 300])[..100]);
    pair.lose();
    pair.opener.reconnect();
    pair.listener.reconnect();
    assert!(pair.connects());
    send(&mut pair.opener, &frame(1, &[6; 3]));
    assert_eq!(receive(&mut pair.listener), Ok(frame(1, &[6; 3])));
}

#[test]
fn the_ends_change_roles_for_the_way_back() {
    let mut pair = Pair::new(13);
    pair.opener.open(40);
    assert!(pair.connects());
    send(&mut pair.opener, &frame(1, &[5; 30])[..20]);
    pair.opener.listen();
    pair.listener.open(50);
    std::mem::swap(&mut pair.opener, &mut pair.listener);
    assert!(pair.connects());
    send(&mut pair.opener, &frame(1, &[6; 3]));
    assert_eq!(receive(&mut pair.listener), Ok(frame(1, &[6; 3])));
}

#[test]
fn a_connection_ends_whose_opener_has_listened_since() {
    for is_offered in [false, true] {
        let mut pair = Pair::new(1000);
        let wire = Rc::clone(&pair.wires[0]);
        let later = [&marker(CONNECTED_TYPE, 7), frame(1, &[5; 30]).as_slice()].concat();
        wire.borrow_mut().extend(marker(CONNECT_TYPE, 40));
        assert!(pair.listener.poll_connected());
        if is_offered {
            wire.borrow_mut().extend(marker(CONNECT_TYPE, 41));
            assert!(receive(&mut pair.listener).is_err());
        }
        wire.borrow_mut().extend(later);
        assert!(receive(&mut pair.listener).is_err());
        pair.listener.reconnect();
        for _ in 0..3 {
            assert!(!pair.listener.poll_connected(), "nobody opens a connection");
        }
        wire.borrow_mut().extend(marker(CONNECT_TYPE, 42));
        assert!(pair.listener.poll_connected());
    }
}

#[test]
fn an_opener_hears_only_the_answer_to_its_own_token() {
    let mut pair = Pair::new(1000);
    pair.opener.open(40);
    pair.opener.poll_connected();
    pair.wires[1].borrow_mut().extend(marker(CONNECTED_TYPE, 40));
    pair.wires[1].borrow_mut().extend(marker(CONNECT_TYPE, 41));
    for _ in 0..10 {
        assert!(!pair.opener.poll_connected());
    }
    pair.wires[1].borrow_mut().extend(marker(CONNECTED_TYPE, 41));
    assert!(pair.opener.poll_connected());
}

#[test]
fn rubbish_is_skipped_up_to_a_connection() {
    let mut pair = Pair::new(1000);
    let rubbish = vec![b'V'; 3000];
    let cut = frame(1, &[5; 30]);
    pair.wires[0].borrow_mut().extend(&rubbish);
    pair.wires[0].borrow_mut().extend(&cut[20..]);
    pair.opener.open(40);
    assert!(pair.connects());
}

#[test]
fn markers_are_no_frames_that_a_stream_could_have() {
    for kind in [CONNECT_TYPE, CONNECTED_TYPE] {
        assert_ne!(kind, FILLER_TYPE);
        assert_eq!(FrameType::from_code(kind), None);
    }
}
