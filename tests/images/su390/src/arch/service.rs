//! SERVICE CALL, and the blocks that it takes.
//!
//! Source of truth: QEMU, `hw/s390x/sclp.c`. Invariants: the blocks lie at fixed places between the
//! prefix area and the image, each within one page and below 2 GiB; the call is repeated while the
//! service processor is busy; no signal of a command is left behind. Deliberately not here:
//! commands and events.

use super::lowcore::Field;
use super::storage::Region;
use super::{control, interruption};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// A service-call control block.
#[derive(Clone, Copy, Debug)]
pub struct ServiceBlock(Region);

impl ServiceBlock {
    /// Bytes of each block.
    pub const BYTES: usize = 4096;

    /// The block for what goes to the service processor.
    #[must_use]
    pub const fn output() -> Self {
        Self(Region::OUTPUT_BLOCK)
    }

    /// The block for what comes from the service processor.
    #[must_use]
    pub const fn input() -> Self {
        Self(Region::INPUT_BLOCK)
    }

    /// Writes the header of a block of so many bytes, and zero behind it where nothing was.
    pub fn begin(self, length: usize) {
        self.write(0, u16::try_from(length).unwrap_or(0));
        // Function 0; a variable length of what comes back; no response yet.
        self.write(2, 0_u8);
        self.write(3, 0_u8);
        self.write(4, 0_u8);
        self.write(5, 0x80_u8);
        self.write(6, 0_u16);
    }

    /// Reads a value of the block.
    #[must_use]
    pub fn read<T: Field>(self, offset: usize) -> T {
        self.0.read(offset)
    }

    /// Writes a value of the block.
    pub fn write<T: Field>(self, offset: usize, value: T) {
        self.0.write(offset, value);
    }
}

/// Whether the service processor said that it has something to tell. At the beginning it may.
static EVENT_PENDING: AtomicBool = AtomicBool::new(true);

/// Keeps what the parameter of a service signal says of events.
pub(super) fn note_signal(parameter: u32) {
    if parameter & 1 != 0 {
        EVENT_PENDING.store(true, Ordering::Relaxed);
    }
}

/// Whether the service processor has something to tell that nobody asked for yet; said once.
#[must_use]
pub fn take_event_pending() -> bool {
    EVENT_PENDING.swap(false, Ordering::Relaxed)
}

/// Gives a command to the service processor and waits for the signal that it has ended, which
/// would interrupt the guest otherwise; the block then holds the response.
pub fn service_call(command: u32, block: ServiceBlock) {
    let block = block.0.address(0, ServiceBlock::BYTES);
    loop {
        let condition: u64;
        // SAFETY: the service processor reads and writes the block alone, which holds no Rust
        // object; the condition code is taken before anything else can change it.
        unsafe {
            asm!(
                ".insn rre, 0xb2200000, {command}, {block}",
                "ipm {condition}",
                command = in(reg) u64::from(command),
                block = in(reg) block,
                condition = lateout(reg) condition,
                options(nostack)
            );
        }
        match condition >> 28 & 3 {
            0 => return control::with_service_signal_alone(|| await_end(block)),
            2 => {}
            _ => return,
        }
    }
}

fn await_end(block: usize) {
    loop {
        let parameter = interruption::wait_for_service_signal();
        // The low three bits are no part of the address.
        if usize::try_from(parameter & !7) == Ok(block) {
            return;
        }
    }
}
