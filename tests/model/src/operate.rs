//! What the operations of the ports do to the guest and its device.
//!
//! Source of truth: `monitor_core::ports`. Invariants: processors run, and a device is usable, from
//! the moment at which that is started; an operation that repeats what is done already has to
//! succeed; what a stop or a quiesce was overtaken by decides; a device refuses an epoch that is
//! older than one under which it was attached.

use monitor_core::{migrate::Input, vm::Operation};

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
            if let Device::Ready(epoch) = su.copy.device {
                su.copy.device = Device::Usable(epoch);
            }
            if guest != [su.copy.page, su.copy.registers] {
                rule = Some("the guest goes on with its storage and registers as they were");
            }
        }
        Operation::AttachDevice(slot) => {
            su.settle(Operation::QuiesceDevice(slot));
            let before = su.copy.device;
            let has_io = su.copy.runs.is_some() || matches!(before, Device::Usable(_));
            su.copy.device = if has_io { Device::Usable(epoch) } else { Device::Ready(epoch) };
            su.copy.device_before = before;
            if su.copy.device == before {
                su.settle(operation);
            }
        }
        Operation::RemoveDevice(_) if su.copy.device == Device::Free => su.settle(operation),
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

/// Whether the device refuses what is being started: it was attached under a later epoch.
pub(super) fn is_fenced(state: &State, number: u8, operation: Operation) -> bool {
    let mut devices = state.sus.iter().map(|su| su.copy.device.epoch());
    let own = state.su(number).copy.device.epoch();
    matches!(operation, Operation::AttachDevice(_)) && devices.any(|epoch| epoch > own)
}

/// An operation ends.
pub(super) fn end(state: &mut State, number: u8, operation: Operation, succeeds: bool) {
    let su = state.su_mut(number);
    let is_settled = su.is_settled(operation);
    su.end(operation);
    let copy = &mut su.copy;
    match (operation, succeeds) {
        (Operation::StopProcessors | Operation::QuiesceDevice(_), _) if is_settled => {}
        (Operation::StopProcessors, true) => copy.runs = None,
        (Operation::QuiesceDevice(_), true) => {
            if let Device::Ready(epoch) | Device::Usable(epoch) = copy.device {
                copy.device = Device::Quiet(epoch);
            }
        }
        (Operation::BuildVm, true) => *copy = Copy { is_built: true, ..Copy::default() },
        (Operation::DestroyVm, true) => *copy = Copy::default(),
        (Operation::AssignDevice(_), true) => copy.device = Device::Assigned,
        (Operation::RemoveDevice(_), true) => copy.device = Device::Free,
        (Operation::AttachDevice(_), true) => copy.device_before = Device::Free,
        (Operation::AttachDevice(_), false) => {
            copy.device = std::mem::take(&mut copy.device_before);
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
