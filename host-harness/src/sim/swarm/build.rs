//! A world at its dawn: SUs, VMs with their guests, devices and records.
//!
//! Source of truth: the plan. Invariant: every VM is where its record says, and runs if it is to.
//! Deliberately not here: anything that happens.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use monitor_core::{
    device::{Assignment, DeviceDescriptor, DeviceKind},
    units::{
        ConfigurationName, DeviceNumber, DeviceSlot, Epoch, Micros, Mnemonic, SuName,
        SubchannelNumber, VmIndex, VmName,
    },
    vm::{Activity, BlockError, Ownership, ProcessorSet, Processors, VmBlock, VmState},
};

use super::{
    Order,
    device::SimDevice,
    directory::Directory,
    draw::Draw,
    plan::{DAWN, Plan, VmPlan},
    shared::{Arena, Flaw, Shared, VmFacts},
    trace::Trace,
};
use crate::{
    config::CpuId,
    machine::{AttachedDevice, Device, Fill, Path, Tracking},
    workload::{GuestPlan, ipl},
};

/// The console's place among the devices of a VM.
const CONSOLE: u16 = 0;
/// The journal's disk.
const JOURNAL: u16 = 1;

/// What does not go with a VM, behind the other devices: a tape, an emulated disk, an alias.
pub(super) const STAYING: [(DeviceKind, bool); 3] =
    [(DeviceKind::Tape, false), (DeviceKind::Disk, true), (DeviceKind::PavAlias, false)];

/// What the worlds of a plan have in common, with every guest loaded.
pub(super) fn shared<'a>(
    plan: &Plan,
    arena: &'a Arena,
    spare: Vec<Vec<AtomicU64>>,
    order: Order,
) -> Rc<Shared<'a>> {
    let vms: Vec<_> =
        plan.vms.iter().enumerate().filter_map(|(index, vm)| facts(index, vm, plan)).collect();
    let mut directory = Directory::default();
    directory.grants_twice = order.flaw == Some(Flaw::DoubleGrant);
    let sus: Vec<_> = (0..plan.sus.len()).filter_map(su_name).collect();
    for (vm, facts) in plan.vms.iter().zip(&vms) {
        let record = Ownership::running(sus[vm.home], Epoch::new(vm.epoch));
        directory.enter(facts.block.name(), record);
    }
    let shared = Rc::new(Shared {
        clock: Cell::new(DAWN),
        calm_at: plan.calm_at,
        lost: RefCell::new(vec![false; sus.len()]),
        sus,
        hardware: plan.sus.clone(),
        vms,
        copies: RefCell::default(),
        arena,
        spare: RefCell::new(spare),
        directory: RefCell::new(directory),
        latency: plan.directory_latency,
        patience: plan.directory_patience,
        port_latency: plan.port_latency,
        noise: RefCell::new(Draw::new(order.seed, 2)),
        struck: RefCell::default(),
        violations: RefCell::default(),
        trace: Trace::new(order.is_traced),
        flaw: order.flaw,
    });
    for (vm, planned) in plan.vms.iter().enumerate() {
        load(&shared, vm, planned);
    }
    shared
}

fn su_name(place: usize) -> Option<SuName> {
    SuName::new(["SUALPHA", "SUBETA", "SUGAMMA"].get(place)?)
}

fn facts(index: usize, vm: &VmPlan, plan: &Plan) -> Option<VmFacts> {
    let number = u8::try_from(index).ok()? + 2;
    let name = VmName::new(&format!("VM{number:02}"))?;
    let activity = if vm.runs { Activity::Running } else { Activity::InitOnly };
    let block = VmBlock::new(VmIndex::new(number)?, name, vm.pages, vm.processors)
        .and_then(|block| {
            let none = ProcessorSet::EMPTY;
            let all = Processors::standing_so(vm.processors, vm.detached, none);
            let here = all.and_then(|all| all.fitted(plan.sus[vm.home].pool));
            block.with_processors(here.ok_or(BlockError::Processors)?)
        })
        .ok()?
        .with_facilities(vm.facilities)
        .with_cpu_id(CpuId::of_place(u32::try_from(vm.home).ok()? + 1).0)
        .with_state(VmState::new(activity));
    let chosen = (0..).zip(STAYING).filter(|(bit, _)| vm.staying >> bit & 1 != 0);
    let kinds = [(DeviceKind::Console, false), (DeviceKind::Disk, false)];
    let kinds: Vec<_> = kinds.into_iter().chain(chosen.map(|(_, kind)| kind)).collect();
    let devices: Vec<_> =
        (0..).zip(&kinds).map(|(slot, _)| Arc::new(SimDevice::new(slot == JOURNAL))).collect();
    let attached = (0..).zip(&devices).zip(kinds).filter_map(|((slot, device), kind)| {
        let device: Arc<dyn Device> = Arc::<SimDevice>::clone(device);
        let descriptor = descriptor(u16::from(number), slot, kind)?;
        let latency = Micros::new(vm.latency);
        Some(AttachedDevice::new(descriptor, device, latency, Path::default()))
    });
    let attached = attached.collect();
    let guest = GuestPlan {
        kinds: vm.kinds.clone(),
        manner: vm.manner,
        fill: Fill::Random,
        seed: vm.seed,
        console: SubchannelNumber::new(CONSOLE),
        journal: vec![SubchannelNumber::new(JOURNAL)],
        lines: Vec::new(),
        initial_configuration: ConfigurationName::new("390SU-SIM")
            .unwrap_or(ConfigurationName::EMPTY),
    };
    let (home, runs, alias_on) = (vm.home, vm.runs, vm.alias_on | 1 << vm.home);
    // Some VMs are tracked by keys; nothing is drawn for it, so that all else stays what it is.
    let tracking = if vm.seed.is_multiple_of(3) { Tracking::Keys } else { Tracking::Marks };
    Some(VmFacts { block, guest, home, runs, attached, devices, alias_on, tracking })
}

fn descriptor(
    vm: u16,
    slot: u16,
    (kind, is_emulated): (DeviceKind, bool),
) -> Option<DeviceDescriptor> {
    let base = (kind == DeviceKind::PavAlias).then_some(DeviceNumber::new(vm * 16 + JOURNAL));
    Some(DeviceDescriptor {
        mnemonic: Mnemonic::new(&format!("{vm:X}{slot:X}0"))?,
        number: DeviceNumber::new(vm * 16 + slot),
        kind,
        assignment: Assignment::Exclusive,
        is_emulated,
        base,
        subchannel: SubchannelNumber::new(slot),
        identity: u64::from(vm * 16 + slot),
        ..DeviceDescriptor::VACANT
    })
}

/// Sets the VM up at home and loads its guest.
fn load(shared: &Shared<'_>, vm: usize, planned: &VmPlan) {
    let facts = &shared.vms[vm];
    let machine = shared.build(vm, planned.home, &facts.block);
    let epoch = Epoch::new(planned.epoch);
    for slot in (0..).take(facts.devices.len()).map(DeviceSlot::new) {
        let attached = machine.with_subsystem(|it| it.attach(slot, epoch));
        debug_assert!(attached.is_ok(), "a new device refuses");
    }
    let loaded = ipl(&machine, &facts.guest);
    debug_assert!(loaded.is_ok(), "the guest does not fit");
    if let Some(copy) = shared.enter(vm, planned.home, machine) {
        shared.copies.borrow_mut()[copy].has_run = true;
        if planned.runs {
            shared.machine(copy).resume(DAWN);
            shared.wake(copy);
        }
    }
}
