//! Behavior of guests: each workload keeps what it promises, and the check finds what is broken.
//!
//! Source of truth: the heads of the modules of `workload`. Invariant: time is virtual, and the
//! same test gives the same course. Deliberately not here: the machine, which has its own tests.

mod broken;
mod course;
mod messages;
mod network;
mod pages;
mod processors;
mod scripts;

use std::sync::{Arc, Mutex};

use monitor_core::{
    channel::SubchannelImage,
    device::{Assignment, DeviceDescriptor, DeviceKind},
    memory::PageRun,
    processor::ProcessorImage,
    units::{
        ConfigurationName, DeviceNumber, DeviceSlot, Epoch, GroupNumber, Micros, Mnemonic,
        PageCount, PageNumber, ProcessorIndex, SubchannelNumber, Tick, VmIndex, VmName,
    },
    vm::{Facility, VmBlock},
};

use super::{
    nucleus::{BlockName, Layout},
    *,
};
use crate::machine::{
    AttachedDevice, Console, Ctc, Device, Faulty, FbaDisk, Lan, LineSink, LoggedDisk, MacAddress,
    Machine, Path, Switch,
};

const PAGES: PageCount = PageCount::new(256);
const CONSOLE: SubchannelNumber = SubchannelNumber::new(1);
const DISK: SubchannelNumber = SubchannelNumber::new(2);
const FIRST_LINE: u16 = 3;
const ADAPTER: SubchannelNumber = SubchannelNumber::new(7);
/// The LAN lines of the example, and whether they are VLAN lines.
const LINES: [(&str, bool); 4] =
    [("L#MANLO1", false), ("L1#DANPU", true), ("L1#MANPU", true), ("L1#MCNPR", true)];
const SOURCE_CONFIGURATION: &str = "390SU- 500-10B";
const TARGET_CONFIGURATION: &str = "390SU- 700-70";
/// What one step of a processor takes.
const STEP_US: u64 = 50;

const HOT_SET: Kind = Kind::HotSet { window: PageCount::new(40), rate: Rate::PerSecond(20_000) };
const SWEEP: Kind = Kind::Sweep { rate: Rate::PerSecond(5_000) };
const MEMORY_ONLY: Kind = Kind::MemoryOnly { rate: Rate::PerSecond(5_000) };
const KEY_VALUE: Kind = Kind::KeyValue { slots: 300, rate: Rate::PerSecond(10_000) };
const JOURNAL: Kind = Kind::Journal { interval_us: 5_000 };
const ALL_AND_NETWORK: [Kind; 6] = [Kind::Idle, HOT_SET, SWEEP, KEY_VALUE, JOURNAL, Kind::Network];
const PROCESSORS: Kind = Kind::Processors { interval_us: 500 };
const ALL: [Kind; 5] = [Kind::Idle, HOT_SET, SWEEP, KEY_VALUE, JOURNAL];

fn plan(kinds: &[Kind]) -> GuestPlan {
    let line = |(number, (name, vlan)): (u16, &(&str, bool))| LanLine {
        name: String::from(*name),
        vlan: *vlan,
        subchannel: SubchannelNumber::new(FIRST_LINE + number),
    };
    GuestPlan {
        kinds: kinds.to_vec(),
        manner: Manner::Accept,
        fill: Fill::Random,
        seed: 0x5EED,
        console: CONSOLE,
        journal: vec![DISK],
        lines: (0..).zip(&LINES).map(line).collect(),
        initial_configuration: ConfigurationName::new(TARGET_CONFIGURATION).unwrap(),
    }
}

/// The lines of a guest's console.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl LineSink for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(String::from(text));
    }
}

/// A guest in a machine with devices, and a clock.
struct Rig {
    machine: Machine,
    plan: GuestPlan,
    disk: Arc<FbaDisk>,
    console: Arc<Console>,
    lines: Arc<Lines>,
    lans: Vec<Arc<Lan>>,
    /// Both sides of the channel-to-channel adapter: the guest's first.
    adapter: (Arc<Ctc>, Arc<Ctc>),
    /// The scripts of faults of the lines, and of the adapter.
    faults: Vec<Arc<Faulty>>,
    /// The stations on the lines, if there are any.
    peers: Arc<Vec<Peer>>,
    now: u64,
}

fn descriptor(subchannel: SubchannelNumber, kind: DeviceKind) -> DeviceDescriptor {
    DeviceDescriptor {
        mnemonic: Mnemonic::new("DV").unwrap(),
        number: DeviceNumber::new(0x100 + subchannel.get()),
        kind,
        assignment: Assignment::Exclusive,
        subchannel,
        identity: u64::from(subchannel.get()),
        ..DeviceDescriptor::VACANT
    }
}

/// The latest of the devices with scripts.
fn faulty(faults: &[Arc<Faulty>]) -> Arc<dyn Device> {
    Arc::<Faulty>::clone(&faults[faults.len() - 1])
}

