//! A channel-to-channel adapter: what one side writes, the other one reads.
//!
//! | command | ends when the other side | tells the other side |
//! | --- | --- | --- |
//! | WRITE 01, WRITE END OF FILE 81 | has a READ | attention |
//! | READ 02 | has a WRITE | nothing |
//! | CONTROL 07 | has sensed it | attention |
//! | PREPARE E3 | has WRITE or CONTROL | nothing |
//! | SENSE COMMAND BYTE 14 | at once: gives the command that the other side has | the end of CONTROL |
//!
//! A command that does not go with the one that the other side has under way ends with attention
//! and busy. The shorter one of WRITE and READ decides how many bytes are transferred.
//!
//! Source of truth: ESCON Channel-to-Channel Reference, basic mode; the behavior of the adapter of
//! Hercules 3.13 for sides that are gone. Invariants: bytes that a WRITE has given are read once,
//! or lost when the side that was to read them is gone; a command that waits has transferred
//! nothing. Deliberately not here: extended mode, READ BACKWARD.

use super::{
    Access, Device, Ending, Fence, Outcome, Refusal, SenseId, Transfer, command, take_up_to,
};
use crate::machine::lock;
use monitor_core::{channel::DeviceStatus, units::Micros};
use std::sync::{Arc, Mutex};

/// Command code WRITE END OF FILE.
pub const WRITE_END_OF_FILE: u8 = 0x81;
/// Command code SENSE COMMAND BYTE.
pub const SENSE_COMMAND_BYTE: u8 = 0x14;
/// Command code PREPARE.
pub const PREPARE: u8 = 0xE3;

/// Sense bytes when the other side is gone: intervention required.
const NOT_READY: [u8; 2] = [0x40, 0x00];

/// The status that tells of the other side's command.
const COLLISION: DeviceStatus = DeviceStatus::ATTENTION.union(DeviceStatus::BUSY);

/// Time that one transfer takes beside its bytes.
const TRANSFER_US: u64 = 20;
/// Bytes that are transferred in a microsecond.
const BYTES_PER_US: u64 = 1024;

/// What a side has under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    #[default]
    Nothing,
    Control,
    Write,
    EndOfFile,
    /// A READ that takes so many bytes.
    Read(usize),
    Prepare,
}

impl Waiting {
    /// Whether it is something that the other side has to answer.
    const fn calls(self) -> bool {
        matches!(self, Self::Control | Self::Write | Self::EndOfFile)
    }

    const fn command_byte(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Control => command::CONTROL,
            Self::Write => command::WRITE,
            Self::EndOfFile => WRITE_END_OF_FILE,
            Self::Read(_) => command::READ,
            Self::Prepare => PREPARE,
        }
    }
}

/// What a READ is going to get.
#[derive(Debug)]
enum Parcel {
    Data(Vec<u8>),
    EndOfFile,
}

#[derive(Debug, Default)]
struct Side {
    is_ready: bool,
    waiting: Waiting,
    /// The other side has sensed this side's CONTROL.
    is_sensed: bool,
    /// This side is to be told that the other one calls.
    attention: bool,
    /// What the other side has written for this one.
    parcel: Option<Parcel>,
    fence: Fence,
}

/// One of the two sides of an adapter.
#[derive(Debug)]
pub struct Ctc {
    sides: Arc<Mutex<[Side; 2]>>,
    index: usize,
}

impl Ctc {
    /// Bytes that one WRITE transfers at most.
    pub const WRITE_BYTES_MAX: usize = 0xFFFF;

    /// The two sides of an adapter; neither is ready before it is attached.
    #[must_use]
    pub fn pair() -> (Arc<Self>, Arc<Self>) {
        let sides = Arc::<Mutex<[Side; 2]>>::default();
        let side = |index| Arc::new(Self { sides: Arc::clone(&sides), index });
        (side(0), side(1))
    }

    /// Whether this side is ready: it was attached and not disconnected since.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        lock(&self.sides)[self.index].is_ready
    }

    /// This side is gone, with what was written for it, until it is attached again. The other side
    /// learns of it by attention, and by intervention required when it goes on.
    pub fn disconnect(&self) {
        self.with(|this| {
            let Side { fence, .. } = std::mem::take(this.own);
            this.own.fence = fence;
            (this.other.attention, this.other.is_sensed) = (true, false);
        });
    }

    fn with<T>(&self, action: impl FnOnce(Both<'_>) -> T) -> T {
        let [first, second] = &mut *lock(&self.sides);
        action(if self.index == 0 {
            Both { own: first, other: second }
        } else {
            Both { own: second, other: first }
        })
    }
}

