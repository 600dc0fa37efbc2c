//! What the ports, the machines and the checkers of one world have in common.
//!
//! Source of truth: the plan of the world. Invariants: a copy of a VM stays in the list for ever,
//! so that checkers can look back; a port of a crashed monitor changes nothing any more.
//! Deliberately not here: the order in which things happen.

use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use monitor_core::{
    device::{Conduct, DeviceDescriptor},
    units::{DeviceSlot, Epoch, Micros, SuName, Tick},
    vm::{MigrationMark, Ownership, VmBlock},
};

use super::{
    device::SimDevice,
    directory::Directory,
    draw::Draw,
    fault::{End, FaultKind},
    neighbor::Neighbors,
    plan::SuPlan,
    trace::Trace,
};
use crate::{
    machine::{AttachedDevice, Machine, Path, Storage, Tracking},
    workload::{Guest, GuestPlan},
};

/// A wrong deed that is planted to see the checkers find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A changed page is forgotten when changes are collected.
    ForgottenMark,
    /// A device is reported quiet while its I/O goes on.
    ForgottenQuiesce,
    /// A device is reported detached and is not.
    ForgottenDetach,
    /// A device goes on with what waits for it when its subchannel has been taken over.
    ForgottenHold,
    /// A device can be used as soon as it is assigned.
    EarlyAttach,
    /// A device is attached under the epoch before.
    StaleEpoch,
    /// The directory grants every change.
    DoubleGrant,
    /// A page is not stored although its frame is acknowledged.
    ForgottenStore,
    /// Keys are not stored.
    ForgottenKeys,
    /// A changed key or page state is forgotten when changes are collected.
    ForgottenKey,
    /// Page states are not stored.
    ForgottenState,
    /// The processors are reported stopped and run on.
    RunsOn,
    /// A VM gets all its processors, whatever its SU has.
    ForgottenBlock,
    /// The guest is not told which processors it loses.
    ForgottenWord,
    /// A line goes by the adapter of the SU where the guest was started.
    WrongAdapter,
}

/// Something that may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it was found.
    pub at: Tick,
    /// What.
    pub what: String,
}

/// A fault that has struck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struck {
    pub(super) run: usize,
    pub(super) end: End,
    pub(super) kind: FaultKind,
}

/// One copy of a VM on one SU.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    pub(super) vm: usize,
    pub(super) su: usize,
    pub(super) machine: &'a Arc<Machine>,
    pub(super) is_there: bool,
    pub(super) has_run: bool,
    /// Whether it is offered to the target, or given to it.
    pub(super) is_offered: bool,
    pub(super) mark: MigrationMark,
    /// Which devices the definition that belongs to it has as detached.
    pub(super) detached: Vec<bool>,
    /// When it is to be stepped.
    pub(super) wake: Tick,
}

/// A VM as all SUs know it.
#[derive(Debug)]
pub(super) struct VmFacts {
    pub(super) block: VmBlock,
    pub(super) guest: GuestPlan,
    /// The SU where its guest was started.
    pub(super) home: usize,
    pub(super) runs: bool,
    pub(super) attached: Vec<AttachedDevice>,
    pub(super) devices: Vec<Arc<SimDevice>>,
    pub(super) neighbors: Neighbors,
    /// The SUs that have an alias for it, a bit for each.
    pub(super) alias_on: u64,
    pub(super) tracking: Tracking,
}

impl VmFacts {
    /// What becomes of a device at a move.
    pub(super) fn conduct(&self, slot: usize) -> Option<Conduct> {
        self.attached.get(slot).map(|it| it.descriptor.conduct())
    }

    /// Whether an SU has what it needs to assign a device.
    pub(super) fn has_on(&self, su: usize, device: &DeviceDescriptor) -> bool {
        device.conduct() != Conduct::Alias || self.alias_on >> su & 1 != 0
    }
}

/// Devices that a VM can have.
pub(super) const SLOTS_MAX: usize = 10;

/// Room for every copy that a world can come to have.
pub(super) type Arena = [OnceCell<Arc<Machine>>];

