//! The I/O instructions.
//!
//! Source of truth: Principles of Operation, "I/O Instructions". Invariant: a block that an
//! instruction stores is zero before, so that what it leaves out can be told. Deliberately not
//! here: what the blocks mean.

use crate::arch::instruction;
use oracle_sequences::Code;

/// Bytes at a doubleword boundary, with room to spare.
#[repr(C, align(8))]
pub(crate) struct Block<const N: usize>(pub(crate) [u8; N]);

/// An instruction with general register 1 and a block.
macro_rules! with_block {
    ($text:literal, $subchannel:expr, $block:expr) => {
        instruction!(
            concat!($text, " 0({block})"),
            block = in(reg_addr) $block,
            in("r1") u64::from($subchannel),
        )
    };
}

/// START SUBCHANNEL.
pub(crate) fn start(subchannel: u32, block: &Block<32>) -> Code {
    with_block!("ssch", subchannel, &raw const *block)
}

/// TEST SUBCHANNEL.
pub(crate) fn test(subchannel: u32) -> (Code, Block<96>) {
    let mut block = Block([0; 96]);
    (with_block!("tsch", subchannel, &raw mut block), block)
}

/// STORE SUBCHANNEL.
pub(crate) fn store(subchannel: u32) -> (Code, Block<52>) {
    let mut block = Block([0; 52]);
    (with_block!("stsch", subchannel, &raw mut block), block)
}

/// MODIFY SUBCHANNEL.
pub(crate) fn modify(subchannel: u32, block: &Block<52>) -> Code {
    with_block!("msch", subchannel, &raw const *block)
}

/// HALT SUBCHANNEL.
pub(crate) fn halt(subchannel: u32) -> Code {
    instruction!("hsch", in("r1") u64::from(subchannel),)
}

/// CLEAR SUBCHANNEL.
pub(crate) fn clear(subchannel: u32) -> Code {
    instruction!("csch", in("r1") u64::from(subchannel),)
}

/// CANCEL SUBCHANNEL.
pub(crate) fn cancel(subchannel: u32) -> Code {
    instruction!("xsch", in("r1") u64::from(subchannel),)
}

/// RESUME SUBCHANNEL.
pub(crate) fn resume(subchannel: u32) -> Code {
    instruction!("rsch", in("r1") u64::from(subchannel),)
}

/// TEST PENDING INTERRUPTION.
pub(crate) fn test_pending() -> (Code, Block<12>) {
    let mut block = Block([0; 12]);
    let at = &raw mut block;
    (instruction!("tpi 0({at})", at = in(reg_addr) at,), block)
}

/// STORE CHANNEL REPORT WORD.
pub(crate) fn store_report() -> (Code, u32) {
    let mut word = Block([0; 4]);
    let at = &raw mut word;
    let code = instruction!("stcrw 0({at})", at = in(reg_addr) at,);
    (code, u32::from_be_bytes(word.0))
}
