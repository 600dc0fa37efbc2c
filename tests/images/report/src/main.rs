//! Reports on the bare images: `image-report surface`, `image-report budget`, `image-report
//! panics`. `tests/run link-check` calls it.
//!
//! Source of truth: the images themselves, and rustdoc's description of the public items.
//! Invariant: what cannot be decided is an error, never a pass. Deliberately not here: building.

mod assembly;
mod budget;
mod graph;
mod image;
mod panics;
mod surface;

use std::process::ExitCode;

const USAGE: &str = "usage: image-report surface DESCRIPTION EXCEPTIONS SOURCE-FOLDER
       image-report budget TARGET IMAGE BUDGET
       image-report panics TARGET IMAGE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = match arguments[..] {
        ["surface", description, exceptions, folder] => {
            surface::report(description, exceptions, folder)
        }
        ["budget", target, image, budget] => budget::report(target, image, budget),
        ["panics", target, image] => panics::report(target, image),
        _ => Err(USAGE.to_owned()),
    };
    match report {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
