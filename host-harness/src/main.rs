//! su390: runs emulated /390 server units and moves virtual machines between them.
//!
//! Arguments in, exit status out. Source of truth: [`host_harness::cli`]. Invariant: the exit
//! status is one of those that the help names. Deliberately not here: everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    host_harness::cli::run(std::env::args_os())
}
