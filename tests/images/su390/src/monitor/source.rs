//! The source's part: moves the VM away from here.
//!
//! Source of truth: `monitor_core::driver::SourceDriver`. Invariants: nothing is begun before the
//! source's own check and a connection; the operator is heard between two steps. Deliberately not
//! here: decisions about a move.

use monitor_core::{
    device::DeviceEntry,
    driver::{PortableCrc32c, Ports, SourceDriver},
    message::{
        Notice, Parties,
        command::{Command, Evidence},
        render,
    },
    migrate::{Attempt, Circumstances, SourcePhase, Verdict, admit},
    ports::Link,
    units::{Epoch, Micros, StreamId, SuName, VmName},
    vm::{Findings, VmBlock, VmId},
};

use super::{
    Directory, PeerLink, Su,
    console::{Screen, say},
    pause, pause_driver, report,
    vm::Vm,
};
use crate::arch::clock;

/// How long the other SU may take to accept a connection.
const CONNECT: Micros = Micros::from_millis(3_000);

type Driver<'a> =
    SourceDriver<'a, &'a mut Vm, &'a mut PeerLink, &'a mut Directory, Screen, PortableCrc32c>;

impl Su {
    /// Moves the VM to another SU, if that can be tried.
    pub(super) fn move_away(&mut self, vm: VmId, target: Option<SuName>) {
        let target = target.unwrap_or(self.config.peer);
        let block = self.vm.block().copied().filter(|block| is(block, vm));
        let is_known = target == self.config.peer;
        let is_connected = block.is_some() && is_known && self.connect();
        let mut findings = Findings::new();
        let target_is_known = is_known && (is_connected || block.is_none());
        // There is one VM, which is moved while nothing else is done.
        let circumstances = Circumstances { target_is_known, is_sending: false };
        admit(block.as_ref(), circumstances, &mut findings);
        match (block, self.epoch) {
            (Some(block), Some(epoch)) if findings.is_empty() => {
                self.run_source(block, epoch, target);
            }
            _ => self.reject(vm, target, &findings),
        }
        self.link.listen();
    }

    /// Opens a connection to the other SU.
    fn connect(&mut self) -> bool {
        let token = self.unique();
        self.link.open(token);
        let deadline = clock::now().after(CONNECT);
        while clock::now() < deadline {
            if self.link.poll_connected() {
                return true;
            }
            pause(&mut self.vm, Some(deadline), super::CLOSE_LOOK);
        }
        false
    }

    /// Says why the command is not obeyed.
    fn reject(&self, vm: VmId, target: SuName, findings: &Findings) {
        let known = self.vm.block().filter(|block| is(block, vm));
        let (index, name) = match (known, vm) {
            (Some(block), _) => (Some(block.index()), block.name()),
            (None, VmId::Index(index)) => (Some(index), VmName::EMPTY),
            (None, VmId::Name(name)) => (None, name),
        };
        let parties = Parties { index, name, source: self.config.su, target };
        for finding in findings.listed() {
            let notice = Notice::Rejected { finding: *finding, by_target: false };
            say!("{}", render(notice, &parties));
        }
        say!("{}", render(Notice::NotPossible, &parties));
    }

    fn run_source(&mut self, block: VmBlock, epoch: Epoch, target: SuName) {
        let attempt = Attempt {
            stream: StreamId::new(self.unique()),
            vm: block.name(),
            source: self.config.su,
            target,
            epoch,
            activity: block.state().activity(),
            pages: block.memory(),
            processors: block.processor_count(),
            coordination: self.config.coordination,
            limits: self.config.limits,
        };
        let Some(maps) = self.vm.maps() else {
            return;
        };
        let entry = |descriptor| DeviceEntry::attached(descriptor, epoch);
        let memory = self.memory.of_source(maps, self.vm.devices().descriptors().map(entry));
        let ports = Ports {
            vm: &mut self.vm,
            link: &mut self.link,
            directory: &mut self.directory,
            console: Screen,
            checksum: PortableCrc32c,
        };
        let mut driver: Driver<'_> = SourceDriver::new(block, memory, ports);
        if driver.start(clock::now(), attempt).is_err() {
            say!("% the move was not begun");
            return;
        }
        let mut is_to_end = false;
        loop {
            let now = clock::now();
            driver.ports().directory.set_now(now);
            let wait = driver.step(now);
            if let Some(command) = self.operator.poll() {
                is_to_end |= command == Command::End;
                obey(&mut driver, command, &block);
            }
            if wait.finished || is_to_end {
                break;
            }
            pause_driver(driver.ports().vm, wait);
        }
        let tracked = driver.ports().vm.tracked();
        report::of_source(driver.machine(), driver.bytes(), tracked);
        let ended = (driver.machine().phase(), driver.machine().epoch());
        drop(driver);
        if ended.0 == SourcePhase::Released {
            self.link.settle();
        }
        self.epoch = (ended.0 != SourcePhase::Released).then_some(ended.1);
        if is_to_end {
            self.end();
        }
    }
}

/// Does what an operator wants while the VM is being moved.
fn obey(driver: &mut Driver<'_>, command: Command, block: &VmBlock) {
    let now = clock::now();
    let machine = driver.machine();
    let (phase, epoch) = (machine.phase(), machine.epoch().next());
    let done = match command {
        Command::CancelMigration { vm } if is(block, vm) => driver.cancel(now),
        Command::ResolveMigration { vm, answer } if is(block, vm) => driver.decide(
            now,
            match answer {
                Evidence::TargetRuns => Verdict::TargetRuns(epoch),
                Evidence::TargetLost => Verdict::TargetLost(epoch),
            },
        ),
        Command::ShowStatus => {
            say!("% VM ({},{}) is being moved: {phase:?}", block.index(), block.name());
            return;
        }
        Command::End => return,
        Command::MigrateVm { .. }
        | Command::CancelMigration { .. }
        | Command::ResolveMigration { .. } => {
            say!("% another VM is being moved");
            return;
        }
    };
    match done {
        Ok(()) => {}
        Err(error) => say!("% command rejected: {error}"),
    }
}

/// Whether a command means this VM.
fn is(block: &VmBlock, vm: VmId) -> bool {
    match vm {
        VmId::Index(index) => block.index() == index,
        VmId::Name(name) => block.name() == name,
    }
}
