//! The name of each frame, as PROTOCOL.md writes it.
//!
//! Source of truth: PROTOCOL.md, "Frames". Invariant: each type has a name of its own. Deliberately
//! not here: what a frame says.

use monitor_core::wire::Frame;

/// The name of a frame in PROTOCOL.md.
#[must_use]
pub const fn frame_name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello(_) => "HELLO",
        Frame::Abort(_) => "ABORT",
        Frame::Resume => "RESUME",
        Frame::Status(_) => "STATUS",
        Frame::Definition => "DEFINITION",
        Frame::Device(_) => "DEVICE",
        Frame::Check(_) => "CHECK",
        Frame::Build => "BUILD",
        Frame::Pages(_) => "PAGES",
        Frame::Keys(_) => "KEYS",
        Frame::PassEnd(_) => "PASS-END",
        Frame::Processor { .. } => "PROCESSOR",
        Frame::Subchannel(_) => "SUBCHANNEL",
        Frame::Machine { .. } => "MACHINE",
        Frame::RehearsalEnd(_) => "REHEARSAL-END",
        Frame::LoadEnd { .. } => "LOAD-END",
        Frame::Recopy => "RECOPY",
        Frame::Commit(_) => "COMMIT",
        Frame::Released => "RELEASED",
        Frame::Findings(_) => "FINDINGS",
        Frame::Built(_) => "BUILT",
        Frame::Ack(_) => "ACK",
        Frame::Rehearsed(_) => "REHEARSED",
        Frame::Ready(_) => "READY",
        Frame::Running(_) => "RUNNING",
        Frame::Completed => "COMPLETED",
        Frame::Aborted { .. } => "ABORTED",
    }
}
