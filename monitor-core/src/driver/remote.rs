//! A cluster directory at the other end of a byte stream.
//!
//! The port has no clock: whoever steps the driver calls [`RemoteDirectory::set_now`] before. A
//! question that was begun on a connection that is lost is not asked again here, since it may
//! have been answered: the machines know how to settle that.
//!
//! Source of truth: PROTOCOL.md, "Directory"; `ports::ClusterDirectory`. Invariants: each
//! question has one answer, within the patience; an answer to another question is not heard; the
//! work of a call is bounded. Deliberately not here: what an answer means.

use crate::{
    ports::{ClusterDirectory, ErrorKind, ErrorType, Link},
    units::{Micros, Tick, VmName},
    vm::{DirectoryAnswer, Ownership},
    wire::{
        ANSWER_BYTES, DirectoryOperation, DirectoryQuestion, DirectoryReply, Gatherer,
        QUESTION_BYTES,
    },
};

/// Bytes that are taken from the link at a time.
const CHUNK_BYTES: usize = 64;

/// How often bytes are taken from the link in one call.
const CHUNKS_PER_CALL: usize = 16;

/// A cluster directory that is asked over a link.
#[derive(Debug)]
pub struct RemoteDirectory<L> {
    link: L,
    patience: Micros,
    now: Tick,
    /// The number of the question that was asked last.
    number: u64,
    is_connected: bool,
    asked: Option<Asked>,
    incoming: Gatherer<ANSWER_BYTES>,
}

/// A question without an answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    bytes: [u8; QUESTION_BYTES],
    sent: usize,
    is_read: bool,
    deadline: Tick,
}

impl<L: Link> RemoteDirectory<L> {
    /// A directory behind `link`, which is given up and connected anew at once. After `patience`
    /// a question goes without an answer. Questions are numbered from behind `number`, which is
    /// higher than all that this monitor has used before a restart, such as a TOD stamp.
    #[must_use]
    pub fn new(mut link: L, patience: Micros, number: u64) -> Self {
        link.reconnect();
        Self {
            link,
            patience,
            now: Tick::new(0),
            number,
            is_connected: false,
            asked: None,
            incoming: Gatherer::of_answers(),
        }
    }

    /// Says what time it is.
    pub const fn set_now(&mut self, now: Tick) {
        self.now = now;
    }

    /// Forgets what was asked: whoever asked is not there any more.
    pub const fn forget(&mut self) {
        self.asked = None;
    }

    /// When the question that is under way goes without an answer.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.asked.map(|asked| asked.deadline)
    }

    /// The link.
    #[must_use]
    pub const fn link(&mut self) -> &mut L {
        &mut self.link
    }

    fn ask(&mut self, vm: VmName, operation: DirectoryOperation) {
        self.number = self.number.wrapping_add(1);
        self.asked = Some(Asked {
            bytes: DirectoryQuestion { number: self.number, vm, operation }.emit(),
            sent: 0,
            is_read: operation == DirectoryOperation::Read,
            deadline: self.now.after(self.patience),
        });
    }

    /// Sends and receives what can be now, without blocking; gives the answer that has come.
    fn go_on(&mut self) -> Option<DirectoryAnswer> {
        if !self.is_connected {
            self.is_connected = self.link.poll_connected();
            self.incoming.clear();
        }
        if !self.is_connected {
            return None;
        }
        if self.send().is_err() {
            return self.lose_link();
        }
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..CHUNKS_PER_CALL {
            let count = match self.link.try_receive(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) => return self.lose_link(),
            };
            let mut answer = None;
            for byte in chunk.iter().take(count) {
                let reply = self.incoming.take(*byte).map(|bytes| DirectoryReply::parse(&bytes));
                answer = answer.or(reply.and_then(Result::ok).and_then(|reply| self.heard(reply)));
            }
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    fn send(&mut self) -> Result<(), L::Error> {
        let Some(asked) = &mut self.asked else {
            return Ok(());
        };
        let rest = asked.bytes.get(asked.sent..).unwrap_or(&[]);
        if !rest.is_empty() {
            let count = self.link.try_send(rest)?;
            asked.sent = asked.sent.saturating_add(count);
        }
        Ok(())
    }

    /// The answer, if it is one to the question that is under way.
    fn heard(&self, reply: DirectoryReply) -> Option<DirectoryAnswer> {
        let asked = self.asked.filter(|_| reply.number == self.number)?;
        let fits = match reply.answer {
            DirectoryAnswer::Record(_) => asked.is_read,
            DirectoryAnswer::Won | DirectoryAnswer::Lost(_) => !asked.is_read,
            DirectoryAnswer::Missing | DirectoryAnswer::Unreachable => true,
        };
        fits.then_some(reply.answer)
    }

    /// The connection is over. What was sent on it may have been done, and its answer is lost.
    fn lose_link(&mut self) -> Option<DirectoryAnswer> {
        self.is_connected = false;
        self.link.reconnect();
        let was_sent = self.asked.is_some_and(|asked| asked.sent > 0);
        was_sent.then_some(DirectoryAnswer::Unreachable)
    }
}

impl<L> ErrorType for RemoteDirectory<L> {
    type Error = ErrorKind;
}

impl<L: Link> ClusterDirectory for RemoteDirectory<L> {
    fn start_read(&mut self, vm: VmName) -> Result<(), ErrorKind> {
        self.ask(vm, DirectoryOperation::Read);
        Ok(())
    }

    fn start_compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        self.ask(vm, DirectoryOperation::CompareAndSet { expected, new });
        Ok(())
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        let mut answer = self.go_on();
        let deadline = self.asked?.deadline;
        if answer.is_none() && deadline <= self.now {
            // Nothing else finds out that a silent connection is dead.
            if self.is_connected {
                self.lose_link();
            }
            answer = Some(DirectoryAnswer::Unreachable);
        }
        if answer.is_some() {
            self.asked = None;
        }
        answer
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
