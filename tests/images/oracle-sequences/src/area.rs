//! The storage that the sequences work on.
//!
//! Source of truth: this file. Invariants: the bare image lies below the area and says so; the area
//! lies at the same addresses on every implementation, so that channel programs are plain
//! words and addresses in status can be compared. Deliberately not here: what is put there.

/// Bytes of a page, which has one storage key.
pub const PAGE_BYTES: u32 = 0x1000;

/// The page of channel programs.
pub const PROGRAM: u32 = 0x10_0000;
/// The page of indirect-data-address words.
pub const LIST: u32 = 0x10_1000;
/// The first page of data.
pub const A: u32 = 0x10_2000;
/// The second page of data.
pub const B: u32 = 0x10_3000;
/// The third page of data.
pub const C: u32 = 0x10_4000;
/// The fourth page of data.
pub const D: u32 = 0x10_5000;
/// A page of arguments: seek addresses, search arguments, extents.
pub const ARGUMENTS: u32 = 0x10_6000;
/// A page of a second channel program.
pub const OTHER_PROGRAM: u32 = 0x10_7000;
/// The end of the area.
pub const END: u32 = 0x10_8000;

/// Where there is no storage, within reach of a format-0 address: no implementation has so much.
pub const BEYOND: u32 = 0xF0_0000;
/// Where there is no storage, just below the end of what a format-1 address reaches.
pub const FAR_BEYOND: u32 = 0x7FFF_F000;
