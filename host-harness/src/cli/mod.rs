//! The command line of `su390`.
//!
//! Source of truth: the help of each subcommand, which is in the module `arguments`. Invariants:
//! one place gives the exit status; what is wrong with the command or the configuration is told
//! before anything is started. Deliberately not here: what a subcommand causes to happen.

mod arguments;
mod directory;
mod migrate;
mod status;
mod su;
mod sweep;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice};
use clap::Parser;

use crate::{
    config::{Config, Request},
    console::{Observer, Report},
    live::{self, LiveError},
};
use arguments::{Arguments, Command};
pub use status::Status;

/// How migrations are run: with real threads, or as a test has it. There is at least one.
type Migrate<'a> =
    &'a dyn Fn(&Config, &Request, &mut dyn Observer) -> Result<Vec<Report>, LiveError>;

/// How output is opened, as often as it is needed.
type Open<'a> = &'a dyn Fn(ColorChoice) -> Streams;

/// Where output goes.
struct Streams {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

impl Streams {
    /// Standard output and standard error; each takes color as the choice says.
    fn standard(color: ColorChoice) -> Self {
        Self {
            out: Box::new(AutoStream::new(io::stdout(), color)),
            err: Box::new(AutoStream::new(io::stderr(), color)),
        }
    }
}

/// Does what the arguments say, the first of which is the name of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_with(arguments, &Streams::standard, &live::migrate_repeatedly).into()
}

/// As [`run`], with the output and the migration given.
fn run_with(
    arguments: impl IntoIterator<Item = OsString>,
    open: Open<'_>,
    migrate: Migrate<'_>,
) -> Status {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let Streams { mut out, mut err } = open(ColorChoice::Auto);
            let (stream, status) = if error.use_stderr() {
                (&mut err, Status::Usage)
            } else {
                (&mut out, Status::Completed)
            };
            // A closed output leaves nobody to tell.
            let _closed = write!(stream, "{}", error.render().ansi());
            return status;
        }
    };
    match arguments.command {
        Command::Directory(command) => directory::run(&command, open),
        Command::Migrate(command) => migrate::run(&command, open, migrate),
        Command::Su(command) => su::run(&command, open),
        Command::Sweep(command) => sweep::sweep(&command, open),
        Command::Replay(command) => sweep::replay(&command, open),
    }
}

/// Tells what is wrong.
fn complain(err: &mut dyn Write, what: &dyn fmt::Display) {
    let bad = anstyle::AnsiColor::Red.on_default().bold();
    // A closed standard error leaves nobody to tell.
    let _closed = writeln!(err, "{bad}error:{bad:#} {what}");
}

#[cfg(test)]
mod tests;
