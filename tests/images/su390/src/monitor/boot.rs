//! The beginning: devices, configuration, and the VM if the record says that it is this SU's.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: a VM is started only under an
//! epoch that the record was raised to for this start; whatever is missing is said in one line.
//! Deliberately not here: what follows.

use core::fmt;

use monitor_core::{
    driver::RemoteDirectory,
    limits::PAGE_BYTES,
    migrate::{SourceJournal, TargetJournal},
    ports::ClusterDirectory,
    units::{DeviceNumber, Micros, PageCount},
    vm::{DirectoryAnswer, Ownership, Standing, VmBlock},
};

use super::{
    LOOK, Su,
    config::Config,
    console::{GuestScreen, say},
    journal::Journal,
    link::PeerLink,
    memory::{self, Memory},
    operator::Operator,
    pause,
    port::Port,
    vm::Vm,
};
use crate::{
    arch::{
        clock,
        power::{self, Status},
        storage::Region,
    },
    guest::Guest,
    virtio::{Block, Console, SerialPort},
};

const LINK: DeviceNumber = DeviceNumber::new(0x0001);
const DIRECTORY: DeviceNumber = DeviceNumber::new(0x0002);
const CONSOLE: DeviceNumber = DeviceNumber::new(0x0003);
const DISK: DeviceNumber = DeviceNumber::new(0x0100);

/// Bytes of the configuration on the disk.
const CONFIGURATION_BYTES: usize = 4096;
/// How long the directory may take for an answer.
const ANSWER: Micros = Micros::from_millis(1_000);
/// How long a directory that cannot be reached is waited for at the beginning.
const REACH: Micros = Micros::from_millis(20_000);

/// Runs the monitor of the SU whose configuration is on the disk.
pub fn run(storage_bytes: usize) -> ! {
    let mut configuration = [0; CONFIGURATION_BYTES];
    let disk = Block::open(DISK)
        .and_then(|mut disk| disk.read(0, &mut configuration).map(|()| disk))
        .unwrap_or_else(|error| fail(format_args!("disk at device {:04X}: {error}", DISK.get())));
    let config = Config::parse(&configuration).unwrap_or_else(|error| fail(error));
    let mut su = build(storage_bytes, disk, config);
    tell_of_former_run(&mut su);
    if let Some(block) = su.config.vm {
        su.start_vm(block);
    }
    say!("% SU '{}' is ready", su.config.su);
    su.serve()
}

/// Says why the monitor does not run, and ends.
fn fail(reason: impl fmt::Display) -> ! {
    say!("% {reason}");
    power::end(Status::Bad)
}

fn open(number: DeviceNumber, name: &str) -> SerialPort {
    match SerialPort::open(number, name) {
        Ok(port) => port,
        Err(error) => fail(format_args!("port {name} at device {:04X}: {error}", number.get())),
    }
}

fn build(storage_bytes: usize, disk: Block, config: Config) -> Su {
    let link = PeerLink::new(config.link, Port::new(open(LINK, "mig")));
    let directory = Port::reusable(open(DIRECTORY, "dir"));
    let directory = RemoteDirectory::new(directory, ANSWER, clock::tod());
    // A machine without this console has a guest that nobody hears.
    let screen = GuestScreen(Console::open(CONSOLE).ok());
    let all = Region::guest(storage_bytes);
    let pages = u64::try_from(all.length() / PAGE_BYTES).unwrap_or(0);
    let pages_max = PageCount::new(pages.min(memory::PAGES_MAX.get()));
    let length = usize::try_from(pages_max.bytes().get()).unwrap_or(0);
    let Some(storage) = all.part(0, length) else {
        fail("there is no storage for a guest");
    };
    let guest = Guest::new(storage, config.tracking, config.guest);
    let vm = Vm::new(guest, pages_max, config.configuration, Journal::open(disk), screen);
    Su {
        config,
        vm,
        epoch: None,
        link,
        directory,
        operator: Operator::new(),
        memory: Memory::take(),
        stamp: clock::tod(),
    }
}

/// A journal that was left says what the former run of this SU was lost with.
fn tell_of_former_run(su: &mut Su) {
    let record = su.vm.journal().record();
    if let Ok(SourceJournal { attempt, stage, .. }) = SourceJournal::parse(record) {
        say!(
            "% this SU was lost while VM {} was moved to {}: {stage:?}",
            attempt.vm,
            attempt.target
        );
    } else if let Ok(TargetJournal { announced, stage, .. }) = TargetJournal::parse(record) {
        say!(
            "% this SU was lost while VM {} was moved here from {}: {stage:?}",
            announced.vm,
            announced.source
        );
    } else {
        return;
    }
    // Nothing of it is left but the record in the directory.
    if su.vm.journal().save(&[]).is_err() {
        fail("the journal cannot be written");
    }
}

/// A VM as messages name it.
struct Named<'a>(&'a VmBlock);

impl fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VM ({},{})", self.0.index(), self.0.name())
    }
}

impl Su {
    /// Starts the configured VM, unless the record says otherwise.
    fn start_vm(&mut self, block: VmBlock) {
        let vm = Named(&block);
        let current = match self.ask(|directory| directory.start_read(block.name())) {
            DirectoryAnswer::Record(record) => record,
            DirectoryAnswer::Missing => {
                return say!("% {vm} is not started: there is no ownership record for it");
            }
            DirectoryAnswer::Won | DirectoryAnswer::Lost(_) | DirectoryAnswer::Unreachable => {
                return say!("% {vm} is not started: the directory cannot be reached");
            }
        };
        let Ownership { owner, epoch, standing } = current;
        if owner != self.config.su {
            return say!("% {vm} is not started: it belongs to SU '{owner}' in epoch {epoch}");
        }
        if standing == Standing::Claimed {
            return say!("% {vm} is not started: it was claimed in epoch {epoch} and has not run");
        }
        // No copy of an earlier start can be claimed any more.
        let new = Ownership::running(owner, epoch.next());
        let name = block.name();
        match self.ask(|directory| directory.start_compare_and_set(name, current, new)) {
            DirectoryAnswer::Won => {}
            // An earlier try was written, and its answer was lost: only this SU writes this value.
            DirectoryAnswer::Lost(record) if record == new => {}
            answer => return say!("% {vm} is not started: the record says {answer:?}"),
        }
        match self.vm.start(block, &self.config, new.epoch) {
            Ok(()) => {
                self.epoch = Some(new.epoch);
                say!("% {vm} started");
            }
            Err(error) => fail(format_args!("{vm} cannot be started: {error}")),
        }
    }

    /// Asks the directory until it answers, or for as long as a start may wait for it.
    fn ask(
        &mut self,
        start: impl Fn(&mut super::Directory) -> Result<(), monitor_core::ports::ErrorKind>,
    ) -> DirectoryAnswer {
        let deadline = clock::now().after(REACH);
        loop {
            self.directory.set_now(clock::now());
            if start(&mut self.directory).is_err() {
                return DirectoryAnswer::Unreachable;
            }
            let answer = loop {
                self.directory.set_now(clock::now());
                if let Some(answer) = self.directory.poll_answer() {
                    break answer;
                }
                pause(&mut self.vm, None, LOOK);
            };
            if answer != DirectoryAnswer::Unreachable || clock::now() >= deadline {
                return answer;
            }
        }
    }
}
