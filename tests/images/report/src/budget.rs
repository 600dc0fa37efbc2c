//! Size and stack of the core in the image `drivers`, held against the checked-in budget.
//!
//! Source of truth: `tests/images/link-check/budget.txt`, whose head says how it reads.
//! Deliberately not here: what is in the image.

use std::{collections::BTreeMap, fmt::Write, fs};

use crate::graph::{Graph, Indirect};

/// The functions that call the core begin with this.
const ROOTS: &str = "drivers::";

/// What begins with one of these is not of the core.
const NOT_CORE: [&str; 4] =
    ["link_check::", "<link_check::", "drivers::calls", "drivers::__cortex_m_rt_main"];

/// The budget of one target.
#[derive(Debug, Default)]
struct Budget {
    limits: BTreeMap<String, u64>,
    indirect: Vec<Indirect>,
    frames: BTreeMap<String, u64>,
}

pub(crate) fn report(target: &str, image: &str, budget: &str) -> Result<String, String> {
    let text = fs::read_to_string(budget).map_err(|error| format!("{budget}: {error}"))?;
    let budget = parse(&text, target)?;
    let mut graph = Graph::read(target, image, &budget.indirect)?;
    for function in graph.image.functions.values_mut() {
        let said = budget.frames.get(&function.name).copied();
        function.frame_bytes = function.frame_bytes.or(said);
    }
    let roots: Vec<u64> =
        graph.named(ROOTS).into_iter().filter(|root| !is_free(graph.name(*root))).collect();
    if roots.is_empty() {
        return Err(format!("{image} has no function {ROOTS}*"));
    }
    let reached = graph.reached(&roots);
    let unexplained = graph.unexplained(&reached, &budget.indirect);
    if !unexplained.is_empty() {
        return Err(format!("indirect calls that the budget does not explain: {unexplained:#?}"));
    }
    let core = reached.iter().filter(|function| !is_free(graph.name(**function)));
    let code: u64 = core
        .filter_map(|function| graph.image.functions.get(function))
        .map(|function| function.code_bytes)
        .sum();
    let constants = graph.image.constant_bytes();
    let mut text = format!("{target}: code {code}, constants {constants} bytes\n");
    let mut deepest = 0;
    for root in roots {
        let depth = graph.depth(root, &is_free)?;
        deepest = deepest.max(depth.bytes);
        describe(&mut text, &graph, &depth)?;
    }
    let measured = [("code", code), ("constants", constants), ("stack", deepest)];
    let over = exceeded(&measured, &budget.limits)?;
    if over.is_empty() { Ok(text) } else { Err(text + &over) }
}

/// Whether a function is a port or of the scaffold.
fn is_free(name: &str) -> bool {
    NOT_CORE.iter().any(|prefix| name.starts_with(prefix))
}

/// Writes one line for the stack, and one for each of its frames when it is the step of a driver.
fn describe(text: &mut String, graph: &Graph, depth: &crate::graph::Depth) -> Result<(), String> {
    let name = depth.path.first().map_or("?", |root| graph.name(*root));
    let failed = |error: std::fmt::Error| error.to_string();
    writeln!(text, "  stack {:5} bytes: {name}", depth.bytes).map_err(failed)?;
    for function in depth.path.iter().skip(1).filter(|_| name.ends_with("_step")) {
        let name = without_generics(graph.name(*function));
        writeln!(text, "        {:5}   {name}", graph.frame(*function)?).map_err(failed)?;
    }
    Ok(())
}

/// A name without what stands in angle brackets behind a word, such as `Driver<Port>::step`.
fn without_generics(name: &str) -> String {
    let mut short = String::new();
    let mut depth = 0_u32;
    let mut before = ' ';
    for character in name.chars() {
        match character {
            '<' if depth > 0 || before.is_alphanumeric() => depth += 1,
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => short.push(character),
            _ => {}
        }
        before = character;
    }
    short
}

/// A line for each number that is over its limit.
fn exceeded(measured: &[(&str, u64)], limits: &BTreeMap<String, u64>) -> Result<String, String> {
    let mut over = String::new();
    for (name, bytes) in measured {
        let limit = limits.get(*name).ok_or(format!("the budget has no line for {name}"))?;
        if bytes > limit {
            over +=
                &format!("{name}: {bytes} bytes, {} over the budget of {limit}\n", bytes - limit);
        }
    }
    Ok(over)
}

/// Reads the lines of a target.
fn parse(text: &str, target: &str) -> Result<Budget, String> {
    let mut budget = Budget::default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or(line).trim());
    for line in lines.filter(|line| !line.is_empty()) {
        let wrong = || format!("the budget has a wrong line: {line}");
        if let Some(rule) = line.strip_prefix("indirect ") {
            let (caller, callee) = rule.split_once(" -> ").ok_or_else(wrong)?;
            budget.indirect.push(Indirect { caller: caller.into(), callee: callee.into() });
            continue;
        }
        let (frame, line) = match line.strip_prefix("frame ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let [of, name, bytes] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let bytes = bytes.replace('_', "").parse().map_err(|_| wrong())?;
        if of == target {
            let map = if frame { &mut budget.frames } else { &mut budget.limits };
            map.insert(name.to_owned(), bytes);
        }
    }
    Ok(budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# Head.\nbare code 1_000 # More.\nother code 7\nframe bare x 8\n\nindirect a b -> c\n";

    #[test]
    fn budget_is_that_of_its_target() {
        let budget = parse(TEXT, "bare").unwrap();
        assert_eq!(budget.limits, BTreeMap::from([("code".to_owned(), 1000)]));
        assert_eq!(budget.frames, BTreeMap::from([("x".to_owned(), 8)]));
        assert_eq!(budget.indirect, [Indirect { caller: "a b".into(), callee: "c".into() }]);
        assert!(parse("bare code", "bare").is_err());
        assert!(parse("bare code many", "bare").is_err());
        assert!(parse("indirect a", "bare").is_err());
    }

    #[test]
    fn names_are_shown_without_generics() {
        assert_eq!(without_generics("<a::B<c::D<E>, F> as G>::h::<I>"), "<a::B as G>::h::<I>");
    }

    #[test]
    fn only_what_is_over_its_limit_is_named() {
        let limits = BTreeMap::from([("code".to_owned(), 10), ("stack".to_owned(), 10)]);
        assert_eq!(exceeded(&[("code", 10)], &limits).unwrap(), "");
        let over = exceeded(&[("code", 10), ("stack", 12)], &limits).unwrap();
        assert_eq!(over, "stack: 12 bytes, 2 over the budget of 10\n");
        assert!(exceeded(&[("heap", 1)], &limits).is_err());
    }
}
