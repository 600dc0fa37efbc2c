//! Bodies of bulk frames, filled from the ports of the VM.
//!
//! Source of truth: PROTOCOL.md, "Bodies"; `wire` says where each part lies. Invariants: a page is
//! copied once; a body that cannot be filled is none. Deliberately not here: bodies that a machine
//! knows as a whole.

use super::VmPorts;
use crate::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    fmt::warning,
    memory::PageRun,
    processor::ProcessorImage,
    units::{DeviceSlot, ProcessorIndex},
    vm::{FacilityList, MachineImage},
    wire::{
        emit_machine, emit_processor, emit_subchannel,
        pages::{begin_keys, begin_pages, keys_body_bytes, pages_body_bytes, with_content},
    },
};

/// Pages with their keys and states; those without content have no body.
pub(super) fn pages<V: VmPorts>(vm: &mut V, run: PageRun, body: &mut [u8]) -> Option<usize> {
    let parts = begin_pages(run, body)?;
    // Order: states, then pages, then keys; a store or a change of a state in between marks its
    // page again.
    vm.states_out(run, parts.states).ok()?;
    let content = with_content(run, parts.states)?;
    if !content.is_empty() {
        let bytes = usize::try_from(content.page_count().bytes().get()).ok()?;
        vm.copy_out(content, parts.pages.get_mut(..bytes)?).ok()?;
    }
    key_bytes(vm, run, parts.keys)?;
    Some(pages_body_bytes(content))
}

/// Keys and states alone.
pub(super) fn keys<V: VmPorts>(vm: &mut V, run: PageRun, body: &mut [u8]) -> Option<usize> {
    let parts = begin_keys(run, body)?;
    vm.states_out(run, parts.states).ok()?;
    key_bytes(vm, run, parts.keys)?;
    Some(keys_body_bytes())
}

/// Reads keys into a body, which has zeros without them.
fn key_bytes<V: VmPorts>(vm: &mut V, run: PageRun, keys: &mut [u8]) -> Option<()> {
    if vm.has_keys() { vm.keys_out(run, keys).ok() } else { Some(()) }
}

/// One processor, unless it has state that the target was not asked for: in rehearsal already, so
/// that it is not found out when the guest is stopped.
pub(super) fn processor<V: VmPorts>(
    vm: &mut V,
    given: &FacilityList,
    index: ProcessorIndex,
    rehearsal: bool,
    body: &mut [u8],
) -> Option<usize> {
    let mut image = ProcessorImage::initial();
    vm.capture(index, &mut image).ok()?;
    if let Some(facility) = image.needs().first_missing_in(given) {
        warning!("a processor has state of facility {}, which its VM lacks", facility.number());
        return None;
    }
    let blocks = emit_processor(index, rehearsal, body)?;
    image.emit(blocks).ok()?.checked_add(4)
}

/// The machine as a whole.
pub(super) fn machine<V: VmPorts>(vm: &mut V, rehearsal: bool, body: &mut [u8]) -> Option<usize> {
    let mut image = MachineImage::initial();
    vm.capture_machine(&mut image).ok()?;
    let blocks = emit_machine(rehearsal, body)?;
    image.emit(blocks).ok()?.checked_add(2)
}

/// One subchannel: also that of a device which does not go with the guest, who may still have to
/// fetch a status there, and goes on using it as he has set it up.
pub(super) fn subchannel<V: VmPorts>(
    vm: &mut V,
    slot: DeviceSlot,
    device: Option<DeviceDescriptor>,
    body: &mut [u8],
) -> Option<usize> {
    let device = device?;
    let mut image = SubchannelImage::idle(device.subchannel, device.number);
    vm.capture_subchannel(slot, &mut image).ok()?;
    let blocks = emit_subchannel(slot, body)?;
    image.emit(blocks).ok()?.checked_add(2)
}
