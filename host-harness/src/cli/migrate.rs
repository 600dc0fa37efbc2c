//! `su390 migrate`: one move, from the command to the report.
//!
//! Source of truth: the help of the subcommand. Invariants: configuration and output files are
//! opened before anything is started, so that a mistake costs nothing. Deliberately not here: the
//! move itself.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use super::{Migrate, Open, Status, Streams, arguments::MigrateCommand, complain};
use crate::{
    config::{Choice, Config, Request, VmSelector},
    console::{Report, Terminal, Transcripts, amount, write_series, write_summary},
};

/// What is set up before the move.
struct Prepared {
    config: Config,
    request: Request,
    terminal: Terminal,
    json: Option<Box<dyn Write>>,
}

/// Runs the subcommand.
pub(super) fn run(command: &MigrateCommand, open: Open<'_>, migrate: Migrate<'_>) -> Status {
    let prepared = match prepare(command, open(command.color)) {
        Ok(prepared) => prepared,
        Err(problem) => {
            complain(&mut open(command.color).err, &problem);
            return Status::Usage;
        }
    };
    let Prepared { config, request, mut terminal, json } = prepared;
    terminal.note(&introduction(&config, &request));
    let reports = match migrate(&config, &request, &mut terminal) {
        Ok(reports) => reports,
        Err(error) => {
            // What was shown of the start is all that there is.
            let _shown = terminal.finish(|_| Ok(()));
            complain(&mut open(command.color).err, &error);
            return Status::Usage;
        }
    };
    let mut ends = reports.iter().map(Status::of);
    let status = ends.find(|status| *status != Status::Completed).unwrap_or(Status::Completed);
    let budget_us = config.limits.blackout_budget.get();
    let shown = terminal.finish(|out| match &reports[..] {
        [report] => write_summary(out, report, budget_us),
        _ => write_series(out, &reports, budget_us),
    });
    match shown.and(write_json(json, &reports)) {
        Ok(()) => status,
        Err(error) => {
            complain(&mut open(command.color).err, &format!("output cannot be written: {error}"));
            // How the move ended is worth more than what became of the output.
            if status == Status::Completed { Status::Usage } else { status }
        }
    }
}

/// Reads the configuration, finds out what is asked for, and opens the output.
fn prepare(command: &MigrateCommand, streams: Streams) -> Result<Prepared, String> {
    let config = Config::load(command.config.as_deref(), &command.overrides())
        .map_err(|error| error.to_string())?;
    let typed = command.command;
    let vm = command.vm.or(typed.map(|it| it.vm));
    let vm = vm.unwrap_or(VmSelector::Index(config.vm.index));
    let to = command.to.or(typed.and_then(|it| it.target));
    let Some(target) = to.or_else(|| config.only_target()) else {
        let others = config.sus.iter().filter(|su| su.name != config.vm.on);
        let others: Vec<&str> = others.map(|su| su.name.as_str()).collect();
        return Err(format!("--to is needed: the VM can be moved to {}", others.join(" or ")));
    };
    let transcripts = match &command.out {
        Some(path) => Some(Transcripts::create(path).map_err(|error| not_created(path, &error))?),
        None => None,
    };
    let (screen, json): (_, Option<Box<dyn Write>>) = match command.json.as_deref() {
        None => (streams.out, None),
        // The report has standard output for itself, and people read on standard error.
        Some(path) if path == Path::new("-") => (streams.err, Some(streams.out)),
        Some(path) => {
            let file = File::create(path).map_err(|error| not_created(path, &error))?;
            (streams.out, Some(Box::new(file)))
        }
    };
    let terminal = Terminal::new(screen, transcripts);
    Ok(Prepared { config, request: Request { vm, target }, terminal, json })
}

/// What is said of a file or directory that cannot be created.
fn not_created(path: &Path, error: &io::Error) -> String {
    format!("{}: cannot be created: {error}", path.display())
}

/// What is going to happen, in a sentence.
fn introduction(config: &Config, request: &Request) -> String {
    let vm = &config.vm;
    let mut text = format!("Moving {}", request.vm_label(config));
    if request.is_configured(config) {
        let names: Vec<&str> = config.workload.run.iter().map(|name| name.word()).collect();
        let memory = amount::bytes(vm.memory.bytes().get());
        text += &format!(", {memory}, running {},", names.join(" + "));
    }
    let often = match config.trial.moves {
        None => String::new(),
        Some(count) => format!(", {count} moves there and back in turn"),
    };
    let link = config.link.kind.word();
    text + &format!(" from {} to {} over {link}{often}.", vm.on, request.target)
}

/// Writes the report for programs: of one move, or a list of those of all moves.
fn write_json(json: Option<Box<dyn Write>>, reports: &[Report]) -> io::Result<()> {
    json.map_or(Ok(()), |mut json| {
        let text = match reports {
            [report] => report.to_json(),
            _ => Report::list_to_json(reports),
        };
        json.write_all(text.as_bytes())?;
        json.flush()
    })
}
