//! A CKD disk: a 3390 at a 3990, with count-key-data tracks on an image.
//!
//! Source of truth: 3990 Storage Control Reference; where it leaves room, what Hercules measures.
//!
//! Invariants: a command is carried out as a whole, and commands of all systems have one order;
//! what belongs to a channel program is in its [`TrackPosition`]. While a path does not hold the
//! reservation its commands wait. The log holds every update of data, and no format write.
//! Deliberately not here: allegiance between the commands of one channel program (a record that
//! another program has meanwhile formatted away is an invalid track format), defective tracks, and
//! subsystem functions (cache, dual copy).

mod check;
mod control;
mod operation;
mod position;
mod read;
mod track;
mod write;

pub use position::TrackPosition;

use super::{
    Access, Device, Ending, Outcome, Position, Refusal, SenseId, Transfer,
    books::{Books, Keeper, PathError, is_path_command},
    buffer::Buffer,
    command::NO_OPERATION,
    image::{FileImage, Image, MemoryImage},
    log::{DiskWrite, Log, LoggedDisk},
    paths::{Gate, command as path_command},
};
use crate::machine::lock;
use check::Check;
use monitor_core::{channel::DeviceStatus, units::Micros};
use operation::{Data, Done, Operation, PLAIN};
use std::{io, sync::Mutex};
use track::{Surface, Track};

/// Command code LOCATE RECORD.
const LOCATE: u8 = 0x47;
/// Command code SUSPEND MULTIPATH RECONNECTION.
const SUSPEND_RECONNECTION: u8 = 0x5B;

/// How long a command takes that has nothing to move.
const COMMAND_US: u64 = 5;
/// How long the arm takes to another cylinder, and for each cylinder on the way.
const ARM_US: u64 = 50;
const CYLINDER_US: u64 = 1;
/// How many bytes go over the channel in a microsecond.
const BYTES_PER_US: u64 = 20;

/// A CKD disk.
#[derive(Debug)]
pub struct CkdDisk {
    image: Box<dyn Image>,
    cylinders: u16,
    keeper: Keeper,
    arm: Mutex<Track>,
    log: Log,
}

impl CkdDisk {
    /// What an image of a 3390 begins with.
    pub(super) const HEADER: [u8; 17] = track::HEADER;
    /// Bytes of an image before the first cylinder.
    pub(super) const HEADER_BYTES: u64 = track::HEADER_BYTES;
    /// Bytes of a cylinder in an image.
    pub(super) const CYLINDER_BYTES: u64 = track::TRACK_BYTES as u64 * track::HEADS as u64;

    /// A new disk of so many cylinders in memory.
    #[must_use]
    pub fn in_memory(cylinders: u16) -> Self {
        Self::new(Box::new(MemoryImage::new()), cylinders, Keeper::default())
            .expect("memory takes every write")
    }

    /// The disk in the file at `path`, with its books beside it; both are created when they are
    /// not there. All processes that open it share it.
    ///
    /// # Errors
    /// Fails when a file cannot be opened, read or written.
    pub fn in_file(path: &std::path::Path, cylinders: u16) -> io::Result<Self> {
        let keeper = Keeper::in_file(&path.with_added_extension("books"))?;
        let byte_count = Self::HEADER_BYTES + u64::from(cylinders) * Self::CYLINDER_BYTES;
        Self::new(Box::new(FileImage::open(path, byte_count)?), cylinders, keeper)
    }

    fn new(image: Box<dyn Image>, cylinders: u16, keeper: Keeper) -> io::Result<Self> {
        let disk = Self { image, cylinders, keeper, arm: Mutex::default(), log: Log::default() };
        let formatted = disk.keeper.with(|_| disk.surface().format_if_new())?;
        formatted.map_err(|_| io::Error::other("a disk cannot be formatted"))?;
        Ok(disk)
    }

