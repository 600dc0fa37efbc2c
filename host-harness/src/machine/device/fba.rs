//! An FBA disk: a 9336 with blocks of 512 bytes on an image, and a log of what was written.
//!
//! Source of truth: 3370 and 9335 descriptions (DEFINE EXTENT, LOCATE, READ, WRITE); what is told
//! of the device is that of Hercules's 9336. Invariants: the log holds every accepted write, in
//! the order in which the disk took it; a refused write changes nothing; a block is written as a
//! whole, with zeros for what the command does not have. Deliberately not here: replicated data
//! and defective blocks.

use super::{
    Access, Device, Ending, Outcome, Position, Refusal, SenseId, Transfer,
    books::{Books, Keeper, is_path_command},
    buffer::Buffer,
    image::{FileImage, Image, MemoryImage},
    log::{DiskWrite, Log, LoggedDisk},
    paths::{Gate, command as path_command},
    take_padded, take_parameters,
};
use monitor_core::units::Micros;
use std::io;

/// An extent of a channel program, and what a LOCATE has chosen in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtentPosition {
    extent: Option<Extent>,
    located: Option<Located>,
}

/// What DEFINE EXTENT has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    mask: u8,
    /// The first block on the disk.
    block: u32,
    /// The numbers of the first and the last block in the data set.
    first: u32,
    last: u32,
}

/// What LOCATE has said; good for the next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Located {
    operation: u8,
    block: u32,
    block_count: u32,
}

/// Why a command ends with unit check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// The command or its parameters make no sense here.
    CommandReject,
    /// The reservation of this path was taken away.
    ResetNotification,
    /// The image cannot be read or written.
    Equipment,
}

impl From<io::Error> for Check {
    fn from(_: io::Error) -> Self {
        Self::Equipment
    }
}

impl Check {
    fn ending(self) -> Ending {
        match self {
            Self::CommandReject => Ending::unit_check([0x80, 0]),
            Self::ResetNotification => {
                let mut ending = Ending::unit_check([0x80, 0]);
                ending.sense[7] = 0x08;
                ending
            }
            Self::Equipment => Ending::unit_check([0x10, 0]),
        }
    }
}

/// Command codes.
mod command {
    pub(super) const READ_INITIAL_PROGRAM: u8 = 0x02;
    pub(super) const WRITE: u8 = 0x41;
    pub(super) const READ: u8 = 0x42;
    pub(super) const LOCATE: u8 = 0x43;
    pub(super) const DEFINE_EXTENT: u8 = 0x63;
    pub(super) const READ_DEVICE_CHARACTERISTICS: u8 = 0x64;
    pub(super) const READ_AND_RESET_LOG: u8 = 0xA4;
}

/// Operations of LOCATE.
mod operation {
    pub(super) const RESERVED: u8 = 0xE0;
    pub(super) const CODE: u8 = 0x0F;
    pub(super) const WRITE: u8 = 0x01;
    pub(super) const WRITE_AND_VERIFY: u8 = 0x05;
    pub(super) const READ: u8 = 0x06;
}

/// Bits of a file mask that are zero.
const MASK_RESERVED: u8 = 0x3B;
/// Operation control of a file mask, and its values that matter.
const MASK_CONTROL: u8 = 0xC0;
const NO_WRITE: u8 = 0x40;
const NO_MEANING: u8 = 0x80;
const SENSE_BYTES: usize = 24;
const BYTES_PER_US: u64 = 20;
const COMMAND_US: u64 = 5;

/// An FBA disk.
#[derive(Debug)]
pub struct FbaDisk {
    image: Box<dyn Image>,
    block_count: u32,
    keeper: Keeper,
    log: Log,
}

impl FbaDisk {
    /// Bytes of one block.
    pub const BLOCK_BYTES: usize = 512;

    /// A new disk of so many blocks in memory.
    #[must_use]
    pub fn in_memory(block_count: u32) -> Self {
        Self::new(Box::new(MemoryImage::new()), block_count, Keeper::default())
    }

    /// The disk in the file at `path`, with its books beside it; both are created when they are
    /// not there. All processes that open it share it, but each has a log of its own writes.
    ///
    /// # Errors
    /// Fails when a file cannot be opened.
    pub fn in_file(path: &std::path::Path, block_count: u32) -> io::Result<Self> {
        let keeper = Keeper::in_file(&path.with_added_extension("books"))?;
        let byte_count = u64::from(block_count) * Self::BLOCK_BYTES as u64;
        Ok(Self::new(Box::new(FileImage::open(path, byte_count)?), block_count, keeper))
    }

