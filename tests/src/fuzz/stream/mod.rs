//! Bytes as the stream of a peer, cut anywhere, into a real driver with ports in memory.
//!
//! Source of truth: ARCHITECTURE.md, "Machines"; `monitor_core::ports`. Invariants: the peer may
//! say anything, the ports keep their promises: each start ends once, with success or not.
//! Nothing that the peer says stores anything outside of the guest, starts the guest at a target
//! that has not won the record, or is taken when it is no frame in its place; what the driver
//! sends are whole frames, numbered without a gap. A monitor may be restarted at any
//! moment from what it has saved. Deliberately not here: a second driver.

mod peer;
mod ports;
mod tape;

use std::{collections::BTreeSet, mem};

use monitor_core::{
    device::DeviceEntry,
    driver::{PortableCrc32c, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory, Wait},
    memory::{AtomicWord, DirtyBitmap},
    migrate::{
        Attempt, Coordination, Limits, Reception, SourceJournal, SourcePhase, Stage, TargetJournal,
        TargetPhase, Verdict,
    },
    ports::Completion,
    units::{Epoch, Incarnation, Micros, PageCount, PageNumber, Sequence, StreamId, Tick},
    vm::{Activity, GuestAnswer, Ownership},
    wire::{FrameFlags, Header, VERSION_MAX, checksum::crc32c},
};

use self::{
    peer::{Console, Directory, PeerLink, Record, Resolution},
    ports::Vm,
};
use super::{
    bodies::{Said, definition, draw},
    bytes::Bytes,
};
use crate::machines::{
    EPOCH, FIRST_LOAD, LIMITS, NEXT_LOAD, NOW, PAGES, STREAM, device, records, source_su,
    target_su, vm_name,
};

/// Bytes of a buffer for a whole frame of this VM, and more.
const BUFFER_BYTES: usize = 32 * 1024;

/// Steps behind each of which a driver may say that there is more to do at once.
const BUSY_STEPS_LIMIT: usize = 64;

/// Words of a map of one group.
const MAP_WORDS: usize = 3;

/// The ports of either driver.
type TestPorts = Ports<Vm, PeerLink, Directory, Console, PortableCrc32c>;

/// A phase of either machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriverPhase {
    /// Of a source.
    Source(SourcePhase),
    /// Of a target.
    Target(TargetPhase),
}

/// A driver, as the peer and the surroundings see it.
trait Driver {
    fn step(&mut self, now: Tick) -> Wait;
    fn ports(&mut self) -> &mut TestPorts;
    fn uses_link(&self) -> bool;
    fn phase(&self) -> DriverPhase;
    /// What only this end has: a command of its operator, or a store of its guest.
    fn act(&mut self, now: Tick, which: u8);
}

impl Driver for SourceDriver<'_, Vm, PeerLink, Directory, Console, PortableCrc32c> {
    fn step(&mut self, now: Tick) -> Wait {
        self.step(now)
    }

    fn ports(&mut self) -> &mut TestPorts {
        self.ports()
    }

    fn uses_link(&self) -> bool {
        self.machine().uses_link()
    }

    fn phase(&self) -> DriverPhase {
        DriverPhase::Source(self.machine().phase())
    }

    fn act(&mut self, now: Tick, which: u8) {
        // A command that comes too early or too late is refused, and nothing else happens.
        let _ = match which % 5 {
            0 => self.cancel(now),
            1 => self.decide(now, Verdict::TargetRuns(EPOCH.next())),
            2 => self.decide(now, Verdict::TargetLost(EPOCH.next())),
            3 => self.set_limits(Limits { blackout: Micros::new(1), ..LIMITS }),
            _ => {
                self.ports().vm.stores = true;
                Ok(())
            }
        };
    }
}

impl Driver for TargetDriver<'_, Vm, PeerLink, Directory, Console, PortableCrc32c> {
    fn step(&mut self, now: Tick) -> Wait {
        self.step(now)
    }

    fn ports(&mut self) -> &mut TestPorts {
        self.ports()
    }

    fn uses_link(&self) -> bool {
        self.machine().listens()
    }

    fn phase(&self) -> DriverPhase {
        DriverPhase::Target(self.machine().phase())
    }

    fn act(&mut self, _now: Tick, _which: u8) {}
}