/// Both sides, as one of them sees them.
struct Both<'a> {
    own: &'a mut Side,
    other: &'a mut Side,
}

impl Both<'_> {
    fn execute(&mut self, code: u8, data: &mut dyn Transfer) -> Result<Outcome, Refusal> {
        if code == SENSE_COMMAND_BYTE {
            self.own.attention = false;
            data.give(&[self.other.waiting.command_byte()]);
            self.other.is_sensed |= self.other.waiting == Waiting::Control;
            return Ok(Outcome::NORMAL);
        }
        let wanted = match code {
            command::WRITE => Waiting::Write,
            WRITE_END_OF_FILE => Waiting::EndOfFile,
            command::READ => Waiting::Read(data.room(Ctc::WRITE_BYTES_MAX)),
            command::CONTROL => Waiting::Control,
            PREPARE => Waiting::Prepare,
            _ => return Err(Refusal::CommandReject),
        };
        let has_parcel = code == command::READ && self.own.parcel.is_some();
        if !self.other.is_ready && !has_parcel {
            (self.own.waiting, self.own.attention) = (Waiting::Nothing, false);
            return Ok(Outcome::Ended(Ending::unit_check(NOT_READY)));
        }
        let outcome = match wanted {
            Waiting::Prepare => self.prepare(),
            Waiting::Read(_) => self.read(data),
            Waiting::Control => self.control(),
            Waiting::Write | Waiting::EndOfFile | Waiting::Nothing => self.write(wanted, data),
        };
        if let Some(ending) = outcome {
            self.own.waiting = Waiting::Nothing;
            // The call of the other side is told by this.
            self.own.attention &= ending.status != COLLISION || !self.other.waiting.calls();
            return Ok(Outcome::Ended(ending));
        }
        let is_new = self.own.waiting != wanted;
        self.own.waiting = wanted;
        if wanted.calls() && is_new {
            self.own.is_sensed = false;
            self.other.attention = true;
        }
        Ok(Outcome::Pending)
    }

    fn prepare(&mut self) -> Option<Ending> {
        let is_called = self.other.waiting.calls() || self.own.parcel.is_some();
        self.own.attention &= !is_called;
        is_called.then_some(Ending::NORMAL)
    }

    fn read(&mut self, data: &mut dyn Transfer) -> Option<Ending> {
        let Some(parcel) = self.own.parcel.take() else {
            let collides = matches!(self.other.waiting, Waiting::Control | Waiting::Read(_));
            return collides.then(collision);
        };
        // The other side may call with its next command already.
        self.own.attention = self.other.waiting.calls();
        Some(match parcel {
            Parcel::EndOfFile => {
                let status = Ending::NORMAL.status.union(DeviceStatus::UNIT_EXCEPTION);
                Ending { status, ..Ending::NORMAL }
            }
            Parcel::Data(bytes) => {
                data.give(&bytes);
                lasting(bytes.len())
            }
        })
    }

    /// The data are taken when the other side has a READ for them, and no earlier ones to take.
    fn write(&mut self, wanted: Waiting, data: &mut dyn Transfer) -> Option<Ending> {
        let room = match self.other.waiting {
            Waiting::Read(room) if self.other.parcel.is_none() => room,
            waiting => return waiting.calls().then(collision),
        };
        if wanted == Waiting::EndOfFile {
            self.other.parcel = Some(Parcel::EndOfFile);
            return Some(Ending::NORMAL);
        }
        // What comes before a refusal has gone over.
        let (bytes, _) = take_up_to(data, room);
        let length = bytes.len();
        self.other.parcel = Some(Parcel::Data(bytes));
        Some(lasting(length))
    }

    fn control(&mut self) -> Option<Ending> {
        if self.own.waiting == Waiting::Control {
            return std::mem::take(&mut self.own.is_sensed).then_some(Ending::NORMAL);
        }
        let collides = self.other.waiting.calls() || matches!(self.other.waiting, Waiting::Read(_));
        collides.then(collision)
    }
}

