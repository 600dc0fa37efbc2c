//! The monitor of an SU: what `monitor-core` needs around it, and the loop that runs it all.
//!
//! One processor does everything in turns: the guest runs for a slice, a driver does a step, the
//! operator's lines are taken. A VM that was moved away can come back, and go again.
//!
//! Source of truth: ARCHITECTURE.md; `monitor_core::driver` and `monitor_core::ports`. Invariants:
//! the guest runs only while this SU owns the VM under the epoch of the record, or the machines
//! of the core say so; all memory is there from the beginning. Deliberately not here: what a
//! migration does, and how the machine works.

mod boot;
pub mod config;
pub mod console;
pub mod devices;
pub mod journal;
pub mod link;
pub mod memory;
mod operator;
pub mod port;
mod report;
mod source;
mod target;
pub mod vm;

use monitor_core::{
    driver::{RemoteDirectory, Wait},
    message::command::Command,
    ports::Link,
    units::{Epoch, Micros, Tick},
};

pub use boot::run;
use config::Config;
use console::say;
use link::PeerLink;
use memory::Memory;
use operator::Operator;
use port::Port;
use vm::{Rest, Vm};

use crate::arch::{
    clock,
    power::{self, Status},
};

/// How long the guest runs before a driver does its next step.
const SLICE: Micros = Micros::from_millis(1);
/// The longest wait between two looks at ports that may tell nothing.
const LOOK: Micros = Micros::from_millis(2);
/// As [`LOOK`], while something is under way on the link.
const CLOSE_LOOK: Micros = Micros::new(200);
/// How long the guest may take to judge itself at the end.
const LAST_WORDS: Micros = Micros::from_millis(5_000);

/// The directory, behind its line.
type Directory = RemoteDirectory<Port>;

/// Everything that is on this SU.
#[derive(Debug)]
struct Su {
    config: Config,
    vm: Vm,
    /// The epoch under which the VM is owned here, if it is here.
    epoch: Option<Epoch>,
    link: PeerLink,
    directory: Directory,
    operator: Operator,
    memory: Memory,
    /// The last unique number that was given out.
    stamp: u64,
}

impl Su {
    /// Serves for ever: moves begin with an operator's command or with a connection.
    fn serve(&mut self) -> ! {
        self.link.listen();
        loop {
            match self.operator.poll() {
                Some(Command::MigrateVm { vm, target }) => self.move_away(vm, target),
                Some(command) => self.obey(command),
                None if self.link.poll_connected() => self.receive(),
                None => pause(&mut self.vm, None, LOOK),
            }
        }
    }

    /// Does what does not concern a move that is under way.
    fn obey(&mut self, command: Command) {
        match command {
            Command::ShowStatus => self.show_status(),
            Command::End => self.end(),
            Command::CancelMigration { .. } | Command::ResolveMigration { .. } => {
                say!("% no VM is being moved away from here");
            }
            // Whoever has a move under way does not come here with another one.
            Command::MigrateVm { .. } => {}
        }
    }

    /// Ends the monitor; the guest judges itself before.
    fn end(&mut self) -> ! {
        let asked = self.vm.guest().is_operating()
            && self.vm.guest().post(crate::guest::request::END).is_ok();
        let deadline = clock::now().after(LAST_WORDS);
        while asked && self.vm.ended().is_none() && clock::now() < deadline {
            pause(&mut self.vm, Some(deadline), LOOK);
        }
        let is_good = self.vm.ended().unwrap_or(!asked);
        if !is_good {
            say!("% the guest has not ended well");
        }
        power::end(if is_good { Status::Good } else { Status::Bad })
    }

    /// A number that this SU has never given out: the time, unless two moments are equal.
    fn unique(&mut self) -> u64 {
        self.stamp = clock::tod().max(self.stamp.saturating_add(1 << 20));
        self.stamp
    }
}

/// Lets the guest run for a slice; when it waits, waits with it.
fn pause(vm: &mut Vm, deadline: Option<Tick>, look: Micros) {
    let now = clock::now();
    let within = |span| deadline.map_or(now.after(span), |deadline| deadline.min(now.after(span)));
    if let Rest::Waits(due) = vm.run(within(SLICE)) {
        let until = within(look);
        let until = due.map_or(until, |due| due.min(until));
        if until > clock::now() {
            // Whatever it was, everything is looked at afterwards.
            clock::wait_until(Some(until));
        }
    }
}

/// Lets the guest run between two steps of a driver.
fn pause_driver(vm: &mut Vm, wait: Wait) {
    if wait.busy {
        // The guest has its share, whatever there is to do.
        vm.run(clock::now().after(SLICE));
    } else {
        pause(vm, wait.deadline, CLOSE_LOOK);
    }
}
