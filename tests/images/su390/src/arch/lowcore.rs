//! Low core: the assigned storage locations of the monitor's own prefix area, at address 0.
//!
//! Source of truth: Principles of Operation, "Assigned Storage Locations". Invariant: the prefix is
//! 0, so real and absolute addresses are the same. Deliberately not here: the guest's low core,
//! which lies in its own storage.

use super::psw::Psw;
use core::ptr;

/// Parameter of an external interruption (32 bits).
pub const EXTERNAL_PARAMETER: usize = 0x80;
/// Address of the processor that an external interruption names (16 bits).
pub const EXTERNAL_PROCESSOR: usize = 0x84;
/// Code of an external interruption (16 bits).
pub const EXTERNAL_CODE: usize = 0x86;
/// Instruction length of a supervisor call (8 bits).
pub const SUPERVISOR_CALL_LENGTH: usize = 0x89;
/// Number of a supervisor call (16 bits).
pub const SUPERVISOR_CALL_CODE: usize = 0x8A;
/// Instruction length of a program interruption (8 bits).
pub const PROGRAM_LENGTH: usize = 0x8D;
/// Code of a program interruption (16 bits).
pub const PROGRAM_CODE: usize = 0x8E;
/// Data-exception code (32 bits).
pub const DATA_EXCEPTION_CODE: usize = 0x90;
/// Translation-exception identification (64 bits).
pub const TRANSLATION_EXCEPTION: usize = 0xA8;
/// Subsystem identification of an input/output interruption (32 bits).
pub const SUBSYSTEM_IDENTIFICATION: usize = 0xB8;
/// Parameter of an input/output interruption (32 bits).
pub const IO_PARAMETER: usize = 0xBC;
/// Identification word of an input/output interruption (32 bits).
pub const IO_WORD: usize = 0xC0;
/// Machine-check interruption code (64 bits).
pub const MACHINE_CHECK_CODE: usize = 0xE8;

/// Old PSW of a restart; those of the other classes follow in the order of [`Class`].
const OLD_PSWS: usize = 0x120;
/// New PSW of a restart; the others follow likewise.
const NEW_PSWS: usize = 0x1A0;

/// The classes of interruptions, in the order of their PSWs in low core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Class {
    /// Restart.
    Restart,
    /// External: timers, service signal.
    External,
    /// Supervisor call.
    SupervisorCall,
    /// Program.
    Program,
    /// Machine check.
    MachineCheck,
    /// Input/output.
    InputOutput,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] = [
        Self::Restart,
        Self::External,
        Self::SupervisorCall,
        Self::Program,
        Self::MachineCheck,
        Self::InputOutput,
    ];
}

/// A value that may be read from a location of low core.
pub trait Field: Copy {}
impl Field for u8 {}
impl Field for u16 {}
impl Field for u32 {}
impl Field for u64 {}

/// Reads a location of low core.
///
/// # Panics
/// If the location is not an assigned one.
#[must_use]
pub fn read<T: Field>(location: usize) -> T {
    assert!((0x80..0x1200).contains(&location), "no assigned storage location");
    // SAFETY: low core is always there, holds no Rust object, and any bits are a value of a field.
    unsafe { ptr::with_exposed_provenance::<T>(location).read_volatile() }
}

/// The PSW that the latest interruption of this class stored.
#[must_use]
pub fn old_psw(class: Class) -> Psw {
    let location = OLD_PSWS + class as usize * size_of::<Psw>();
    Psw { mask: read(location), address: read(location + 8) }
}

/// Writes a location of low core.
///
/// # Panics
/// If the location is none that interruptions store into.
pub(super) fn write<T: Field>(location: usize, value: T) {
    assert!((0x80..NEW_PSWS).contains(&location), "no location of an interruption");
    // SAFETY: low core holds no Rust object, and nothing else than readers of low core sees this.
    unsafe { ptr::with_exposed_provenance_mut::<T>(location).write_volatile(value) };
}

/// Adds bits to the masks of all new PSWs, with which the handlers then run.
pub(super) fn add_to_new_psws(mask: u64) {
    for class in Class::ALL {
        let location = NEW_PSWS + class as usize * size_of::<Psw>();
        let new: u64 = read::<u64>(location) | mask;
        // SAFETY: the location is a new PSW in low core, which holds no Rust object.
        unsafe { ptr::with_exposed_provenance_mut::<u64>(location).write_volatile(new) };
    }
}