    fn new(image: Box<dyn Image>, block_count: u32, keeper: Keeper) -> Self {
        Self { image, block_count, keeper, log: Log::default() }
    }

    /// A channel program without a channel: writes `bytes` from `block` on, unless the disk
    /// refuses them.
    pub fn put(&self, access: &Access, block: u32, bytes: &[u8]) -> Outcome {
        let mut access = *access;
        let last = self.block_count.saturating_sub(1).to_be_bytes();
        let extent = [&[MASK_CONTROL, 0, 0, 0][..], &[0; 8], &last].concat();
        let [high, low] = (bytes.len().div_ceil(Self::BLOCK_BYTES) as u16).to_be_bytes();
        let location = [&[operation::WRITE, 0, high, low][..], &block.to_be_bytes()].concat();
        let mut outcome = Outcome::NORMAL;
        for (code, bytes) in [
            (command::DEFINE_EXTENT, &extent[..]),
            (command::LOCATE, &location),
            (command::WRITE, bytes),
        ] {
            outcome = self.execute(&mut access, code, &mut Buffer::output(bytes));
            access.command_index += 1;
        }
        outcome
    }

    fn execute_with(
        &self,
        books: &mut Books,
        access: &mut Access,
        code: u8,
        data: &mut dyn Transfer,
    ) -> Result<Outcome, Refusal> {
        let gate = books.gate(access, code)?;
        let mut position = match access.position {
            Position::Extent(position) if access.command_index > 0 => position,
            _ => ExtentPosition::default(),
        };
        let done = match gate {
            Gate::Wait => return Ok(Outcome::Pending),
            Gate::Notify => Err(Check::ResetNotification),
            Gate::Open => self.carry_out(books, access, &mut position, code, data),
        };
        if code != command::LOCATE {
            position.located = None;
        }
        access.position = Position::Extent(position);
        let duration = Micros::new(COMMAND_US + data.moved() as u64 / BYTES_PER_US);
        let ending = done.map_or_else(Check::ending, |()| Ending::NORMAL);
        Ok(Outcome::Ended(Ending { duration, ..ending }))
    }

    fn carry_out(
        &self,
        books: &mut Books,
        access: &Access,
        position: &mut ExtentPosition,
        code: u8,
        data: &mut dyn Transfer,
    ) -> Result<(), Check> {
        match code {
            command::READ_INITIAL_PROGRAM => self.read_initial_program(access, position, data),
            command::DEFINE_EXTENT => self.define_extent(position, data),
            command::LOCATE => self.locate(position, data),
            command::WRITE => self.write(access, position, data),
            command::READ => self.read(position, data),
            command::READ_DEVICE_CHARACTERISTICS => {
                data.give(&characteristics(self.block_count));
                Ok(())
            }
            command::READ_AND_RESET_LOG => {
                data.give(&[0; SENSE_BYTES]);
                Ok(())
            }
            code if is_path_command(code) => {
                let may = match code {
                    path_command::RESERVE | path_command::RELEASE => position.extent.is_none(),
                    path_command::SENSE_PATH_GROUP_ID => true,
                    _ => access.command_index == 0,
                };
                let rejected = Err(Check::CommandReject);
                if !may {
                    return rejected;
                }
                let sense = [0; SENSE_BYTES];
                books.control_path(access, code, data, &sense).or(rejected)
            }
            _ => Err(Check::CommandReject),
        }
    }

    fn read_initial_program(
        &self,
        access: &Access,
        position: &mut ExtentPosition,
        data: &mut dyn Transfer,
    ) -> Result<(), Check> {
        let last = self.block_count.saturating_sub(1);
        if access.command_index > 0 {
            return Err(Check::CommandReject);
        }
        position.extent = Some(Extent { mask: 0, block: 0, first: 0, last });
        let mut block = [0; Self::BLOCK_BYTES];
        self.image.read(0, &mut block)?;
        data.give(&block);
        Ok(())
    }

    fn define_extent(
        &self,
        position: &mut ExtentPosition,
        data: &mut dyn Transfer,
    ) -> Result<(), Check> {
        let parameters: [u8; 16] = parameters(data)?;
        let [mask, ..] = parameters;
        let [block, first, last] = [4, 8, 12].map(|at| word(&parameters, at));
        let is_wrong = mask & MASK_RESERVED != 0 || mask & MASK_CONTROL == NO_MEANING;
        // The extent has one block more than this.
        let distance = last.checked_sub(first).ok_or(Check::CommandReject)?;
        let fits = block.checked_add(distance).is_some_and(|last| last < self.block_count);
        if position.extent.is_some() || is_wrong || !fits {
            return Err(Check::CommandReject);
        }
        position.extent = Some(Extent { mask, block, first, last });
        Ok(())
    }

