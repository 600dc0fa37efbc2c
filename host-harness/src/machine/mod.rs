//! The emulated /390 machine: storage, processors, channel subsystem and devices of one VM.
//!
//! A [`Machine`] is one VM's copy on one server unit (SU). It is driven from outside, by threads
//! or by a simulator: `step_processor(index, now, budget)` and `step_channel(now)`.
//!
//! Source of truth: z/Architecture Principles of Operation (storage keys, interruptions, channel
//! subsystem).
//!
//! Invariants: what the guest knows lies in its storage, its registers and its subchannels, and
//! nowhere else; the same steps with the same times give the same machine. Deliberately not here:
//! threads, clocks, sockets, and guest code, which is a [`Program`] given by the caller.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod access;
mod channel;
mod checksum;
mod context;
mod device;
mod exception;
mod floating;
mod instructions;
mod interruption;
mod makeup;
mod monitor;
mod ports;
mod preserve;
mod processor;
mod questions;
mod signals;
mod storage;
mod timing;
mod vm;

pub use access::{AccessException, RealStorage, key_permits};
pub use channel::{AttachedDevice, ChannelError, IoInterruption, Subsystem};
pub use checksum::Crc32c;
pub use context::{ConditionCode, Context, Program};
pub use device::{
    Access, Alias, BROADCAST, Buffer, CkdDisk, Console, Ctc, Device, DiskFormat, DiskWrite,
    EmulatedDisk, Ending, ExtentPosition, Faulty, FbaDisk, Fence, Frame, ImageError, Lan,
    LanCounts, LineSink, LoggedDisk, MacAddress, Misbehavior, NEVER, Outcome, PREPARE, Path, Port,
    Position, ProtocolAddress, READ_ADDRESS, READ_IF_ANY, READ_INQUIRY, Refusal,
    SENSE_COMMAND_BYTE, Sense, SenseId, Switch, SwitchCounts, TYPE_ARP, TYPE_LOCAL, Taken, Tape,
    TrackPosition, Transfer, WRITE_END_OF_FILE, WRITE_LINE, command, ebcdic, is_group, take_all,
    take_padded, take_parameters, take_up_to,
};
pub use exception::{Exception, Protection, Use};
pub use floating::Floating;
pub use interruption::INSTRUCTION_BYTES;
pub use monitor::{Journal, MemoryJournal, Monitor};
pub use ports::{PortFailure, VmPorts};
pub use processor::{Processor, Step};
pub use signals::{Signaled, order, status};
pub use storage::{AddressFault, Fill, Storage, Tracking};
pub use vm::{Fault, Machine, NoSuchProcessor};

/// Locks `mutex`. What a panicking holder left behind is still the machine's state, and the
/// checkers judge it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
