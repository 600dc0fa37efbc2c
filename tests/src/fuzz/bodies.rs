//! Bodies of frames that are right but for a few bytes: what a blind change of bytes seldom hits.
//!
//! Source of truth: [`crate::machines`] for the VM and its sample frames. Invariant: without a
//! changed byte each body is one that a peer of this VM sends. Deliberately not here: headers.

use monitor_core::{
    channel::SubchannelImage,
    processor::ProcessorImage,
    units::{DeviceSlot, Incarnation, VmIndex},
    vm::{Activity, Findings, MachineImage, Reason, VmBlock, VmState},
    wire::{Frame, FrameType, Hello, LoadState, Status},
};

use portable_tests::codec::Content;

use super::bytes::Bytes;
use crate::machines::{PAGES, device, hello, sample_frames, vm_name};

/// What a peer knows when it speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// Number of the last frame that it has heard.
    pub(super) heard: u64,
    /// The present load.
    pub(super) load: Incarnation,
    /// Whether it speaks of the second device, or of a rehearsal.
    pub(super) is_second: bool,
}

/// The VM's control block.
pub(super) fn definition() -> VmBlock {
    let index = VmIndex::new(2).expect("an index of a VM");
    let block = VmBlock::new(index, vm_name(), PAGES, 1).expect("a small VM");
    block.with_state(VmState::new(Activity::Running))
}

/// The greeting of both ends.
pub(super) fn greeting() -> Hello {
    hello(48 + 16 + 2 * 64 + 64 * 4096, 2)
}

/// Where a load stands that has stored what it has heard.
const fn status(said: Said) -> Status {
    Status { state: LoadState::Receiving, incarnation: said.load, stored: said.heard }
}

/// The body of a frame of this type.
fn well_formed(kind: FrameType, said: Said) -> Vec<u8> {
    let samples = sample_frames().into_iter();
    let mut samples = samples.chain([
        Frame::Hello(greeting()),
        Frame::Abort(Reason::Cancelled),
        Frame::Resume,
        Frame::Status(status(said)),
    ]);
    let sample = samples.find(|sample| sample.frame_type() == kind);
    let second = DeviceSlot::new(1);
    let content = match sample.expect("every type has a sample") {
        Frame::Device(_) if said.is_second => Content::Device(second, device(1)),
        Frame::Definition => Content::Definition(definition()),
        Frame::Device(slot) => Content::Device(slot, device(slot.get())),
        Frame::Pages(run) => {
            Content::Pages { run, keys: vec![0x16], states: vec![0], pages: vec![0xC1; 4096] }
        }
        Frame::Keys(run) => Content::Keys { run, keys: vec![0x16], states: vec![0] },
        Frame::Processor { index, .. } => {
            let rehearsal = said.is_second;
            Content::Processor { index, rehearsal, image: Box::new(ProcessorImage::initial()) }
        }
        Frame::Machine { .. } => {
            Content::Machine { rehearsal: said.is_second, image: Box::new(MachineImage::initial()) }
        }
        Frame::Subchannel(slot) => {
            let slot = if said.is_second { second } else { slot };
            let known = device(slot.get());
            let image = SubchannelImage::idle(known.subchannel, known.number);
            Content::Subchannel { slot, image: Box::new(image) }
        }
        Frame::Findings(_) => Content::Findings(Box::new(Findings::new())),
        Frame::Ack(_) => Content::Plain(Frame::Ack(said.heard)),
        Frame::Commit(_) => Content::Plain(Frame::Commit(said.load)),
        Frame::Built(_) => Content::Plain(Frame::Built(said.load)),
        Frame::Ready(_) => Content::Plain(Frame::Ready(said.load)),
        Frame::Running(_) => Content::Plain(Frame::Running(said.load)),
        Frame::Aborted { reason, .. } => {
            Content::Plain(Frame::Aborted { incarnation: said.load, reason })
        }
        plain => Content::Plain(plain),
    };
    content.body()
}

/// A type, and the body of such a frame with up to three bytes changed, or cut or continued.
pub(super) fn draw(bytes: &mut Bytes<'_>, said: Said) -> Option<(FrameType, Vec<u8>)> {
    let (kind, change) = (bytes.one_of(&FrameType::ALL)?, bytes.byte()?);
    let mut body = well_formed(kind, Said { is_second: change & 8 == 8, ..said });
    for _ in 0..change % 4 {
        let (place, value) = (usize::from(bytes.u16()?), bytes.byte()?);
        if let Some(byte) = body.get_mut(place) {
            *byte = value;
        }
    }
    match change >> 4 {
        14 => body.truncate(body.len().saturating_sub(usize::from(bytes.byte()?))),
        15 => body.push(bytes.byte()?),
        _ => {}
    }
    Some((kind, body))
}
