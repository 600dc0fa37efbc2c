//! One attempt of a world: two monitors, the link between them, and the memory lent to them.
//!
//! Source of truth: `monitor_core::driver`. Invariants: a monitor lives at one spot; when it
//! crashes, its spot is dead and it gets another one when it starts again. Deliberately not here:
//! when it is stepped, and what befalls it.

use std::{cell::RefCell, rc::Rc};

use monitor_core::{
    device::DeviceEntry,
    driver::{BUFFER_BYTES, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory, Wait},
    migrate::{
        Attempt, Reception, SentRun, SourceJournal, SourcePhase, TargetJournal, TargetPhase,
    },
    ports::{ErrorType, OperatorConsole},
    units::{Micros, Tick},
};

use super::{
    check,
    directory::DirectoryPort,
    fault::End,
    shared::{SLOTS_MAX, Spot},
    vm::VmPort,
    wire::{LinkPort, Wire},
};
use crate::machine::{Crc32c, Machine};

/// What is lent to one monitor.
#[derive(Debug, Default)]
pub(super) struct Lent {
    big: Vec<u8>,
    small: Vec<u8>,
    window: Vec<Option<SentRun>>,
    devices: Vec<DeviceEntry>,
}

/// Bytes of the buffer for short frames.
const SMALL_BYTES: usize = 8 << 10;

impl Lent {
    /// Memory of the size that monitors need.
    pub(super) fn new() -> Self {
        Self { big: vec![0; BUFFER_BYTES], small: vec![0; SMALL_BYTES], ..Self::default() }
    }
}

/// The console of a monitor: lines of the trace.
#[derive(Debug)]
pub(super) struct ConsolePort<'a> {
    spot: Rc<Spot<'a>>,
}

impl ErrorType for ConsolePort<'_> {
    type Error = std::convert::Infallible;
}

impl OperatorConsole for ConsolePort<'_> {
    fn write_line(&mut self, line: &str) -> Result<(), Self::Error> {
        if self.spot.lives() {
            self.spot.say(format_args!("| {line}"));
        }
        Ok(())
    }
}

type PortsOf<'a> = Ports<VmPort<'a>, LinkPort<'a>, DirectoryPort<'a>, ConsolePort<'a>, Crc32c>;
pub(super) type SourceEnd<'a> =
    SourceDriver<'a, VmPort<'a>, LinkPort<'a>, DirectoryPort<'a>, ConsolePort<'a>, Crc32c>;
pub(super) type TargetEnd<'a> =
    TargetDriver<'a, VmPort<'a>, LinkPort<'a>, DirectoryPort<'a>, ConsolePort<'a>, Crc32c>;

/// All ports of a spot.
pub(super) fn ports<'a>(spot: &Rc<Spot<'a>>, wire: &Rc<RefCell<Wire>>) -> PortsOf<'a> {
    Ports {
        vm: VmPort::new(Rc::clone(spot)),
        link: LinkPort::new(Rc::clone(spot), Rc::clone(wire)),
        directory: DirectoryPort::new(Rc::clone(spot)),
        console: ConsolePort { spot: Rc::clone(spot) },
        checksum: Crc32c,
    }
}

/// A source monitor for the copy at its spot.
pub(super) fn source<'a>(
    spot: &Rc<Spot<'a>>,
    wire: &Rc<RefCell<Wire>>,
    lent: &'a mut Lent,
    slots: usize,
    copy: usize,
    epoch: monitor_core::units::Epoch,
) -> SourceEnd<'a> {
    let machine = spot.shared.machine(copy);
    let facts = &spot.shared.vms[spot.vm];
    let entry = |descriptor| DeviceEntry::attached(descriptor, epoch);
    lent.devices.clear();
    lent.devices.extend(spot.shared.descriptors(copy).into_iter().map(entry));
    let block = machine.frozen(facts.block);
    SourceDriver::new(block, source_memory(machine, lent, slots), ports(spot, wire))
}

/// A source monitor that goes on from its journal, if it has kept one.
pub(super) fn restored_source<'a>(
    spot: &Rc<Spot<'a>>,
    wire: &Rc<RefCell<Wire>>,
    lent: &'a mut Lent,
    slots: usize,
    local: Tick,
) -> Option<SourceEnd<'a>> {
    let journal = SourceJournal::parse(&spot.journal.borrow()).ok()?;
    let copy = spot.copy.get()?;
    let (machine, block) = (spot.shared.machine(copy), spot.shared.described(copy));
    let entry = |descriptor| DeviceEntry::quiesced(descriptor, journal.epoch);
    lent.devices.clear();
    lent.devices.extend(spot.shared.descriptors(copy).into_iter().map(entry));
    let memory = source_memory(machine, lent, slots);
    Some(SourceDriver::restore(local, &journal, block, memory, ports(spot, wire)))
}

fn source_memory<'a>(machine: &'a Machine, lent: &'a mut Lent, slots: usize) -> SourceMemory<'a> {
    lent.window.clear();
    lent.window.resize(slots, None);
    SourceMemory {
        pages: machine.storage.pages_map(),
        keys: machine.storage.keys_map(),
        window: &mut lent.window,
        devices: &mut lent.devices,
        outgoing: &mut lent.big,
        incoming: &mut lent.small,
    }
}

