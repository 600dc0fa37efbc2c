//! Where an image that should not be able to panic calls what panics.
//!
//! Source of truth: the call graph, and the line tables through `addr2line`. Deliberately not
//! here: the verdict, which is the linker's.

use std::{collections::BTreeSet, fmt::Write, process::Command};

use crate::{
    assembly::{Exit, binutils},
    graph::Graph,
};

/// The functions of `core` in which every panic ends.
const ENDS: [&str; 2] = ["core::panicking::", "__rustc::rust_begin_unwind"];

pub(crate) fn report(target: &str, image: &str) -> Result<String, String> {
    let graph = Graph::read(target, image, &[])?;
    let family = family(&graph);
    let sites = graph.calls.iter().filter(|call| match call.exit {
        Exit::Direct(callee) => family.contains(&callee) && !family.contains(&call.caller),
        Exit::Indirect => false,
    });
    let mut text = String::new();
    for call in sites {
        writeln!(text, "{} may panic:", graph.name(call.caller))
            .and_then(|()| writeln!(text, "{}", lines(target, image, call.site)))
            .map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// The functions that panic, and those of `core` that do nothing but call them.
fn family(graph: &Graph) -> BTreeSet<u64> {
    let mut family: BTreeSet<u64> = ENDS.iter().flat_map(|end| graph.named(end)).collect();
    let is_failure = |name: &str| {
        name.starts_with("core::") && (name.contains("fail") || name.contains("panic"))
    };
    loop {
        let more: Vec<u64> = graph
            .named("core::")
            .into_iter()
            .filter(|function| !family.contains(function) && is_failure(graph.name(*function)))
            .filter(|function| graph.callees(*function).any(|callee| family.contains(&callee)))
            .collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

/// The lines from which the code at `site` stems, the innermost first.
fn lines(target: &str, image: &str, site: u64) -> String {
    let program = binutils(target).map(|prefix| format!("{prefix}-addr2line"));
    let output = program.and_then(|program| {
        let arguments = ["-i", "-e", image, &format!("{site:#x}")];
        Command::new(program).args(arguments).output().map_err(|error| error.to_string())
    });
    match output {
        Ok(output) => {
            let lines = String::from_utf8_lossy(&output.stdout);
            lines.lines().map(|line| format!("    {line}\n")).collect()
        }
        Err(error) => error,
    }
}
