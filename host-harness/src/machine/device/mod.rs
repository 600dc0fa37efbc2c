//! Devices of the emulated machine: what a channel program reaches, and the fence against an
//! SU that no longer owns the VM.
//!
//! Source of truth: Principles of Operation, "Basic I/O Functions" (device status); Common I/O
//! Device Commands (sense); ARCHITECTURE.md ("Devices").
//!
//! Invariants: a device is shared by both SUs like one on a storage network; it keeps the highest
//! epoch that it has seen of each VM and refuses lower ones. What belongs to one channel program
//! (where it stands) is in its [`Access`] and not in the device. A device never sees guest storage,
//! only the [`Transfer`] of one command. Deliberately not here: the latency of the path to a
//! device, and sense bytes, which the channel subsystem keeps for each subchannel.

mod books;
mod buffer;
mod ckd;
mod console;
mod ctc;
pub mod ebcdic;
mod ethernet;
mod faulty;
mod fba;
mod image;
mod lan;
mod layout;
mod log;
mod paths;
mod placed;
mod switch;
mod tape;

pub use buffer::Buffer;
pub use ckd::{CkdDisk, TrackPosition};
pub use console::{Console, LineSink, READ_INQUIRY, WRITE_LINE};
pub use ctc::{Ctc, PREPARE, SENSE_COMMAND_BYTE, WRITE_END_OF_FILE};
pub use ethernet::{BROADCAST, Frame, MacAddress, ProtocolAddress, TYPE_ARP, TYPE_LOCAL, is_group};
pub use faulty::{Faulty, Misbehavior, NEVER};
pub use fba::{ExtentPosition, FbaDisk};
pub use lan::{Lan, LanCounts, READ_ADDRESS, READ_IF_ANY};
pub use layout::{DiskFormat, ImageError};
pub use log::{DiskWrite, LoggedDisk};
pub use placed::{Alias, EmulatedDisk};
pub use switch::{Port, Switch, SwitchCounts};
pub use tape::Tape;

use monitor_core::{
    channel::DeviceStatus,
    units::{Epoch, Micros, VmName},
};
use std::{collections::BTreeMap, fmt};

/// Command codes that many kinds of devices have in common.
pub mod command {
    /// Transfers data to the device.
    pub const WRITE: u8 = 0x01;
    /// Transfers data from the device.
    pub const READ: u8 = 0x02;
    /// Does nothing.
    pub const NO_OPERATION: u8 = 0x03;
    /// Transfers the sense bytes.
    pub const SENSE: u8 = 0x04;
    /// Positions; what it means is the kind's.
    pub const CONTROL: u8 = 0x07;
    /// Transfers what kind of device it is.
    pub const SENSE_ID: u8 = 0xE4;
}

/// Sense bytes of a device.
pub type Sense = [u8; 32];

/// What SENSE ID tells of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenseId {
    /// The type of the control unit, in four decimal digits.
    pub unit_type: u16,
    /// The model of the control unit.
    pub unit_model: u8,
    /// The type of the device, in four decimal digits.
    pub device_type: u16,
    /// The model of the device.
    pub device_model: u8,
}

impl SenseId {
    /// The bytes that SENSE ID transfers.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 7] {
        let [unit_high, unit_low] = self.unit_type.to_be_bytes();
        let [high, low] = self.device_type.to_be_bytes();
        [0xFF, unit_high, unit_low, self.unit_model, high, low, self.device_model]
    }
}

/// A channel path from one system to a device: paths of different SUs are different paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The SU.
    pub system: u16,
    /// The channel-path identifier on that SU.
    pub channel: u8,
}

/// Who drives a channel program, and where it stands on the device. Each channel program begins
/// with a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The VM that does I/O.
    pub vm: VmName,
    /// The epoch under which the VM's copy was attached to the device.
    pub epoch: Epoch,
    /// The path that was chosen for the channel program.
    pub path: Path,
    /// The place of the command in the channel program, from 0.
    pub command_index: u16,
    /// Where the next command begins.
    pub position: Position,
}

