//! A tape drive with its cartridge: a 3490.
//!
//! The position is the drive's and not the channel program's, so a drive is assigned to one system
//! at a time; others get a unit check.
//!
//! Source of truth: 3490 Hardware Reference (commands, sense bytes, error recovery actions).
//! Invariants: a write erases what is behind it; a block is written as a whole. Deliberately not
//! here: buffering, compression, and cartridges that change.

use super::{
    Access, Device, Ending, Fence, Outcome, Refusal, SenseId, Transfer,
    paths::{
        PATH_GROUP_BYTES, Paths, VmPath,
        command::{SENSE_PATH_GROUP_ID, SET_PATH_GROUP_ID},
    },
    take_all, take_parameters,
};
use crate::machine::lock;
use monitor_core::{
    channel::DeviceStatus,
    units::{Micros, VmName},
};
use std::{fmt, sync::Mutex};

/// Command codes.
mod command {
    pub(super) const WRITE: u8 = 0x01;
    pub(super) const READ_FORWARD: u8 = 0x02;
    pub(super) const NO_OPERATION: u8 = 0x03;
    pub(super) const REWIND: u8 = 0x07;
    pub(super) const READ_BACKWARD: u8 = 0x0C;
    pub(super) const REWIND_UNLOAD: u8 = 0x0F;
    pub(super) const ERASE_GAP: u8 = 0x17;
    pub(super) const WRITE_TAPE_MARK: u8 = 0x1F;
    pub(super) const READ_BLOCK_ID: u8 = 0x22;
    pub(super) const BACKSPACE_BLOCK: u8 = 0x27;
    pub(super) const BACKSPACE_FILE: u8 = 0x2F;
    pub(super) const FORWARD_SPACE_BLOCK: u8 = 0x37;
    pub(super) const FORWARD_SPACE_FILE: u8 = 0x3F;
    pub(super) const SYNCHRONIZE: u8 = 0x43;
    pub(super) const LOCATE_BLOCK: u8 = 0x4F;
    pub(super) const ASSIGN: u8 = 0xB7;
    pub(super) const UNASSIGN: u8 = 0xC7;
    pub(super) const MODE_SET: u8 = 0xDB;
}

/// The longest block; of a command that has more the rest is not taken.
const BLOCK_BYTES_MAX: usize = 262_144;

/// How long a command takes, and how long the tape takes for each block that it passes.
const COMMAND_US: u64 = 20;
const BLOCK_US: u64 = 50;

/// The bytes behind the end-of-tape warning, for trailer labels.
const TRAILER_BYTES: u64 = 65_536;
/// What a block takes beside its bytes, and a tape mark.
const GAP_BYTES: u64 = 64;

/// The format of a block identifier, and its bits that are a number.
const BLOCK_ID_FORMAT: u32 = 0x0100_0000;
const BLOCK_ID_NUMBER: u32 = 0x003F_FFFF;

/// Why a command ends with unit check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    CommandReject,
    /// Another system has the drive.
    AssignedElsewhere,
    /// There is no cartridge in the drive.
    NotReady,
    WriteProtected,
    /// There is nothing behind this place.
    EndOfData,
    /// The tape has no room for this.
    EndOfTape,
    /// There is nothing before this place.
    AtLoadPoint,
}

impl Check {
    /// Sense byte 0, and the error recovery action of sense byte 3.
    const fn reason(self) -> (u8, u8) {
        match self {
            Self::CommandReject => (0x80, 0x27),
            Self::AssignedElsewhere => (0x01, 0x45),
            Self::NotReady => (0x40, 0x43),
            Self::WriteProtected => (0x80, 0x30),
            Self::EndOfData => (0x08, 0x36),
            Self::EndOfTape => (0x10, 0x38),
            Self::AtLoadPoint => (0x00, 0x39),
        }
    }
}

/// What is on the tape.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    Data(Vec<u8>),
    Mark,
}

impl Block {
    const fn length(&self) -> u64 {
        match self {
            Self::Data(bytes) => GAP_BYTES + bytes.len() as u64,
            Self::Mark => GAP_BYTES,
        }
    }
}

/// What a command adds to a normal ending.
type Done = Result<Addition, Check>;

#[derive(Clone, Copy, Debug, Default)]
struct Addition {
    status: DeviceStatus,
    /// Blocks that the tape passes before channel end, and after it.
    passed: u64,
    passed_later: u64,
}

