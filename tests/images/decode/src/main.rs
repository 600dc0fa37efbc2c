//! Runs a bare image that logs by defmt, and holds its console against an expected one.
//!
//! `decode IMAGE EXPECTED SECONDS MONITOR COMMAND [ARGUMENT…]` runs COMMAND, whose standard output
//! is the log of IMAGE, for at most so many seconds, and shows each line as it comes. Lines below
//! `INFO` have what was measured and are not compared; nor is a line that repeats the one before,
//! since how often something is repeated is a matter of time. With `OVERWRITE=1` in the environment
//! EXPECTED is written anew. MONITOR is the socket of QEMU's human monitor, which is asked where an
//! image hangs.
//!
//! Exit status: 0 the image has ended well and its console is as expected, 1 it has not or is not,
//! 2 wrong use, or the command cannot be run.
//!
//! Source of truth: the table of format strings in IMAGE. Invariant: an image that hangs is ended.
//! Deliberately not here: what an image is, and which machine runs it.

use std::{
    env, fs,
    io::{self, Read},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use defmt_decoder::{DecodeError, Frame, StreamDecoder, Table};
use similar::TextDiff;

#[path = "../../rig/src/human.rs"]
mod human;
mod inspect;

/// Levels whose lines are shown and not compared.
const MEASURED: [&str; 2] = ["trace", "debug"];

/// How a run can end.
enum End {
    /// As it must.
    Well,
    /// Otherwise, for this reason.
    Failed(String),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [image, expected, seconds, monitor, command @ ..] = arguments.as_slice() else {
        eprintln!("decode: wrong use: IMAGE EXPECTED SECONDS MONITOR COMMAND [ARGUMENT…]");
        return ExitCode::from(2);
    };
    match run(image, expected, seconds, Path::new(monitor), command) {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Failed(reason)) => {
            eprintln!("decode: {reason}");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("decode: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(
    image: &str,
    expected: &str,
    seconds: &str,
    monitor: &Path,
    command: &[String],
) -> Result<End, String> {
    let limit: u64 = seconds.parse().map_err(|_| format!("`{seconds}` is no number of seconds"))?;
    let bytes = fs::read(image).map_err(|error| format!("{image}: {error}"))?;
    let table = Table::parse(&bytes).map_err(|error| format!("{image}: {error}"))?;
    let table = table.ok_or_else(|| format!("{image} does not log by defmt"))?;
    let (program, rest) = command.split_first().ok_or("there is no command")?;
    let child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let (console, end) = watch(child, Duration::from_secs(limit), monitor, &table);
    if let End::Failed(_) = end {
        return Ok(end);
    }
    compare(expected, &console)
}

/// Reads the log until the command ends or its time is over. Gives what is compared.
fn watch(mut child: Child, limit: Duration, monitor: &Path, table: &Table) -> (String, End) {
    let chunks = read(child.stdout.take().expect("its output is piped"));
    let deadline = Instant::now() + limit;
    let mut decoder = table.new_stream_decoder();
    let mut console = String::new();
    loop {
        match chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => {
                decoder.received(&chunk);
                if let Err(reason) = take_lines(decoder.as_mut(), &mut console) {
                    end(&mut child);
                    return (console, End::Failed(reason));
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let place = inspect::place(monitor);
                end(&mut child);
                let seconds = limit.as_secs();
                let reason = format!("the image has not ended after {seconds} s: {place}");
                return (console, End::Failed(reason));
            }
        }
    }
    let end = match child.wait() {
        Ok(status) if status.success() => End::Well,
        Ok(status) => End::Failed(format!("the image has failed: {status}")),
        Err(error) => End::Failed(format!("the image is lost: {error}")),
    };
    (console, end)
}

/// Ends a command that may have ended by itself.
fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}

/// Reads in a thread of its own, so that an image that is silent does not hold up its end.
fn read(mut source: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match source.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(count) if sender.send(buffer[..count].to_vec()).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    receiver
}

/// Shows the lines that are whole, and keeps those that are compared.
fn take_lines(decoder: &mut (dyn StreamDecoder + '_), console: &mut String) -> Result<(), String> {
    loop {
        match decoder.decode() {
            Ok(frame) => {
                let line = line_of(&frame);
                println!("{line}");
                let is_measured = frame.level().is_some_and(|it| MEASURED.contains(&it.as_str()));
                if !is_measured && console.lines().last() != Some(&line) {
                    console.push_str(&line);
                    console.push('\n');
                }
            }
            Err(DecodeError::UnexpectedEof) => return Ok(()),
            Err(error) => return Err(format!("the log is damaged: {error}")),
        }
    }
}

/// The message, behind its level if it has one.
fn line_of(frame: &Frame<'_>) -> String {
    let message = frame.display_message();
    match frame.level() {
        Some(level) => format!("{} {message}", level.as_str().to_uppercase()),
        None => message.to_string(),
    }
}

/// Holds the console against the expected one, or writes that anew.
fn compare(path: &str, console: &str) -> Result<End, String> {
    if env::var_os("OVERWRITE").is_some_and(|value| !value.is_empty()) {
        fs::write(path, console).map_err(|error| format!("{path}: {error}"))?;
        return Ok(End::Well);
    }
    let expected = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    if console == expected {
        return Ok(End::Well);
    }
    println!(
        "{}",
        TextDiff::from_lines(&*expected, console).unified_diff().header(path, "console")
    );
    Ok(End::Failed(format!("the console differs from {path}; OVERWRITE=1 writes it anew")))
}