/// What all have in common.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) clock: Cell<Tick>,
    pub(super) calm_at: Tick,
    pub(super) sus: Vec<SuName>,
    /// What each SU has.
    pub(super) hardware: Vec<SuPlan>,
    pub(super) lost: RefCell<Vec<bool>>,
    pub(super) vms: Vec<VmFacts>,
    pub(super) copies: RefCell<Vec<Copy<'a>>>,
    pub(super) arena: &'a Arena,
    /// Memory of storage that earlier worlds have used.
    pub(super) spare: RefCell<Vec<Vec<AtomicU64>>>,
    pub(super) directory: RefCell<Directory>,
    /// How long the directory takes on each way, at most.
    pub(super) latency: u64,
    /// How long the directory is waited for.
    pub(super) patience: Micros,
    pub(super) port_latency: u64,
    pub(super) noise: RefCell<Draw>,
    pub(super) struck: RefCell<Vec<Struck>>,
    pub(super) violations: RefCell<Vec<Violation>>,
    pub(super) trace: Trace,
    pub(super) flaw: Option<Flaw>,
}

impl<'a> Shared<'a> {
    pub(super) fn now(&self) -> Tick {
        self.clock.get()
    }

    /// A number below `limit` from the noise of this world.
    pub(super) fn draw(&self, limit: u64) -> u64 {
        self.noise.borrow_mut().below(limit.max(1))
    }

    pub(super) fn is_calm(&self) -> bool {
        self.now() >= self.calm_at
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// A machine for a copy of a VM with this definition.
    ///
    /// Away from home its devices have other subchannel numbers, so that each number that the
    /// guest knows is one of another device there.
    pub(super) fn build(&self, vm: usize, su: usize, definition: &VmBlock) -> Machine {
        let facts = &self.vms[vm];
        let words = self.spare.borrow_mut().pop().unwrap_or_default();
        let storage = Storage::reusing(facts.block.memory(), words);
        storage.track_by(facts.tracking);
        let (configuration, guest) = (facts.guest.initial_configuration, Arc::new(Guest));
        let mut devices = facts.attached.clone();
        let mut numbers: Vec<_> = devices.iter().map(|it| it.descriptor.subchannel).collect();
        numbers.rotate_left((su + self.sus.len() - facts.home) % self.sus.len() % devices.len());
        let system = if self.has(Flaw::WrongAdapter) { facts.home } else { su };
        for (device, number) in devices.iter_mut().zip(numbers) {
            device.descriptor.subchannel = number;
            device.paths = vec![Path { system: system as u16, channel: 0 }];
        }
        Machine::with_storage(definition, configuration, guest, devices, storage)
    }

    /// Enters a copy that was set up; gives its place.
    pub(super) fn enter(&self, vm: usize, su: usize, machine: Machine) -> Option<usize> {
        let mut copies = self.copies.borrow_mut();
        let place = copies.len();
        machine.set_pool(self.hardware[su].pool);
        let machine = self.arena.get(place)?.get_or_init(|| Arc::new(machine));
        copies.push(Copy {
            vm,
            su,
            machine,
            is_there: true,
            has_run: false,
            is_offered: false,
            mark: MigrationMark::None,
            detached: vec![false; self.vms[vm].devices.len()],
            wake: Tick::new(u64::MAX),
        });
        Some(place)
    }

    pub(super) fn machine(&self, copy: usize) -> &'a Arc<Machine> {
        self.copies.borrow()[copy].machine
    }

    /// The devices as the definition of a copy has them: a slot for each.
    pub(super) fn descriptors(&self, copy: usize) -> Vec<DeviceDescriptor> {
        let copy = &self.copies.borrow()[copy];
        let devices = self.vms[copy.vm].attached.iter().zip(&copy.detached);
        let described = devices
            .map(|(it, detached)| DeviceDescriptor { is_detached: *detached, ..it.descriptor });
        described.collect()
    }

    /// A copy was set up for a move: its definition is that of the source, but has as detached
    /// what does not go with the guest.
    pub(super) fn takes_definition(&self, copy: usize, source: usize) {
        let mut copies = self.copies.borrow_mut();
        let facts = &self.vms[copies[copy].vm];
        let stays = |slot| facts.conduct(slot) != Some(Conduct::Move);
        let detached = copies[source].detached.iter().enumerate();
        copies[copy].detached = detached.map(|(slot, it)| *it || stays(slot)).collect();
    }