/// Takes bytes as what happens to a source or a target; gives the phases in which it rested.
///
/// # Panics
/// When a driver panics, does not come to rest, or breaks one of the rules above.
#[must_use]
pub fn stream_course(data: &[u8]) -> BTreeSet<DriverPhase> {
    let mut phases = BTreeSet::new();
    let mut bytes = Bytes::new(data);
    let starts = [
        Some((Activity::Running, Coordination::IfPossible)),
        Some((Activity::Down, Coordination::Required)),
        None,
        None,
    ];
    match bytes.one_of(&starts) {
        Some(Some((activity, coordination))) => {
            source(activity, coordination, bytes, &mut phases);
        }
        Some(None) => target(bytes, &mut phases),
        None => {}
    }
    phases
}

fn ports(su: Ownership, is_source: bool) -> TestPorts {
    let record = Record::new(records()[0]);
    Ports {
        vm: Vm::new(su, is_source, record.clone()),
        link: PeerLink::new(),
        directory: Directory::new(record),
        console: Console,
        checksum: PortableCrc32c,
    }
}

/// The ports that a restarted monitor finds; those of the driver are of no use any more.
fn survivors(driver: &mut impl Driver, resolution: Resolution) -> TestPorts {
    let mut ports = mem::replace(driver.ports(), ports(records()[0], true));
    ports.directory.restart(resolution);
    ports.link = PeerLink::new();
    ports
}

fn source(
    activity: Activity,
    coordination: Coordination,
    mut bytes: Bytes<'_>,
    phases: &mut BTreeSet<DriverPhase>,
) {
    let attempt = Attempt {
        stream: STREAM,
        vm: vm_name(),
        source: source_su(),
        target: target_su(),
        epoch: EPOCH,
        activity,
        pages: PAGES,
        processors: 1,
        coordination,
        limits: LIMITS,
    };
    let (mut ports, mut now, mut journal) = (ports(records()[0], true), NOW, None);
    loop {
        let maps: [[AtomicWord; MAP_WORDS]; 2] = Default::default();
        let [pages, keys] =
            maps.each_ref().map(|map| DirtyBitmap::try_new(map, PAGES).expect("one group"));
        let entry = if journal.is_some() { DeviceEntry::quiesced } else { DeviceEntry::attached };
        let memory = SourceMemory {
            pages,
            keys,
            window: &mut [None; 2],
            devices: &mut [0, 1].map(|number| entry(device(number), EPOCH)),
            outgoing: &mut vec![0; BUFFER_BYTES],
            incoming: &mut vec![0; BUFFER_BYTES],
        };
        let driver = match &journal {
            Some(journal) => SourceDriver::restore(now, journal, definition(), memory, ports),
            None => {
                let mut driver = SourceDriver::new(definition(), memory, ports);
                driver.start(now, attempt).expect("a new driver takes an attempt");
                driver
            }
        };
        let mut course = Course::new(driver, now);
        let Some(resolution) = course.run(&mut bytes, phases) else {
            return;
        };
        now = course.now;
        ports = survivors(&mut course.driver, resolution);
        let bytes = ports.vm.restart();
        if bytes.is_empty() {
            return;
        }
        journal = Some(SourceJournal::parse(bytes).expect("a journal that was saved is read"));
    }
}

fn target(mut bytes: Bytes<'_>, phases: &mut BTreeSet<DriverPhase>) {
    let reception = Reception {
        limits: LIMITS,
        frame_bytes_max: u32::try_from(BUFFER_BYTES).expect("a small buffer"),
        ..Reception::new(target_su(), FIRST_LOAD, PageCount::new(1024))
    };
    let (mut ports, mut now, mut journal) = (ports(records()[2], false), NOW, None);
    loop {
        let memory = TargetMemory {
            devices: &mut [0, 1].map(|number| match journal {
                Some(_) => DeviceEntry::assigned(device(number)),
                None => DeviceEntry::vacant(),
            }),
            outgoing: &mut vec![0; BUFFER_BYTES],
            incoming: &mut vec![0; BUFFER_BYTES],
        };
        let driver = match &journal {
            Some(journal) => {
                TargetDriver::restore(now, reception, journal, definition(), memory, ports)
            }
            None => TargetDriver::new(reception, memory, ports),
        };
        let mut course = Course::new(driver, now);
        let Some(resolution) = course.run(&mut bytes, phases) else {
            return;
        };
        now = course.now;
        ports = survivors(&mut course.driver, resolution);
        let bytes = ports.vm.restart();
        if bytes.is_empty() {
            return;
        }
        journal = Some(TargetJournal::parse(bytes).expect("a journal that was saved is read"));
    }
}

/// A driver and its peer.
struct Course<D> {
    driver: D,
    now: Tick,
    /// Number of the peer's next frame.
    next: u64,
    load: Incarnation,
    wait: Wait,
}

