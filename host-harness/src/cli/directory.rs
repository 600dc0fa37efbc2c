//! `su390 directory`: what an operator sees of a directory file, and does to it by hand; and the
//! service of its records.
//!
//! Source of truth: the help of the subcommand. Invariants: nothing is asked, and what is changed
//! is shown with its old and its new value. Deliberately not here: the file itself.

use std::{io::Write, path::Path};

use anstream::ColorChoice;
use monitor_core::{units::Epoch, vm::Ownership};

use super::{
    Open, Status, Streams,
    arguments::{DirectoryCommand, ServeCommand, SetCommand},
    complain,
};
use crate::{
    cluster::{DirectoryFile, FileError, shown, standing_word},
    live::Server,
};

/// Runs the subcommand.
pub(super) fn run(command: &DirectoryCommand, open: Open<'_>) -> Status {
    let Streams { mut out, mut err } = open(ColorChoice::Auto);
    let done = match command {
        DirectoryCommand::Show { file } => show(file),
        DirectoryCommand::Set(command) => set(command),
        DirectoryCommand::Serve(command) => return serve(command, out, &mut err),
    };
    let text = match done {
        Ok(text) => text,
        Err(error) => {
            complain(&mut err, &error);
            return Status::Usage;
        }
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Status::Completed,
        Err(error) => {
            complain(&mut err, &format!("output cannot be written: {error}"));
            Status::Usage
        }
    }
}

/// Serves the records. There is an end only when it cannot be begun, or nobody hears it any more.
fn serve(command: &ServeCommand, mut out: Box<dyn Write>, err: &mut dyn Write) -> Status {
    let mishaps = command.mishaps();
    let server = match &command.directory {
        Some(path) => Server::of_file(path, mishaps),
        None => Ok(Server::of_records(&command.record, mishaps)),
    };
    match server.and_then(|server| server.start(&command.endpoints())) {
        Ok(lines) => {
            for line in lines {
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        }
        Err(error) => complain(err, &error),
    }
    Status::Usage
}

/// All records as a table.
fn show(file: &Path) -> Result<String, FileError> {
    let records = DirectoryFile::open(file)?.records()?;
    let width = records.iter().map(|(_, record)| record.owner.as_str().len()).max();
    let width = width.unwrap_or(0).max("OWNER".len());
    let mut text = format!("{:8}  {:width$}  {:5}  STANDING\n", "VM", "OWNER", "EPOCH");
    for (vm, record) in records {
        let (owner, epoch) = (record.owner, record.epoch.get());
        text +=
            &format!("{vm:8}  {owner:width$}  {epoch:<5}  {}\n", standing_word(record.standing));
    }
    Ok(text)
}

/// Enters a record.
fn set(command: &SetCommand) -> Result<String, FileError> {
    let new = Ownership::running(command.owner, Epoch::new(command.epoch));
    let mut file = DirectoryFile::open_or_create(&command.file)?;
    let old = file.set(command.vm, new, command.force)?;
    let old = old.map_or_else(|| "no record".to_owned(), |old| shown(&old));
    Ok(format!("{}: {old} -> {}\n", command.vm, shown(&new)))
}