    /// A device of a copy is attached.
    pub(super) fn has_attached(&self, copy: usize, slot: DeviceSlot) {
        self.copies.borrow_mut()[copy].detached[usize::from(slot.get())] = false;
    }

    /// An operator attaches some of the devices again that a move has left detached.
    pub(super) fn attach_by_hand(&self, su: usize, place: usize, epoch: Epoch) {
        let devices = self.descriptors(place);
        let copy = &mut self.copies.borrow_mut()[place];
        let facts = &self.vms[copy.vm];
        for (slot, device) in devices.iter().enumerate() {
            if copy.detached[slot] && facts.has_on(su, device) && self.draw(2) == 0 {
                let number = DeviceSlot::new(u16::try_from(slot).unwrap_or(u16::MAX));
                let attached = copy.machine.with_subsystem(|it| it.attach(number, epoch));
                copy.detached[slot] = attached.is_err();
            }
        }
    }

    /// Steps the machine of a copy as soon as possible.
    pub(super) fn wake(&self, copy: usize) {
        let soon = self.now().after(Micros::new(1));
        let mut copies = self.copies.borrow_mut();
        copies[copy].wake = copies[copy].wake.min(soon);
    }

    /// Lets stations and partners of the guests do what is due, and the guests see to it.
    pub(super) fn step_neighbors(&self, now: Tick) {
        for (vm, _) in self.vms.iter().enumerate().filter(|(_, it)| it.neighbors.step(now)) {
            for copy in self.copies.borrow_mut().iter_mut().filter(|it| it.vm == vm) {
                if copy.machine.is_running() {
                    copy.wake = copy.wake.min(now);
                }
            }
        }
    }

    /// The VM as this copy of it has its processors.
    pub(super) fn described(&self, copy: usize) -> VmBlock {
        let block = self.vms[self.copies.borrow()[copy].vm].block;
        block.with_processors(self.machine(copy).processors()).unwrap_or(block)
    }

    /// Whether a VM is coming to the SU.
    pub(super) fn is_receiving(&self, su: usize) -> bool {
        let comes = |it: &Copy<'_>| {
            it.su == su && it.is_there && !it.has_run && it.mark == MigrationMark::Incoming
        };
        self.copies.borrow().iter().any(comes)
    }

    /// Another copy of the VM on the SU, beside `but`.
    pub(super) fn is_taken(&self, vm: usize, su: usize, but: Option<usize>) -> bool {
        let copies = self.copies.borrow();
        let mut others = copies.iter().enumerate().filter(|(place, _)| Some(*place) != but);
        others.any(|(_, it)| it.vm == vm && it.su == su && it.is_there)
    }

    pub(super) fn record(&self, vm: usize) -> Option<Ownership> {
        self.directory.borrow().record(self.vms[vm].block.name())
    }

    /// Notes what may not be.
    pub(super) fn violate(&self, what: String) {
        let mut violations = self.violations.borrow_mut();
        // One broken rule breaks others; the first ones tell most.
        if violations.len() < 8 && violations.iter().all(|it| it.what != what) {
            self.trace.say(self.now(), format_args!("VIOLATION"), format_args!("{what}"));
            violations.push(Violation { at: self.now(), what });
        }
    }
}

/// The epochs under which a machine has its devices, by slot.
pub(super) fn epochs_of(machine: &Machine) -> [Option<Epoch>; SLOTS_MAX] {
    machine.with_subsystem(|subsystem| {
        let epoch = |slot| subsystem.epoch(DeviceSlot::new(slot));
        std::array::from_fn(|slot| u16::try_from(slot).ok().and_then(epoch))
    })
}

/// The epoch under which a machine has a device.
pub(super) fn epoch_of(machine: &Machine, slot: usize) -> Option<Epoch> {
    let slot = DeviceSlot::new(u16::try_from(slot).unwrap_or(u16::MAX));
    machine.with_subsystem(|subsystem| subsystem.epoch(slot))
}

