//! What joins the two ends: wires in memory, the ownership record, and both consoles.
//!
//! Source of truth: `monitor_core::ports`. Invariants: bytes arrive in order; the record changes
//! by compare-and-set alone. Deliberately not here: a link that is cut, which `su390` has.

use alloc::{vec, vec::Vec};
use core::cell::{Cell, RefCell};

use defmt::println;
use monitor_core::{
    ports::{ClusterDirectory, ErrorKind, ErrorType, Link, OperatorConsole},
    units::VmName,
    vm::{DirectoryAnswer, Ownership},
};

/// Bytes that one direction of the link holds: less than a frame of a whole group.
const WIRE_BYTES: usize = 50_000;

/// One direction of the link.
#[derive(Debug)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
    taken: usize,
    filled: usize,
}

impl Wire {
    /// A wire with nothing on it.
    pub(crate) fn new() -> RefCell<Self> {
        RefCell::new(Self { bytes: vec![0; WIRE_BYTES], taken: 0, filled: 0 })
    }

    fn put(&mut self, source: &[u8]) -> usize {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
        let room = &mut self.bytes[self.filled..];
        let count = room.len().min(source.len());
        room[..count].copy_from_slice(&source[..count]);
        self.filled += count;
        count
    }

    fn take(&mut self, target: &mut [u8]) -> usize {
        let bytes = &self.bytes[self.taken..self.filled];
        let count = bytes.len().min(target.len());
        target[..count].copy_from_slice(&bytes[..count]);
        self.taken += count;
        count
    }
}

/// One end of the link.
#[derive(Debug)]
pub(crate) struct End<'w> {
    pub(crate) outgoing: &'w RefCell<Wire>,
    pub(crate) incoming: &'w RefCell<Wire>,
}

impl ErrorType for End<'_> {
    type Error = ErrorKind;
}

impl Link for End<'_> {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        Ok(self.outgoing.borrow_mut().put(source))
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        Ok(self.incoming.borrow_mut().take(target))
    }

    fn reconnect(&mut self) {
        panic!("a wire in memory is never lost");
    }

    fn poll_connected(&mut self) -> bool {
        false
    }
}

/// One end's access to the record of the only VM.
#[derive(Debug)]
pub(crate) struct Directory<'r> {
    record: &'r Cell<Ownership>,
    answer: Option<DirectoryAnswer>,
}

impl<'r> Directory<'r> {
    /// An access that waits for no answer.
    pub(crate) const fn new(record: &'r Cell<Ownership>) -> Self {
        Self { record, answer: None }
    }
}

impl ErrorType for Directory<'_> {
    type Error = ErrorKind;
}

impl ClusterDirectory for Directory<'_> {
    fn start_read(&mut self, _vm: VmName) -> Result<(), ErrorKind> {
        self.answer = Some(DirectoryAnswer::Record(self.record.get()));
        Ok(())
    }

    fn start_compare_and_set(
        &mut self,
        _vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        self.answer = Some(if self.record.get() == expected {
            self.record.set(new);
            DirectoryAnswer::Won
        } else {
            DirectoryAnswer::Lost(self.record.get())
        });
        Ok(())
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        self.answer.take()
    }
}

/// The console of one end.
#[derive(Debug)]
pub(crate) struct Console(pub(crate) &'static str);

impl ErrorType for Console {
    type Error = ErrorKind;
}

impl OperatorConsole for Console {
    fn write_line(&mut self, line: &str) -> Result<(), ErrorKind> {
        println!("console of the {=str}: {=str}", self.0, line);
        Ok(())
    }
}