/// A target monitor that waits for an announcement.
pub(super) fn target<'a>(
    spot: &Rc<Spot<'a>>,
    wire: &Rc<RefCell<Wire>>,
    lent: &'a mut Lent,
    reception: Reception,
) -> TargetEnd<'a> {
    lent.devices.clear();
    lent.devices.resize_with(SLOTS_MAX, DeviceEntry::vacant);
    TargetDriver::new(reception, target_memory(lent), ports(spot, wire))
}

/// A target monitor that goes on from its journal, if it has kept one.
pub(super) fn restored_target<'a>(
    spot: &Rc<Spot<'a>>,
    wire: &Rc<RefCell<Wire>>,
    lent: &'a mut Lent,
    reception: Reception,
    local: Tick,
) -> Option<TargetEnd<'a>> {
    let journal = TargetJournal::parse(&spot.journal.borrow()).ok()?;
    let facts = &spot.shared.vms[spot.vm];
    lent.devices.clear();
    let announced = spot.copy.get().or(spot.peer.get())?;
    let devices = spot.shared.descriptors(announced);
    lent.devices.extend(devices.into_iter().map(DeviceEntry::assigned));
    let block = spot.copy.get().map_or(facts.block, |copy| spot.shared.described(copy));
    let (memory, ports) = (target_memory(lent), ports(spot, wire));
    Some(TargetDriver::restore(local, reception, &journal, block, memory, ports))
}

fn target_memory(lent: &mut Lent) -> TargetMemory<'_> {
    TargetMemory { devices: &mut lent.devices, outgoing: &mut lent.small, incoming: &mut lent.big }
}

/// A phase of either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phases {
    pub(super) source: SourcePhase,
    pub(super) target: TargetPhase,
}

/// An attempt.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) number: usize,
    pub(super) attempt: Attempt,
    pub(super) reception: Reception,
    pub(super) spots: [Rc<Spot<'a>>; 2],
    pub(super) wire: Rc<RefCell<Wire>>,
    pub(super) source: Option<SourceEnd<'a>>,
    pub(super) target: Option<TargetEnd<'a>>,
    pub(super) phases: Phases,
    /// When each end is to be stepped.
    pub(super) wakes: [Tick; 2],
    pub(super) is_sending: [bool; 2],
    pub(super) is_over: bool,
    pub(super) slots: usize,
    pub(super) was_in_doubt: bool,
    /// When each end was stepped last.
    pub(super) stepped: [Tick; 2],
    /// Monitors that have begun at the target only to answer.
    pub(super) answerers: u8,
    /// Whether an operator has ended the doubt.
    pub(super) is_decided: bool,
}

/// The moment at which nothing happens any more.
pub(super) const NEVER: Tick = Tick::new(u64::MAX);

impl Run<'_> {
    /// Steps one end; `local` is its clock. Gives what it waits for, if it is there.
    pub(super) fn step(&mut self, end: End, now: Tick, local: Tick) -> Option<Wait> {
        self.stepped[end.place()] = now;
        let wait = match end {
            End::Source => {
                let source = self.source.as_mut()?;
                let wait = source.step(local);
                self.phases.source = source.machine().phase();
                wait
            }
            End::Target => {
                let target = self.target.as_mut()?;
                let wait = target.step(local);
                self.phases.target = target.machine().phase();
                wait
            }
        };
        self.is_sending[end.place()] = wait.sending;
        Some(wait)
    }

    /// Has the drain looked at, if the source was at it before its step and has stayed at it.
    pub(super) fn check_drain(&mut self, before: Phases) {
        let phase = self.phases.source;
        let drains = matches!(phase, SourcePhase::Preparing | SourcePhase::Suspended);
        if let (Some(source), true) = (&mut self.source, drains && phase == before.source) {
            let since = source.ports().vm.drains_since();
            check::drain_ends(&self.spots[0], since, self.attempt.limits.drain);
        }
    }

    /// The next moment at which a port or the link of an end has something for it.
    pub(super) fn next_event(&mut self, end: End, now: Tick) -> Option<Tick> {
        let ports = match end {
            End::Source => {
                let ports = self.source.as_mut()?.ports();
                (ports.vm.next_event(), ports.directory.next_event())
            }
            End::Target => {
                let ports = self.target.as_mut()?.ports();
                (ports.vm.next_event(), ports.directory.next_event())
            }
        };
        [ports.0, ports.1, self.next_on_link(end, now)].into_iter().flatten().min()
    }

    fn next_on_link(&self, end: End, now: Tick) -> Option<Tick> {
        let since = self.stepped[end.place()].after(Micros::new(1));
        let next = self.wire.borrow().next_event(end, since, self.is_sending[end.place()])?;
        Some(next.max(now))
    }

    /// Whether an end has a monitor.
    pub(super) const fn is_there(&self, end: End) -> bool {
        match end {
            End::Source => self.source.is_some(),
            End::Target => self.target.is_some(),
        }
    }

    /// What an end has sent may concern the other one.
    pub(super) fn wake_for_link(&mut self, end: End, now: Tick) {
        if !self.is_there(end) {
            return;
        }
        if let Some(at) = self.next_on_link(end, now) {
            let wake = &mut self.wakes[end.place()];
            *wake = (*wake).min(at);
        }
    }

    /// Takes one end away, as a crash does.
    pub(super) fn crash(&mut self, end: End) {
        match end {
            End::Source => {
                if let Some(mut source) = self.source.take() {
                    source.ports().vm.crash();
                }
            }
            End::Target => {
                if let Some(mut target) = self.target.take() {
                    target.ports().vm.crash();
                }
            }
        }
        self.wakes[end.place()] = NEVER;
    }
}