impl Access {
    /// The begin of a channel program.
    #[must_use]
    pub const fn new(vm: VmName, epoch: Epoch, path: Path) -> Self {
        Self { vm, epoch, path, command_index: 0, position: Position::None }
    }

    /// The same at this position.
    #[must_use]
    pub const fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }
}

/// Where a channel program stands on a device, in terms of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// Nowhere yet.
    #[default]
    None,
    /// At this block of a device that counts its blocks.
    Block(u32),
    /// At this place of a track of a [`CkdDisk`].
    Track(TrackPosition),
    /// In this extent of an [`FbaDisk`].
    Extent(ExtentPosition),
}

/// The data of one command, as the channel lets the device see it. A command during which a
/// device calls neither [`Self::take`] nor [`Self::give`] is an immediate operation, or one that
/// it refuses: when it ends with unit check, and with command reject or intervention required.
pub trait Transfer {
    /// Fills `target` from guest storage (output operation), or the front of it.
    fn take(&mut self, target: &mut [u8]) -> Taken;

    /// Stores `data` into guest storage (input operation) and says how many bytes: fewer when the
    /// count is exhausted or storage refuses.
    fn give(&mut self, data: &[u8]) -> usize;

    /// Bytes that are left of the count in control, zero at the end of the data; none when some
    /// were refused.
    fn left(&self) -> Option<usize>;

    /// Bytes that are left of all counts, at most `limit`, as the words that are chained to stand
    /// now. The guest can change them, so what is moved can be more or less.
    fn room(&self, limit: usize) -> usize;

    /// Bytes that this command has moved so far.
    fn moved(&self) -> usize;
}

/// What came of taking bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All that were asked for.
    Full,
    /// So many, and then the command's count was exhausted.
    Ended(usize),
    /// So many, and then storage or a word that is chained to was found wrong, of which the channel
    /// tells the program.
    Refused(usize),
}

/// Takes what the command has, at most `limit` bytes; the count decides, so that none is missing
/// when there are fewer. Says also what was taken before a refusal.
pub fn take_up_to(data: &mut dyn Transfer, limit: usize) -> (Vec<u8>, Taken) {
    let mut bytes = Vec::new();
    loop {
        let from = bytes.len();
        let Some(left) = data.left() else {
            return (bytes, Taken::Refused(from));
        };
        let count = left.min(limit - from);
        bytes.resize(from + count, 0);
        let taken = match data.take(&mut bytes[from..]) {
            Taken::Full if from + count == limit => Taken::Full,
            Taken::Full if left == 0 => Taken::Ended(from),
            Taken::Full => continue,
            Taken::Ended(count) => Taken::Ended(from + count),
            Taken::Refused(count) => Taken::Refused(from + count),
        };
        if let Taken::Ended(count) | Taken::Refused(count) = taken {
            bytes.truncate(count);
        }
        return (bytes, taken);
    }
}

/// Takes what the command has, at most `limit` bytes; nothing when some are refused.
pub fn take_all(data: &mut dyn Transfer, limit: usize) -> Option<Vec<u8>> {
    let (bytes, taken) = take_up_to(data, limit);
    (!matches!(taken, Taken::Refused(_))).then_some(bytes)
}

/// Takes so many bytes, with zeros for those that the command does not have; nothing when some
/// are refused.
pub fn take_padded(data: &mut dyn Transfer, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    (!matches!(data.take(&mut bytes), Taken::Refused(_))).then_some(bytes)
}

/// Takes parameters; nothing when there are too few or some are refused.
pub fn take_parameters<const N: usize>(data: &mut dyn Transfer) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (data.take(&mut bytes) == Taken::Full).then_some(bytes)
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What the device reports.
    pub status: DeviceStatus,
    /// With unit check: why.
    pub sense: Sense,
    /// How long it takes until channel end.
    pub duration: Micros,
    /// How long after channel end device end comes; zero when both come together.
    pub device_end_after: Micros,
}

impl Ending {
    /// The normal one: channel end and device end at once.
    pub const NORMAL: Self = Self {
        status: DeviceStatus::CHANNEL_END.union(DeviceStatus::DEVICE_END),
        sense: [0; 32],
        duration: Micros::new(0),
        device_end_after: Micros::new(0),
    };

