//! Runs the bare /390 images under QEMU, breaks them and their links, and judges.
//!
//! `rig qemu` runs all cases, `rig qemu CASE…` some, `rig list` names them; `rig repeat` moves one
//! guest again and again and tells how long that takes. Exit status: 0 all cases passed, 1 one has
//! failed, 2 wrong use or something is missing.
//!
//! Source of truth: the help of the program. Invariant: whatever is started is ended. Deliberately
//! not here: what a case does.

mod case;
mod cases;
mod compare;
mod console;
mod directory;
mod disk;
mod failure;
mod figures;
mod framer;
mod human;
mod image;
mod inspect;
mod link;
mod machine;
mod pair;
mod repeat;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    failure::{Failure, Result, ensure},
    image::Images,
};

#[derive(Debug, Parser)]
#[command(about = "Runs the bare /390 images under QEMU, breaks them and judges")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Name all cases.
    List,
    /// Run all cases, or those of these names.
    Qemu {
        /// Names of cases; one that ends with "*" stands for all that begin so
        cases: Vec<String>,
        #[command(flatten)]
        common: Common,
        /// How many cases run at a time
        #[arg(long, default_value = "2")]
        jobs: NonZeroUsize,
    },
    /// Move a guest there and back again and again, and tell blackout and throughput of each move.
    Repeat {
        /// Storage of the guest, as in 64MiB
        #[arg(long, value_parser = mebibytes, default_value = "64MiB")]
        memory: u32,
        /// How many moves
        #[arg(long, default_value_t = 20)]
        count: usize,
        /// Pages that the guest writes in a second
        #[arg(long, default_value_t = 200)]
        pace: u64,
        /// More lines of the configuration, as in "tracking = protection"
        #[arg(long)]
        line: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Image to boot, which is not built then
    #[arg(long)]
    image: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("rig: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<bool> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::new(format!("no folder for files: {error}")))?;
    match command {
        Command::List => {
            for case in cases::all() {
                println!("{:28} {}", case.name, case.about);
            }
            Ok(true)
        }
        Command::Qemu { cases: names, common, jobs } => {
            let chosen = choose(&names)?;
            image::check_qemu()?;
            let images = Images::new(folder.path(), common.image.as_deref())?;
            images.monitor()?;
            image::harness()?;
            Ok(case::run_all(&chosen, &images, jobs))
        }
        Command::Repeat { memory, count, pace, line, common } => {
            image::check_qemu()?;
            let images = Images::new(folder.path(), common.image.as_deref())?;
            repeat::run(&images, &repeat::Plan { memory_mib: memory, count, pace, lines: line })?;
            Ok(true)
        }
    }
}

/// The cases of these names, in their own order; all if there is no name.
fn choose(names: &[String]) -> Result<Vec<case::Case>> {
    let is_meant = |name: &str, case: &case::Case| match name.strip_suffix('*') {
        Some(beginning) => case.name.starts_with(beginning),
        None => case.name == name,
    };
    let all = cases::all();
    for name in names {
        ensure(all.iter().any(|case| is_meant(name, case)), || {
            format!("there is no case '{name}'; rig list names them")
        })?;
    }
    let is_chosen =
        |case: &case::Case| names.is_empty() || names.iter().any(|name| is_meant(name, case));
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn mebibytes(text: &str) -> std::result::Result<u32, String> {
    let number = text.strip_suffix("MiB").and_then(|number| number.parse().ok());
    number.filter(|mib| (4..=512).contains(mib)).ok_or("4MiB to 512MiB, as in 64MiB".to_owned())
}
