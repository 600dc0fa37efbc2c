//! A program that runs for a bounded time and whose output is read.
//!
//! Source of truth: none. Invariant: the program is ended by its own process, and nothing of it is
//! left behind. Deliberately not here: which programs there are.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::failure::{Failure, Result};

/// How often is looked whether it has ended.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs the program until it ends, or until its time is over, and gives its output.
pub(crate) fn run(command: &mut Command, output: &Path, limit: Duration) -> Result<String> {
    run_until(command, output, limit, &[])
}

/// The same for a program that is ended when it has said its last words.
pub(crate) fn run_until(
    command: &mut Command,
    output: &Path,
    limit: Duration,
    last: &[&str],
) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let path = output.display().to_string();
    let file = File::create(output).map_err(|error| Failure::of_io("write", &path, &error))?;
    let errors = file.try_clone().map_err(|error| Failure::of_io("write", &path, &error))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(|error| Failure::of_io("start", &name, &error))?;
    let deadline = Instant::now() + limit;
    let has_said = || last.iter().any(|words| is_in(words, output));
    while !matches!(child.try_wait(), Ok(Some(_))) {
        if Instant::now() > deadline || has_said() {
            // One that has ended by itself cannot be killed, which is as good.
            child.kill().ok();
            child.wait().ok();
            break;
        }
        thread::sleep(INTERVAL);
    }
    let bytes = fs::read(output).map_err(|error| Failure::of_io("read", &path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the file has these words, and the line that they are in.
fn is_in(words: &str, file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.split_once(words).is_some_and(|(_, rest)| rest.contains('\n'))
    })
}
