//! What surrounds a VM, in memory: a link to a peer that says anything, a directory, a console.
//!
//! Source of truth: `monitor_core::ports`. Invariants: a question to the directory is answered
//! once, when the bytes say so; a connection that was cut stays cut until another one stands.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use monitor_core::{
    ports::{ClusterDirectory, ErrorKind, ErrorType, Link, OperatorConsole},
    units::VmName,
    vm::{DirectoryAnswer, Ownership},
};

use super::tape::Tape;
use crate::machines::records;

/// The ownership record, which the VM looks at and the directory changes.
#[derive(Clone, Debug)]
pub(super) struct Record(Rc<Cell<Ownership>>);

impl Record {
    pub(super) fn new(record: Ownership) -> Self {
        Self(Rc::new(Cell::new(record)))
    }

    pub(super) fn get(&self) -> Ownership {
        self.0.get()
    }
}

/// What becomes of a question to the directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resolution {
    /// It is done and answered.
    Answered,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is not done.
    Unreachable,
    /// The other end, or a third one, changes the record before.
    Overtaken(usize),
    /// The record is gone.
    Missing,
}

impl Resolution {
    pub(super) const ALL: [Self; 7] = [
        Self::Answered,
        Self::AnswerLost,
        Self::Unreachable,
        Self::Overtaken(0),
        Self::Overtaken(1),
        Self::Overtaken(2),
        Self::Missing,
    ];
}

/// The cluster directory with one record.
#[derive(Debug)]
pub(super) struct Directory {
    record: Record,
    /// The question under way: a read, or what is to be replaced by what.
    question: Option<Option<(Ownership, Ownership)>>,
    answer: Option<DirectoryAnswer>,
}

impl Directory {
    pub(super) const fn new(record: Record) -> Self {
        Self { record, question: None, answer: None }
    }

    /// Ends the question under way. A record that is won does not change any more: a VM that runs
    /// is no longer at stake. One that is claimed is started or taken back.
    pub(super) fn resolve(&mut self, resolution: Resolution) {
        let Some(question) = self.question.take() else {
            return;
        };
        self.answer = Some(match resolution {
            Resolution::Answered => self.perform(question),
            Resolution::AnswerLost => {
                self.perform(question);
                DirectoryAnswer::Unreachable
            }
            Resolution::Unreachable => DirectoryAnswer::Unreachable,
            Resolution::Overtaken(place) => {
                self.overtake(place);
                self.perform(question)
            }
            Resolution::Missing => DirectoryAnswer::Missing,
        });
    }

    /// Somebody else changes the record: takes the VM back, or makes a step of the claim.
    fn overtake(&self, place: usize) {
        let [own, taken_back, running, taken_over, claimed] = records();
        let present = self.record.0.get();
        let new = match place {
            1 if present == own => taken_back,
            2 if present == own => claimed,
            1 if present == claimed => taken_over,
            2 if present == claimed => running,
            _ => present,
        };
        self.record.0.set(new);
    }

    /// The monitor is restarted: the question under way is performed or not, the answer unheard.
    pub(super) fn restart(&mut self, resolution: Resolution) {
        self.resolve(resolution);
        self.answer = None;
    }

    fn perform(&self, question: Option<(Ownership, Ownership)>) -> DirectoryAnswer {
        let record = self.record.0.get();
        match question {
            None => DirectoryAnswer::Record(record),
            Some((expected, new)) if record == expected => {
                self.record.0.set(new);
                DirectoryAnswer::Won
            }
            Some(_) => DirectoryAnswer::Lost(record),
        }
    }

    fn ask(&mut self, question: Option<(Ownership, Ownership)>) -> Result<(), ErrorKind> {
        let is_free = self.question.is_none() && self.answer.is_none();
        assert!(is_free, "one question to the directory is under way at a time");
        self.question = Some(question);
        Ok(())
    }
}

impl ErrorType for Directory {
    type Error = ErrorKind;
}

impl ClusterDirectory for Directory {
    fn start_read(&mut self, _vm: VmName) -> Result<(), ErrorKind> {
        self.ask(None)
    }

    fn start_compare_and_set(
        &mut self,
        _vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        self.ask(Some((expected, new)))
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        self.answer.take()
    }
}

/// The driver's end of a link to a peer that says anything.
#[derive(Debug)]
pub(super) struct PeerLink {
    incoming: VecDeque<u8>,
    taken: Tape,
    heard: Tape,
    /// Bytes that one call takes or gives at most.
    sends: usize,
    receives: usize,
    is_cut: bool,
    /// Whether another connection is wanted.
    is_wanted: bool,
    /// Whether another connection is offered.
    is_offered: bool,
}

impl PeerLink {
    pub(super) const fn new() -> Self {
        Self {
            incoming: VecDeque::new(),
            taken: Tape::new(),
            heard: Tape::new(),
            sends: usize::MAX,
            receives: usize::MAX,
            is_cut: false,
            is_wanted: false,
            is_offered: false,
        }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    pub(super) const fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Offers another connection, which cuts the present one.
    pub(super) fn connect(&mut self) {
        self.incoming.clear();
        self.is_offered = true;
    }

    /// Bounds what one call sends and receives; 0 sends nothing for now, 255 lifts the bound.
    pub(super) fn cap(&mut self, sends: u8, receives: u8) {
        let bound = |byte| if byte == u8::MAX { usize::MAX } else { usize::from(byte) };
        (self.sends, self.receives) = (bound(sends), bound(receives.max(1)));
    }

    /// Number of the driver's last frame.
    pub(super) const fn heard(&self) -> u64 {
        self.heard.last().get()
    }

    /// How often the driver has said COMMIT.
    pub(super) const fn commit_count(&self) -> usize {
        self.heard.commit_count()
    }

    const fn is_lost(&self) -> bool {
        self.is_cut || self.is_wanted || self.is_offered
    }

    pub(super) const fn has_heard_nonsense(&self) -> bool {
        self.heard.is_nonsense()
    }

    pub(super) const fn has_taken_nonsense(&self) -> bool {
        self.taken.is_nonsense()
    }
}

impl ErrorType for PeerLink {
    type Error = ErrorKind;
}

impl Link for PeerLink {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if self.is_lost() {
            return Err(ErrorKind::Unreachable);
        }
        let count = source.len().min(self.sends);
        self.heard.push(&source[..count]);
        Ok(count)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        let count = target.len().min(self.receives).min(self.incoming.len());
        if self.is_wanted || self.is_offered || (count == 0 && self.is_cut) {
            return Err(ErrorKind::Unreachable);
        }
        for (byte, value) in target.iter_mut().zip(self.incoming.drain(..count)) {
            *byte = value;
        }
        self.taken.push(&target[..count]);
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.is_wanted = true;
    }

    fn poll_connected(&mut self) -> bool {
        let stands = self.is_wanted && self.is_offered;
        if stands {
            (self.is_cut, self.is_wanted, self.is_offered) = (false, false, false);
            self.taken.restart();
            self.heard.restart();
        }
        stands
    }
}

/// A console that takes every line.
#[derive(Debug)]
pub(super) struct Console;

impl ErrorType for Console {
    type Error = ErrorKind;
}

impl OperatorConsole for Console {
    fn write_line(&mut self, line: &str) -> Result<(), ErrorKind> {
        assert!(!line.is_empty() && line.is_ascii(), "a line of the console has a text");
        Ok(())
    }
}