/// Where a port stands: which end of which attempt, and what is to befall it.
pub(super) struct Spot<'a> {
    pub(super) shared: Rc<Shared<'a>>,
    pub(super) run: usize,
    pub(super) end: End,
    pub(super) vm: usize,
    pub(super) su: usize,
    /// How often each fault is still to strike.
    armed: RefCell<[u8; FaultKind::ALL.len()]>,
    /// How long the latest fault lasts.
    pub(super) span: Cell<Micros>,
    /// Effects until the monitor crashes.
    fuse: Cell<Option<u8>>,
    dead: Cell<bool>,
    /// Whether the monitor has lost what it knew of frames under way.
    pub(super) is_restored: bool,
    /// Whether changes are tracked.
    pub(super) is_tracking: Cell<bool>,
    /// What the monitor keeps over a restart.
    pub(super) journal: RefCell<Vec<u8>>,
    /// The copy here.
    pub(super) copy: Cell<Option<usize>>,
    /// The copy at the other end, as far as it is known to the world.
    pub(super) peer: Cell<Option<usize>>,
}

impl<'a> Spot<'a> {
    pub(super) const fn new(
        shared: Rc<Shared<'a>>,
        (run, end): (usize, End),
        (vm, su): (usize, usize),
    ) -> Self {
        Self {
            shared,
            run,
            end,
            vm,
            su,
            armed: RefCell::new([0; FaultKind::ALL.len()]),
            span: Cell::new(Micros::new(0)),
            fuse: Cell::new(None),
            dead: Cell::new(false),
            is_restored: false,
            is_tracking: Cell::new(false),
            journal: RefCell::new(Vec::new()),
            copy: Cell::new(None),
            peer: Cell::new(None),
        }
    }

    /// The place of the monitor that starts again here, with what survives.
    pub(super) fn again(&self) -> Self {
        let (run, end) = (self.run, self.end);
        let spot = Self::new(Rc::clone(&self.shared), (run, end), (self.vm, self.su));
        spot.copy.set(self.copy.get());
        spot.peer.set(self.peer.get());
        spot.journal.replace(self.journal.borrow().clone());
        Self { is_restored: true, ..spot }
    }

    /// Makes a fault ready that strikes when its port is used.
    pub(super) fn arm(&self, kind: FaultKind, count: u8, span: Micros) {
        self.span.set(span);
        self.armed.borrow_mut()[kind.place()] = count;
    }

    /// The monitor crashes so many effects later.
    pub(super) fn light(&self, effects: u8) {
        self.fuse.set(Some(effects));
    }

    /// Whether a fault strikes now.
    pub(super) fn strikes(&self, kind: FaultKind) -> bool {
        let mut armed = self.armed.borrow_mut();
        let count = &mut armed[kind.place()];
        if *count == 0 || self.shared.is_calm() || self.dead.get() {
            return false;
        }
        *count -= 1;
        self.struck(kind);
        true
    }

    /// Notes a fault that has struck here.
    pub(super) fn struck(&self, kind: FaultKind) {
        let (run, end) = (self.run, self.end);
        self.shared.struck.borrow_mut().push(Struck { run, end, kind });
    }

    /// Counts an effect; false when the monitor has crashed before it.
    pub(super) fn lives(&self) -> bool {
        match self.fuse.get() {
            Some(0) => {
                self.fuse.set(None);
                self.dead.set(true);
            }
            Some(left) => self.fuse.set(Some(left - 1)),
            None => {}
        }
        !self.dead.get()
    }

    /// Writes a line of the trace.
    pub(super) fn say(&self, what: fmt::Arguments<'_>) {
        self.shared.trace.say(self.shared.now(), format_args!("{self}"), what);
    }

    /// Ends the monitor here and now.
    pub(super) fn kill(&self) {
        self.dead.set(true);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.get()
    }
}

impl fmt::Debug for Spot<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("Spot");
        text.field("run", &self.run).field("end", &self.end).finish_non_exhaustive()
    }
}

impl fmt::Display for Spot<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Source => "source",
            End::Target => "target",
        };
        let block = &self.shared.vms[self.vm].block;
        write!(formatter, "{} {} {end}", self.shared.sus[self.su], block.name())
    }
}