/// What a command adds that reads or writes one block.
const ONE_BLOCK: Addition = Addition { status: DeviceStatus::empty(), passed: 1, passed_later: 0 };
/// What a command adds that meets a tape mark.
const AT_MARK: Addition = Addition { status: DeviceStatus::UNIT_EXCEPTION, ..ONE_BLOCK };

/// The drive and its tape.
#[derive(Default)]
struct Drive {
    fence: Fence,
    paths: Paths,
    /// The VM and the SU that have the drive.
    assigned: Option<(VmName, u16)>,
    blocks: Vec<Block>,
    position: usize,
    capacity_bytes: u64,
    is_loaded: bool,
    is_protected: bool,
}

impl fmt::Debug for Drive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Drive")
            .field("assigned", &self.assigned)
            .field("block_count", &self.blocks.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// A tape drive.
#[derive(Debug)]
pub struct Tape {
    drive: Mutex<Drive>,
}

impl Tape {
    /// A drive with an empty cartridge that has room for so many bytes until the warning.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let drive = Drive { capacity_bytes, is_loaded: true, ..Drive::default() };
        Self { drive: Mutex::new(drive) }
    }

    /// Puts the cartridge back into the drive, at its load point.
    pub fn load(&self, is_protected: bool) {
        let mut drive = lock(&self.drive);
        drive.is_loaded = true;
        drive.is_protected = is_protected;
        drive.position = 0;
    }

    /// The VM and the SU to which the drive is assigned.
    #[must_use]
    pub fn assigned(&self) -> Option<(VmName, u16)> {
        lock(&self.drive).assigned
    }
}

impl Drive {
    fn carry_out(&mut self, access: &Access, code: u8, data: &mut dyn Transfer) -> Done {
        let nothing = Ok(Addition::default());
        let system = (access.vm, access.path.system);
        let path = VmPath::of(access);
        if code == SENSE_PATH_GROUP_ID {
            data.give(&self.paths.sense_group(&path));
            return nothing;
        }
        if self.assigned.is_some_and(|owner| owner != system) {
            return Err(Check::AssignedElsewhere);
        }
        match code {
            SET_PATH_GROUP_ID => {
                let group = parameters::<PATH_GROUP_BYTES>(data)?;
                self.paths.set_group(&path, &group).map_err(|_| Check::CommandReject)?;
                nothing
            }
            command::ASSIGN => {
                parameters::<11>(data)?;
                self.assigned = Some(system);
                nothing
            }
            command::UNASSIGN => {
                parameters::<11>(data)?;
                self.assigned = None;
                nothing
            }
            command::MODE_SET => {
                parameters::<1>(data)?;
                nothing
            }
            command::NO_OPERATION => nothing,
            _ if !self.is_loaded => Err(Check::NotReady),
            _ => self.move_tape(code, data),
        }
    }

    fn move_tape(&mut self, code: u8, data: &mut dyn Transfer) -> Done {
        let nothing = Ok(Addition::default());
        match code {
            command::WRITE => {
                // Of bytes of which some are refused nothing is written.
                let bytes = take_all(data, BLOCK_BYTES_MAX);
                bytes.map_or(nothing, |bytes| self.write(Block::Data(bytes)))
            }
            command::WRITE_TAPE_MARK => self.write(Block::Mark),
            command::ERASE_GAP => {
                self.may_write()?;
                self.blocks.truncate(self.position);
                Ok(Addition::default())
            }
            command::READ_FORWARD => {
                if let Block::Data(bytes) = self.ahead()? {
                    data.give(bytes);
                }
                self.pass()
            }
            command::READ_BACKWARD => {
                let passed = self.pass_back()?;
                if let Block::Data(bytes) = self.ahead()? {
                    // The last byte comes first, and goes to the highest address.
                    let backward: Vec<u8> = bytes.iter().rev().copied().collect();
                    data.give(&backward);
                }
                Ok(passed)
            }
            command::FORWARD_SPACE_BLOCK => self.pass(),
            command::BACKSPACE_BLOCK => self.pass_back(),
            command::FORWARD_SPACE_FILE => self.space_file(Self::pass),
            command::BACKSPACE_FILE => self.space_file(Self::pass_back),
            command::REWIND => Ok(self.rewind()),
            command::REWIND_UNLOAD => {
                self.is_loaded = false;
                Ok(self.rewind())
            }
            command::READ_BLOCK_ID => {
                let number = self.position as u32 & BLOCK_ID_NUMBER;
                let id = (BLOCK_ID_FORMAT | number).to_be_bytes();
                data.give(&[id, id].concat());
                Ok(Addition::default())
            }
            command::LOCATE_BLOCK => {
                let wanted = u32::from_be_bytes(parameters(data)?) & BLOCK_ID_NUMBER;
                self.locate(wanted as usize)
            }
            command::SYNCHRONIZE => Ok(Addition::default()),
            _ => Err(Check::CommandReject),
        }
    }

