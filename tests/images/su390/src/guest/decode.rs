//! Decoding of the instructions that the monitor executes for a guest.
//!
//! Source of truth: Principles of Operation, chapters "Control" and "I/O", and the formats in
//! "Program Execution". Invariants: only instructions that trap in the problem state are here;
//! the second byte and the operands are taken apart, never judged. Deliberately not here: what
//! the instructions do, and EXECUTE of one of them, which is not emulated.

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// LOAD PSW.
    LoadPsw,
    /// LOAD PSW EXTENDED.
    LoadPswExtended,
    /// SET SYSTEM MASK.
    SetSystemMask,
    /// STORE THEN AND SYSTEM MASK.
    StoreThenAnd,
    /// STORE THEN OR SYSTEM MASK.
    StoreThenOr,
    /// STORE CONTROL, of right halves.
    StoreControl,
    /// STORE CONTROL, of whole registers.
    StoreControlLong,
    /// LOAD CONTROL, of right halves.
    LoadControl,
    /// LOAD CONTROL, of whole registers.
    LoadControlLong,
    /// SET PREFIX.
    SetPrefix,
    /// STORE PREFIX.
    StorePrefix,
    /// SET CLOCK COMPARATOR.
    SetClockComparator,
    /// STORE CLOCK COMPARATOR.
    StoreClockComparator,
    /// SET CPU TIMER.
    SetCpuTimer,
    /// STORE CPU TIMER.
    StoreCpuTimer,
    /// STORE CPU ADDRESS.
    StoreCpuAddress,
    /// STORE CPU ID.
    StoreCpuId,
    /// SET PSW KEY FROM ADDRESS.
    SetPswKey,
    /// INSERT STORAGE KEY EXTENDED.
    InsertStorageKey,
    /// SET STORAGE KEY EXTENDED.
    SetStorageKey,
    /// RESET REFERENCE BIT EXTENDED.
    ResetReference,
    /// PURGE TLB.
    PurgeTlb,
    /// DIAGNOSE.
    Diagnose,
}

/// An instruction taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// What it does.
    pub operation: Operation,
    /// The first register operand.
    pub r1: usize,
    /// The other register operand: R2 or R3 of the format.
    pub r3: usize,
    /// The immediate operand of the format SI.
    pub immediate: u8,
    /// The base register of the storage operand; 0 means none.
    pub base: usize,
    /// The displacement of the storage operand.
    pub displacement: i64,
}

/// The length of an instruction in bytes, which its first two bits tell.
pub(super) const fn length(first: u8) -> usize {
    match first >> 6 {
        0 => 2,
        1 | 2 => 4,
        _ => 6,
    }
}

/// Takes apart an instruction of up to 6 bytes; `None` when it is not emulated.
pub(super) fn decode(bytes: [u8; 6]) -> Option<Instruction> {
    let [first, second, third, fourth, fifth, sixth] = bytes;
    let operation = match (first, second, sixth) {
        (0x80, ..) => Operation::SetSystemMask,
        (0x82, ..) => Operation::LoadPsw,
        (0x83, ..) => Operation::Diagnose,
        (0xAC, ..) => Operation::StoreThenAnd,
        (0xAD, ..) => Operation::StoreThenOr,
        (0xB6, ..) => Operation::StoreControl,
        (0xB7, ..) => Operation::LoadControl,
        (0xB2, code, _) => control(code)?,
        (0xEB, _, 0x25) => Operation::StoreControlLong,
        (0xEB, _, 0x2F) => Operation::LoadControlLong,
        _ => return None,
    };
    // The key instructions have their registers in the fourth byte (formats RRE and RRF).
    let registers = match operation {
        Operation::InsertStorageKey | Operation::SetStorageKey | Operation::ResetReference => {
            fourth
        }
        _ => second,
    };
    let low = i64::from(third & 0x0F) << 8 | i64::from(fourth);
    let high = if first == 0xEB { i64::from(i8::from_be_bytes([fifth])) << 12 } else { 0 };
    Some(Instruction {
        operation,
        r1: usize::from(registers >> 4),
        r3: usize::from(registers & 0x0F),
        immediate: second,
        base: usize::from(third >> 4),
        displacement: high | low,
    })
}

/// The instructions of operation code B2.
const fn control(code: u8) -> Option<Operation> {
    Some(match code {
        0x02 => Operation::StoreCpuId,
        0x06 => Operation::SetClockComparator,
        0x07 => Operation::StoreClockComparator,
        0x08 => Operation::SetCpuTimer,
        0x09 => Operation::StoreCpuTimer,
        0x0A => Operation::SetPswKey,
        0x0D => Operation::PurgeTlb,
        0x10 => Operation::SetPrefix,
        0x11 => Operation::StorePrefix,
        0x12 => Operation::StoreCpuAddress,
        0x29 => Operation::InsertStorageKey,
        0x2A => Operation::ResetReference,
        0x2B => Operation::SetStorageKey,
        0xB2 => Operation::LoadPswExtended,
        _ => return None,
    })
}