impl Rig {
    /// A machine without a guest; with `shared`, it reaches the same disk and console.
    fn bare(
        plan: GuestPlan,
        pages: PageCount,
        processor_count: u16,
        configuration: &str,
        shared: Option<&Self>,
    ) -> Self {
        let lines = shared.map_or_else(Arc::default, |rig| rig.lines.clone());
        let sink: Arc<dyn LineSink> = lines.clone();
        let console =
            shared.map_or_else(|| Arc::new(Console::new(sink)), |rig| rig.console.clone());
        let disk = shared
            .map_or_else(|| Arc::new(FbaDisk::in_memory(JOURNAL_BLOCKS)), |rig| rig.disk.clone());
        let mac: MacAddress = [2, 0, 0, 0, 0, u8::from(shared.is_some())];
        let switch = |number: usize| {
            shared.map_or_else(Switch::new, |rig| Arc::clone(rig.lans[number].port().switch()))
        };
        let lans: Vec<_> =
            (0..plan.lines.len()).map(|line| Arc::new(Lan::new(mac, &switch(line)))).collect();
        let attached = |subchannel, kind, device: Arc<dyn Device>, latency_us| {
            let (descriptor, latency) = (descriptor(subchannel, kind), Micros::new(latency_us));
            AttachedDevice::new(descriptor, device, latency, Path::default())
        };
        let mut devices = vec![
            attached(CONSOLE, DeviceKind::Console, console.clone(), 50),
            attached(DISK, DeviceKind::Disk, disk.clone(), 200),
        ];
        let adapter = shared.map_or_else(Ctc::pair, |rig| rig.adapter.clone());
        let mut faults = Vec::new();
        for (line, lan) in plan.lines.iter().zip(&lans) {
            faults.push(Arc::new(Faulty::new(lan.clone())));
            devices.push(attached(line.subchannel, DeviceKind::Lan, faulty(&faults), 20));
        }
        faults.push(Arc::new(Faulty::new(adapter.0.clone())));
        devices.push(attached(ADAPTER, DeviceKind::ChannelToChannel, faulty(&faults), 20));
        let index = VmIndex::new(12).unwrap();
        let name = VmName::new("VM12PROD").unwrap();
        let block = VmBlock::new(index, name, pages, processor_count).unwrap();
        let block = block.with_facilities(guest::FACILITIES.with(Facility::PAGE_STATES));
        let configuration = ConfigurationName::new(configuration).unwrap();
        let machine = Machine::new(&block, configuration, plan.program(), devices);
        let now = shared.map_or(1000, |rig| rig.now);
        let peers = shared.map_or_else(Arc::default, |rig| Arc::clone(&rig.peers));
        Self { machine, plan, disk, console, lines, lans, adapter, faults, peers, now }
    }

    /// A guest that is loaded and ready to run.
    fn with(plan: GuestPlan, processor_count: u16) -> Self {
        let rig = Self::bare(plan, PAGES, processor_count, SOURCE_CONFIGURATION, None);
        ipl(&rig.machine, &rig.plan).unwrap();
        rig.attach(Epoch::new(1));
        rig.machine.resume(Tick::new(rig.now));
        rig
    }

    fn new(kinds: &[Kind]) -> Self {
        Self::with(plan(kinds), 2)
    }

    fn slots(&self) -> impl Iterator<Item = DeviceSlot> + use<> {
        (0..self.plan.lines.len() as u16 + 3).map(DeviceSlot::new)
    }

    fn attach(&self, epoch: Epoch) {
        for slot in self.slots() {
            self.machine.with_subsystem(|subsystem| subsystem.attach(slot, epoch)).unwrap();
        }
    }

    /// Steps channel and processors until `span_us` has passed.
    fn run(&mut self, span_us: u64) {
        let end = self.now + span_us;
        while self.now < end {
            let now = Tick::new(self.now);
            let mut next = end;
            for peer in &*self.peers {
                next = next.min(peer.step(now).get());
            }
            self.machine.step_channel(now);
            for index in 0..self.machine.processor_count() {
                let step = self.machine.step_processor(index, now, 256).unwrap_or_default();
                next = next.min(step.next_due.map_or(end, Tick::get));
            }
            // A processor may just have started a channel program.
            next = next.min(self.machine.step_channel(now).map_or(end, Tick::get));
            self.now = next.clamp(self.now + STEP_US, end.max(self.now + STEP_US));
        }
        assert_eq!(self.machine.fault(), None);
    }

    fn check(&self) -> Verdict {
        check(&self.machine, &self.plan, &[&*self.disk])
    }

    fn image(&self, processor: u16) -> ProcessorImage {
        let mut image = ProcessorImage::initial();
        self.machine.capture(ProcessorIndex::new(processor), &mut image).unwrap();
        image
    }

    /// Stops the guest and lets the I/O on the way end.
    fn stop(&mut self) {
        for slot in self.slots() {
            self.machine.with_subsystem(|subsystem| subsystem.hold(slot)).unwrap();
        }
        self.machine.stop();
        self.run(1000);
    }

    /// The guest of this stopped machine, made anew on another server unit from what it has in
    /// storage, registers and subchannels.
    fn moved(&self) -> Self {
        let processor_count = self.machine.processor_count();
        let pages = self.machine.storage.page_count();
        let target =
            Self::bare(self.plan.clone(), pages, processor_count, TARGET_CONFIGURATION, Some(self));
        let mut bytes = vec![0; 64 * 4096];
        for group in 0..pages.groups() {
            let run = PageRun { group: GroupNumber::new(group), mask: u64::MAX };
            self.machine.storage.copy_out(run, &mut bytes).unwrap();
            target.machine.storage.copy_in(run, &bytes).unwrap();
        }
        for processor in 0..processor_count {
            let index = ProcessorIndex::new(processor);
            target.machine.restore(index, &self.image(processor)).unwrap();
        }
        for slot in self.slots() {
            let descriptor = descriptor(SubchannelNumber::new(slot.get() + 1), DeviceKind::Disk);
            let mut image = SubchannelImage::idle(descriptor.subchannel, descriptor.number);
            self.machine.with_subsystem(|subsystem| subsystem.capture(slot, &mut image)).unwrap();
            target.machine.with_subsystem(|subsystem| subsystem.restore(slot, &image)).unwrap();
        }
        target.attach(Epoch::new(2));
        target.machine.resume(Tick::new(target.now));
        target
    }
}

/// The names of the faults of a verdict.
fn names(verdict: &Verdict) -> Vec<String> {
    verdict.faults.iter().map(ToString::to_string).collect()
}