    /// One with unit check, for which these are the first two sense bytes.
    #[must_use]
    pub const fn unit_check([first, second]: [u8; 2]) -> Self {
        let mut sense = [0; 32];
        sense[0] = first;
        sense[1] = second;
        let status = Self::NORMAL.status.union(DeviceStatus::UNIT_CHECK);
        Self { status, sense, ..Self::NORMAL }
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended.
    Ended(Ending),
    /// The device waits (for a frame, for the other side, for a reservation): nothing was
    /// transferred or changed. The channel asks again at its next step.
    Pending,
}

impl Outcome {
    /// The normal end.
    pub const NORMAL: Self = Self::Ended(Ending::NORMAL);
}

impl From<Result<Self, Refusal>> for Outcome {
    fn from(result: Result<Self, Refusal>) -> Self {
        result.unwrap_or_else(|refusal| Self::Ended(Ending::unit_check(refusal.sense())))
    }
}

/// Why a device refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command or its data make no sense to this device.
    CommandReject,
    /// A higher epoch of the same VM has been seen: this copy no longer owns the VM.
    Fenced,
    /// The device belongs to another SU.
    OtherSystem,
}

impl Refusal {
    /// The first two sense bytes that tell the guest.
    #[must_use]
    pub const fn sense(self) -> [u8; 2] {
        match self {
            Self::CommandReject => [0x80, 0x00],
            Self::Fenced => [0x80, 0x02],
            Self::OtherSystem => [0x40, 0x00],
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CommandReject => "command rejected",
            Self::Fenced => "fenced by a higher epoch",
            Self::OtherSystem => "device of another SU",
        })
    }
}

impl std::error::Error for Refusal {}

/// A device, shared by all SUs that reach it.
pub trait Device: Send + Sync + fmt::Debug {
    /// What kind of device it is.
    fn sense_id(&self) -> SenseId;

    /// How many sense bytes it has, at most 32.
    fn sense_length(&self) -> usize {
        32
    }

    /// Takes note that the VM of `access` now uses the device under this epoch.
    ///
    /// # Errors
    /// Fails when a higher epoch has been seen.
    fn admit(&self, access: &Access) -> Result<(), Refusal>;

    /// Carries out one command. NO-OPERATION, SENSE, SENSE ID and TRANSFER IN CHANNEL never come
    /// here.
    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome;

    /// Carries out NO-OPERATION, which a device may use to wait or to end something.
    fn no_operation(&self, _access: &mut Access) -> Outcome {
        Outcome::NORMAL
    }

    /// Status that nobody asked for (attention, device end after busy), for this VM; it is given
    /// once.
    fn take_unsolicited(&self, _access: &Access) -> Option<DeviceStatus> {
        None
    }

    /// The channel program that this VM has under way, also one that is pending, is given up:
    /// halt, clear, detach, system reset.
    fn cancel(&self, _access: &Access) {}

    /// The VM has moved: the paths of its new system take the place of those of its old one in
    /// path groups and reservations. Is asked for at the target before its first channel program.
    ///
    /// # Errors
    /// Fails when a higher epoch than the new one has been seen.
    fn adopt(&self, _from: &Access, to: &Access) -> Result<(), Refusal> {
        self.admit(to)
    }

    /// System reset: path groups and reservations of the VM's paths on this system are no more.
    fn reset(&self, _access: &Access) {}

    /// How many accesses were refused because of a higher epoch.
    fn fenced_count(&self) -> u64;
}

/// The highest epoch of each VM that a device has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    highest: BTreeMap<VmName, Epoch>,
    refused: u64,
}

impl Fence {
    /// Lets `access` pass and remembers its epoch.
    ///
    /// # Errors
    /// Fails when a higher epoch of the same VM has passed before; that is counted.
    pub fn pass(&mut self, access: &Access) -> Result<(), Refusal> {
        let highest = self.highest.entry(access.vm).or_insert(access.epoch);
        if access.epoch < *highest {
            self.refused += 1;
            return Err(Refusal::Fenced);
        }
        *highest = access.epoch;
        Ok(())
    }

    /// How many accesses were refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
