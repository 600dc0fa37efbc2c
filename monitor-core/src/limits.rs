//! Every capacity of the library, and the relations between them.
//!
//! Source of truth: this file; nothing received from a peer decides a size, an index or a loop
//! bound before it has been held against these values. Invariant: the relations at the end hold
//! at compile time. Sizes that the integrator chooses (bitmaps, windows, device slots) are lent
//! as slices and are not here.

use static_assertions::const_assert;

/// Bytes of one page of guest storage, which is also the unit of storage keys.
pub const PAGE_BYTES: usize = 4096;

/// Pages of one group: a group is what one frame carries at most, on every target.
pub const GROUP_PAGES: usize = 64;

/// Bytes of one group of pages.
pub const GROUP_BYTES: usize = PAGE_BYTES * GROUP_PAGES;

/// Bytes of the frame header (PROTOCOL.md, "Header").
pub const HEADER_BYTES: usize = 48;

/// Bytes that a body of pages carries before the first page: group, mask, a key and a state per
/// page.
pub const PAGES_PREFIX_BYTES: usize = 16 + 2 * GROUP_PAGES;

/// The longest body of a frame: one full group with its keys and states.
pub const BODY_BYTES_MAX: usize = PAGES_PREFIX_BYTES + GROUP_BYTES;

/// The longest frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;

/// The longest body of a frame that carries no pages.
pub const CONTROL_BYTES_MAX: usize = 4096;

/// The longest encoding of one processor image (all blocks, [`crate::processor::ProcessorImage`]).
pub const PROCESSOR_BYTES_MAX: usize = 2048;

/// The longest encoding of one subchannel image.
pub const SUBCHANNEL_BYTES_MAX: usize = 256;

/// The longest encoding of one machine image ([`crate::vm::MachineImage`]).
pub const MACHINE_BYTES_MAX: usize = 512;

/// Channel report words that can be pending.
pub const CHANNEL_REPORTS_MAX: usize = 32;

/// Ends of page faults of which the guest is still to be told
/// ([`crate::vm::FloatingInterruptions`]).
pub const PAGE_FAULTS_MAX: usize = 8;

/// Service signals that can wait behind the one that is pending
/// ([`crate::vm::FloatingInterruptions`]).
pub const SERVICE_SIGNALS_MAX: usize = 8;

/// The longest encoding of a VM definition.
pub const DEFINITION_BYTES_MAX: usize = 256;

/// The most pages that a guest may have: 16 TiB.
pub const GUEST_PAGES_MAX: u64 = 1 << 32;

/// The most processors of one VM.
pub const PROCESSORS_MAX: u16 = 64;

/// The most devices of one VM: device slots are lent, the number is held against this.
pub const DEVICES_MAX: u16 = 4096;

/// The highest VM index (VM2000 manual, CREATE-VM: 1..99).
pub const VM_INDEX_MAX: u8 = 99;

/// The most findings that one check reports; further ones are counted, not listed.
pub const FINDINGS_MAX: usize = 64;

/// The most pre-copy passes of one attempt, whatever the policy says.
pub const PASSES_MAX: usize = 64;

/// Effects that one call of a machine may leave to be performed.
pub const EFFECTS_MAX: usize = 16;

/// The longest journal of an attempt (`migrate::SourceJournal`).
pub const JOURNAL_BYTES_MAX: usize = 512;

/// The longest console line, without time stamp.
pub const LINE_BYTES_MAX: usize = 240;

const_assert!(GROUP_PAGES == 64);
const_assert!(BODY_BYTES_MAX <= 1 << 20);
const_assert!(CONTROL_BYTES_MAX <= BODY_BYTES_MAX);
const_assert!(PROCESSOR_BYTES_MAX <= CONTROL_BYTES_MAX);
const_assert!(SUBCHANNEL_BYTES_MAX <= CONTROL_BYTES_MAX);
const_assert!(MACHINE_BYTES_MAX <= CONTROL_BYTES_MAX);
const_assert!(DEFINITION_BYTES_MAX <= CONTROL_BYTES_MAX);
const_assert!(FINDINGS_MAX * 8 + 16 <= CONTROL_BYTES_MAX);
const_assert!(GUEST_PAGES_MAX.is_multiple_of(64));