impl<D: Driver> Course<D> {
    fn new(driver: D, now: Tick) -> Self {
        let wait = Wait { busy: false, sending: false, deadline: None, finished: false };
        Self { driver, now, next: 1, load: FIRST_LOAD, wait }
    }

    /// Runs until the bytes have run out, or the monitor is restarted: gives then what becomes of
    /// its question to the directory.
    fn run(
        &mut self,
        bytes: &mut Bytes<'_>,
        phases: &mut BTreeSet<DriverPhase>,
    ) -> Option<Resolution> {
        loop {
            self.settle();
            phases.insert(self.driver.phase());
            let what = bytes.byte()? % 20;
            if what == 17 {
                return bytes.one_of(&Resolution::ALL);
            }
            self.happen(what, bytes)?;
        }
    }

    /// One thing happens; `None` when the bytes have run out.
    fn happen(&mut self, what: u8, bytes: &mut Bytes<'_>) -> Option<()> {
        match what {
            0..5 => self.say(bytes)?,
            5 => {
                let count = usize::from(bytes.byte()?);
                self.driver.ports().link.say(bytes.take(count));
            }
            6 => self.driver.ports().vm.end_all(true),
            7 => self.driver.ports().vm.end_one(bytes.byte()? % 2 == 0),
            8 => {
                let answers = [GuestAnswer::Ready, GuestAnswer::Refused, GuestAnswer::Resumed];
                let answer = bytes.one_of(&answers)?;
                self.driver.ports().vm.ended.push_back(Completion::Guest(answer));
            }
            9 => {
                let resolution = bytes.one_of(&Resolution::ALL)?;
                self.driver.ports().directory.resolve(resolution);
            }
            10 => self.now = self.now.after(Micros::new(1 << (bytes.byte()? % 42))),
            11 => self.now = self.wait.deadline.map_or(self.now, |moment| self.now.max(moment)),
            12 => self.driver.ports().link.cap(bytes.byte()?, bytes.byte()?),
            13 => self.driver.ports().vm.fails_in = Some(bytes.byte()? % 16),
            14 => self.driver.ports().link.cut(),
            15 => self.driver.act(self.now, bytes.byte()?),
            16 => self.driver.ports().link.connect(),
            _ => self.say(bytes)?,
        }
        Some(())
    }

    /// The peer says a frame, in its place and with check values that fit unless the bytes say
    /// otherwise.
    fn say(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let identity = bytes.byte()?;
        if identity & 0xC0 == 0xC0 {
            self.load = if self.load == FIRST_LOAD { NEXT_LOAD } else { FIRST_LOAD };
        }
        let heard = self.driver.ports().link.heard();
        let (kind, body) = draw(bytes, Said { heard, load: self.load, is_second: false })?;
        let header = Header {
            version: VERSION_MAX,
            type_code: kind.code(),
            flags: FrameFlags::MUST_UNDERSTAND,
            length: u32::try_from(body.len()).expect("a body is short"),
            stream: if identity & 7 == 7 { StreamId::new(0) } else { STREAM },
            epoch: if identity & 11 == 11 { Epoch::new(u64::MAX) } else { EPOCH },
            sequence: Sequence::new(self.next + u64::from(identity & 13 == 13)),
            body_check: crc32c(0, &body) ^ u32::from(identity & 0x38 == 0x38),
        };
        self.next += 1;
        let link = &mut self.driver.ports().link;
        link.say(&header.emit());
        link.say(&body);
        Some(())
    }

    /// Steps until there is nothing more to do at once, and holds what was done against the rules.
    fn settle(&mut self) {
        for _ in 0..BUSY_STEPS_LIMIT {
            self.wait = self.driver.step(self.now);
            let is_given_up = !self.driver.uses_link();
            let Ports { vm, link, .. } = self.driver.ports();
            assert!(link.commit_count() <= 1, "COMMIT is sent once");
            let is_open = vm.source_stage() == Some(Stage::Open);
            assert!(link.commit_count() == 0 || !is_open, "COMMIT is written ahead");
            assert!(is_given_up || !link.has_taken_nonsense(), "the link is lost at nonsense");
            assert!(!link.has_heard_nonsense(), "what is sent are frames in their places");
            if !self.wait.busy {
                return;
            }
        }
        panic!("a driver comes to rest when nothing happens");
    }
}

/// Marks the guest's first page and its second key.
fn store(pages: &DirtyBitmap<'_>, keys: &DirtyBitmap<'_>) {
    let marked = pages.mark(PageNumber::new(0)).and_then(|()| keys.mark(PageNumber::new(1)));
    marked.expect("the guest has two pages");
}
