//! Behavior of the machine as a whole: interruptions, channel programs, fence, stop, ports.
//!
//! Source of truth: the invariants at the heads of the modules of `machine`.

use super::*;
use disk::Disk;
use monitor_core::{
    channel::{DeviceStatus, Orb, ScswControl, ScswFlags, SubchannelImage, SubchannelStatus},
    device::{Assignment, DeviceDescriptor, DeviceKind},
    memory::Sweep,
    ports::{
        Completion, Completions, DeviceControl, ErrorKind, GuestEvents, GuestProcessors,
        GuestStorage, Operation,
    },
    processor::{CpuState, ProcessorImage, Psw, TodEpoch},
    units::{
        ConfigurationName, DeviceNumber, DeviceSlot, Epoch, Micros, Mnemonic, PageCount,
        ProcessorIndex, SubchannelNumber, Tick, VmIndex, VmName,
    },
    vm::{GuestAnswer, GuestEvent, VmBlock},
};
use std::sync::{Arc, Mutex};

/// Guest code that is a closure.
struct Code<F>(F);

impl<F> Program for Code<F>
where
    F: Fn(&mut Context<'_>, u32) -> Result<Step, Exception> + Send + Sync,
{
    fn run(&self, context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
        (self.0)(context, budget)
    }
}

/// Guest code that counts its steps in general register 1.
fn count(context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
    context.state.general[1] += 1;
    Ok(Step { worked: 1, next_due: None })
}

const SLOT: DeviceSlot = DeviceSlot::new(0);
const SUBCHANNEL: SubchannelNumber = SubchannelNumber::new(0x10);
const PROCESSOR: ProcessorIndex = ProcessorIndex::new(0);
const LATENCY: Micros = Micros::new(200);
const PARAMETER: u32 = 0xCAFE_0001;
const IO_AND_EXTERNAL: u64 = 0x0300_0001_8000_0000;

fn at(tick: u64) -> Tick {
    Tick::new(tick)
}

fn descriptor() -> DeviceDescriptor {
    DeviceDescriptor {
        mnemonic: Mnemonic::new("9920").unwrap(),
        number: DeviceNumber::new(0x9920),
        kind: DeviceKind::Disk,
        assignment: Assignment::Exclusive,
        subchannel: SUBCHANNEL,
        identity: 7,
        ..DeviceDescriptor::VACANT
    }
}

fn attached(device: Arc<dyn Device>) -> AttachedDevice {
    AttachedDevice::new(descriptor(), device, LATENCY, Path::default())
}

/// What guest code finds when it runs once on processor 0 with the registers of `image`.
fn once<T: Send + 'static>(
    image: &ProcessorImage,
    code: impl Fn(&mut Context<'_>) -> T + Send + Sync + 'static,
) -> (Machine, T) {
    let found = Arc::new(Mutex::new(None));
    let place = Arc::clone(&found);
    let program = move |context: &mut Context<'_>, _: u32| {
        *place.lock().unwrap() = Some(code(context));
        Ok(Step { worked: 1, next_due: None })
    };
    let machine = machine_with(program, Arc::new(Disk::new()));
    machine
        .restore(PROCESSOR, &ProcessorImage { state: CpuState::Operating, ..image.clone() })
        .unwrap();
    machine.resume(at(0));
    machine.step_processor(0, at(0), 1);
    let found = found.lock().unwrap().take().unwrap();
    (machine, found)
}

fn machine_with(
    program: impl Fn(&mut Context<'_>, u32) -> Result<Step, Exception> + Send + Sync + 'static,
    device: Arc<dyn Device>,
) -> Machine {
    let name = VmName::new("VM12PROD").unwrap();
    let index = VmIndex::new(12).unwrap();
    let block = VmBlock::new(index, name, PageCount::new(16), 2).unwrap();
    let configuration = ConfigurationName::new("390SU- 500-10B").unwrap();
    Machine::new(&block, configuration, Arc::new(Code(program)), vec![attached(device)])
}

fn machine(device: &Arc<Disk>) -> Machine {
    machine_with(count, device.clone())
}

/// Attaches and enables the device, and opens all masks of processor 0 toward `new` PSWs that
/// are disabled.
fn ready(machine: &Machine, epoch: u64) {
    machine.with_subsystem(|subsystem| {
        subsystem.attach(SLOT, Epoch::new(epoch)).unwrap();
        assert_eq!(enable(subsystem, true), ConditionCode::Done);
    });
    let mut image = ProcessorImage::initial();
    image.state = CpuState::Operating;
    image.psw = Psw::new(IO_AND_EXTERNAL, 0x2000);
    image.control[0] |= 0x200;
    image.control[6] = 0xFF00_0000;
    machine.restore(PROCESSOR, &image).unwrap();
    for (new, address) in [(0x1B0, 0x3000_u64), (0x1F0, 0x4000)] {
        machine.storage.store(new, 0x0000_0001_8000_0000).unwrap();
        machine.storage.store(new + 8, address).unwrap();
    }
}

/// Enables the subchannel with interruption subclass 3, or disables it.
fn enable(subsystem: &mut Subsystem, enabled: bool) -> ConditionCode {
    let mut schib = subsystem.store(SUBCHANNEL).unwrap();
    schib.pmcw = schib.pmcw.with_enabled(enabled).with_interruption_subclass(3);
    subsystem.modify(SUBCHANNEL, &schib).unwrap()
}

fn state(machine: &Machine) -> ProcessorImage {
    let mut image = ProcessorImage::initial();
    machine.capture(PROCESSOR, &mut image).unwrap();
    image
}

/// A program at 0x1000 that selects block 5 and does `code` with the page at 0x5000.
fn put_program(machine: &Machine, code: u8) -> Orb {
    let storage = &machine.storage;
    storage.store(0x1000, 0x0740_0004_0000_1100).unwrap();
    storage.store(0x1008, u64::from(code) << 56 | 0x0000_1000_0000_5000).unwrap();
    storage.store_bytes(0x1100, &5_u32.to_be_bytes()).unwrap();
    Orb::of_program(0x1000, PARAMETER)
}

fn start(machine: &Machine, orb: &Orb, now: u64) -> ConditionCode {
    machine.with_subsystem(|subsystem| subsystem.start(SUBCHANNEL, orb, at(now)).unwrap())
}

fn quiet(machine: &Machine) -> bool {
    machine.with_subsystem(|subsystem| subsystem.quiet(SLOT))
}

fn status(machine: &Machine) -> monitor_core::channel::Scsw {
    machine.with_subsystem(|subsystem| subsystem.test(SUBCHANNEL).1.scsw)
}

fn image(machine: &Machine) -> SubchannelImage {
    let mut image = SubchannelImage::idle(SUBCHANNEL, DeviceNumber::new(0));
    machine.with_subsystem(|subsystem| subsystem.capture(SLOT, &mut image)).unwrap();
    image
}

fn marked_pages(machine: &Machine) -> Vec<u64> {
    let mut sweep = Sweep::default();
    let runs = std::iter::from_fn(|| machine.storage.pages_map().take_next(&mut sweep));
    runs.flat_map(|run| run.pages().map(|page| page.get()).collect::<Vec<_>>()).collect()
}

mod access;
mod alias;
mod bench;
mod busy;
mod carried;
mod chains;
mod channel;
mod channel_data;
mod channel_functions;
mod channel_handover;
mod channel_program;
mod channel_random;
mod channel_status;
mod disk;
mod disk_random;
mod disks;
mod floating;
mod instructions;
mod interruption;
mod makeup;
mod partners;
mod port;
mod run;
mod signals;
mod timers;
