//! What the operations of the ports do to the guest and its device.
//!
//! Source of truth: `monitor_core::ports`. Invariants: processors run, and a device is usable, from
//! the moment at which that is started; an operation that repeats what is done already has to
//! succeed; what a stop or a quiesce was overtaken by decides; a device refuses an epoch that is
//! older than one under which it was attached.

use monitor_core::{migrate::Input, units::DeviceSlot, vm::Operation};

use super::{
    ends::Machine,
    state::{Copy, Device, OPERATIONS, State},
};

/// An operation starts; gives the input that follows at once.
pub(super) fn start(
    state: &mut State,
    number: u8,
    machine: &mut Machine,
    operation: Operation,
) -> Option<Input> {
    match operation {
        Operation::TrackChanges => {
            if let Machine::Source(end) = machine {
                end.is_tracked = true;
            }
            return Some(Input::Done(operation));
        }
        Operation::CheckVm => {
            return Some(Input::Checked(u16::from(state.su(number).copy.is_built)));
        }
        _ => {}
    }
    let epoch = machine.running_epoch().get();
    let guest = state.guest;
    let has_run = state.links[usize::from(state.su(number).link)].has_run;
    let su = state.su_mut(number);
    let mut rule = (!su.start(operation)).then_some("nothing is started while it is under way");
    match operation {
        Operation::ResumeProcessors => {
            su.settle(Operation::StopProcessors);
            if su.copy.runs.replace(epoch).is_some() {
                su.settle(operation);
            }
            for device in &mut su.copy.devices {
                if let Device::Ready(epoch) = *device {
                    *device = Device::Usable(epoch);
                }
            }
            if guest != [su.copy.page, su.copy.registers] {
                rule = Some("the guest goes on with its storage and registers as they were");
            }
        }
        Operation::AttachDevice(slot) => {
            su.settle(Operation::QuiesceDevice(slot));
            let copy = &mut su.copy;
            let device = &mut copy.devices[place(slot)];
            let before = *device;
            let has_io = copy.runs.is_some() || matches!(before, Device::Usable(_));
            *device = if has_io { Device::Usable(epoch) } else { Device::Ready(epoch) };
            copy.devices_before[place(slot)] = before;
            if *device == before {
                su.settle(operation);
            }
        }
        Operation::RemoveDevice(slot) if su.copy.devices[place(slot)] == Device::Free => {
            su.settle(operation);
        }
        Operation::DestroyVm if machine.source_phase().is_some() && !has_run => {
            rule = Some("the source gives up its copy after the guest has run on the target");
        }
        _ => {}
    }
    if let Some(rule) = rule {
        state.breaks(rule);
    }
    None
}

/// The place of a device in a copy.
fn place(slot: DeviceSlot) -> usize {
    usize::from(slot.get())
}

/// Whether the device refuses what is being started: it was attached under a later epoch.
pub(super) fn is_fenced(state: &State, number: u8, operation: Operation) -> bool {
    let Operation::AttachDevice(slot) = operation else {
        return false;
    };
    let mut devices = state.sus.iter().map(|su| su.copy.devices[place(slot)].epoch());
    let own = state.su(number).copy.devices[place(slot)].epoch();
    devices.any(|epoch| epoch > own)
}

/// An operation ends.
pub(super) fn end(state: &mut State, number: u8, operation: Operation, succeeds: bool) {
    // The definition on the target has what does not go with the guest as detached.
    let is_detached = state.staying.is_some();
    let su = state.su_mut(number);
    let is_settled = su.is_settled(operation);
    su.end(operation);
    let copy = &mut su.copy;
    match (operation, succeeds) {
        (Operation::StopProcessors | Operation::QuiesceDevice(_), _) if is_settled => {}
        (Operation::StopProcessors, true) => copy.runs = None,
        (Operation::QuiesceDevice(slot), true) => {
            let device = &mut copy.devices[place(slot)];
            if let Device::Ready(epoch) | Device::Usable(epoch) = *device {
                *device = Device::Quiet(epoch);
            }
        }
        (Operation::BuildVm, true) => {
            *copy = Copy { is_built: true, is_detached, ..Copy::default() };
        }
        (Operation::DestroyVm, true) => *copy = Copy::default(),
        // One that a former monitor has attached stays so.
        (Operation::AssignDevice(slot), true) if copy.devices[place(slot)].epoch().is_none() => {
            copy.devices[place(slot)] = Device::Assigned;
        }
        (Operation::DetachDevice(slot), true) => copy.devices[place(slot)] = Device::Assigned,
        (Operation::RemoveDevice(slot), true) => copy.devices[place(slot)] = Device::Free,
        (Operation::AttachDevice(slot), true) => {
            copy.devices_before[place(slot)] = Device::Free;
            copy.is_detached &= place(slot) == 0;
        }
        (Operation::AttachDevice(slot), false) => {
            let before = std::mem::take(&mut copy.devices_before[place(slot)]);
            copy.devices[place(slot)] = before;
        }
        (Operation::ResumeProcessors, false) => copy.runs = None,
        (Operation::ResumeProcessors, true) => {
            let link = usize::from(su.link);
            let is_target = state.links[link].sus[1] == number;
            state.links[link].has_run |= is_target;
        }
        _ => {}
    }
}

/// The monitor is restarted: what is under way comes to its end, or does not, and nobody hears.
pub(super) fn interrupt(state: &mut State, number: u8, completes: bool) {
    for operation in OPERATIONS {
        let su = state.su(number);
        if su.owes(operation) {
            let completes = completes || su.is_settled(operation);
            end(state, number, operation, completes);
        }
    }
}
