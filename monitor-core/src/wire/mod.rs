//! Wire format: frames of a migration stream, and what is asked of the cluster directory, byte by
//! byte as PROTOCOL.md has them.
//!
//! Guarantees of this layer: numbers are big-endian; zero is never a valid type; decoding never
//! panics, never allocates, reads no byte twice for two meanings, and names the field that is
//! wrong. A frame that was decoded has every index, count and length within
//! [`crate::limits`]; whether it fits the VM is the machines' question. Page bodies are not
//! copied here: [`pages`] says where they lie in the body.
//!
//! Source of truth: PROTOCOL.md; the golden vectors in `tests/golden` hold both together.
//! Deliberately not here: sockets, buffers, acknowledgement, the order of frames.

pub mod blocks;
pub mod checksum;
mod definition;
mod directory;
mod error;
mod field;
mod findings;
mod frame;
mod header;
pub mod pages;
mod status;

#[cfg(test)]
mod edge_tests;

pub use definition::{emit_definition, parse_definition};
pub use directory::{ANSWER_BYTES, ANSWER_MAGIC, Gatherer, QUESTION_BYTES, QUESTION_MAGIC};
pub use directory::{DirectoryOperation, DirectoryQuestion, DirectoryReply};
pub use error::{DecodeError, Fault, Field};
pub use field::{Reader, Writer};
pub use findings::{emit_findings, parse_findings};
pub use frame::{Frame, Hello, emit_device, emit_machine, emit_processor, emit_subchannel};
pub use frame::{device_body, machine_body, processor_body, subchannel_body};
pub use header::{
    CONNECT_TYPE, CONNECTED_TYPE, FILLER_TYPE, FrameFlags, FrameType, Header, MAGIC, VERSION_MAX,
    VERSION_MIN,
};
pub use status::{LoadState, Status};
