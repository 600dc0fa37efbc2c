//! What happens to a directory behind a link: questions, answers that fit or do not, rubbish,
//! lost connections, and time.
//!
//! Source of truth: `monitor_core::ports::ClusterDirectory`; PROTOCOL.md, "Directory". Invariants:
//! each question has one answer, at its deadline at the latest; an answer is one that was given to
//! this question on this connection, or says that none could be had; no question is sent twice;
//! when the course has ended, a question is answered. Deliberately not here: what is in a packet.

use std::collections::VecDeque;

use monitor_core::{
    driver::RemoteDirectory,
    ports::{ClusterDirectory, ErrorKind, ErrorType, Link},
    units::{Epoch, Micros, SuName, Tick, VmName},
    vm::{DirectoryAnswer, Ownership},
    wire::{
        ANSWER_BYTES, DirectoryOperation, DirectoryQuestion, DirectoryReply, Gatherer,
        QUESTION_BYTES,
    },
};

use super::{Bytes, rubbish};

const PATIENCE: Micros = Micros::new(1000);

/// Calls within which a directory at the end of a good link is heard.
const CALLS_MAX: u32 = 16;

/// A link whose other end is the course.
#[derive(Debug)]
struct Wire {
    arrived: VecDeque<u8>,
    /// Bytes that find room, and bytes that pass in one call.
    room: usize,
    step: usize,
    is_cut: bool,
    is_offered: bool,
    reconnects: u32,
    /// What the directory has answered on this connection, undamaged.
    said: Vec<DirectoryReply>,
    /// Questions as the directory finds them.
    gatherer: Gatherer<QUESTION_BYTES>,
    heard: Vec<DirectoryQuestion>,
}

impl ErrorType for Wire {
    type Error = ErrorKind;
}

impl Link for Wire {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if self.is_cut {
            return Err(ErrorKind::Unreachable);
        }
        let count = source.len().min(self.room).min(self.step);
        self.room -= count;
        for byte in &source[..count] {
            if let Some(packet) = self.gatherer.take(*byte) {
                self.heard.push(DirectoryQuestion::parse(&packet).expect("a question is right"));
            }
        }
        Ok(count)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.is_cut && self.arrived.is_empty() {
            return Err(ErrorKind::Unreachable);
        }
        let count = target.len().min(self.step).min(self.arrived.len());
        for (to, from) in target.iter_mut().zip(self.arrived.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.reconnects += 1;
        (self.is_cut, self.is_offered) = (false, false);
        self.arrived.clear();
        self.said.clear();
        self.gatherer.clear();
    }

    fn poll_connected(&mut self) -> bool {
        std::mem::take(&mut self.is_offered)
    }
}

/// A directory behind a link, and what is known of it.
struct World {
    remote: RemoteDirectory<Wire>,
    now: Tick,
    number: u64,
    /// The question that waits for its answer, and its deadline.
    pending: Option<(DirectoryQuestion, Tick)>,
    /// All questions that no directory has heard yet and that it may hear.
    unheard: VecDeque<DirectoryQuestion>,
}

/// Takes bytes as what happens to a directory behind a link.
pub(super) fn course(bytes: &mut Bytes<'_>) {
    let Some(first) = bytes.byte() else {
        return;
    };
    let number = u64::MAX - u64::from(first);
    let wire = Wire {
        arrived: VecDeque::new(),
        room: usize::MAX,
        step: usize::MAX,
        is_cut: false,
        is_offered: true,
        reconnects: 0,
        said: Vec::new(),
        gatherer: Gatherer::of_questions(),
        heard: Vec::new(),
    };
    let remote = RemoteDirectory::new(wire, PATIENCE, number);
    let unheard = VecDeque::new();
    let mut world = World { remote, now: Tick::new(0), number, pending: None, unheard };
    while world.step(bytes).is_some() {
        world.hear();
        let deadline = world.pending.map(|(_, deadline)| deadline);
        assert_eq!(world.remote.deadline(), deadline);
    }
    world.finish();
}

