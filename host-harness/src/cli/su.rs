//! `su390 su`: one SU alone, whose peer is another process or another machine.
//!
//! Source of truth: the help of the subcommand. Invariants: the VM is reduced to what every peer
//! has: one processor, no device, memory. Deliberately not here: what is done.

use super::{Open, Status, arguments::SuCommand, complain};
use crate::{
    config::Config,
    console::{Outcome, Terminal},
    live::{Ending, Unit, run_unit},
};

/// Runs the subcommand.
pub(super) fn run(command: &SuCommand, open: Open<'_>) -> Status {
    let mut terminal = Terminal::new(open(command.color).out, None);
    let ended = prepare(command).and_then(|(config, unit)| {
        run_unit(&config, &unit, &mut terminal).map_err(|error| error.to_string())
    });
    let ending = match ended {
        Ok(ending) => ending,
        Err(problem) => {
            complain(&mut open(command.color).err, &problem);
            return Status::Usage;
        }
    };
    let (status, text) = verdict(ending);
    match terminal.finish(|out| writeln!(out, "{text}")) {
        Ok(()) => status,
        Err(error) => {
            complain(&mut open(command.color).err, &format!("output cannot be written: {error}"));
            // How it ended is worth more than what became of the output.
            if status == Status::Completed { Status::Usage } else { status }
        }
    }
}

/// Reads the configuration and finds out what is asked for.
fn prepare(command: &SuCommand) -> Result<(Config, Unit), String> {
    let mut config = Config::load(command.config.as_deref(), &command.overrides())
        .map_err(|error| error.to_string())?;
    config.workload.sweep_rate = command.rate.unwrap_or(config.workload.sweep_rate);
    let known = |name| config.su(&name).map(|su| su.name);
    let unknown = |name| format!("there is no SU {name} in the configuration");
    let name = known(command.name).ok_or_else(|| unknown(command.name))?;
    let mut others = config.sus.iter().map(|su| su.name).filter(|other| *other != name);
    let peer = match command.peer {
        Some(peer) => others.find(|other| *other == peer).ok_or_else(|| unknown(peer))?,
        None => {
            let only = others.next().filter(|_| others.next().is_none());
            only.ok_or("--peer is needed: there are several other SUs")?
        }
    };
    config.vm.on = name;
    config.vm.processor_count = 1;
    config.vm.devices.clear();
    let unit = Unit {
        name,
        peer,
        link: command.link().ok_or("a link is needed")?,
        directory: command.directory_socket.clone(),
        deeds: command.deeds.clone(),
    };
    Ok((config, unit))
}

/// The exit status, and what it means.
const fn verdict(ending: Ending) -> (Status, &'static str) {
    match (ending.outcome, ending.is_verified) {
        (Outcome::Completed, true) => (Status::Completed, "COMPLETED, and the guest was right."),
        (Outcome::Completed, false) => (Status::Unverified, "COMPLETED, but the guest was wrong."),
        (Outcome::Rejected, _) => (Status::Rejected, "REJECTED: nothing was begun."),
        (Outcome::Aborted, _) => (Status::Aborted, "ABORTED: the guest is where it was."),
        (Outcome::InDoubt, _) => (Status::InDoubt, "IN DOUBT: the guest is held."),
        (Outcome::Lost, _) => (Status::Lost, "LOST: the guest is gone."),
    }
}