    const fn may_write(&self) -> Result<(), Check> {
        if self.is_protected { Err(Check::WriteProtected) } else { Ok(()) }
    }

    fn write(&mut self, block: Block) -> Done {
        self.may_write()?;
        let before: u64 = self.blocks[..self.position].iter().map(Block::length).sum();
        let used = before + block.length();
        if used > self.capacity_bytes + TRAILER_BYTES {
            return Err(Check::EndOfTape);
        }
        self.blocks.truncate(self.position);
        self.blocks.push(block);
        self.position += 1;
        // From the warning on, each write says that the end is near.
        Ok(if used > self.capacity_bytes { AT_MARK } else { ONE_BLOCK })
    }

    fn ahead(&self) -> Result<&Block, Check> {
        self.blocks.get(self.position).ok_or(Check::EndOfData)
    }

    /// Passes the next block; a tape mark is a unit exception.
    fn pass(&mut self) -> Done {
        let is_mark = *self.ahead()? == Block::Mark;
        self.position += 1;
        Ok(if is_mark { AT_MARK } else { ONE_BLOCK })
    }

    /// Passes the block before, which is the next one then.
    fn pass_back(&mut self) -> Done {
        self.position = self.position.checked_sub(1).ok_or(Check::AtLoadPoint)?;
        Ok(if *self.ahead()? == Block::Mark { AT_MARK } else { ONE_BLOCK })
    }

    /// Passes blocks until a tape mark is passed, which is no unit exception here.
    fn space_file(&mut self, pass: fn(&mut Self) -> Done) -> Done {
        let mut passed = 1;
        while pass(self)?.status.is_empty() {
            passed += 1;
        }
        Ok(Addition { passed, ..Addition::default() })
    }

    fn rewind(&mut self) -> Addition {
        let passed_later = std::mem::take(&mut self.position) as u64;
        Addition { passed_later, ..Addition::default() }
    }

    fn locate(&mut self, wanted: usize) -> Done {
        if wanted > self.blocks.len() {
            return Err(Check::EndOfData);
        }
        let passed = self.position.abs_diff(wanted) as u64;
        self.position = wanted;
        Ok(Addition { passed, ..Addition::default() })
    }

    fn ending(&self, done: Done) -> Ending {
        match done {
            Ok(Addition { status, passed, passed_later }) => Ending {
                status: Ending::NORMAL.status | status,
                duration: Micros::new(COMMAND_US + passed * BLOCK_US),
                device_end_after: Micros::new(passed_later * BLOCK_US),
                ..Ending::NORMAL
            },
            Err(check) => {
                const ON_LINE: u8 = 0x40;
                const AT_LOAD_POINT: u8 = 0x08;
                const PROTECTED: u8 = 0x02;
                let (first, action) = check.reason();
                let mut second = ON_LINE;
                second |= if self.is_loaded && self.position == 0 { AT_LOAD_POINT } else { 0 };
                second |= if self.is_protected { PROTECTED } else { 0 };
                let mut ending = Ending::unit_check([first, second]);
                ending.sense[3] = action;
                Ending { duration: Micros::new(COMMAND_US), ..ending }
            }
        }
    }
}

fn parameters<const N: usize>(data: &mut dyn Transfer) -> Result<[u8; N], Check> {
    take_parameters(data).ok_or(Check::CommandReject)
}

impl Device for Tape {
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3490, unit_model: 0x50, device_type: 0x3490, device_model: 0x50 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.drive).fence.pass(access)
    }

    fn execute(&self, access: &mut Access, code: u8, data: &mut dyn Transfer) -> Outcome {
        let mut drive = lock(&self.drive);
        let passed = drive.fence.pass(access);
        passed
            .map(|()| {
                let done = drive.carry_out(access, code, data);
                Outcome::Ended(drive.ending(done))
            })
            .into()
    }

    fn reset(&self, access: &Access) {
        let mut drive = lock(&self.drive);
        if drive.fence.pass(access).is_ok() {
            drive.paths.reset(access.vm, access.path.system);
            let owner = (access.vm, access.path.system);
            drive.assigned.take_if(|assigned| *assigned == owner);
        }
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.drive).fence.refused()
    }
}

#[cfg(test)]
mod tests;
