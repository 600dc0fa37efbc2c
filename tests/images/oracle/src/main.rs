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
mod list;
mod ours;
mod plant;
mod qemu;
mod transcript;

use std::{fs, ops::Range, path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    compare::{Difference, Implementation},
    failure::{Failure, Result},
    list::List,
    plant::Plant,
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
    /// Alter our own outcome, as a fault in the emulated hardware would; the comparison must fail
    #[arg(long)]
    plant: Option<Plant>,
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
    let mut ours = ours::run(folder.path(), &seeds)?;
    let mut is_good = true;
    if let Some(plant) = arguments.plant {
        ours = plant::plant(ours, plant);
    }
    if let Some(keep) = &arguments.keep {
        write(keep, "ours", &ours.to_text())?;
    }
    for theirs in [Implementation::Hercules, Implementation::Qemu] {
        let told = match theirs {
            Implementation::Hercules => hercules::run(&image, folder.path())?,
            Implementation::Qemu => qemu::run(&image, folder.path())?,
        };
        if let Some(keep) = &arguments.keep {
            write(keep, theirs.name(), &told.to_text())?;
        }
        is_good &= judge(theirs, &told, &ours, &mut list, arguments.all)?;
    }
    if arguments.seeds.is_none() {
        for line in list.unused() {
            println!("oracle: line {line} of the list has no difference to explain");
            is_good = false;
        }
    }
    Ok(is_good)
}

/// Compares, and tells the differences that are not listed; all of them on demand.
fn judge(
    theirs: Implementation,
    told: &Transcript,
    ours: &Transcript,
    list: &mut List,
    shows_all: bool,
) -> Result<bool> {
    let compared = compare::compare(theirs, told, ours)?;
    let mut unlisted = 0;
    for difference in &compared.differences {
        let line = list.explain(difference);
        if line.is_none() {
            unlisted += 1;
        }
        if line.is_none() || shows_all {
            tell(difference, line);
        }
    }
    println!(
        "oracle: {}: {} sequences, {} steps, {} differences, {unlisted} of them not listed",
        theirs.name(),
        compared.sequence_count,
        compared.step_count,
        compared.differences.len(),
    );
    Ok(unlisted == 0)
}

fn tell(difference: &Difference, line: Option<usize>) {
    match line {
        Some(line) => println!("{difference}  (line {line} of the list)"),
        None => println!("{difference}"),
    }
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
