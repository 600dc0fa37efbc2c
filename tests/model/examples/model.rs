//! The model check at any size: `cargo run --release -p model-check --example model -- …`.
//!
//! `--attempts`, `--sus`, `--stores`, `--device` (`tape` or `alias`, a second one that does not go
//! with the guest), `--faults` and the name of each fault (`--SuLoss`), or
//! `--each` for all of them, set the bounds; `--threads` and `--transitions` the search. Exit
//! status: 0 every rule is kept, 1 a rule is broken, 2 wrong use.
//!
//! Source of truth: `model_check`. Deliberately not here: the search that is part of
//! the tests.

use std::{env, process::ExitCode};

use monitor_core::device::DeviceKind;

use model_check::{Bounds, Fault, search};

/// The bounds, the threads, and the most transitions.
fn parse(
    mut arguments: impl Iterator<Item = String>,
) -> Result<(Bounds, usize, Option<usize>), String> {
    let mut bounds = Bounds::any(1);
    let (mut threads, mut transitions) = (2, None);
    while let Some(name) = arguments.next() {
        if name == "--device" {
            bounds.staying = Some(match arguments.next().as_deref() {
                Some("tape") => DeviceKind::Tape,
                Some("alias") => DeviceKind::PavAlias,
                _ => return Err("--device needs tape or alias".to_owned()),
            });
            continue;
        }
        let value = arguments.next().and_then(|value| value.parse::<usize>().ok());
        let value = value.ok_or(format!("{name} needs a number"))?;
        let small = u8::try_from(value).unwrap_or(u8::MAX);
        let fault = Fault::ALL.into_iter().find(|it| name == format!("--{it:?}"));
        match (name.as_str(), fault) {
            (_, Some(fault)) => bounds.most[fault as usize] = small,
            ("--sus", _) if matches!(value, 2 | 3) => bounds.sus = small,
            ("--attempts", _) => bounds.attempts = small,
            ("--stores", _) => bounds.stores = small,
            ("--faults", _) => bounds.faults = small,
            ("--each", _) => bounds.most = [small; Fault::ALL.len()],
            ("--threads", _) => threads = value,
            ("--transitions", _) => transitions = Some(value),
            _ => return Err(format!("there is no option {name} {value}")),
        }
    }
    Ok((bounds, threads, transitions))
}

fn main() -> ExitCode {
    match parse(env::args().skip(1)) {
        Ok((bounds, threads, transitions)) => {
            let report = search(bounds, threads, transitions);
            println!("{report}");
            ExitCode::from(u8::from(!report.broken.is_empty()))
        }
        Err(message) => {
            eprintln!("model: {message}");
            ExitCode::from(2)
        }
    }
}
