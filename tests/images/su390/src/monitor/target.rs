//! The target's part: receives the VM here, or answers a source that asks what has become of it.
//!
//! Source of truth: `monitor_core::driver::TargetDriver`. Invariants: a connection that begins with
//! RESUME is heard by the attempt that the journal names; the loads of each attempt have new
//! incarnations. Deliberately not here: decisions about a move.

use monitor_core::{
    device::DeviceEntry,
    driver::{PortableCrc32c, Ports, TargetDriver},
    message::command::Command,
    migrate::{Reception, TargetJournal, TargetPhase},
    units::{Incarnation, Micros},
    vm::Disposition,
    wire::FrameType,
};

use super::{
    CLOSE_LOOK, Directory, PeerLink, Su,
    console::{Screen, say},
    pause, pause_driver,
    vm::Vm,
};
use crate::arch::clock;

/// How long a connection may be silent before anything was announced.
const SILENCE: Micros = Micros::from_millis(5_000);

type Driver<'a> =
    TargetDriver<'a, &'a mut Vm, &'a mut PeerLink, &'a mut Directory, Screen, PortableCrc32c>;

impl Su {
    /// Serves a connection that stands, to the end of its attempt.
    pub(super) fn receive(&mut self) {
        let Some(first) = self.await_first() else {
            self.link.listen();
            return;
        };
        let is_resumed = first == FrameType::Resume.code();
        let known = TargetJournal::parse(self.vm.journal().record()).ok().filter(|_| is_resumed);
        let mut reception =
            Reception::new(self.config.su, Incarnation::new(self.unique()), self.vm.pages_max());
        reception.limits = self.config.limits;
        self.run_target(reception, known);
        self.link.listen();
    }

    /// Type of the first frame, if one comes.
    fn await_first(&mut self) -> Option<u16> {
        let deadline = clock::now().after(SILENCE);
        while clock::now() < deadline {
            if let Some(first) = self.link.first_type() {
                return Some(first);
            }
            pause(&mut self.vm, Some(deadline), CLOSE_LOOK);
        }
        None
    }

    fn run_target(&mut self, reception: Reception, known: Option<TargetJournal>) {
        let restored = known.zip(self.vm.block().copied());
        let count = if restored.is_some() { usize::MAX } else { 0 };
        let descriptors = self.vm.devices().descriptors().take(count);
        let memory = self.memory.of_target(descriptors.map(DeviceEntry::assigned));
        let ports = Ports {
            vm: &mut self.vm,
            link: &mut self.link,
            directory: &mut self.directory,
            console: Screen,
            checksum: PortableCrc32c,
        };
        let mut driver: Driver<'_> = match restored {
            Some((journal, block)) => {
                TargetDriver::restore(clock::now(), reception, &journal, block, memory, ports)
            }
            None => TargetDriver::new(reception, memory, ports),
        };
        let command = loop {
            let now = clock::now();
            driver.ports().directory.set_now(now);
            let wait = driver.step(now);
            let phase = driver.machine().phase();
            let command = self.operator.poll();
            let is_free = matches!(phase, TargetPhase::Empty | TargetPhase::Dropped);
            if wait.finished || (command.is_some() && is_free) || command == Some(Command::End) {
                break command;
            }
            if let Some(command) = command {
                refuse(command, phase);
            }
            pause_driver(driver.ports().vm, wait);
        };
        let machine = driver.machine();
        let is_mine = machine.disposition() == Disposition::RunsAtTarget;
        let epoch = machine.claimed_epoch();
        let is_settled = machine.phase() == TargetPhase::Completed;
        drop(driver);
        if is_settled {
            self.link.settle();
        }
        if is_mine {
            self.epoch = Some(epoch);
        }
        match command {
            Some(Command::MigrateVm { vm, target }) => self.move_away(vm, target),
            Some(command) => self.obey(command),
            None => {}
        }
    }
}

/// Answers a command that has to wait for the end of the move.
fn refuse(command: Command, phase: TargetPhase) {
    match command {
        Command::ShowStatus => say!("% a VM is being moved here: {phase:?}"),
        Command::MigrateVm { .. }
        | Command::CancelMigration { .. }
        | Command::ResolveMigration { .. }
        | Command::End => say!("% command rejected: a VM is being moved here"),
    }
}
