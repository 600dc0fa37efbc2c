//! Errors of decoding: what is wrong, and in which field.
//!
//! Source of truth: PROTOCOL.md, "Fields". Invariant: every refusal names one field, so that an
//! operator or a capture shows at once what the other side got wrong.

use core::fmt;

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault {
    /// The bytes end before the field does.
    Truncated,
    /// The value has no meaning in this version.
    Unknown,
    /// The value is outside of `limits`.
    OutOfRange,
    /// The check value does not fit the bytes.
    Damaged,
    /// There are bytes behind the last field.
    Trailing,
    /// A reserved field is not zero.
    NotZero,
}

/// The fields that a refusal can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(missing_docs, reason = "each is the field of the same name in PROTOCOL.md")]
pub enum Field {
    Magic,
    Version,
    Type,
    Flags,
    Reserved,
    Length,
    Stream,
    Epoch,
    Sequence,
    HeaderCheck,
    BodyCheck,
    VersionMin,
    VersionMax,
    FrameBytes,
    Window,
    PageCount,
    Incarnation,
    SourceName,
    TargetName,
    Slot,
    DeviceCount,
    Device,
    Group,
    Mask,
    Keys,
    States,
    PageBody,
    Pass,
    ProcessorIndex,
    ProcessorCount,
    ProcessorImage,
    MachineImage,
    SubchannelImage,
    Rehearsal,
    Reason,
    FindingCount,
    FindingCode,
    FindingDevice,
    VmIndex,
    VmName,
    VmState,
    Diff,
    MigrationCount,
    Quota,
    Limit,
    Privileges,
    GroupName,
    Configuration,
    Detached,
    Blocked,
    Facilities,
    CpuId,
    RestoreTime,
    LoadState,
    Operation,
    Number,
    Standing,
    Owner,
    Answer,
    Check,
    Body,
}

/// A refusal to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecodeError {
    /// What is wrong.
    pub fault: Fault,
    /// In which field.
    pub field: Field,
}

impl DecodeError {
    /// A refusal of `field` for `fault`.
    #[must_use]
    pub const fn new(fault: Fault, field: Field) -> Self {
        Self { fault, field }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Truncated => "truncated",
            Fault::Unknown => "unknown value",
            Fault::OutOfRange => "value out of range",
            Fault::Damaged => "check value does not fit",
            Fault::Trailing => "bytes behind the last field",
            Fault::NotZero => "reserved field not zero",
        };
        write!(formatter, "{fault} in field {:?}", self.field)
    }
}

impl core::error::Error for DecodeError {}
