//! Holds the emulated hardware of the harness against implementations of /390 that are not ours.
//!
//! Builds the bare image `channel-oracle`, runs it under Hercules and under QEMU, runs the same
//! sequences on the emulated hardware, and compares the outcomes step by step. What differs must be
//! listed in `tests/images/expected/oracle-differences.txt` with the reason why ours is right, and
//! what is listed must differ.
//!
//! Exit status: 0 all as listed, 1 it is not, 2 wrong use or something is missing.
//!
//! Source of truth: the help of the program. Invariant: whatever is started is ended. Deliberately
//! not here: what is asked, see `oracle-sequences`.

mod bounded;
mod compare;
mod disks;
mod failure;
mod hercules;
mod image;
mod judge;
mod list;
mod ours;
mod plant;
mod qemu;
mod transcript;
mod unjudged;

use std::{fs, ops::Range, path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    compare::Implementation,
    failure::{Failure, Result},
    judge::Judge,
    list::List,
    transcript::Transcript,
};

/// The checked-in differences.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../expected/oracle-differences.txt");

#[derive(Debug, Parser)]
#[command(about = "Holds the emulated hardware against Hercules and QEMU")]
struct Arguments {
    /// Random sequences of these seeds in place of the fixed ones, as in 0..1000
    #[arg(long, value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// Write what was told into this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Tell every difference, with the place in the list that has it
    #[arg(long)]
    all: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("oracle: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let list = fs::read_to_string(LIST).map_err(|error| Failure::of_io("read", LIST, &error))?;
    let mut list = List::parse(&list)?;
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::new(format!("no folder for files: {error}")))?;
    let seeds = arguments.seeds.clone().unwrap_or(0..0);
    let image = image::build(folder.path(), &seeds)?;
    let ours = ours::run(folder.path(), &seeds)?;
    let keep = |name, told: &Transcript| match &arguments.keep {
        Some(keep) => write(keep, name, &told.to_text()),
        None => Ok(()),
    };
    keep("ours", &ours)?;
    let needs_all_lines = arguments.seeds.is_none();
    let judge = Judge { ours: &ours, needs_all_lines, shows_all: arguments.all };
    let (mut is_good, mut all) = (true, Vec::new());
    for theirs in Implementation::ALL {
        let (is_listed, told) = judge.judge(theirs, &mut list, || {
            let told = match theirs {
                Implementation::Hercules => hercules::run(&image, folder.path())?,
                Implementation::Qemu => qemu::run(&image, folder.path())?,
            };
            keep(theirs.name(), &told)?;
            Ok(told)
        })?;
        is_good &= is_listed;
        all.push((theirs, told));
    }
    if needs_all_lines {
        is_good &= unjudged::check(&ours, &all, &list)?;
    }
    Ok(is_good)
}

fn write(folder: &std::path::Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(format!("{name}.txt"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| Failure::of_io("write", &path.display().to_string(), &error))
}

fn seeds(text: &str) -> std::result::Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers, as in 0..1000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok(from..to) } else { Err("the second number must be the greater".to_owned()) }
}