    fn locate(&self, position: &mut ExtentPosition, data: &mut dyn Transfer) -> Result<(), Check> {
        position.located = None;
        let parameters: [u8; 8] = parameters(data)?;
        let extent = position.extent.ok_or(Check::CommandReject)?;
        let [byte, _, high, low, ..] = parameters;
        let operation = byte & operation::CODE;
        let may = match operation {
            operation::WRITE | operation::WRITE_AND_VERIFY => {
                extent.mask & MASK_CONTROL != NO_WRITE
            }
            operation::READ => true,
            _ => false,
        };
        let block_count = u32::from(u16::from_be_bytes([high, low]));
        let first = word(&parameters, 4);
        let last = block_count.checked_sub(1).and_then(|rest| first.checked_add(rest));
        let is_inside = first >= extent.first && last.is_some_and(|last| last <= extent.last);
        if byte & operation::RESERVED != 0 || !may || !is_inside {
            return Err(Check::CommandReject);
        }
        let block = extent.block + (first - extent.first);
        position.located = Some(Located { operation, block, block_count });
        Ok(())
    }

    /// Writes all blocks that were located.
    fn write(
        &self,
        access: &Access,
        position: &ExtentPosition,
        data: &mut dyn Transfer,
    ) -> Result<(), Check> {
        let located = position.located.ok_or(Check::CommandReject)?;
        if !matches!(located.operation, operation::WRITE | operation::WRITE_AND_VERIFY) {
            return Err(Check::CommandReject);
        }
        let length = located.block_count as usize * Self::BLOCK_BYTES;
        let Some(bytes) = take_padded(data, length) else {
            // Some of it is refused: the channel tells the program, nothing is written.
            return Ok(());
        };
        self.image.write(offset(located.block), &bytes)?;
        self.log.enter(access, located.block, &bytes);
        Ok(())
    }

    /// Reads the blocks that were located.
    fn read(&self, position: &ExtentPosition, data: &mut dyn Transfer) -> Result<(), Check> {
        let located = position.located.ok_or(Check::CommandReject)?;
        if located.operation != operation::READ {
            return Err(Check::CommandReject);
        }
        let length = located.block_count as usize * Self::BLOCK_BYTES;
        let mut bytes = vec![0; length];
        self.image.read(offset(located.block), &mut bytes)?;
        data.give(&bytes);
        Ok(())
    }
}

/// Where a block is on the image.
const fn offset(block: u32) -> u64 {
    block as u64 * FbaDisk::BLOCK_BYTES as u64
}

fn parameters<const N: usize>(data: &mut dyn Transfer) -> Result<[u8; N], Check> {
    take_parameters(data).ok_or(Check::CommandReject)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// What READ DEVICE CHARACTERISTICS tells of a 9336 with so many blocks.
fn characteristics(block_count: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    // Modes, features, class, type, and the size of a block.
    put(0, &[0x30, 0x08, 0x21, 0x11, 0x02, 0x00]);
    // Blocks of a cyclic group, and of an access position.
    put(6, &63_u32.to_be_bytes());
    put(10, &315_u32.to_be_bytes());
    put(14, &block_count.to_be_bytes());
    bytes
}

impl LoggedDisk for FbaDisk {
    fn last_write(&self) -> Option<DiskWrite> {
        self.log.last()
    }

    fn log(&self) -> Vec<DiskWrite> {
        self.log.all()
    }
}

impl Device for FbaDisk {
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x6310, unit_model: 0x01, device_type: 0x9336, device_model: 0x00 }
    }

    fn sense_length(&self) -> usize {
        SENSE_BYTES
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.keeper.with(|books| books.fence.pass(access)).map_err(|_| Refusal::CommandReject)?
    }

    fn execute(&self, access: &mut Access, code: u8, data: &mut dyn Transfer) -> Outcome {
        match self.keeper.with(|books| self.execute_with(books, access, code, data)) {
            Ok(outcome) => outcome.into(),
            Err(_) => Outcome::Ended(Check::Equipment.ending()),
        }
    }

    fn adopt(&self, from: &Access, to: &Access) -> Result<(), Refusal> {
        self.keeper.with(|books| books.adopt(from, to)).map_err(|_| Refusal::CommandReject)?
    }

    fn reset(&self, access: &Access) {
        // What cannot be reset now is reset when the books can be read again: the fence holds.
        let _ = self.keeper.with(|books| books.reset(access));
    }

    fn fenced_count(&self) -> u64 {
        self.keeper.with(|books| books.fence.refused()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