    fn surface(&self) -> Surface<'_> {
        Surface { image: &*self.image, cylinders: self.cylinders }
    }

    /// Carries out a command that has passed the gate.
    fn carry_out(
        &self,
        books: &mut Books,
        access: &Access,
        position: &mut TrackPosition,
        command: u8,
        data: &mut Data<'_>,
    ) -> Done {
        let surface = self.surface();
        if !is_path_command(command) {
            let log = &self.log;
            return Operation { surface, position, data, command, access, log }.run();
        }
        may_control_path(access, position, command)?;
        let sense = check::no_error(position.track);
        books.control_path(access, command, data.0, &sense).map_err(|error| match error {
            PathError::Short => Check::ShortParameters,
            PathError::WrongGroup => Check::InvalidParameter,
        })?;
        Ok(PLAIN)
    }

    fn execute_with(
        &self,
        books: &mut Books,
        access: &mut Access,
        command: u8,
        data: &mut dyn Transfer,
    ) -> Result<Outcome, Refusal> {
        let mut arm = lock(&self.arm);
        let gate = books.gate(access, command)?;
        let mut position = match access.position {
            Position::Track(position) if access.command_index > 0 => position,
            _ => TrackPosition::begin(&self.surface(), *arm),
        };
        let done = match gate {
            Gate::Wait => return Ok(Outcome::Pending),
            Gate::Notify => Err(Check::ResetNotification),
            Gate::Open => {
                let done = self.carry_out(books, access, &mut position, command, &mut Data(data));
                let moved = data.moved() as u64;
                done.map(|status| (status, duration(*arm, position.track, moved)))
            }
        };
        *arm = position.track;
        position.ended(command);
        access.position = Position::Track(position);
        Ok(Outcome::Ended(match done {
            Ok((status, duration)) => {
                Ending { status: Ending::NORMAL.status | status, duration, ..Ending::NORMAL }
            }
            Err(check) => Ending {
                status: Ending::NORMAL.status | DeviceStatus::UNIT_CHECK,
                sense: check.sense(*arm),
                duration: Micros::new(COMMAND_US),
                ..Ending::NORMAL
            },
        }))
    }
}

/// Refuses a command of path control where it may not stand in a channel program.
fn may_control_path(access: &Access, position: &TrackPosition, command: u8) -> Result<(), Check> {
    let is_first = match access.command_index {
        0 => true,
        1 => position.previous == SUSPEND_RECONNECTION,
        _ => false,
    };
    let may = match command {
        path_command::SENSE_PATH_GROUP_ID => true,
        path_command::RELEASE => !position.is_extent_defined && !position.is_mask_set,
        _ => is_first,
    };
    if may && !position.is_in_domain() { Ok(()) } else { Err(Check::InvalidSequence) }
}

/// How long a command takes that moves the arm and so many bytes.
fn duration(from: Track, to: Track, byte_count: u64) -> Micros {
    let distance = u64::from(from.cylinder.abs_diff(to.cylinder));
    let arm = if distance == 0 { 0 } else { ARM_US + distance * CYLINDER_US };
    Micros::new(COMMAND_US + arm + byte_count / BYTES_PER_US)
}

/// The model of a 3390 with so many cylinders, and the code of its type.
const fn model(cylinders: u16) -> (u8, u8) {
    match cylinders {
        0..=1114 => (0x02, 0x26),
        1115..=2227 => (0x06, 0x27),
        2228..=3340 => (0x0A, 0x24),
        _ => (0x0C, 0x32),
    }
}

impl LoggedDisk for CkdDisk {
    fn last_write(&self) -> Option<DiskWrite> {
        self.log.last()
    }

    fn log(&self) -> Vec<DiskWrite> {
        self.log.all()
    }
}

impl Device for CkdDisk {
    fn sense_id(&self) -> SenseId {
        let (device_model, _) = model(self.cylinders);
        SenseId { unit_type: 0x3990, unit_model: 0xC2, device_type: 0x3390, device_model }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.keeper.with(|books| books.fence.pass(access)).map_err(|_| Refusal::CommandReject)?
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        let outcome = self.keeper.with(|books| self.execute_with(books, access, command, data));
        match outcome {
            Ok(outcome) => outcome.into(),
            Err(_) => Outcome::Ended(Ending::unit_check([0x10, 0])),
        }
    }

    fn no_operation(&self, access: &mut Access) -> Outcome {
        self.execute(access, NO_OPERATION, &mut Buffer::default())
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
