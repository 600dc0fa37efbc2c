//! State of one virtual processor: PSW, registers, clocks, pending interruptions.
//!
//! Source of truth: z/Architecture Principles of Operation (SA22-7832), chapters "Organization",
//! "Control" and "Interruption". Invariant: an image is complete, so that a processor loaded from
//! it cannot be told from the one that it was taken from. Deliberately not here: taking and
//! loading an image (a port), the CPU address (it is the processor's index), and interruptions
//! that belong to the machine as a whole.

mod encoding;
mod image;
mod needs;
mod psw;
mod status;

pub use crate::wire::blocks::ImageError;
pub use image::{CpuState, MachineCheck, ProcessorImage, TodEpoch};
pub use psw::{AddressSpace, Psw};
pub use status::{ADDITIONAL_STATUS_BYTES, STATUS_BYTES, StatusError};
