//! The instructions of the channel subsystem, and the call to QEMU that wakes a virtio device.
//!
//! Source of truth: Principles of Operation, "I/O Instructions"; QEMU,
//! `hw/s390x/s390-hypercall.c`. Invariant: what a channel program reads and writes is a region, so
//! a device never stores into a Rust object. Deliberately not here: what the blocks mean, see
//! `monitor_core::channel`.

use super::storage::{PAGE_BYTES, Region};
use core::arch::asm;
use monitor_core::channel::{ORB_BYTES, Orb, SCHIB_BYTES, Schib};

/// Bytes of an interruption-response block.
pub const IRB_BYTES: usize = 96;

/// Storage for the channel program that is executed at present, below 2 GiB.
pub const PROGRAM_PAGE: Region = Region::CHANNEL_PROGRAM;
const _: () = assert!(PROGRAM_PAGE.length() == PAGE_BYTES);

/// Bytes at a doubleword boundary, which the instructions ask for.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

/// Runs an instruction whose operands are general register 1 and a block in storage, and returns
/// its condition code.
macro_rules! instruction {
    ($mnemonic:literal, $subchannel:expr, $block:expr) => {{
        let condition: u64;
        // SAFETY: the instruction reads or writes the block alone, which is as long as it says;
        // channel programs that it starts work on regions.
        unsafe {
            asm!(
                concat!($mnemonic, " 0({block})"),
                "ipm {condition}",
                block = in(reg_addr) $block,
                in("r1") u64::from($subchannel),
                condition = lateout(reg) condition,
                options(nostack)
            );
        }
        (condition >> 28 & 3).to_be_bytes()[7]
    }};
}

/// STORE SUBCHANNEL: the state of a subchannel; none with condition code 3.
#[must_use]
pub fn store_subchannel(subchannel: u32) -> Option<Schib> {
    let mut block = Aligned([0; SCHIB_BYTES]);
    let condition = instruction!("stsch", subchannel, &raw mut block);
    (condition == 0).then(|| Schib::from_bytes(&block.0))
}

/// MODIFY SUBCHANNEL: the condition code.
#[must_use]
pub fn modify_subchannel(subchannel: u32, schib: &Schib) -> u8 {
    let block = Aligned(schib.to_bytes());
    instruction!("msch", subchannel, &raw const block)
}

/// START SUBCHANNEL: the condition code.
#[must_use]
pub fn start_subchannel(subchannel: u32, orb: &Orb) -> u8 {
    let block: Aligned<ORB_BYTES> = Aligned(orb.to_bytes());
    instruction!("ssch", subchannel, &raw const block)
}

/// TEST SUBCHANNEL: the condition code and what had happened; both are then forgotten.
#[must_use]
pub fn test_subchannel(subchannel: u32) -> (u8, [u8; IRB_BYTES]) {
    let mut block = Aligned([0; IRB_BYTES]);
    let condition = instruction!("tsch", subchannel, &raw mut block);
    (condition, block.0)
}

/// Tells the device of a virtio subchannel that there is something in one of its queues. The
/// cookie is what the last call for this queue returned.
#[must_use]
pub fn notify_virtio(subchannel: u32, queue: u16, cookie: i64) -> i64 {
    let result: i64;
    // SAFETY: the hypervisor changes register 2 alone; the rings that the device then works on are
    // regions.
    unsafe {
        asm!(
            ".long 0x83240500",
            in("r1") 3_u64,
            inout("r2") i64::from(subchannel) => result,
            in("r3") u64::from(queue),
            in("r4") cookie,
            options(nostack)
        );
    }
    result
}