/// The end of a command that does not go with the other side's.
const fn collision() -> Ending {
    Ending { status: COLLISION, ..Ending::NORMAL }
}

/// The normal end of the transfer of so many bytes.
fn lasting(byte_count: usize) -> Ending {
    let duration = Micros::new(TRANSFER_US + byte_count as u64 / BYTES_PER_US);
    Ending { duration, ..Ending::NORMAL }
}

impl Device for Ctc {
    fn sense_length(&self) -> usize {
        2
    }

    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3088, unit_model: 0x08, device_type: 0x3088, device_model: 0x01 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.with(|this| {
            this.own.fence.pass(access)?;
            this.own.is_ready = true;
            this.own.attention |= this.other.waiting.calls();
            Ok(())
        })
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        self.with(|mut this| {
            let passed = this.own.fence.pass(access);
            passed.and_then(|()| this.execute(command, data)).into()
        })
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        self.with(|this| {
            if !this.own.attention || this.own.fence.pass(access).is_err() {
                return None;
            }
            this.own.attention = false;
            // What has called and gone away again is not told.
            let calls =
                this.other.waiting.calls() || this.own.parcel.is_some() || !this.other.is_ready;
            calls.then_some(DeviceStatus::ATTENTION)
        })
    }

    fn cancel(&self, access: &Access) {
        self.with(|this| {
            if this.own.fence.pass(access).is_ok() {
                (this.own.waiting, this.own.is_sensed) = (Waiting::Nothing, false);
                // What was written for this side waits for its next READ.
                this.own.attention |= this.own.parcel.is_some();
            }
        });
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.sides)[self.index].fence.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Buffer, Path},
        *,
    };
    use monitor_core::units::{Epoch, VmName};

    const READ: u8 = command::READ;
    const WRITE: u8 = command::WRITE;
    const CONTROL: u8 = command::CONTROL;

    fn access(epoch: u64) -> Access {
        Access::new(VmName::new("VM0001").unwrap(), Epoch::new(epoch), Path::default())
    }

    fn run(side: &Ctc, code: u8, data: &mut Buffer) -> Outcome {
        side.execute(&mut access(1), code, data)
    }

    fn attention(side: &Ctc) -> bool {
        side.take_unsolicited(&access(1)) == Some(DeviceStatus::ATTENTION)
    }

    /// Two sides that are ready.
    fn adapter() -> (Arc<Ctc>, Arc<Ctc>) {
        let (here, there) = Ctc::pair();
        here.admit(&access(1)).unwrap();
        there.admit(&access(1)).unwrap();
        (here, there)
    }

    fn status(outcome: Outcome) -> DeviceStatus {
        match outcome {
            Outcome::Ended(ending) => ending.status,
            Outcome::Pending => panic!("the command waits"),
        }
    }

    fn is_normal(outcome: Outcome) -> bool {
        matches!(outcome, Outcome::Ended(ending) if ending.status == Ending::NORMAL.status)
    }

    /// Writes `written` bytes to a READ of `room`; gives what both sides have moved.
    fn transfer(written: usize, room: usize) -> (usize, Vec<u8>) {
        let (here, there) = adapter();
        let bytes: Vec<u8> = (0..written).map(|number| number as u8).collect();
        let (mut output, mut input) = (Buffer::output(&bytes), Buffer::input(room));
        assert_eq!(run(&here, WRITE, &mut output), Outcome::Pending);
        assert!(attention(&there) && !attention(&there) && !attention(&here));
        assert_eq!(run(&there, READ, &mut input), Outcome::Pending);
        assert_eq!((output.taken(), input.given().len()), (0, 0));
        assert!(is_normal(run(&here, WRITE, &mut output)));
        assert!(is_normal(run(&there, READ, &mut input)));
        (output.taken(), input.given().to_vec())
    }

    #[test]
    fn shorter_one_of_write_and_read_decides_how_many_bytes_go() {
        for (written, room) in [(100, 100), (100, 4096), (4096, 100), (0, 10), (10, 0)] {
            let (taken, given) = transfer(written, room);
            let expected: Vec<u8> = (0..written.min(room)).map(|number| number as u8).collect();
            assert_eq!((taken, given), (expected.len(), expected), "{written} to {room}");
        }
    }

    #[test]
    fn read_that_waits_first_gets_what_is_written() {
        let (here, there) = adapter();
        let (mut output, mut input) = (Buffer::output(b"abc"), Buffer::input(8));
        assert_eq!(run(&there, READ, &mut input), Outcome::Pending);
        assert!(!attention(&here));
        assert!(is_normal(run(&here, WRITE, &mut output)));
        // The next one waits until the first was taken.
        let mut second = Buffer::output(b"def");
        assert_eq!(run(&here, WRITE, &mut second), Outcome::Pending);
        assert!(is_normal(run(&there, READ, &mut input)));
        assert_eq!((input.given(), second.taken()), (&b"abc"[..], 0));
        assert!(attention(&there) && !attention(&there));
    }

    #[test]
    fn long_transfer_takes_longer_than_a_short_one() {
        let duration = |count| lasting(count).duration;
        assert!(duration(60 << 10) > duration(1 << 10) && duration(0) > Micros::new(0));
    }

    #[test]
    fn control_waits_until_its_command_byte_was_sensed() {
        let (here, there) = adapter();
        assert_eq!(run(&here, CONTROL, &mut Buffer::default()), Outcome::Pending);
        assert!(attention(&there));
        assert_eq!(run(&here, CONTROL, &mut Buffer::default()), Outcome::Pending);
        let mut byte = Buffer::input(1);
        assert!(is_normal(run(&there, SENSE_COMMAND_BYTE, &mut byte)));
        assert_eq!(byte.given(), [CONTROL]);
        assert!(is_normal(run(&here, CONTROL, &mut Buffer::default())));
        // The next one is sensed by itself.
        assert_eq!(run(&here, CONTROL, &mut Buffer::default()), Outcome::Pending);
        assert_eq!(run(&here, CONTROL, &mut Buffer::default()), Outcome::Pending);
    }

    #[test]
    fn command_byte_tells_what_the_other_side_has_and_ends_nothing_but_control() {
        for code in [WRITE, READ, PREPARE, WRITE_END_OF_FILE] {
            let (here, there) = adapter();
            assert_eq!(run(&here, code, &mut Buffer::default()), Outcome::Pending);
            let mut byte = Buffer::input(1);
            assert!(is_normal(run(&there, SENSE_COMMAND_BYTE, &mut byte)));
            assert_eq!(byte.given(), [code]);
            assert_eq!(run(&here, code, &mut Buffer::default()), Outcome::Pending);
        }
        let (here, _there) = adapter();
        let mut byte = Buffer::input(1);
        run(&here, SENSE_COMMAND_BYTE, &mut byte);
        assert_eq!(byte.given(), [0]);
    }

    #[test]
    fn prepare_ends_when_the_other_side_calls_and_then_no_attention_comes() {
        for code in [WRITE, CONTROL, WRITE_END_OF_FILE] {
            let (here, there) = adapter();
            assert_eq!(run(&there, PREPARE, &mut Buffer::default()), Outcome::Pending);
            assert_eq!(run(&here, code, &mut Buffer::default()), Outcome::Pending);
            assert!(is_normal(run(&there, PREPARE, &mut Buffer::default())));
            assert!(!attention(&there));
        }
        let (here, there) = adapter();
        run(&there, PREPARE, &mut Buffer::default());
        assert_eq!(run(&here, READ, &mut Buffer::input(1)), Outcome::Pending);
        assert_eq!(run(&there, PREPARE, &mut Buffer::default()), Outcome::Pending);
    }

    #[test]
    fn command_that_does_not_go_with_the_other_one_ends_with_attention_and_busy() {
        let goes = |first, second| {
            matches!(
                (first, second),
                (WRITE | WRITE_END_OF_FILE, READ)
                    | (READ, WRITE | WRITE_END_OF_FILE)
                    | (PREPARE, _)
                    | (_, PREPARE)
            )
        };
        let all = [WRITE, READ, CONTROL, WRITE_END_OF_FILE, PREPARE];
        for (first, second) in all.iter().flat_map(|one| all.map(|other| (*one, other))) {
            let (here, there) = adapter();
            assert_eq!(run(&here, first, &mut Buffer::default()), Outcome::Pending);
            let outcome = run(&there, second, &mut Buffer::default());
            let collides = matches!(outcome, Outcome::Ended(it) if it.status == COLLISION);
            assert_eq!(collides, !goes(first, second), "{first:02X} {second:02X}");
            assert!(!collides || !attention(&there), "what a status tells is told once");
        }
    }

    #[test]
    fn end_of_file_gives_unit_exception_to_the_read() {
        let (here, there) = adapter();
        assert_eq!(run(&here, WRITE_END_OF_FILE, &mut Buffer::default()), Outcome::Pending);
        let mut input = Buffer::input(8);
        assert_eq!(run(&there, READ, &mut input), Outcome::Pending);
        assert!(is_normal(run(&here, WRITE_END_OF_FILE, &mut Buffer::default())));
        let ended = status(run(&there, READ, &mut input));
        assert!(ended.contains(DeviceStatus::UNIT_EXCEPTION) && input.given().is_empty());
    }

    #[test]
    fn side_that_is_gone_gives_intervention_required_until_it_is_back() {
        let (here, there) = Ctc::pair();
        here.admit(&access(1)).unwrap();
        let gone = Outcome::Ended(Ending::unit_check(NOT_READY));
        for code in [WRITE, READ, CONTROL, PREPARE, WRITE_END_OF_FILE] {
            assert_eq!(run(&here, code, &mut Buffer::default()), gone);
        }
        let mut byte = Buffer::input(1);
        assert!(is_normal(run(&here, SENSE_COMMAND_BYTE, &mut byte)));
        there.admit(&access(1)).unwrap();
        assert_eq!(run(&here, WRITE, &mut Buffer::output(b"x")), Outcome::Pending);
        there.disconnect();
        assert!(!there.is_ready() && attention(&here));
        assert_eq!(run(&here, WRITE, &mut Buffer::output(b"x")), gone);
        assert!(!attention(&here));
    }

    #[test]
    fn what_was_written_outlives_its_writer_and_not_its_reader() {
        for writer_goes in [true, false] {
            let (here, there) = adapter();
            assert_eq!(run(&there, READ, &mut Buffer::input(8)), Outcome::Pending);
            assert!(is_normal(run(&here, WRITE, &mut Buffer::output(b"abc"))));
            let side = if writer_goes { &here } else { &there };
            side.disconnect();
            let mut input = Buffer::input(8);
            if writer_goes {
                assert!(is_normal(run(&there, READ, &mut input)));
                assert_eq!(input.given(), b"abc");
            } else {
                there.admit(&access(1)).unwrap();
                assert_eq!(run(&there, READ, &mut input), Outcome::Pending);
            }
        }
    }

    #[test]
    fn command_that_is_given_up_has_moved_nothing_and_can_begin_anew() {
        let (here, there) = adapter();
        let mut output = Buffer::output(b"abc");
        assert_eq!(run(&here, WRITE, &mut output), Outcome::Pending);
        here.cancel(&access(1));
        assert!(!attention(&there));
        assert_eq!(run(&there, READ, &mut Buffer::input(8)), Outcome::Pending);
        there.cancel(&access(1));
        assert_eq!((run(&here, WRITE, &mut output), output.taken()), (Outcome::Pending, 0));
        // Once the writer has ended, its bytes outlive the reader's program.
        assert_eq!(run(&there, READ, &mut Buffer::input(8)), Outcome::Pending);
        assert!(is_normal(run(&here, WRITE, &mut output)));
        there.cancel(&access(1));
        assert!(attention(&there));
        let mut input = Buffer::input(8);
        assert!(is_normal(run(&there, READ, &mut input)));
        assert_eq!(input.given(), b"abc");
    }

    #[test]
    fn former_owner_of_a_side_neither_writes_nor_cancels() {
        let (here, there) = Ctc::pair();
        here.admit(&access(2)).unwrap();
        there.admit(&access(1)).unwrap();
        let fenced = Outcome::from(Err(Refusal::Fenced));
        assert_eq!(run(&here, WRITE, &mut Buffer::output(b"x")), fenced);
        let mut data = Buffer::output(b"x");
        assert_eq!(here.execute(&mut access(2), WRITE, &mut data), Outcome::Pending);
        here.cancel(&access(1));
        assert!(attention(&there));
        assert!(!attention(&here));
        assert_eq!(here.fenced_count(), 2);
    }
}
