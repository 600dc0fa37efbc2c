//! `su390 migrate`: one move, from the command to the report.
//!
//! Source of truth: the help of the subcommand. Invariants: configuration and output files are
//! opened before anything is started, so that a mistake costs nothing; the console of the source
//! begins with the command as its operator would enter it. Deliberately not here: the move.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use super::{Migrate, Status, Streams, arguments::MigrateCommand, complain};
use crate::{
    config::{Choice, Config, Request, VmSelector},
    console::{
        ConsoleLine, ConsoleName, Observer, Report, Stamp, Terminal, Transcripts, amount,
        write_summary,
    },
};

/// What is set up before the move.
struct Prepared {
    config: Config,
    request: Request,
    transcripts: Option<Transcripts>,
    json: Option<File>,
}

/// Runs the subcommand.
pub(super) fn run(command: &MigrateCommand, streams: Streams, migrate: Migrate<'_>) -> Status {
    let Streams { mut out, mut err } = streams;
    let prepared = match prepare(command) {
        Ok(prepared) => prepared,
        Err(problem) => {
            complain(&mut err, &problem);
            return Status::Usage;
        }
    };
    let Prepared { config, request, transcripts, json } = prepared;
    // With the report on standard output, people read on standard error.
    let json_to_out = json.is_none() && command.json.is_some();
    let report = if json_to_out {
        watch(&config, &request, Terminal::new(err, transcripts), migrate)
    } else {
        watch(&config, &request, Terminal::new(out, transcripts), migrate)
    };
    todo_split(report, json, json_to_out)
}
