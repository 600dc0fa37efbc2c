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
    neighbor::{Line, Neighbors, Partner},
    plan::{DAWN, Plan, VmPlan},
    shared::{Arena, Flaw, Shared, VmFacts},
    trace::Trace,
};
use crate::{
    config::CpuId,
    machine::{AttachedDevice, Device, DiskFormat, Fill, Path, Tracking},
    workload::{GuestPlan, Kind, LanLine, ipl},
};

/// The console's place among the devices of a VM.
const CONSOLE: u16 = 0;
/// The disk that an alias is one of: the first one of the journal.
const BASE: u16 = 1;

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
    let (parts, neighbors) = parts(number, vm, plan.sus.len());
    let attached = (0..).zip(&parts).filter_map(|(slot, part)| {
        let device: Arc<dyn Device> = Arc::<SimDevice>::clone(&part.device);
        let descriptor = descriptor(u16::from(number), slot, part)?;
        let latency = Micros::new(vm.latency);
        Some(AttachedDevice::new(descriptor, device, latency, Path::default()))
    });
    let attached = attached.collect();
    let guest = guest_plan(vm, &parts);
    let devices = parts.into_iter().map(|part| part.device).collect();
    let (home, runs, alias_on) = (vm.home, vm.runs, vm.alias_on | 1 << vm.home);
    // Some VMs are tracked by keys; nothing is drawn for it, so that all else stays what it is.
    let tracking = if vm.seed.is_multiple_of(3) { Tracking::Keys } else { Tracking::Marks };
    Some(VmFacts { block, guest, home, runs, attached, devices, neighbors, alias_on, tracking })
}

/// A device of a VM that is being set up.
struct Part {
    kind: DeviceKind,
    is_emulated: bool,
    assignment: Assignment,
    device: Arc<SimDevice>,
}

impl Part {
    fn new(kind: DeviceKind, device: SimDevice) -> Self {
        let (is_emulated, assignment) = (false, Assignment::Exclusive);
        Self { kind, is_emulated, assignment, device: Arc::new(device) }
    }
}

/// The devices of a VM in the order of their slots, those that stay last; and its neighbors.
fn parts(number: u8, vm: &VmPlan, su_count: usize) -> (Vec<Part>, Neighbors) {
    let mut parts = vec![Part::new(DeviceKind::Console, SimDevice::console())];
    parts.extend((0..).zip(&vm.disks).map(|(place, assignment)| {
        let in_tracks = vm.in_tracks >> place & 1 != 0;
        let format = if in_tracks { DiskFormat::Ckd } else { DiskFormat::Fba };
        let disk = Part::new(DeviceKind::Disk, SimDevice::disk_of_journal(format));
        Part { assignment: *assignment, ..disk }
    }));
    let line = vm.line.map(|(interval, patience)| Line::new(number, su_count, interval, patience));
    parts.extend(
        line.iter()
            .map(|line| Part::new(DeviceKind::Lan, SimDevice::line(Arc::clone(&line.adapters)))),
    );
    let (partner, side) = vm.partner.and_then(Partner::new).unzip();
    let adapter = |side| Part::new(DeviceKind::ChannelToChannel, SimDevice::side(side));
    parts.extend(side.map(adapter));
    let stays = (0..).zip(STAYING).filter(|(bit, _)| vm.staying >> bit & 1 != 0);
    parts.extend(stays.map(|(_, (kind, is_emulated))| Part {
        is_emulated,
        ..Part::new(kind, SimDevice::console())
    }));
    (parts, Neighbors { line, partner })
}

/// The guest of a VM, which uses all devices that go with it.
fn guest_plan(vm: &VmPlan, parts: &[Part]) -> GuestPlan {
    let of_kind = |kind| {
        let all = (0..).zip(parts).filter(move |(_, it)| it.kind == kind && !it.is_emulated);
        all.map(|(slot, _)| SubchannelNumber::new(slot))
    };
    let line = |subchannel| LanLine { name: String::from("L#SIM"), vlan: false, subchannel };
    let lines: Vec<_> = of_kind(DeviceKind::Lan).map(line).collect();
    let adapters = of_kind(DeviceKind::ChannelToChannel);
    let mut kinds = vm.kinds.clone();
    kinds.extend(lines.iter().map(|_| Kind::Network));
    kinds.extend(adapters.map(|subchannel| Kind::Messages { subchannel }));
    GuestPlan {
        kinds,
        manner: vm.manner,
        fill: Fill::Random,
        seed: vm.seed,
        console: SubchannelNumber::new(CONSOLE),
        journal: of_kind(DeviceKind::Disk).collect(),
        lines,
        initial_configuration: ConfigurationName::new("390SU-SIM")
            .unwrap_or(ConfigurationName::EMPTY),
    }
}

fn descriptor(vm: u16, slot: u16, part: &Part) -> Option<DeviceDescriptor> {
    let Part { kind, is_emulated, assignment, .. } = *part;
    let base = (kind == DeviceKind::PavAlias).then_some(DeviceNumber::new(vm * 16 + BASE));
    Some(DeviceDescriptor {
        mnemonic: Mnemonic::new(&format!("{vm:X}{slot:X}0"))?,
        number: DeviceNumber::new(vm * 16 + slot),
        kind,
        assignment,
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