impl World {
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.byte()? % 11 {
            0 => drop(self.poll()),
            1 => self.ask(DirectoryOperation::Read),
            2 => {
                self.ask(DirectoryOperation::CompareAndSet { expected: record(1), new: record(2) });
            }
            3 => self.pass(Micros::new(u64::from(bytes.u16()? % 2048))),
            4 => self.remote.link().is_offered = true,
            5 => self.remote.link().is_cut = true,
            6 => self.remote.link().room = usize::from(bytes.byte()?),
            7 => self.remote.link().step = usize::from(bytes.byte()?),
            8 => self.reply(bytes)?,
            9 => self.remote.link().arrived.extend(rubbish(bytes)?),
            _ => {
                self.remote.forget();
                self.pending = None;
            }
        }
        Some(())
    }

    fn pass(&mut self, span: Micros) {
        self.now = self.now.after(span);
        self.remote.set_now(self.now);
    }

    fn ask(&mut self, operation: DirectoryOperation) {
        self.number = self.number.wrapping_add(1);
        let question = DirectoryQuestion { number: self.number, vm: name(), operation };
        let asked = match operation {
            DirectoryOperation::Read => self.remote.start_read(name()),
            DirectoryOperation::CompareAndSet { expected, new } => {
                self.remote.start_compare_and_set(name(), expected, new)
            }
        };
        assert_eq!(asked, Ok(()));
        self.pending = Some((question, self.now.after(PATIENCE)));
        self.unheard.push_back(question);
    }

    /// The directory says something, to this question or to another one, damaged or not.
    fn reply(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let (distance, what) = (bytes.byte()?, bytes.byte()?);
        // Mostly the question that was asked last, often the ones before it and behind it.
        let number = match distance % 4 {
            0 | 1 => self.number,
            2 => self.number.wrapping_sub(u64::from(distance >> 2) + 1),
            _ => self.number.wrapping_add(u64::from(distance >> 2) + 1),
        };
        let answer = match what % 5 {
            0 => DirectoryAnswer::Record(record(number)),
            1 => DirectoryAnswer::Won,
            2 => DirectoryAnswer::Lost(record(number)),
            3 => DirectoryAnswer::Missing,
            _ => DirectoryAnswer::Unreachable,
        };
        let reply = DirectoryReply { number, answer };
        let mut packet = reply.emit();
        if what & 0x80 == 0x80 {
            packet[usize::from(bytes.byte()?) % ANSWER_BYTES] ^= 1 << (what >> 4 & 7);
        } else {
            self.remote.link().said.push(reply);
        }
        self.remote.link().arrived.extend(packet);
        Some(())
    }

    fn poll(&mut self) -> Option<DirectoryAnswer> {
        let reconnects = self.remote.link().reconnects;
        let answer = self.remote.poll_answer();
        let Some((question, deadline)) = self.pending else {
            assert_eq!(answer, None, "nothing was asked");
            return None;
        };
        let Some(said) = answer else {
            assert!(self.now < deadline, "no answer at the deadline");
            return None;
        };
        self.pending = None;
        let link = self.remote.link();
        let was_said =
            link.said.contains(&DirectoryReply { number: question.number, answer: said });
        let is_lost = link.reconnects > reconnects || deadline <= self.now;
        let is_read = question.operation == DirectoryOperation::Read;
        let fits = match said {
            DirectoryAnswer::Record(_) => was_said && is_read,
            DirectoryAnswer::Won | DirectoryAnswer::Lost(_) => was_said && !is_read,
            DirectoryAnswer::Missing => was_said,
            DirectoryAnswer::Unreachable => was_said || is_lost,
        };
        assert!(fits, "{said:?} is no answer to {question:?}");
        answer
    }

    /// What the directory has heard was asked, and each question once.
    fn hear(&mut self) {
        for heard in std::mem::take(&mut self.remote.link().heard) {
            let place = self.unheard.iter().position(|question| *question == heard);
            self.unheard.drain(..=place.expect("a question that was asked, and once"));
        }
    }

    /// The link becomes good; what is asked then is answered.
    fn finish(&mut self) {
        let was_asked = self.pending.is_some();
        self.pass(PATIENCE);
        assert_eq!(self.poll().is_some(), was_asked, "a question has an answer");
        assert_eq!(self.poll(), None);
        let reconnects = self.remote.link().reconnects;
        for _ in 0..CALLS_MAX {
            let link = self.remote.link();
            if link.reconnects > reconnects {
                break;
            }
            (link.room, link.step) = (usize::MAX, usize::MAX);
            (link.is_cut, link.is_offered) = (true, true);
            link.arrived.clear();
            assert_eq!(self.poll(), None);
        }
        self.hear();
        self.ask(DirectoryOperation::Read);
        self.remote.link().is_offered = true;
        let answer = DirectoryAnswer::Record(record(self.number));
        for _ in 0..CALLS_MAX {
            if let Some(said) = self.poll() {
                assert_eq!(said, answer);
                return;
            }
            self.hear();
            if self.unheard.is_empty() {
                let reply = DirectoryReply { number: self.number, answer };
                self.remote.link().said.push(reply);
                self.remote.link().arrived.extend(reply.emit());
            }
        }
        panic!("a question over a good link has no answer");
    }
}

fn name() -> VmName {
    VmName::new("VMDQVMDA").expect("a name of a VM")
}

/// A record that tells of which question it speaks.
fn record(number: u64) -> Ownership {
    Ownership::running(SuName::new("ABGSE701").expect("a name of an SU"), Epoch::new(number))
}
